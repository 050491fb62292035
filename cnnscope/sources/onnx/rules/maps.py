"""ONNX operators that change the size of maps: `Pad`, `DepthToSpace`, `SpaceToDepth`."""

from __future__ import annotations

from cnnscope.ir import Shape
from cnnscope.ir.steps import Border, Permute, Reshape, Taps
from cnnscope.ops.generic import Movement
from cnnscope.ops.rearrange import Pad, PixelShuffle
from cnnscope.sources.onnx.rules import OperatorCall, rule
from cnnscope.sources.onnx.rules.movement import move
from cnnscope.sources.onnx.values import Operand, invalid

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
