"""The checks: a file is one, with a `CHECK`."""
