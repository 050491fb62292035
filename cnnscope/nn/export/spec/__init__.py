"""A graph as a spec file with blocks."""
