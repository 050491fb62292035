"""Whatever names a network becomes a `Graph`: `load` takes a SOURCE string, `KINDS` lists what it may look like."""

from cnnscope.sources.inputs import InputSize
from cnnscope.sources.resolve import KINDS, Kind, Loaded, load, resolve

__all__ = ["KINDS", "InputSize", "Kind", "Loaded", "load", "resolve"]
