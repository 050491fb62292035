"""Transfer learning: a new head, what training it costs, and training it."""
