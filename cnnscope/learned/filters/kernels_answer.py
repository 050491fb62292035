"""Kernels as a result: one over numbers, step by step, or designed ones on an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cnnscope.errors import CnnscopeError
from cnnscope.learned.filters.sliding import slide
from cnnscope.learned.filters.written import grid
from cnnscope.options.trained import KernelOptions
from cnnscope.render.numbers import printable

if TYPE_CHECKING:
    from cnnscope.render.illustrated import Illustrated
    from cnnscope.render.sliding import SlideReport


def kernels(options: KernelOptions) -> SlideReport | Illustrated:
    """Every step of ``options.kernel`` over ``options.input``; without an input, kernels on an image (needs numpy).

    `CnnscopeError`: E409 options that do not go together, E487 and E489 what is no grid of numbers, E488 a kernel that
    is larger than the image, E606 the image.
    """
    _refuse(options)
    if options.kernel is None or options.input is None:
        return _gallery(options)
    return slide(
        grid(options.kernel, "--kernel"), grid(options.input, "--input"), stride=options.stride or 1,
        pad=options.pad or 0, dilation=options.dilation or 1,
    )  # fmt: skip


def _refuse(options: KernelOptions) -> None:
    """E409 for options that do not go together."""
    if options.input is not None and options.kernel is None:
        raise CnnscopeError.of("E409", "`--input` needs a kernel to slide over it", hint='write `--kernel "-1 1"`')
    if options.input is not None and options.image is not None:
        raise CnnscopeError.of("E409", "`--input` and `--image` are two inputs", hint="give one of them")
    if options.kernel is not None and options.size is not None:
        raise CnnscopeError.of("E409", "`--size` is of the designed kernels, and `--kernel` gives its own")
    given = [name for name in ("stride", "pad", "dilation") if getattr(options, name) is not None]
    if given and options.input is None:
        raise CnnscopeError.of("E409", f"`--{given[0]}` belongs to a kernel and an input of numbers",
                               hint='write `--kernel "-1 1" --input "0 1 0 1 1"`')  # fmt: skip


def _gallery(options: KernelOptions) -> Illustrated:
    import numpy as np

    from cnnscope.learned.filters import gallery, responses
    from cnnscope.learned.filters.kernels import classic, own
    from cnnscope.render.illustrated import Illustrated
    from cnnscope.render.kernels import KernelsReport
    from cnnscope.render.style import shortened

    size = options.size or 3
    if options.kernel is None:
        chosen = classic(size, size)
    else:
        numbers = np.array([[float(number) for number in row] for row in grid(options.kernel, "--kernel")])
        chosen = (own(numbers),)
    name, pixels = responses.bundled_digit() if options.image is None else responses.opened(Path(options.image))
    _check_fit(chosen[0].weights.shape, pixels.shape, name)
    made = [responses.respond(one.weights, pixels) for one in chosen]
    height, width = pixels.shape
    rows, columns = chosen[0].weights.shape
    title = f"{rows}x{columns} kernel{'s' * (len(chosen) > 1)} on {shortened(name, 32)}"
    shown = gallery.shown(chosen)
    return Illustrated(
        KernelsReport(responses.rows(chosen, made), name, (height, width)),
        lambda kind: gallery.draw([chosen[i] for i in shown], [made[i] for i in shown], pixels, title, kind),
        "kernels",
        {"kernels": np.stack([kernel.weights for kernel in chosen]), "responses": np.stack(made)},
    )


def _check_fit(kernel: Sequence[int], image: Sequence[int], name: str) -> None:
    """E488 for a kernel that is larger than the image."""
    if any(k > n for k, n in zip(kernel, image, strict=True)):
        size, pixels = ("x".join(map(str, shape)) for shape in (kernel, image))
        raise CnnscopeError.of("E488", f"the kernel is {size}, and {printable(name)} only {pixels}",
                               hint="give a smaller kernel or a larger image")  # fmt: skip
