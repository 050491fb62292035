"""The structure of an architecture as its papers draw it, found without any name.

    found = structure(graph)
    for part in found.parts:  # topological order; a part reads parts before it
        print(part.id, part.level, part.shape, part.cost.params, part.inputs)

A *unit* is an op with what belongs to it (its norm, its activation, views of its output). A *block* is a region with
one entry and one exit. A *repeat* is one to four parts that follow one another several times. Every node of the graph
that an image reaches is in exactly one part, so the costs of the parts and `Structure.rest` add up to the network's.
Two networks that compute the same in the same way have the same structure, whatever their layers are called and
whichever framework they come from.
"""

from cnnscope.analysis.structure.keys import anatomy
from cnnscope.analysis.structure.parts import Block, Input, Part, Repeat, Structure, Unit, flat, merging
from cnnscope.analysis.structure.whole import structure

__all__ = ["Block", "Input", "Part", "Repeat", "Structure", "Unit", "anatomy", "flat", "merging", "structure"]
