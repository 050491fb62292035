"""Networks with weights, the preprocessing of images for them, and sets of images."""
