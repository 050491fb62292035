"""A network that runs on images: its weights, how images are prepared for it, and the images themselves."""
