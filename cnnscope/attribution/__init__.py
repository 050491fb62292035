"""Which pixels a class score is due to: `methods` computes attributions, `run.attribute` checks them."""
