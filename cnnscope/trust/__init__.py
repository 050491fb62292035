"""Checks of attributions: each is a figure beside its controls; `session.examined` runs them all."""
