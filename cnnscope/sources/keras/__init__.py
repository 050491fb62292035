"""Keras model files as sources, read without Keras."""
