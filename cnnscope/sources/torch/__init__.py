"""Torch modules, and models of torchvision and timm, as sources: one traced run becomes a graph."""
