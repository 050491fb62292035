"""Filters of trained networks, beside designed kernels and beside chance."""
