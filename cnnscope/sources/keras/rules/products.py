"""Keras' products along named axes: `EinsumDense` and `Dot`."""

from __future__ import annotations

from math import prod

from cnnscope.errors import CnnscopeError
from cnnscope.ops.arguments import Integer
from cnnscope.ops.generic import Elementwise, Parameter, Scan
from cnnscope.ops.movement import PermuteOp
from cnnscope.ops.product import Linear, MatMul
from cnnscope.sources.keras.config import malformed
from cnnscope.sources.keras.row import LayerRow, Tensor
from cnnscope.sources.keras.rules import Arguments, Settings, argument, calls, layer
from cnnscope.sources.keras.rules.pointwise import activate
from cnnscope.sources.keras.rules.tensors import reshape
from cnnscope.sources.keras.stored import Array, Stored


@layer("EinsumDense")
def _einsum_dense(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    """Multiplies the input with a kernel along the axes that its equation names: ``abc,cd->abd``.

    Axes of the input that the kernel lacks are positions; those that the output lacks are summed. Where input, kernel
    and output share an axis, each of its indices has a kernel of its own.
    """
    given, kernel, out = _axes(str(s.get("equation", "")), x.rank)
    sizes = dict(zip(given, x.shape, strict=True))
    shape = _stated(s, out, sizes)
    sizes |= {name: n for name, n in zip(out, shape, strict=True) if name not in sizes}
    if given[0] != out[0] or given[0] in kernel or not set(kernel) <= sizes.keys():
        raise CnnscopeError.of("E445", f"the equation `{s.get('equation')}` is not read yet")
    each = [name for name in kernel if name in given and name in out]
    summed = [name for name in kernel if name in given and name not in out]
    new = [name for name in out if name in kernel and name not in given]
    kept = [name for name in given if name not in kernel]
    if set(kept) - set(out) or set(kernel) - {*each, *summed, *new}:
        raise CnnscopeError.of("E445", f"the equation `{s.get('equation')}` sums without a kernel; not read yet")
    features, rows = prod(sizes[name] for name in new), prod(sizes[name] for name in summed)
    y = _ordered(row, row.authored(x), [given.index(name) for name in (kept[0], *each, *kept[1:], *summed)])
    order = [kernel.index(name) for name in (*each, *summed, *new)]

    def turn(array: Array) -> Array:
        return array.transpose(order).reshape(-1, rows, features)

    biases = [name for name in out if name in str(s.get("bias_axes", "")).replace("...", "0")]
    inside = bool(biases) and not each and biases == new
    places = tuple(sizes[name] for name in kept[1:])
    if each:
        groups = prod(sizes[name] for name in each)
        y = reshape(row, y, (groups, prod(places), rows))
        weight = row.add(Parameter((groups, rows, features)), part="kernel", stored={"value": Stored("kernel", turn)})
        y = row.add(MatMul(), y, weight)
    else:
        y = reshape(row, y, (*places, rows)) if len(summed) != 1 else y
        stored = {"weight": Stored("kernel", lambda array: turn(array)[0].T), "bias": Stored("bias", _flat)}
        y = row.add(Linear(features, inside), y, stored=stored)
    shared = [*each, *kept[1:], *new]
    y = reshape(row, y, [sizes[name] for name in shared])
    y = _ordered(row, y, [0, *(shared.index(name) + 1 for name in out[1:])])
    if biases and not inside:
        y = _with_bias(row, y, [sizes[name] if name in biases else 1 for name in out])
    return activate(row, y, s.get("activation"))


def _flat(array: Array) -> Array:
    return array.reshape(-1)


def _with_bias(row: LayerRow, y: Tensor, shape: list[int]) -> Tensor:
    stored = {"value": Stored("bias", lambda array: array.reshape(shape))}
    bias = row.add(Parameter(tuple(shape)), part="bias", stored=stored)
    return row.add(Elementwise("add"), row.authored(y), bias)


def _axes(equation: str, rank: int) -> tuple[str, str, str]:
    """Returns the letters of input, kernel and output. Axes that `...` stands for get other letters."""
    sides = equation.replace(" ", "").partition("->")
    given, _, kernel = sides[0].partition(",")
    out = sides[2]
    named = len(given.replace("...", ""))
    spare = [letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if letter not in equation]
    rest = "".join(spare[: max(rank - named, 0)]) if "..." in given else ""
    given, out = given.replace("...", rest), out.replace("...", rest)
    if len(given) != rank or not given or not out or not kernel or len(set(given)) < len(given):
        raise malformed(f"the equation `{equation}` is not one of {rank} axes")
    return given, kernel, out


def _stated(s: Settings, out: str, sizes: dict[str, int]) -> list[int]:
    """Returns the shape of the output, which the config has for the last axes and with gaps."""
    written = s.get("output_shape")
    items = list(written) if isinstance(written, (list, tuple)) else [written]
    items = [None] * (len(out) - len(items)) + items
    known = [sizes.get(name) if n is None else n for name, n in zip(out, items, strict=False)]
    if len(items) != len(out) or None in known:
        raise malformed(f"`output_shape` is `{written}`, which does not fit the equation")
    return [argument("output_shape", n, Integer(1)) for n in known]


def _ordered(row: LayerRow, x: Tensor, order: list[int]) -> Tensor:
    """Returns the tensor with its axes in this order, the batch first."""
    if order == list(range(x.rank)):
        return x
    return row.add(PermuteOp(tuple(order[1:])), x, axes=tuple(range(x.rank)), kind="tensor")


@calls("Dot")
def _dot(row: LayerRow, s: Settings, call: Arguments) -> list[Tensor]:
    """Sums products along one axis of each of two tensors; all other axes stay, those of the first one first."""
    xs = call.tensors()
    axes = s.integers("axes")
    axes = axes * 2 if len(axes) == 1 else axes
    if len(xs) != 2 or len(axes) != 2 or any(x.rank < 2 for x in xs):
        raise malformed("`Dot` takes two tensors and an axis of each")
    authored = [row.authored(x) for x in xs]
    places = [axis + x.rank if axis < 0 else axis for axis, x in zip(axes, xs, strict=True)]
    if any(not 0 < axis < x.rank for axis, x in zip(places, xs, strict=True)):
        raise CnnscopeError.of("E443", f"the axes {axes} are the batch or do not exist")
    if xs[0].shape[places[0]] != xs[1].shape[places[1]]:
        shapes = " and ".join(str(list(x.shape[1:])) for x in xs)
        raise CnnscopeError.of("E301", f"the axes {axes} of {shapes} have different sizes")
    if s.flag("normalize", False):
        authored = [row.add(Scan("unit norm", (axis,)), x) for axis, x in zip(places, authored, strict=True)]
    rests = [[axis for axis in range(1, x.rank) if axis != place] for x, place in zip(xs, places, strict=True)]
    orders = [[0, *rests[0], places[0]], [0, places[1], *rests[1]]]
    a, b = (_ordered(row, x, order) for x, order in zip(authored, orders, strict=True))
    sides = [[x.shape[axis] for axis in rest] for x, rest in zip(xs, rests, strict=True)]
    size = xs[0].shape[places[0]]
    y = row.add(MatMul(), reshape(row, a, (prod(sides[0]), size)), reshape(row, b, (size, prod(sides[1]))))
    return [reshape(row, y, [*sides[0], *sides[1]] or [1])]
