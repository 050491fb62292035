"""What a network has learned, in pictures and figures: filters, features, attributions."""
