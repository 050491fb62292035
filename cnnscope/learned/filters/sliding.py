"""Kernels as a result: one slid over numbers, step by step, or designed ones on an image.

Networks compute cross-correlation and call it convolution: y[i] = sum_k w[k] x[i * stride + k * dilation - pad]. The
kernel is not flipped; signal processing flips it first. Both are shown, in exact fractions.
Source: Goodfellow, Bengio & Courville 2016, "Deep Learning", section 9.1, equations 9.4 to 9.6.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import product
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from cnnscope.errors import CnnscopeError
from cnnscope.options.trained import KernelOptions
from cnnscope.render.kernels import Rows
from cnnscope.render.numbers import printable
from cnnscope.render.sliding import SlideReport, Step

if TYPE_CHECKING:
    from cnnscope.render.illustrated import Illustrated
    from cnnscope.render.sliding import SlideReport

_LARGEST_MATRIX = 65_536


def slide(kernel: Rows, signal: Rows, *, stride: int = 1, pad: int = 0, dilation: int = 1) -> SlideReport:
    """Every step of ``kernel`` over ``signal``; both have one row (a signal) or several (an image).

    Stride, padding with zeros and dilation are the same on both axes of an image. `CnnscopeError`: E488 where the
    kernel does not fit, E489 where the steps are too many to print.
    """
    pads = (0 if len(kernel) == len(signal) == 1 else pad, pad)
    extents = _outputs(kernel, signal, stride, pads, dilation)
    numbers = len(signal) * len(signal[0])
    if prod(extents) * numbers > _LARGEST_MATRIX:
        raise CnnscopeError.of("E489", f"{prod(extents):,} steps over {numbers:,} numbers are more than anyone follows",
                               hint="give a smaller input, less padding or a larger stride")  # fmt: skip
    steps, backwards = (
        tuple(_steps(rows, signal, extents, stride, pads, dilation)) for rows in (kernel, _turned(kernel))
    )
    output, flipped = (_grid([step.total for step in some], extents[1]) for some in (steps, backwards))
    return SlideReport(
        kernel=kernel, input=signal, stride=stride, pad=pad, dilation=dilation, steps=steps, output=output,
        flipped=flipped,
    )  # fmt: skip


def _outputs(kernel: Rows, signal: Rows, stride: int, pads: tuple[int, int], dilation: int) -> tuple[int, int]:
    """(rows, columns) of the output: floor((n + 2 pad - dilation (k - 1) - 1) / stride) + 1."""
    found = []
    axes = ("rows", "numbers" if len(kernel) == len(signal) == 1 else "columns")
    for axis, n, k, pad in zip(axes, _size(signal), _size(kernel), pads, strict=True):
        span = dilation * (k - 1) + 1
        if span > n + 2 * pad:
            spread = f" spread over {span} by its dilation" if dilation > 1 else ""
            padding = f" and {2 * pad} of padding" if pad else ""
            raise CnnscopeError.of("E488", f"the kernel has {k} {axis}{spread}, and the input {n}{padding}",
                                   hint="give a larger input or more padding")  # fmt: skip
        found.append((n + 2 * pad - span) // stride + 1)
    return found[0], found[1]


def _steps(
    kernel: Rows, signal: Rows, extents: tuple[int, int], stride: int, pads: tuple[int, int], dilation: int
) -> Iterator[Step]:
    rows, columns = _size(signal)
    weights = [weight for row in kernel for weight in row]
    for y, x in product(*map(range, extents)):
        row = [Fraction(0)] * (rows * columns)
        window = []
        for weight, (i, j) in zip(weights, product(*map(range, _size(kernel))), strict=True):
            at_y, at_x = y * stride + i * dilation - pads[0], x * stride + j * dilation - pads[1]
            inside = 0 <= at_y < rows and 0 <= at_x < columns
            window.append(signal[at_y][at_x] if inside else Fraction(0))
            if inside:
                row[at_y * columns + at_x] = weight
        yield Step((y, x), tuple(window), tuple(weights), tuple(row))


def _turned(kernel: Rows) -> Rows:
    """The kernel rotated by 180 degrees, which flips every axis."""
    return tuple(row[::-1] for row in kernel[::-1])


def _size(rows: Rows) -> tuple[int, int]:
    return len(rows), len(rows[0])


def _grid(values: list[Fraction], width: int) -> Rows:
    return tuple(tuple(values[start : start + width]) for start in range(0, len(values), width))


MOST_NUMBERS = 1024
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,2})?(/\d+)?", re.IGNORECASE)
_LONGEST = 24


def grid(text: str, option: str) -> Rows:
    """The rows of a kernel or an input, from the text of ``option``.

    Numbers may be fractions (``1/9``) and are separated by spaces or commas. `CnnscopeError` E487 where the text is no
    grid of numbers, E489 where it has too many.
    """
    rows = [row.replace(",", " ").split() for row in text.replace("\n", ";").strip().rstrip(";").split(";")]
    count = sum(map(len, rows))
    if count > MOST_NUMBERS:
        raise CnnscopeError.of("E489", f"`{option}` has {count:,} numbers, more than anyone follows step by step",
                               hint=f"give at most {MOST_NUMBERS:,}")  # fmt: skip
    if not all(rows):
        where = "is empty" if count == 0 else f"has an empty row, the {_ordinal(rows.index([]))}"
        raise CnnscopeError.of("E487", f"`{option}` {where}", hint=_HINT)
    lengths = [len(row) for row in rows]
    if len(set(lengths)) > 1:
        other = next(i for i, length in enumerate(lengths) if length != lengths[0])
        raise CnnscopeError.of(
            "E487", f"the rows of `{option}` differ in length: the first has {lengths[0]} numbers, the "
            f"{_ordinal(other)} {lengths[other]}", hint="give every row the same length",
        )  # fmt: skip
    return tuple(tuple(_number(word, option) for word in row) for row in rows)


_HINT = 'write numbers apart by spaces, rows apart by semicolons: "1 0 -1; 2 0 -2; 1 0 -1"'


def _number(word: str, option: str) -> Fraction:
    if re.fullmatch(r"[+-]?(inf(inity)?|nan)", word, re.IGNORECASE):
        raise CnnscopeError.of("E487", f"`{option}` has `{word}` in it, which is not finite", hint=_HINT)
    if len(word) > _LONGEST or not _NUMBER.fullmatch(word):
        shown = word if len(word) <= _LONGEST else f"{word[:_LONGEST]}..."
        raise CnnscopeError.of("E487", f"`{shown}` in `{option}` is no number", hint=_HINT)
    whole, _, divisor = word.partition("/")
    if divisor and int(divisor) == 0:
        raise CnnscopeError.of("E487", f"`{word}` in `{option}` divides by zero", hint=_HINT)
    return Fraction(whole) / int(divisor or 1)


def _ordinal(index: int) -> str:
    number = index + 1
    ending = "th" if 10 < number % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


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

    from cnnscope.learned.filters import gallery
    from cnnscope.learned.filters.kernels import classic, own
    from cnnscope.render.illustrated import Illustrated
    from cnnscope.render.kernels import KernelImage, KernelsDocument, KernelsReport
    from cnnscope.render.style import shortened

    size = options.size or 3
    if options.kernel is None:
        chosen = classic(size, size)
    else:
        numbers = np.array([[float(number) for number in row] for row in grid(options.kernel, "--kernel")])
        chosen = (own(numbers),)
    name, pixels = gallery.bundled_digit() if options.image is None else gallery.opened(Path(options.image))
    _check_fit(chosen[0].weights.shape, pixels.shape, name)
    made = [gallery.respond(one.weights, pixels) for one in chosen]
    image = KernelImage(name=name, height=pixels.shape[0], width=pixels.shape[1])
    rows, columns = chosen[0].weights.shape
    title = f"{rows}x{columns} kernel{'s' * (len(chosen) > 1)} on {shortened(name, 32)}"
    shown = gallery.shown(chosen)
    return Illustrated(
        KernelsReport(KernelsDocument(kernels=gallery.rows(chosen, made), image=image, example=None)),
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
