"""Transfer learning: replacing the head of a network, what training costs, and training."""
