"""Receptive fields: which pixels a unit depends on.

`theoretical` is the textbook definition (infinite plane, padding counted, in plain integers); `exact.exact` clips to
the real pixels of this input size, for any graph, and is the only module here that needs numpy.
"""

from cnnscope.analysis.receptive_field.theoretical import Field, theoretical

__all__ = ["Field", "theoretical"]
