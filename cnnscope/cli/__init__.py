"""The command line: `app` assembles it, every verb has a file, heavy imports stay inside functions."""
