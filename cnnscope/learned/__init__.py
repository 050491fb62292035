"""What a trained network has learned: its filters and its features, in pictures and figures."""
