"""The volumes in every format."""

from __future__ import annotations

from cnnscope.ir import Graph
from cnnscope.options.network import DiagramOptions
from cnnscope.render import style
from cnnscope.render.diagram.canvas import to_svg
from cnnscope.render.diagram.small import check_text
from cnnscope.render.diagram.volumes.figure import Look, volumes


def volumes_view(graph: Graph, form: str, options: DiagramOptions) -> bytes:
    """The volumes as ``svg``, ``png``, ``pdf`` or ``tex``. Warns with `SmallText` where they cannot be read on the page
    they are fitted to."""
    canvas = volumes(graph, Look(options.heat, options.theme, options.rf))
    if options.fit != "none":
        canvas = canvas.fitted(style.PAGES[options.fit])
        check_text(canvas.smallest, options.fit, "`--view ladder` has more room")
    match form:
        case "png" | "pdf":
            from cnnscope.render.diagram.raster import to_raster

            return to_raster(canvas, form, options.dpi)
        case "tex":
            from cnnscope.render.diagram.tikz import to_tikz

            return to_tikz(canvas).encode()
    return to_svg(canvas)
