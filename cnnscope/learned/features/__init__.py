"""Feature maps, and what single channels respond to."""
