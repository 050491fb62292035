"""How ONNX operators become ops, one file a topic."""
