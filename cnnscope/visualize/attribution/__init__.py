"""Which pixels a class score is due to: methods (`methods/`, one a file), and `run.attribute`, which checks their answers."""
