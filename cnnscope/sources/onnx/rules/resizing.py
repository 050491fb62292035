"""ONNX operators that interpolate: `Resize`, once `Upsample`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from math import ceil, floor

from cnnscope.ir import Intent
from cnnscope.ir.graph import NO_INTENT
from cnnscope.ops import sampling
from cnnscope.ops.generic import Movement, Unsupported
from cnnscope.ops.resample import Kernel, Resample, Stretch
from cnnscope.ops.resize import Upsample
from cnnscope.sources.onnx.rules import OperatorCall, UnreadableError, rule
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
    scales = _sizes(call, value.shape, axes)
    size = tuple(floor(n * scales.get(axis, Fraction(1))) for axis, n in enumerate(value.shape))
    if 0 in size:
        raise invalid(f"`{call.type}` leaves nothing of {list(value.shape)}")
    changed = [axis for axis, scale in scales.items() if scale != 1]
    if not changed:
        return [x]
    coordinates = call.text("coordinate_transformation_mode", "asymmetric" if _old(call) else "half_pixel")
    mode, intent = call.text("mode", "nearest"), _intent(call, axes)
    lines = {axis: _line(coordinates, value.shape[axis], size[axis], scales[axis]) for axis in changed}
    if None in lines.values() or call.integer("antialias", 0) or (mode not in MODES and mode != "nearest"):
        word = f"{mode} antialias" if call.integer("antialias", 0) else f"{mode} {coordinates}"
        return [call.emit(Unsupported(size, value.dtype, value.batch_axis, f"resize {word}"), x)]
    known = {axis: line for axis, line in lines.items() if line is not None}
    if mode == "nearest":
        return [call.emit(_nearest(call, value.shape, size, known), x, intent=intent)]
    if "float" not in value.dtype:
        raise UnreadableError(f"`{call.type}` that interpolates integers")
    kernel = MODES[mode]
    inside = kernel == "bicubic" and bool(call.integer("exclude_outside", 0))
    coefficient = call.number("cubic_coeff_a", -0.75)
    own = kernel == "bicubic" and (rank != 4 or inside or coefficient != -0.75)
    corners = _corners(value.shape, size, known)
    if not own and min(changed) > 1 and rank in (3, 4, 5) and corners is not None:
        return [call.emit(Upsample(size=size[2:], mode=kernel, align_corners=corners), x, as_kind="map", intent=intent)]
    stretches = tuple(
        Stretch(axis, size[axis], line.ratio.as_integer_ratio(), line.shift.as_integer_ratio(), line.sized)
        for axis, line in known.items()
    )
    plain: Kernel = "linear" if kernel == "bilinear" else "cubic"
    return [call.emit(Resample(plain, stretches, coefficient, inside), x, intent=intent, batch=value.batch_axis)]


def _line(coordinates: str, n: int, m: int, scale: Fraction) -> sampling.Line | None:
    """Returns where the ``m`` outputs of ``n`` elements stand; None by a rule that is not read."""
    ratio = 1 / scale
    match coordinates:
        case "half_pixel" | "pytorch_half_pixel":
            first = coordinates == "pytorch_half_pixel" and m == 1
            return sampling.Line(ratio) if first else sampling.half_pixel(ratio)
        case "half_pixel_symmetric":
            whole = Fraction(m) / (n * scale)
            return sampling.Line(ratio, (ratio - 1) / 2 + Fraction(n, 2) * (1 - whole), sized=whole != 1)
        case "asymmetric":
            return sampling.Line(ratio)
        case "align_corners":
            return sampling.corners(n, m)
        case "tf_half_pixel_for_nn":
            return sampling.Line(ratio, ratio / 2)
    return None


def _corners(shape: Sequence[int], size: Sequence[int], lines: Mapping[int, sampling.Line]) -> bool | None:
    """Returns ``align_corners`` of the `interpolate` of torch at the same places; None if none is."""
    pairs = [(line, shape[axis], size[axis]) for axis, line in lines.items()]
    if all(line == sampling.half_pixel(Fraction(n, m)) for line, n, m in pairs):
        return False
    return True if all(line == sampling.corners(n, m) for line, n, m in pairs) else None


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


def _sizes(call: OperatorCall, shape: Sequence[int], axes: Sequence[int]) -> dict[int, Fraction]:
    """Returns the scale of each axis."""
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
    if max((scale.numerator for scale in scales), default=1) > MAX_PHASES:
        raise UnreadableError(f"`{call.type}` by a scale of more than {MAX_PHASES} phases")
    return dict(zip(axes, scales, strict=True))


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


def _nearest(
    call: OperatorCall, shape: Sequence[int], size: Sequence[int], lines: Mapping[int, sampling.Line]
) -> Upsample | Movement:
    rounding = ROUNDINGS.get(call.text("nearest_mode", "floor" if _old(call) else "round_prefer_floor"))
    if rounding is None:
        raise invalid("`Resize` has an unknown `nearest_mode`")
    taps = tuple(
        sampling.sampled(axis, size[axis], line, lambda x: (rounding(x),)) for axis, line in lines.items()
    )  # fmt: skip
    torchs = (
        sampling.sampled(axis, size[axis], sampling.Line(Fraction(shape[axis], size[axis])), sampling.below)
        for axis in lines
    )
    plain = min(lines) > 1 and len(shape) in (3, 4, 5) and taps == tuple(torchs)
    return Upsample(size=tuple(size[2:])) if plain else Movement("resize", taps)
