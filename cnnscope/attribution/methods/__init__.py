"""One method of attribution a file, named as on the command line with `_` for `-`; each has a `METHOD`."""
