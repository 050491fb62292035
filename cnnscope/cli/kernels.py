"""``kernels``: designed kernels and what each does to an image; one kernel over one input, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnscope.cli import options as o
from cnnscope.cli.output import Color, Output, picture_kind
from cnnscope.errors import CnnscopeError
from cnnscope.render.formats import PICTURES
from cnnscope.render.numbers import printable

if TYPE_CHECKING:
    from cnnscope.render.sliding import Rows

_EXAMPLE = "Step by step"
_GALLERY = "On an image"


def kernels(
    kernel: Annotated[
        str | None,
        typer.Option(metavar="NUMBERS", rich_help_panel=_EXAMPLE, help='"-1 1", or rows as "1 0 -1; 2 0 -2; 1 0 -1".'),
    ] = None,
    input: Annotated[
        str | None,
        typer.Option(metavar="NUMBERS", rich_help_panel=_EXAMPLE, help='What it slides over: "0 1 0 1 1", or rows.'),
    ] = None,
    stride: Annotated[int | None, typer.Option(min=1, rich_help_panel=_EXAMPLE, help="Positions it moves; 1.")] = None,
    pad: Annotated[int | None, typer.Option(min=0, rich_help_panel=_EXAMPLE, help="Zeros around the input; 0.")] = None,
    dilation: Annotated[
        int | None, typer.Option(min=1, rich_help_panel=_EXAMPLE, help="Distance between the kernel's numbers; 1.")
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel=_GALLERY, help="A picture; without it one of the bundled digits."),
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=2, max=31, rich_help_panel=_GALLERY, help="Side of the designed kernels; 3.")
    ] = None,
    form: o.FormatOption = None,
    path: o.OutputPath = None,
    quiet: o.Quiet = False,
    color: o.ColorOption = Color.auto,
    debug: o.Debug = False,
) -> None:
    """Designed kernels and what they do to an image; with --kernel and --input, every step of one.

    `cnnscope kernels --kernel "-1 1" --input "0 1 0 1 1"` shows windows, products, sums and the Toeplitz matrix.
    """
    _refuse(kernel, input, image, size, {"--stride": stride, "--pad": pad, "--dilation": dilation})
    if kernel is not None and input is not None:
        from cnnscope.learned.filters.sliding import slide
        from cnnscope.learned.filters.written import grid

        output = Output.of(form, path, color, quiet)
        report = slide(
            grid(kernel, "--kernel"), grid(input, "--input"), stride=stride or 1, pad=pad or 0, dilation=dilation or 1
        )
        output.emit(replace(report, bare=quiet))
        return
    kind = picture_kind(path, form, PICTURES)
    _gallery(kernel, image, size or 3, kind, path, Output.of(form, None if kind else path, color, quiet))


def _refuse(
    kernel: str | None, input: str | None, image: Path | None, size: int | None, steps: dict[str, int | None]
) -> None:
    """E409 for options that do not go together."""
    if input is not None and kernel is None:
        raise CnnscopeError.of("E409", "`--input` needs a kernel to slide over it", hint='write `--kernel "-1 1"`')
    if input is not None and image is not None:
        raise CnnscopeError.of("E409", "`--input` and `--image` are two inputs", hint="give one of them")
    if kernel is not None and size is not None:
        raise CnnscopeError.of("E409", "`--size` is of the designed kernels, and `--kernel` gives its own")
    given = [name for name, value in steps.items() if value is not None]
    if given and input is None:
        raise CnnscopeError.of("E409", f"`{given[0]}` belongs to a kernel and an input of numbers",
                               hint='write `--kernel "-1 1" --input "0 1 0 1 1"`')  # fmt: skip


def _gallery(
    kernel: str | None, image: Path | None, size: int, kind: str | None, path: Path | None, output: Output
) -> None:
    from cnnscope.learned.filters import responses
    from cnnscope.learned.filters.kernels import classic, own
    from cnnscope.learned.filters.written import grid
    from cnnscope.render.kernels import KernelsReport

    chosen = classic(size, size) if kernel is None else (own(_floats(grid(kernel, "--kernel"))),)
    name, pixels = responses.bundled_digit() if image is None else responses.opened(image)
    _check_fit(chosen[0].weights.shape, pixels.shape, name)
    made = [responses.respond(one.weights, pixels) for one in chosen]
    height, width = pixels.shape
    report = KernelsReport(responses.rows(chosen, made), name, (height, width), output.quiet)
    if kind is None or path is None:
        output.emit(report)
        return
    from cnnscope.cli.beside import emit_with_arrays
    from cnnscope.learned.filters import gallery
    from cnnscope.render.plots.style import shortened

    shown = gallery.shown(chosen)
    rows, columns = chosen[0].weights.shape
    title = f"{rows}x{columns} kernel{'s' * (len(chosen) > 1)} on {shortened(name, 32)}"
    picture = gallery.draw([chosen[i] for i in shown], [made[i] for i in shown], pixels, title, kind)
    emit_with_arrays(output, path, kind, picture, report, {"kernels": _stacked([k.weights for k in chosen]),
                                                          "responses": _stacked(made)})  # fmt: skip


def _check_fit(kernel: Sequence[int], image: Sequence[int], name: str) -> None:
    """E488 for a kernel that is larger than the image."""
    if any(k > n for k, n in zip(kernel, image, strict=True)):
        size, pixels = ("x".join(map(str, shape)) for shape in (kernel, image))
        raise CnnscopeError.of("E488", f"the kernel is {size}, and {printable(name)} only {pixels}",
                               hint="give a smaller kernel or a larger image")  # fmt: skip


def _floats(rows: Rows) -> Any:
    import numpy as np

    return np.array([[float(number) for number in row] for row in rows])


def _stacked(grids: Any) -> Any:
    import numpy as np

    return np.stack(grids)
