"""ONNX operators that change the size of maps: `Resize` (once `Upsample`), `Pad`, `DepthToSpace`, `SpaceToDepth`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from math import ceil, floor

from cnnscope.ir import Intent, Shape
from cnnscope.ir.graph import NO_INTENT
from cnnscope.ir.steps import Border, Permute, Reshape, Taps
from cnnscope.ops.generic import Movement, Unsupported
from cnnscope.ops.rearrange import Pad, PixelShuffle
from cnnscope.ops.resize import Upsample
from cnnscope.sources.onnx.rules import OperatorCall, UnreadableError, rule
from cnnscope.sources.onnx.rules.movement import move
from cnnscope.sources.onnx.values import Operand, invalid

ROUNDINGS: Mapping[str, Callable[[Fraction], int]] = {
    "floor": floor,
    "ceil": ceil,
    "round_prefer_floor": lambda x: ceil(x - Fraction(1, 2)),
    "round_prefer_ceil": lambda x: floor(x + Fraction(1, 2)),
}
MAX_PHASES = 2**14
"""The pixels read repeat after as many outputs as the numerator of the scale. No image needs more."""
MODES = {"linear": "bilinear", "cubic": "bicubic", "bilinear": "bilinear"}


@rule("Resize", "Upsample")
def _resize(call: OperatorCall) -> list[Operand]:
    x = call.tensor(0)
    value = call.value(x)
    rank = len(value.shape)
    axes = [axis % rank for axis in call.integers("axes", range(rank)) or []]
    size, even = _sizes(call, value.shape, axes)
    changed = [axis for axis in range(rank) if size[axis] != value.shape[axis]]
    if not changed:
        return [x]
    coordinates = call.text("coordinate_transformation_mode", "asymmetric" if _old(call) else "half_pixel")
    mode = call.text("mode", "nearest")
    if mode == "nearest" and even and coordinates in _NEAREST:
        return [call.emit(_nearest(call, value.shape, size, changed, coordinates), x, intent=_intent(call, axes))]
    aligned = coordinates in ("half_pixel", "pytorch_half_pixel", "align_corners", "half_pixel_symmetric")
    plain = min(changed) > 1 and rank in (3, 4, 5) and not call.integer("antialias", 0)
    if coordinates == "pytorch_half_pixel":
        aligned = all(size[axis] > 1 for axis in changed)  # a single pixel is the first there, not the middle
    own = call.number("cubic_coeff_a", -0.75) != -0.75 or call.integer("exclude_outside", 0)
    if mode in MODES and even and aligned and plain and not (own and MODES[mode] == "bicubic"):
        if MODES[mode] == "bicubic" and rank != 4:
            raise UnreadableError("cubic `Resize` of another tensor than an image")
        op = Upsample(size=size[2:], mode=MODES[mode], align_corners=coordinates == "align_corners")
        return [call.emit(op, x, as_kind="map", intent=_intent(call, axes))]
    unknown = Unsupported(size, value.dtype, value.batch_axis, f"resize {mode} {coordinates}")
    return [call.emit(unknown, x)]


def _intent(call: OperatorCall, axes: Sequence[int]) -> Intent:
    """Returns which axes of the size were computed from shapes and which are plain numbers, if the operator
    has sizes.
    """
    if _old(call) or not call.has(3):
        return NO_INTENT
    computed = call.computed(3)
    places = dict(enumerate(axes))
    return Intent(
        computed=tuple(places[i] for i in computed if i in places),
        fixed=tuple(axis for i, axis in places.items() if i not in computed),
    )


def _old(call: OperatorCall) -> bool:
    """Returns whether the operator is older than opset 11, which has no choice of coordinates: o * n / m is read."""
    return call.type == "Upsample" or call.opset < 11


def _sizes(call: OperatorCall, shape: Sequence[int], axes: Sequence[int]) -> tuple[tuple[int, ...], bool]:
    """Returns the size of the output, and whether it is exactly the scale times the size of the input."""
    if not _old(call) and call.has(3):
        sizes = call.given_integers(3, "sizes") or []
        if call.text("keep_aspect_ratio_policy", "stretch") != "stretch":
            raise UnreadableError("`Resize` that keeps the aspect ratio")
        if 0 in shape:
            raise invalid(f"`{call.type}` of a tensor without elements")
        scales = [Fraction(m, n) for m, n in zip(sizes, (shape[axis] for axis in axes), strict=False)]
    else:
        scales = _scales(call)
    if len(scales) != len(axes) or min(scales, default=Fraction(1)) <= 0:
        raise invalid(f"`{call.type}` has {len(scales)} scales for {len(axes)} axes")
    exact = {axis: shape[axis] * scale for axis, scale in zip(axes, scales, strict=True)}
    if max((scale.numerator for scale in scales), default=1) > MAX_PHASES:
        raise UnreadableError(f"`{call.type}` by a scale of more than {MAX_PHASES} phases")
    return (
        tuple(floor(exact.get(axis, n)) for axis, n in enumerate(shape)),
        all(n.denominator == 1 for n in exact.values()),
    )


def _scales(call: OperatorCall) -> list[Fraction]:
    if "scales" in call.attributes:  # Upsample 7
        raw = call.attributes["scales"]
        values = raw if isinstance(raw, list) else []
    else:
        constant = call.constant(1 if _old(call) else 2)
        if constant is None or constant.value is None:
            raise UnreadableError(f"`{call.type}` takes its size from the network itself")
        values = [float(v) for v in constant.value.reshape(-1)]
    if not all(isinstance(v, float) and abs(v) < 1e6 for v in values):
        raise invalid(f"`{call.type}` has scales that are no numbers")
    return [Fraction(v).limit_denominator(10_000) for v in values]


_NEAREST: Mapping[str, Callable[[int, Fraction, int, int], Fraction]] = {
    "half_pixel": lambda o, ratio, n, m: (o + Fraction(1, 2)) * ratio - Fraction(1, 2),
    "half_pixel_symmetric": lambda o, ratio, n, m: (o + Fraction(1, 2)) * ratio - Fraction(1, 2),
    "asymmetric": lambda o, ratio, n, m: o * ratio,
}
"""The source coordinate of output ``o`` where n pixels become m; ``ratio`` is n / m."""


def _nearest(
    call: OperatorCall, shape: Sequence[int], size: Sequence[int], changed: Sequence[int], coordinates: str
) -> Upsample | Movement:
    rounding = ROUNDINGS.get(call.text("nearest_mode", "floor" if _old(call) else "round_prefer_floor"))
    if rounding is None:
        raise invalid("`Resize` has an unknown `nearest_mode`")
    taps, plain = [], min(changed) > 1 and len(shape) in (3, 4, 5)
    for axis in changed:
        n, m = shape[axis], size[axis]
        ratio = Fraction(n, m)
        picked = [rounding(_NEAREST[coordinates](o, ratio, n, m)) for o in range(ratio.denominator)]
        plain = plain and picked == [floor(o * ratio) for o in range(ratio.denominator)]
        taps.append(Taps(axis, m, ratio.numerator, tuple((i,) for i in picked), "clamp"))
    return Upsample(size=tuple(size[2:])) if plain else Movement("resize", tuple(taps))


BORDERS: dict[str, tuple[Border, str]] = {"constant": ("drop", "zeros"), "reflect": ("reflect", "reflect"),
                                          "edge": ("clamp", "replicate"), "wrap": ("wrap", "circular")}  # fmt: skip


@rule("Pad")
def _pad(call: OperatorCall) -> list[Operand]:
    """Adds borders. The sizes are an attribute up to opset 10 and an input later. Negative sizes cut."""
    x, flat = call.tensor(0), call.given_integers(1, "pads") or call.integers("paddings") or []
    value, mode = call.value(x), call.text("mode", "constant")
    axes = call.given_integers(3, "axes") or list(range(len(value.shape)))
    if len(flat) != 2 * len(axes) or mode not in BORDERS:
        raise invalid(f"`Pad` has {len(flat)} sizes for {len(axes)} axes, or the unknown mode `{mode}`")
    sides = {call.axis(axis, len(value.shape)): (low, high)
             for axis, low, high in zip(axes, flat[: len(axes)], flat[len(axes) :], strict=True)}  # fmt: skip
    moved = {axis: pair for axis, pair in sides.items() if any(pair)}
    if not moved:
        return [x]
    fill = _fill(call) if mode == "constant" else 0.0
    if value.kind == "map" and min(moved) > 1 and min(min(pair) for pair in moved.values()) >= 0 and fill is not None:
        pads = [sides.get(axis, (0, 0)) for axis in range(2, len(value.shape))]
        return [call.emit(Pad.read({"pad": pads, "pad_mode": BORDERS[mode][1], "value": fill}, len(pads)), x)]
    taps = []
    for axis, (low, high) in moved.items():
        if value.shape[axis] + low + high < 1:
            raise invalid(f"`Pad` leaves nothing of axis {axis} of {list(value.shape)}")
        taps.append(Taps(axis, value.shape[axis] + low + high, 1, ((-low,),), BORDERS[mode][0]))
    cut = all(low <= 0 and high <= 0 for low, high in moved.values())
    return [call.emit(Movement("pad", tuple(taps)), x, lost=() if fill == 0 or cut else ("constant_value",))]


def _fill(call: OperatorCall) -> float | None:
    """Returns the number that `Pad` adds; None if it is unknown. An infinite one stands for the largest number."""
    if not call.has(2):
        return call.number("value", 0.0)
    constant = call.constant(2)
    if constant is None or constant.value is None or constant.value.size != 1:
        return None
    number = float(constant.value.reshape(-1)[0])
    return max(min(number, LARGEST), -LARGEST)


LARGEST = 3.4028234663852886e38
"""The largest number of 32 bits."""


# -- blocks ----------------------------------------------------------------------------------------------------------


@rule("DepthToSpace")
def _depth_to_space(call: OperatorCall) -> list[Operand]:
    """The mode CRD is pixel shuffle. In DCR the position inside the block is the slowest axis."""
    x, b = call.tensor(0), call.integer("blocksize")
    n, c, h, w = _image(call, x)
    if b < 1 or c % (b * b):
        raise invalid(f"`DepthToSpace` of {c} channels into blocks of {b}x{b}")
    if call.text("mode", "DCR") == "CRD":
        return [call.emit(PixelShuffle(b), x, as_kind="map")]
    steps = (Reshape((n, b, b, c // b**2, h, w)), Permute((0, 3, 4, 1, 5, 2)), Reshape((n, c // b**2, h * b, w * b)))
    return [move(call, "depth to space", x, *steps, view=False)]


@rule("SpaceToDepth")
def _space_to_depth(call: OperatorCall) -> list[Operand]:
    x, b = call.tensor(0), call.integer("blocksize")
    n, c, h, w = _image(call, x)
    if b < 1 or h % b or w % b:
        raise invalid(f"`SpaceToDepth` of {h}x{w} into blocks of {b}x{b}")
    whole = (n, c * b * b, h // b, w // b)
    order = (0, 1, 3, 5, 2, 4) if call.text("mode", "DCR") == "CRD" else (0, 3, 5, 1, 2, 4)
    steps = (Reshape((n, c, h // b, b, w // b, b)), Permute(order), Reshape(whole))
    return [move(call, "space to depth", x, *steps, view=False)]


def _image(call: OperatorCall, x: str) -> Shape:
    shape = call.value(x).shape
    if len(shape) != 4:
        raise invalid(f"`{call.type}` of {list(shape)}, which is no image")
    return shape
