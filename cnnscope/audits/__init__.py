"""Invariance audits: how much a trained network's answers and features change when its images move."""
