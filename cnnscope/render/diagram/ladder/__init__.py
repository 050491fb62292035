"""The ladder: a row for each level of resolution, execution from left to right."""
