"""The look of everything printed: colours by meaning, in rich's style language."""

from __future__ import annotations

TITLE = "bold"
HEADER = "bold"
GROUP = "bold"
MUTED = "dim"
TOTAL = "bold"
GOOD = "green"
BAD = "bold red"
WARNING = "yellow"
NOTE = "cyan"

CATEGORY = {
    "conv": "blue", "linear": "magenta", "pool": "green", "norm": "dim", "activation": "yellow", "merge": "cyan",
    "movement": "dim", "resize": "green", "attention": "magenta", "regularization": "dim", "constant": "dim",
    "other": "",
}  # fmt: skip
"""What a row's type is written in, by the category of its op."""
