"""Which pixels a class score is due to: a method a file in `methods/`; `run.attribute` checks what they answer."""
