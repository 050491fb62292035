"""Measurements whose result is known in advance: where one fails, the audit is invalid."""
