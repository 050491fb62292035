"""The words of the language that build networks out of layers, explained: what `cnnscope ops residual` prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Key:
    """What a key takes, in a few words; ``default`` is None for a key that must be there, ``-`` for one that may."""

    takes: str
    default: str | None = "-"


@dataclass(frozen=True, slots=True)
class Structure:
    """A word that is no layer type: what it does, its own keys, and how it is written."""

    about: str
    keys: Mapping[str, Key]
    examples: tuple[str, ...]
    layer: bool = True
    """Whether it stands in a list of layers and has the keys of every layer; otherwise it is a key of the spec."""


STRUCTURES_EXPLAINED: Mapping[str, Structure] = {
    "residual": Structure(
        """Adds a shortcut to what its layers compute: y = layers(x) + shortcut(x).

`identity` adds x itself. `project` adds x after a 1x1 convolution to the size of
the branch, with bias and norm from `defaults.conv` and the product of the
branch's strides. `identity_or_project` and `identity_or_none` do that, or
nothing, only where x has another size. `none` adds nothing.
Source: He et al. 2016, sections 3.2 and 3.3.""",
        {
            "layers": Key("the branch: a list of layers", None),
            "shortcut": Key("one of the words above, or a list of layers", "identity"),
            "act": Key("an activation behind the sum"),
        },
        (
            "- residual: {act: relu, layers: [conv: {out: 64, kernel: 3, pad: half}]}",
            "- residual: {shortcut: project, layers: [conv: {out: 128, kernel: 1, stride: 2}]}",
        ),
    ),
    "use": Structure(
        """Puts a block of `blocks:` here, once or several times.

A block is a named list of layers with parameters. With `repeat` its repetitions
are chained, and `first` has other parameters for the first one. `each` is a table
instead: a header of parameters, then one row for each repetition. In it a column
`name` has the names of the repetitions.""",
        {
            "block": Key("the name of the block; `use: NAME` is short for it", None),
            "with": Key("values for its parameters"),
            "repeat": Key("the number of repetitions"),
            "first": Key("other parameters of repetition 0"),
            "each": Key("a table of parameters, one row for each repetition"),
        },
        (
            "- use: {block: basic, with: {out: 64}, repeat: 3, first: {stride: 2}, name: c2}",
            "- use: {block: stage, each: [[name, out, repeat], [c3, 256, 8], [c4, 512, 8]]}",
        ),
    ),
    "reuse": Structure(
        """Runs a named layer, block, residual or head again, with the same weights.

The weights count once, the work each time: siamese towers, or heads that all
levels of a pyramid share.""",
        {"layer": Key("the name of what runs again; `reuse: NAME` is short for it", None)},
        ("- reuse: {layer: tower, from: right, name: b}",),
    ),
    "heads": Structure(
        """The outputs of a network that has several: a name and a list of layers for each.

A head starts at the last layer of `layers`, or at `from`. One that is
`training_only` counts in the parameters but not in the MACs. Without `heads` the
last layer is the output.""",
        {
            "layers": Key("the layers of the head; `NAME: [...]` is short for it"),
            "from": Key("the name of the layer it reads"),
            "training_only": Key("true or false", "false"),
        },
        (
            "heads:",
            "  logits: [globalavgpool, flatten, linear: 10]",
            "  aux: {from: mid, training_only: true, layers: [globalavgpool, flatten, linear: 10]}",
        ),
        layer=False,
    ),
}
COMMON_KEYS: Mapping[str, Key] = {
    "name": Key("a name for it, which `from` and `reuse` use"),
    "from": Key("the name of the layer it reads, by default the one above"),
    "when": Key("a value; false or 0 leaves it out"),
    "frozen": Key("true for weights that are not trained", "false"),
}
"""The keys of every layer."""
