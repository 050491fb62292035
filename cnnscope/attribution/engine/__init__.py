"""The canonical network, and the rules that change what flows back through it."""
