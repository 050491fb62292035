"""Whatever names a network becomes a `Graph`: `resolve.load` takes a SOURCE, `kinds` lists what it may look like."""
