"""From outcomes to figures: rates, intervals, errors, comparisons, gates."""
