"""Kernels as a result: one slid over numbers, step by step, or designed ones on an image.

Networks compute cross-correlation and call it convolution: y[i] = sum_k w[k] x[i * stride + k * dilation - pad], summed
over the channels. The kernel is not flipped; signal processing flips it first. Both are shown, in exact fractions.
A transposed convolution adds w[k] x[i] to y[i * stride + k * dilation - pad].
Sources: Goodfellow, Bengio & Courville 2016, "Deep Learning", section 9.1, equations 9.4 to 9.6; Dumoulin & Visin 2016,
"A guide to convolution arithmetic", sections 3 and 4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from cnnscope.errors import CnnscopeError
from cnnscope.learned.filters.grids import number, planes
from cnnscope.options.trained import KernelOptions
from cnnscope.render.kernels import Planes
from cnnscope.render.numbers import printable
from cnnscope.render.sliding import Number, Operation, SlideReport, Step
from cnnscope.render.sliding_scenes import Slide

if TYPE_CHECKING:
    from cnnscope.render.illustrated import Illustrated

_LARGEST_MATRIX = 65_536

ACTIVATIONS: Mapping[str, Callable[[Fraction], Number]] = {
    "relu": lambda x: max(x, Fraction(0)),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x)),
    "tanh": math.tanh,
}  # fmt: skip
"""Functions that an output may go through."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How a kernel slides. Stride, padding with zeros and dilation are the same on both axes of an image."""

    operation: Operation = "conv"
    stride: int = 1
    pad: int = 0
    dilation: int = 1
    bias: Fraction = Fraction(0)
    activation: str | None = None


def slide(kernel: Planes, signal: Planes, setting: Setting = Setting()) -> SlideReport:  # it is frozen
    """Every step of ``kernel`` over ``signal``; both have a grid a channel, of one row (a signal) or more (an image).

    `CnnscopeError`: E488 where the kernel does not fit, E489 where the steps are too many to print.
    """
    if len(kernel) != len(signal):
        raise CnnscopeError.of("E488", f"the kernel has {_count(len(kernel), 'channel')}, and the input {len(signal)}",
                               hint="give both as many, apart by `|`: \"1 0 | 0 1\"")  # fmt: skip
    extents = _outputs(kernel[0], signal[0], setting)
    numbers = prod(map(prod, (_size(signal[0]), (len(signal),))))
    if prod(extents) * numbers > _LARGEST_MATRIX:
        steps = prod(_size(signal[0])) if setting.operation == "upconv" else prod(extents)
        raise CnnscopeError.of("E489", f"{steps:,} steps over {numbers:,} numbers are more than anyone follows",
                               hint="give a smaller input, less padding or a larger stride")  # fmt: skip
    made = tuple(_steps(kernel, signal, extents, setting))
    turned = tuple(tuple(row[::-1] for row in rows[::-1]) for rows in kernel)  # rotated by 180 degrees
    backwards = made if kernel == turned else tuple(_steps(turned, signal, extents, setting))
    output, flipped = (_output(some, extents, setting) for some in (made, backwards))
    return Slide(
        operation=setting.operation, kernel=kernel, input=signal, stride=setting.stride, pad=setting.pad,
        dilation=setting.dilation, bias=setting.bias, activation=setting.activation, steps=made,
        chosen=tuple(range(len(made))), output=output, flipped=flipped,
    )  # fmt: skip


def _outputs(
    kernel: Sequence[Sequence[Fraction]], signal: Sequence[Sequence[Fraction]], setting: Setting
) -> tuple[int, int]:
    """(rows, columns) of the output: floor((n + 2 pad - span) / stride) + 1 with span = dilation (k - 1) + 1; of a
    transposed convolution (n - 1) stride + span - 2 pad.
    """
    found = []
    axes = ("rows", "numbers" if len(kernel) == len(signal) == 1 else "columns")
    pads = _pads(kernel, signal, setting.pad)
    for axis, n, k, pad in zip(axes, _size(signal), _size(kernel), pads, strict=True):
        span = setting.dilation * (k - 1) + 1
        if setting.operation == "upconv":
            whole = (n - 1) * setting.stride + span
            if whole <= 2 * pad:
                raise CnnscopeError.of("E488", f"padding of {pad} cuts off all {whole} {axis} of the output",
                                       hint="give less padding")  # fmt: skip
            found.append(whole - 2 * pad)
            continue
        if "pool" in setting.operation and 2 * pad > k:
            raise CnnscopeError.of(
                "E488", f"padding of {pad} is more than half the window of {k}: some windows would be empty",
                hint="give less padding",
            )  # fmt: skip
        if span > n + 2 * pad:
            spread = f" spread over {span} by its dilation" if setting.dilation > 1 else ""
            padding = f" and {2 * pad} of padding" if pad else ""
            what = "window" if "pool" in setting.operation else "kernel"
            raise CnnscopeError.of("E488", f"the {what} has {k} {axis}{spread}, and the input {n}{padding}",
                                   hint="give a larger input or more padding")  # fmt: skip
        found.append((n + 2 * pad - span) // setting.stride + 1)
    return found[0], found[1]


def _pads(kernel: Sequence[object], signal: Sequence[object], pad: int) -> tuple[int, int]:
    """Padding above and below, and on the left and on the right; a signal has none above."""
    return (0 if len(kernel) == len(signal) == 1 else pad, pad)


def _steps(kernel: Planes, signal: Planes, extents: tuple[int, int], setting: Setting) -> Iterator[Step]:
    """Each position of the kernel in the output, or of the value that spreads it in the input."""
    spreads = setting.operation == "upconv"
    size = extents if spreads else _size(signal[0])  # of what the kernel's numbers meet
    offsets = tuple(product(*map(range, _size(kernel[0]))))
    weights = tuple(weight for rows in kernel for line in rows for weight in line)
    for y, x in product(*map(range, _size(signal[0]) if spreads else extents)):
        above, left = _pads(kernel[0], signal[0], setting.pad)
        places = tuple(
            (y * setting.stride + i * setting.dilation - above, x * setting.stride + j * setting.dilation - left)
            for i, j in offsets
        )
        inside = [0 <= at_y < size[0] and 0 <= at_x < size[1] for at_y, at_x in places]
        window = tuple(
            rows[y][x] if spreads else rows[at_y][at_x] if there else Fraction(0)
            for rows in signal for (at_y, at_x), there in zip(places, inside, strict=True)
        )  # fmt: skip
        used = _largest(window, inside) if setting.operation == "maxpool" else weights
        row = [Fraction(0)] * (len(signal) * prod(size))
        for i, weight in enumerate(used):
            channel, at = divmod(i, len(places))
            if inside[at]:
                row[(channel * size[0] + places[at][0]) * size[1] + places[at][1]] = weight
        yield Step((y, x), places, window, used, tuple(row))


def _largest(window: Sequence[Fraction], inside: Sequence[bool]) -> tuple[Fraction, ...]:
    """1 for the first of the largest values that are no padding, 0 for the others."""
    best = max((i for i, there in enumerate(inside) if there), key=lambda i: window[i])
    return tuple(Fraction(i == best) for i in range(len(window)))


def _output(steps: Sequence[Step], extents: tuple[int, int], setting: Setting) -> tuple[tuple[Number, ...], ...]:
    """The sums with the bias, after the activation, as a grid."""
    if setting.operation == "upconv":
        count = prod(extents)
        sums = [Fraction(0)] * count
        for step in steps:
            for i, (value, weight) in enumerate(zip(step.window, step.weights, strict=True)):
                y, x = step.places[i % len(step.places)]
                if 0 <= y < extents[0] and 0 <= x < extents[1]:
                    sums[y * extents[1] + x] += value * weight
    else:
        sums = [step.total for step in steps]
    activate = ACTIVATIONS[setting.activation] if setting.activation else None
    made = [total + setting.bias for total in sums]
    done: list[Number] = [activate(total) for total in made] if activate else [*made]
    return tuple(tuple(done[start : start + extents[1]]) for start in range(0, len(done), extents[1]))


def _size(rows: Sequence[Sequence[Number]]) -> tuple[int, int]:
    return len(rows), len(rows[0])


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("s" if number != 1 else "")


def kernels(options: KernelOptions) -> SlideReport | Illustrated:
    """Every step of ``options.kernel`` over ``options.input``; without an input, kernels on an image (needs numpy).

    `CnnscopeError`: E409 options that do not go together, E487 and E489 what is no grid of numbers, E488 a kernel that
    is larger than the image, E606 the image.
    """
    _refuse(options)
    if options.input is None:
        return _gallery(options)
    signal = planes(options.input, "--input")
    kernel = _window(options, signal) if options.kernel is None else planes(options.kernel, "--kernel")
    setting = Setting(
        operation=options.op or "conv", stride=options.stride or (len(kernel[0][0]) if options.kernel is None else 1),
        pad=options.pad or 0, dilation=options.dilation or 1,
        bias=Fraction(0) if options.bias is None else number(options.bias.strip(), "--bias"), activation=options.act,
    )  # fmt: skip
    found = slide(kernel, signal, setting)
    return found if options.steps is None else replace(found, chosen=chosen(options.steps, len(found.steps)))


def _window(options: KernelOptions, signal: Planes) -> Planes:
    """The weights of a pooling window: those of a mean, or ones. E409 for several channels."""
    if len(signal) > 1:
        what = f"`--op {options.op}` works on each channel alone, and `--input` has {len(signal)}"
        raise CnnscopeError.of("E409", what, hint="give one channel")
    side = options.size or 2
    rows = 1 if len(signal[0]) == 1 else side
    weight = Fraction(1, rows * side) if options.op == "avgpool" else Fraction(1)
    return (((weight,) * side,) * rows,)


def chosen(text: str, count: int) -> tuple[int, ...]:
    """``1,2,5`` as steps counted from 0; E409 where it names none of ``count`` steps."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdecimal() and len(word) < 10 for word in words):
        raise CnnscopeError.of("E409", f"`--steps {printable(text)}` names no steps", hint="write `--steps 1,2,5`")
    found = [int(word) for word in words]
    for step in found:
        if not 1 <= step <= count:
            raise CnnscopeError.of("E409", f"there is no step {step}", hint=f"steps count from 1 to {count}")
    return tuple(step - 1 for step in dict.fromkeys(found))


_NUMBERS = 'write `--kernel "-1 1" --input "0 1 0 1 1"`'


def _refuse(options: KernelOptions) -> None:
    """E409 for options that do not go together."""
    pools = options.op in ("maxpool", "avgpool")
    if pools and options.kernel is not None:
        raise CnnscopeError.of(
            "E409", f"`--op {options.op}` has no kernel", hint="give the side of its window: `--size 2`"
        )
    if options.input is not None and options.kernel is None and not pools:
        raise CnnscopeError.of("E409", "`--input` needs a kernel to slide over it", hint='write `--kernel "-1 1"`')
    if options.input is not None and options.image is not None:
        raise CnnscopeError.of("E409", "`--input` and `--image` are two inputs", hint="give one of them")
    if options.kernel is not None and options.size is not None:
        raise CnnscopeError.of("E409", "`--size` is of the designed kernels, and `--kernel` gives its own")
    names = ("op", "stride", "pad", "dilation", "bias", "act", "steps")
    given = [name for name in names if getattr(options, name) is not None]
    if given and options.input is None:
        hint = f'write `--op {options.op} --input "0 1 0 1 1"`' if pools else _NUMBERS
        raise CnnscopeError.of("E409", f"`--{given[0]}` belongs to a kernel and an input of numbers", hint=hint)
    wrong = ("bias", "act", *(("dilation",) if options.op == "avgpool" else ())) if pools else ()
    wrong = ("act",) if options.op == "upconv" else wrong
    for name in wrong:
        if getattr(options, name) is not None:
            why = "its steps add to outputs that are not complete" if options.op == "upconv" else "pooling has none"
            raise CnnscopeError.of("E409", f"`--{name}` does not go with `--op {options.op}`: {why}")


def _gallery(options: KernelOptions) -> Illustrated:
    import numpy as np

    from cnnscope.learned.filters import gallery
    from cnnscope.learned.filters.grids import grid
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
