"""Sources: whatever names a network becomes a `Graph`. `resolve.load` takes a SOURCE, `resolve.KINDS` has the kinds."""
