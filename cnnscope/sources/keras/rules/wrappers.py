"""Keras' wrappers around one layer: at every step of a sequence, and with a normalised kernel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Kind
from cnnscope.ir.steps import Reshape
from cnnscope.ops.carried import Carried
from cnnscope.ops.generic import View
from cnnscope.sources.keras.config import malformed
from cnnscope.sources.keras.row import LayerRow, Tensor, map_axes
from cnnscope.sources.keras.rules import LAYERS, Arguments, Settings, calls, refusal, wrapped
from cnnscope.sources.keras.stored import Stored, same


@calls("TimeDistributed")
def _time_distributed(row: LayerRow, s: Settings, call: Arguments) -> list[Tensor]:
    """Applies a layer to each step, as if the steps were images of a batch."""
    x = call.tensor()
    return [split_steps(row, y, x) for y in _inner(row, s, [merge_steps(row, x)], call.kwargs)]


@calls("SpectralNormalization")
def _spectral_normalization(row: LayerRow, s: Settings, call: Arguments) -> list[Tensor]:
    """Divides the kernel by its largest singular value in training only; at inference it is a layer with a buffer."""
    (y,) = _inner(row, s, call.args, call.kwargs)
    kernel = next((shape for roles in row.weights() for role, shape in roles.items() if role == "weight"), None)
    if kernel is None:
        raise malformed(f"`{wrapped(s).layer.kind}` has no kernel that could be normalised")
    features = kernel[0] if wrapped(s).layer.kind != "Embedding" else kernel[-1]
    op = Carried((1, features))
    return [row.add(op, y, part="normalised", stored={"vector": Stored("vector_u", same, place=1)})]


def _inner(row: LayerRow, s: Settings, args: object, kwargs: Mapping[str, object]) -> list[Tensor]:
    inner = wrapped(s)
    if inner.layer.kind not in LAYERS:
        raise refusal(inner.layer)
    given = list(args) if isinstance(args, (list, tuple)) else [args]
    with _at_home(row, "layer"):
        return list(LAYERS[inner.layer.kind](row, inner, Arguments(given, kwargs)))


@contextmanager
def _at_home(row: LayerRow, name: str) -> Iterator[None]:
    before = row.home
    row.home = f"{before}/{name}".strip("/")
    yield
    row.home = before


def merge_steps(row: LayerRow, x: Tensor) -> Tensor:
    """(N, T, ...) -> (N T, ...): steps become images."""
    if x.rank < 3:
        raise CnnscopeError.of("E301", f"it needs steps and what each has, not {list(x.shape[1:])}")
    axes = _axes(row, x.rank - 1)
    x = row.store(x, (0, 1, *(axis + 1 for axis in axes[1:])), "tensor")
    shape = x.value.shape
    merged = (prod(shape[:2]), *shape[2:])
    return row.add(View("merge steps", (Reshape(merged),), batch=(0,)), x, part="merge", axes=axes, kind=_kind(merged))


def split_steps(row: LayerRow, y: Tensor, like: Tensor) -> Tensor:
    """(N T, ...) -> (N, T, ...), with the steps of ``like``."""
    axes = _axes(row, y.rank)
    y = row.store(y, axes, "tensor") if y.axes != axes else y
    whole = (*like.shape[:2], *y.value.shape[1:])
    there = (0, 1, *(axis + 1 for axis in axes[1:]))
    kind: Kind = "tokens" if len(whole) == 3 else "tensor"
    return row.add(View("split steps", (Reshape(whole),), batch=(0,)), y, part="split", axes=there, kind=kind)


def _axes(row: LayerRow, rank: int) -> tuple[int, ...]:
    return map_axes(rank, row.channels_last) if rank > 3 else tuple(range(rank))


def _kind(shape: tuple[int, ...]) -> Kind:
    return "map" if len(shape) > 3 else "tokens" if len(shape) == 3 else "flat"
