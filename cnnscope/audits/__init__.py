"""Invariance audits: how much a trained network's predictions and features change when its images move."""
