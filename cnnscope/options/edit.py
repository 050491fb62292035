"""Options of changing a network."""

from collections.abc import Sequence
from typing import Annotated, Literal

from cnnscope.options.group import Option, group


@group("Changes")
class ScaleOptions:
    """Widths of many layers at once."""

    scale: Annotated[float | None, Option("Times the channels of every layer.", metavar="F")] = None
    round: Annotated[int, Option("Scaled widths are multiples of it.", min=1)] = 8
    keep_ratio: Annotated[
        bool, Option("An expansion before a depthwise convolution keeps its ratio to what its block reads.")
    ] = True
    only: Annotated[
        Sequence[str], Option("Scale only the layers of this pattern. May be repeated.", metavar="PATTERN")
    ] = ()
    exclude: Annotated[
        Sequence[str],
        Option("Do not scale the layers of this pattern. May be repeated.", flags=("--except",), metavar="PATTERN"),
    ] = ()
    heads: Annotated[Literal["dim", "count"], Option("Whether attention heads change their size or their number.")] = (
        "dim"
    )
