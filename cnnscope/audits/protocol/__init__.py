"""What an audit does: which views it makes of each image, and in which order."""
