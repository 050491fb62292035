"""Options of what is computed and drawn from the architecture alone."""

from pathlib import Path
from typing import Annotated, Literal

from cnnscope.options.group import Option, group

LevelName = Literal["layer", "op"]
Precision = Literal["float32", "float16", "bfloat16", "float64"]
ThemeName = Literal["light", "dark"]


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
    dtype: Annotated[
        Precision | None, Option("Precision that floating-point bytes are counted in, instead of the network's own.")
    ] = None


@group("Picture")
class Theme:
    """The colours of a picture."""

    theme: Annotated[ThemeName, Option("Background of the picture.")] = "light"


@group("Picture")
class DiagramOptions(Theme):
    """How the architecture is drawn."""

    view: Annotated[
        str | None,
        Option("What is drawn. By default the ladder, or the graph where a level is named.", metavar="NAME"),
    ] = None
    level: Annotated[
        Literal["overview", "block", "layer", "op"] | None,
        Option("How much detail of the graph: folded blocks, all blocks, layers, or ops."),
    ] = None
    heat: Annotated[Literal["macs", "params", "none"], Option("What the fill of a box shows.")] = "macs"
    rf: Annotated[bool, Option("Whether receptive fields are stated.")] = True
    direction: Annotated[Literal["TB", "LR"], Option("The graph from top to bottom, or from left to right.")] = "TB"
    fit: Annotated[Literal["a4", "slide", "none"], Option("Lay out for a page or a slide, and shrink to it.")] = "none"
    dpi: Annotated[int, Option("Dots per inch of a PNG.", min=20, max=1200)] = 160
    engine: Annotated[
        Literal["wheel", "dot"] | None, Option("Graphviz from pygraphviz's wheel, or the `dot` on the PATH.")
    ] = None


@group("Page")
class PageOptions:
    """What lies on the page."""

    image: Annotated[str | Path | None, Option("A picture to lay under the receptive fields.", metavar="FILE")] = None
    weights: Annotated[
        str | Path | None,
        Option(
            "File of weights, or `pretrained`, for histograms; without it the weights that the source has or names.",
            metavar="FILE",
        ),
    ] = None


ExportFormat = Literal["pytorch", "onnx", "spec", "json"]


@group("Network")
class Mapping:
    """Which name of a file stands for which weight."""

    map: Annotated[
        str | None,
        Option(
            "A mapping of names that `cnnscope weights map` wrote, or `auto` for the mapping that it proposes.",
            metavar="MAP",
        ),
    ] = None


@group("Network")
class ExportOptions(Mapping):
    """The weights of an ONNX file."""

    weights: Annotated[
        str | Path | None, Option("File of weights to write into an ONNX file; random ones without it.", metavar="FILE")
    ] = None
