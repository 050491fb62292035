"""How calls of ATen functions become ops, one file a topic."""
