"""Options of what is computed from the architecture alone."""

from typing import Annotated, Literal

from cnnscope.options.group import Option, group

LevelName = Literal["layer", "op"]
Precision = Literal["float32", "float16", "bfloat16", "float64"]


@group("Network")
class LevelOptions:
    """How finely layers are listed."""

    level: Annotated[
        LevelName, Option("A row for each layer as written, or for each op (conv, its norm, its act).")
    ] = "layer"


@group("Network")
class LayerOptions(LevelOptions):
    """How layers are listed, and what their bytes are counted for."""

    batch_size: Annotated[int, Option("Images in a batch; scales the bytes of activations only.", min=1)] = 1
    dtype: Annotated[Precision, Option("Precision that bytes are counted in.")] = "float32"
