"""Ops of traced networks that are no layers: arithmetic, movement of elements, reductions, constants.

A trace has hundreds of functions, and these few ops represent all of them. None is in the spec language: they have a
tag but no entry in `REGISTRY`. Their arguments are those of full tensors as traced. Products of matrices are in
`cnnscope.ops.product`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from math import prod
from typing import Any

from cnnscope.ir.graph import Kind, Value
from cnnscope.ir.steps import Expand, Place, Reshape, Shape, Spread, Step, Taps, Via, Whole
from cnnscope.ops.base import shape_text
from cnnscope.ops.call import Literal
from cnnscope.ops.merge import kept_of_product
from cnnscope.ops.saved import NOTHING, Kept, TrainStep
from cnnscope.ops.traced import Called, Traced, batch_of_all, broadcast, kind_of, moved


class Elementwise(Called, Traced, tag="elementwise", category="other"):
    """A function ``fn`` of the elements of its inputs, broadcast as in numpy. FLOPs: 1 an output element.

    Constant operands are no inputs; where they stretch the output, ``shape`` is the whole shape of the result.
    ``varies`` has the axes of the output along which they hold more than one number.
    ``dtype`` is that of the output where it is not the first input's (comparisons).
    """

    fn: str
    shape: Shape = ()
    dtype: str | None = None
    varies: tuple[int, ...] = ()
    arity = (1, None)
    flops = 1

    @classmethod
    def of(
        cls, fn: str, shape: Shape, inputs: Sequence[Shape], constants: Sequence[Shape], dtype: str | None = None
    ) -> Elementwise:
        """Returns the op for inputs and constants of these shapes and a result of ``shape``."""
        given = broadcast([(1,) * len(shape), *constants])
        varies = tuple(axis for axis, n in enumerate(given) if n > 1)
        return cls(fn, shape if broadcast(inputs) != shape else (), dtype, varies)

    def output(self, x: Sequence[Value]) -> Value:
        shape = broadcast((*(value.shape for value in x), self.shape))
        batch = batch_of_all(x, len(shape))
        kinds = (value.kind for value in x if value.shape == shape and value.kind != "tensor")
        kind = next(kinds, kind_of(shape, batch))
        return Value(shape, self.dtype or x[0].dtype, batch, kind)

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        shape = self.output(x).shape
        return tuple(() if value.shape == shape else (Expand(shape),) for value in x)

    def anchored(self, x: Sequence[Value]) -> tuple[int, ...]:
        rank = len(self.output(x).shape)
        axes = (rank - 2, rank - 1) if self.fn in ("tril", "triu") else self.varies
        return tuple(axis - rank + len(x[0].shape) for axis in axes if axis >= rank - len(x[0].shape))

    def arguments(self) -> dict[str, Any]:
        given = super().arguments()
        return given if self.varies else {name: value for name, value in given.items() if name != "varies"}

    def saved(self, step: TrainStep) -> Kept | None:
        if self.fn in ("add", "sub", "rsub", "neg"):
            return NOTHING
        return kept_of_product(step) if self.fn == "mul" else None


class Movement(Traced, tag="movement", category="movement"):
    """Elements of one tensor in another arrangement (``kind``: roll, repeat, pad ...), as ``steps`` say. No arithmetic.

    ``dtype`` is that of the output where it is not the input's (a cast). ``batch`` has the axis that grows with the
    batch behind each step, None where there is none; it is None as a whole where a trace does not know that. ``value``
    is what positions have that read no element.
    """

    kind: str
    steps: tuple[Step, ...] = ()
    dtype: str | None = None
    batch: tuple[int | None, ...] | None = None
    value: float = 0.0
    symmetric = True

    def output(self, x: Sequence[Value]) -> Value:
        value = moved(x[0], self.steps)
        return replace(value, dtype=self.dtype) if self.dtype else value

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        return (self.steps,)

    def arguments(self) -> dict[str, Any]:
        shapes = [step.shape for step in self.steps if isinstance(step, (Reshape, Expand))]
        given = {"kind": self.kind} | ({"shape": list(shapes[-1])} if shapes else {})
        return given | ({"value": self.value} if self.value else {})

    def label(self) -> str:
        return self.kind

    keeps = NOTHING


class View(Movement, tag="view", category="movement"):
    """A `Movement` that shares its input's memory (reshape, permute, slice, expand ...) and so costs none."""

    is_view = True


class Join(Traced, tag="join", category="merge"):
    """Joins tensors of any kind one after the other along ``axis`` of the full tensor. No arithmetic."""

    axis: int
    arity = (1, None)

    def output(self, x: Sequence[Value]) -> Value:
        shape = x[0].shape
        whole = (*shape[: self.axis], sum(v.shape[self.axis] for v in x), *shape[self.axis + 1 :])
        batch = batch_of_all(x, len(shape))
        kinds = {value.kind for value in x} - {"tensor"}
        kind: Kind = kinds.pop() if len(kinds) == 1 and self.axis != batch else kind_of(whole, batch)
        return Value(whole, x[0].dtype, None if batch == self.axis and whole[batch] != 1 else batch, kind)

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        ends = list(accumulate((value.shape[self.axis] for value in x), initial=0))
        return tuple((Place(self.axis, offset, ends[-1]),) for offset in ends[:-1])

    def label(self) -> str:
        return f"axis {self.axis}"

    keeps = NOTHING


class Overwrite(Traced, tag="overwrite", category="movement"):
    """The first input with a part replaced by the second: ``x[..., a:b] = y``. No arithmetic.

    ``steps`` take an element of the second input to its place in the first, one axis of which is cut.
    """

    steps: tuple[Step, ...]
    arity = (2, 2)
    is_view = True

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        (cut,) = (i for i, step in enumerate(self.steps) if isinstance(step, Taps))
        before = (_rest(self.steps[cut], moved(x[1], self.steps[:cut])),)
        return (before, self.steps)

    def arguments(self) -> dict[str, Any]:
        return {}


def _rest(cut: Step, part: Value) -> Taps:
    """The positions of an axis to which no element of ``part`` goes."""
    assert isinstance(cut, Taps)
    phases, there = len(cut.taps), range(part.shape[cut.axis])
    taken = {o for o in range(cut.size) if any(tap + cut.n * (o // phases) in there for tap in cut.taps[o % phases])}
    return Taps(cut.axis, cut.size, cut.size, tuple(() if o in taken else (o,) for o in range(cut.size)))


class Reduce(Called, Traced, tag="reduce", category="pool"):
    """A function ``fn`` (mean, sum, amax, norm ...) of all elements along ``axes``. FLOPs: 1 an input element.

    The axes stay with size 1 if ``keep``, else they go.
    """

    fn: str
    axes: tuple[int, ...]
    keep: bool = False
    dtype: str | None = None

    def output(self, x: Sequence[Value]) -> Value:
        value = moved(x[0], self._steps)
        return replace(value, dtype=self.dtype) if self.dtype else value

    @property
    def _steps(self) -> tuple[Step, ...]:
        return (Whole(self.axes, "global-pool", keep=self.keep),)

    def elementwise(self, x: Sequence[Value]) -> int:
        return x[0].numel

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        return (self._steps,)

    def anchored(self, x: Sequence[Value]) -> tuple[int, ...]:
        places = self.dtype == "int64" and self.fn not in ("sum", "prod", "count_nonzero")
        return self.axes if places or self.fn.startswith("arg") else ()


class Scan(Called, Traced, tag="scan", category="other"):
    """A function ``fn`` in which an element may depend on all others along ``axes`` (cumsum, sort, a normalisation).

    FLOPs: ``cost`` an element.
    """

    fn: str
    axes: tuple[int, ...]
    cost: int = 1
    dtype: str | None = None

    def output(self, x: Sequence[Value]) -> Value:
        return replace(x[0], dtype=self.dtype or x[0].dtype)

    def elementwise(self, x: Sequence[Value]) -> int:
        return self.cost * x[0].numel

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        return ((Spread(self.axes, "norm-statistics"),),)

    def anchored(self, x: Sequence[Value]) -> tuple[int, ...]:
        return () if self.fn.lower() in _ORDERLESS else self.axes


_ORDERLESS = {
    "softmax", "logsoftmax", "sparsemax", "hardmax", "unit norm", "weight_norm", "lpnormalization",
    "meanvariancenormalization",
}  # fmt: skip
"""Functions of `Scan` that do not depend on the order of elements."""


class _Known(Traced):
    """A tensor whose shape is known from the trace, not from a rule."""

    shape: Shape
    dtype: str = "float32"
    batch_axis: int | None = None

    def output(self, x: Sequence[Value]) -> Value:
        return Value(self.shape, self.dtype, self.batch_axis, kind_of(self.shape, self.batch_axis))

    def arguments(self) -> dict[str, Any]:
        return {"shape": list(self.shape), "dtype": self.dtype}


class Constant(_Known, tag="constant", category="constant"):
    """A tensor that does not depend on the image (a mask, a grid of coordinates). It costs and reads nothing.

    ``literal`` has its elements, if they are known and few enough.
    """

    literal: Literal | None = None
    arity = (0, 0)

    def arguments(self) -> dict[str, Any]:
        given = super().arguments()
        return given if self.literal is None else {**given, "values": self.literal.shown}

    def label(self) -> str:
        return shape_text(self.shape)

    keeps = NOTHING


class Parameter(_Known, tag="parameter", category="constant"):
    """A weight or buffer that is used outside of any layer (a class token, a scale). Its memory is the parameter's."""

    arity = (0, 0)
    is_view = True

    def weights(self, x: Sequence[Value]) -> Mapping[str, Shape]:
        return {"value": self.shape}

    def label(self) -> str:
        return shape_text(self.shape)

    keeps = NOTHING


class Embedding(Traced, tag="embedding", category="other"):
    """A learned vector of ``dim`` for each of ``size`` indices: (...) -> (..., dim). Parameters: size * dim."""

    size: int
    dim: int
    dtype: str = "float32"

    def output(self, x: Sequence[Value]) -> Value:
        shape = (*x[0].shape, self.dim)
        return Value(shape, self.dtype, x[0].batch_axis, kind_of(shape, x[0].batch_axis))

    def weights(self, x: Sequence[Value]) -> Mapping[str, Shape]:
        return {"weight": (self.size, self.dim)}

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        return ((Reshape((*x[0].shape, 1)), Expand(self.output(x).shape)),)

    def label(self) -> str:
        return f"{self.size} x {self.dim}"


class EmbeddingBag(Traced, tag="embeddingbag", category="other"):
    """The sum, mean or maximum (``mode``) of the learned vectors of a bag of indices: (n) indices -> (bags, dim).

    Parameters: size * dim. FLOPs: dim an index. Source: torch.nn.EmbeddingBag, whose offsets divide the indices.
    """

    bags: int
    size: int
    dim: int
    mode: str = "mean"
    dtype: str = "float32"
    arity = (1, 2)

    def output(self, x: Sequence[Value]) -> Value:
        batch = 0 if self.bags == 1 else None
        return Value((self.bags, self.dim), self.dtype, batch, kind_of((self.bags, self.dim), batch))

    def weights(self, x: Sequence[Value]) -> Mapping[str, Shape]:
        return {"weight": (self.size, self.dim)}

    def elementwise(self, x: Sequence[Value]) -> int:
        return x[0].numel * self.dim

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        shape = (self.bags, self.dim)
        return tuple((Whole(tuple(range(len(v.shape))), "dense", keep=False), Expand(shape)) for v in x)

    def label(self) -> str:
        return f"{self.size} x {self.dim}"


class Renorm(Traced, tag="renorm", category="norm"):
    """A table of vectors after those that are looked up, ``rows`` at most, were cut to a largest norm, in place.

    FLOPs: 3 an element of a row (power and sum of the norm, scale). Source: torch.nn.Embedding with ``max_norm``.
    """

    rows: int
    fn: str = "renorm"
    arity = (1, 2)
    is_view = True

    def output(self, x: Sequence[Value]) -> Value:
        return x[0]

    def elementwise(self, x: Sequence[Value]) -> int:
        return 3 * self.rows * prod(x[0].shape[1:])

    def reads(self, x: Sequence[Value]) -> None:
        return None


class Gather(Called, _Known, tag="gather", category="movement"):
    """Elements of the first input at places that the other inputs hold (indexing, grid sampling). No MACs.

    FLOPs: none. What an element reads depends on the values, so no receptive field can be stated.
    """

    fn: str = "gather"
    arity = (1, None)

    def reads(self, x: Sequence[Value]) -> None:
        return None


class Select(_Known, tag="select", category="movement"):
    """Output number ``index`` of the op that it reads. Its elements depend on all that the elements of that op do."""

    index: int = 1
    via: Via = "dense"

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        return ((Whole(tuple(range(len(x[0].shape))), self.via, keep=False), Expand(self.shape)),)

    def label(self) -> str:
        return f"output {self.index}"


class Unsupported(_Known, tag="unsupported", category="other"):
    """A function ``fn`` without a rule. Its shape is as traced; MACs, FLOPs and receptive field are unknown."""

    fn: str = "?"
    arity = (0, None)

    def macs(self, x: Sequence[Value]) -> None:
        return None

    def elementwise(self, x: Sequence[Value]) -> None:
        return None

    def reads(self, x: Sequence[Value]) -> None:
        return None
