"""Graphs as torch modules: how they are built, how weights are read and written, how networks are exported."""
