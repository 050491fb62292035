"""Changes of a network: the graph is rewritten, everything behind a change is inferred again."""

from cnnscope.edits.apply import Edited, apply
from cnnscope.edits.change import Change, Insert, Remove, Resize, Scale, SetArgs, Swap, Width

__all__ = ["Change", "Edited", "Insert", "Remove", "Resize", "Scale", "SetArgs", "Swap", "Width", "apply"]
