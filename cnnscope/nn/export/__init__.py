"""Graphs written down for others: PyTorch code, ONNX, specs, JSON."""
