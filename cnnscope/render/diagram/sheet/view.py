"""The sheet in every format."""

from __future__ import annotations

from cnnscope.ir import Graph
from cnnscope.options.network import DiagramOptions
from cnnscope.render import style
from cnnscope.render.diagram.canvas import Canvas, to_svg
from cnnscope.render.diagram.sheet.figure import Look, Sheet, draw, pages, sheet
from cnnscope.render.diagram.sheet.text import to_latex, to_markdown
from cnnscope.render.diagram.small import check_text


def sheet_view(graph: Graph, form: str, options: DiagramOptions) -> bytes:
    """The sheet in one of `FORMATS`. A PDF that is fitted to a page has as many pages as it takes to be read; other
    pictures have one, and `SmallText` says where it cannot be read."""
    content = sheet(graph, Look(options.heat, options.theme, options.rf))
    match form:
        case "tex":
            return to_latex(content).encode()
        case "md":
            return to_markdown(content).encode()
        case "pdf" | "png":
            from cnnscope.render.diagram.raster import to_pages, to_raster

            if form == "pdf":
                return to_pages(_pages(content, options))
            return to_raster(_single(content, options), form, options.dpi)
    return to_svg(_single(content, options))


def _pages(content: Sheet, options: DiagramOptions) -> tuple[Canvas, ...]:
    if options.fit == "none":
        return (draw(content),)
    page = style.PAGES[options.fit]
    found = tuple(canvas.fitted(page) for canvas in pages(content, page))
    check_text(min(canvas.smallest for canvas in found), options.fit)
    return found


def _single(content: Sheet, options: DiagramOptions) -> Canvas:
    if options.fit == "none":
        return draw(content)
    page = style.PAGES[options.fit]
    canvas = draw(content, page).fitted(page)
    several = len(pages(content, page))
    check_text(canvas.smallest, options.fit, f"a PDF has {several} pages" if several > 1 else "")
    return canvas
