"""How Keras layers and functions become ops, one file a topic."""
