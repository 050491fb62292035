"""A graph as a Python file that needs torch alone."""
