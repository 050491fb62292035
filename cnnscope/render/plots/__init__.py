"""Plots and pictures of numbers, drawn with matplotlib: no window, no global state, the same bytes every time."""
