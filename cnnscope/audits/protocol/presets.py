"""Named protocols, each with the paper and section it follows. Lengths that a paper states for inputs of 224 pixels
scale with the input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product

from cnnscope.audits.protocol.protocol import CLEAN, Draw, Protocol, Slot, mirror, rotate, shift, zoom
from cnnscope.audits.protocol.transforms import Size, reach
from cnnscope.errors import CnnscopeError, did_you_mean

AXES = ((1, 0), (-1, 0), (0, 1), (0, -1))
DIAGONALS = ((1, 1), (1, -1), (-1, 1), (-1, -1))


def preset(name: str, size: Size) -> Protocol:
    """The protocol called ``name`` for an input of ``size`` (H, W).

    E471 for an unknown name, E472 for a small input.
    """
    if name not in PRESETS:
        hint = did_you_mean(name, PRESETS) or f"there are {', '.join(PRESETS)}"
        raise CnnscopeError.of("E471", f"there is no protocol `{name}`", hint=hint)
    if min(size) < 8:
        message = f"an input of {size[0]}x{size[1]} is too small for an audit"
        raise CnnscopeError.of("E472", message, hint="8x8 is the least")
    return PRESETS[name](size)


def quick(size: Size) -> Protocol:
    """Shifts along the axes by powers of two up to a quarter of the input, and by parts of a pixel; turns, scales,
    flips."""
    steps = _powers(size)
    slots = [
        *(shift(s * y, s * x) for s in steps for y, x in AXES),
        *(shift(s * y, s * x) for s in (0.25, 0.5, 0.75) for y, x in ((1, 0), (0, 1))),
        *(rotate(sign * angle) for angle in (5, 10, 15, 30, 45, 60) for sign in (1, -1)),
        *map(rotate, (90, 180, -90)),
        *map(zoom, (0.7, 0.8, 0.9, 1.1, 1.2, 1.4)),
        mirror("horizontal"), mirror("vertical"),
    ]  # fmt: skip
    source = "of cnnscope; the movements of Zeiler & Fergus 2014, sec. 4.1, in few steps"
    return _protocol("quick", source, slots, size)


def full(size: Size) -> Protocol:
    """All whole shifts up to 4 px, larger ones in eight directions; turns in steps of 15 degrees, and small ones;
    scales, flips."""
    near = [shift(y, x) for y, x in product(range(-4, 5), repeat=2) if (y, x) != (0, 0)]
    far = [s for s in (6, 8, 12, 16, 24, 32, 48, 64) if s <= min(size) // 4]
    small = [sign * angle for angle in (1, 2, 5, 10) for sign in (1, -1)]
    slots = [
        *near,
        *(shift(s * y, s * x) for s in far for y, x in (*AXES, *DIAGONALS)),
        *(shift(s * y, s * x) for s in (0.125, 0.25, 0.5, 0.75) for y, x in AXES),
        *map(rotate, small), *(rotate(angle) for angle in range(15, 360, 15)),
        *map(zoom, (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.05, 1.1, 1.2, 1.4, 1.7, 2.0)),
        mirror("horizontal"), mirror("vertical"),
    ]  # fmt: skip
    source = "of cnnscope; a 2-D grid of offsets, and ranges about those of Zeiler & Fergus 2014, fig. 5"
    return _protocol("full", source, slots, size)


def zhang_256(size: Size) -> Protocol:
    """Consistency of random crops: offsets from 32 x 32 in the 256 x 256 centre; here 10 an image, all pairs of them.

    The paper's code draws one pair of offsets a batch, from an unseeded generator.
    """
    source = "Zhang 2019, Making convolutional networks shift-invariant again, sec. 4.1 and main.py (validate_shift)"
    return _random_crops("zhang-256", source, size, 32)


def kayhan_288(size: Size) -> Protocol:
    """As `zhang_256`, with offsets from 64 x 64 in 288 x 288."""
    source = "Kayhan & van Gemert 2020, On translation invariance in CNNs, sec. 4 (consistency, shifts up to 64 px)"
    return _random_crops("kayhan-288", source, size, 64)


def azulay_diag(size: Size) -> Protocol:
    """Ten steps of one pixel along the diagonal: how often the prediction changes, and by how much its probability."""
    source = "Azulay & Weiss 2019, Why do deep convolutional networks generalize so poorly, JMLR 20(184), sec. 2 (crop)"
    slots = [shift(i, i) for i in range(1, 11) if i <= min(size) // 2]
    return _protocol("azulay-diag", source, slots, size, chains=[[CLEAN, *(slot.name for slot in slots)]])


def engstrom_grid(size: Size) -> Protocol:
    """Every combination of 31 angles within 30 degrees and 5 x 5 shifts within 24 of 224 pixels, black beyond: 775.

    A combination counts as a rotation, without one as a translation.
    """
    source = "Engstrom et al. 2019, Exploring the landscape of spatial robustness, sec. 4 (grid search)"
    furthest = _scaled(24, size)
    offsets = sorted({round(furthest * i / 2) for i in range(-2, 3)})
    slots = []
    for angle, dy, dx in product(range(-30, 31, 2), offsets, offsets):
        name = f"rotate {angle:g}, shift {dy:+g},{dx:+g}"
        if angle:
            slots.append(replace(rotate(angle), name=name, dy=dy, dx=dx))
        elif dy or dx:
            slots.append(shift(dy, dx))
    # the image as it is, the 775th, is always measured
    return Protocol("engstrom-grid", source, tuple(slots), border="zero")


def zeiler_fergus(size: Size) -> Protocol:
    """Vertical shifts within 60 of 224 pixels, scales from 1 to 1.8, angles all round: three chains of small steps."""
    source = "Zeiler & Fergus 2014, Visualizing and understanding convolutional networks, sec. 4.1 and fig. 5"
    lengths = sorted({_scaled(pixels, size) for pixels in range(-60, 61, 4)} - {0})
    shifts = [shift(length, 0) for length in lengths]
    scales = [zoom(round(1 + i / 20, 2)) for i in range(1, 17)]
    turns = [rotate(angle) for angle in range(10, 360, 10)]
    before = sum(length < 0 for length in lengths)
    vertical = [slot.name for slot in shifts]
    chains = [[*vertical[:before], CLEAN, *vertical[before:]], _from_clean(scales), [*_from_clean(turns), CLEAN]]
    return _protocol("zeiler-fergus", source, [*shifts, *scales, *turns], size, chains=chains)


def imagenet_p(size: Size) -> Protocol:
    """The translate, rotate and scale sequences: 41 frames a pixel apart, 31 a degree apart, 31 of scale 0.4 to 1.15.

    Frames are compared with the next. The other perturbations are no movements; theirs fill with black.
    """
    source = "Hendrycks & Dietterich 2019, Benchmarking neural network robustness, sec. 3.2 and make_imagenet_p.py"
    furthest, resize = _scaled(20, size), _scaled(256, size)
    shifts = [shift(0, x) for x in range(-furthest, furthest + 1) if x]
    turns = [rotate(angle) for angle in range(-15, 16) if angle]
    scales = [zoom(round(0.4 + 0.025 * i, 3)) for i in range(31) if i != 24]
    chains = [
        [name for i, slot in enumerate(slots) for name in ([CLEAN] if i == middle else []) + [slot.name]]
        for slots, middle in ((shifts, furthest), (turns, 15), (scales, 24))
    ]
    slots = (*shifts, *turns, *scales)
    margin = (resize - min(size)) // 2
    return Protocol(
        name="imagenet-p", source=source, slots=slots, border="zero", margin=margin, resize=resize,
        chains=tuple(map(tuple, chains)),
    )  # fmt: skip


PRESETS: dict[str, Callable[[Size], Protocol]] = {
    "quick": quick, "full": full, "zhang-256": zhang_256, "kayhan-288": kayhan_288, "azulay-diag": azulay_diag,
    "engstrom-grid": engstrom_grid, "zeiler-fergus": zeiler_fergus, "imagenet-p": imagenet_p,
}  # fmt: skip


def _protocol(
    name: str, source: str, slots: Sequence[Slot], size: Size, chains: Sequence[Sequence[str]] = ()
) -> Protocol:
    return Protocol(name, source, tuple(slots), margin=reach(slots, size), chains=tuple(map(tuple, chains)))


def _random_crops(name: str, source: str, size: Size, offsets: int, crops: int = 10) -> Protocol:
    """``crops`` windows an image, at offsets from 0 to ``offsets`` - 1 of 224 pixels in a canvas that much larger."""
    count = max(2, _scaled(offsets, size))
    span = (-(count // 2), count - 1 - count // 2)
    slots = tuple(Draw("translation", count // 2, "px", f"crop {i}", dy=span, dx=span) for i in range(1, crops + 1))
    resize = min(size) + count
    return Protocol(
        name, source, slots, margin=reach(slots, size), resize=resize, pairs=(tuple(slot.name for slot in slots),)
    )


def _powers(size: Size) -> list[int]:
    return [1 << i for i in range(8) if 1 << i <= min(size) // 4]


def _scaled(pixels: int, size: Size) -> int:
    """A length that a paper states for 224 pixels, scaled to this input."""
    return round(pixels * min(size) / 224)


def _from_clean(slots: Sequence[Slot]) -> list[str]:
    return [CLEAN, *(slot.name for slot in slots)]
