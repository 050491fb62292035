"""Graphs as torch modules: building them, their weights in and out, exporting them."""
