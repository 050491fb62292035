"""The op: one class for each layer type, the only place for its analytic facts.

Subclasses state their arguments as annotated fields and override what differs from the defaults:

    class ReLU(Elementwise, tag="relu", category="activation"): ...

`Op.read` makes an op of plain values as YAML has them, and `bind` resolves what depends on the input. After that every
method takes the input values and returns exact results. Shapes include a batch of size 1, so costs are per image.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from typing import Any, ClassVar, Self, dataclass_transform, get_args, get_type_hints

from cnnscope.errors import CnnscopeError, ShapeError, did_you_mean
from cnnscope.ir.builder import layer_type
from cnnscope.ir.graph import Kind, Value
from cnnscope.ir.steps import Shape, Step
from cnnscope.ir.steps import shape_text as shape_text
from cnnscope.ops.arguments import MAX_INT, Argument, ArgumentError
from cnnscope.ops.saved import Kept, TrainStep
from cnnscope.registry import Registry, checked_result

REGISTRY: Registry[type[Op]] = Registry("cnnscope.ops", "layer type", form="cnnscope.ops.base:Op", code="E201")
"""Every op by tag. A class is added when it is defined; a second class with the same tag is an error (E412)."""

Category = str
CATEGORIES = (
    "conv", "linear", "pool", "norm", "activation", "merge", "movement", "resize",
    "attention", "regularization", "constant", "other",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A worked example of an op, checked against torch: input shapes and expected figures, all without batch.

    ``x`` is one shape, or a tuple of shapes for an op with several inputs. ``params`` counts weights, not buffers.
    """

    x: Shape | tuple[Shape, ...]
    args: Mapping[str, Any]
    shape: Shape
    params: int = 0
    macs: int = 0
    kind: Kind = "map"

    def inputs(self) -> tuple[Value, ...]:
        """The input values at batch 1."""
        shapes = self.x if self.x and isinstance(self.x[0], tuple) else (self.x,)
        return tuple(Value((1, *shape), kind=self.kind) for shape in shapes)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Op:
    """Base of all layer types. A layer type is a frozen dataclass of its arguments."""

    tag: ClassVar[str] = ""
    category: ClassVar[Category] = "other"
    accepts: ClassVar[tuple[Kind, ...]] = ("map", "tokens", "flat")
    """Kinds of input it accepts, beside a traced ``tensor``, which every op accepts."""
    remedies: ClassVar[Mapping[str, str]] = {"map": "put `- flatten` before it"}
    """What to do about an input of a kind that it does not accept."""
    arity: ClassVar[tuple[int, int | None]] = (1, 1)
    """Fewest and most inputs."""
    short: ClassVar[str | None] = None
    """The argument that a bare value sets: ``linear: 84``."""
    foreign: ClassVar[tuple[str, ...]] = ()
    """Other frameworks' names for this type of layer, in lower case and without a number of axes (see `named`)."""
    aliases: ClassVar[Mapping[str, str]] = {}
    """Other frameworks' names for arguments, used for `did you mean` only."""
    decorates: ClassVar[bool] = False
    """Whether a layer of this type may have ``norm:`` and ``act:``."""
    is_view: ClassVar[bool] = False
    """Whether the output shares the input's memory and so costs no activation bytes."""
    symmetric: ClassVar[bool] = False
    """Whether the result stays the same when what a window reads is mirrored or its axes change places, as in pools, in
    interpolation, and where elements only move. In a convolution it depends on the weights."""
    polyphase: ClassVar[bool] = False
    """Whether its grid follows the content, so that any shift of the input shifts the output."""
    like: ClassVar[str | None] = None
    """The argument that ``like: NAME`` sets in a spec, to the spatial size of the layer of that name."""
    flops: ClassVar[int] = 0
    """FLOPs for each output element beside those of products, where that number is always the same."""
    keeps: ClassVar[Kept | None] = None
    """What training keeps of it for the backward pass, if that is always the same; `saved` returns it."""
    in_torch: ClassVar[str | None] = None
    """The module that has its record for torch, if it is not the usual one (see `cnnscope.nn.ops`)."""
    cases: ClassVar[Sequence[Case]] = ()

    def __init_subclass__(cls, tag: str = "", category: Category = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclass(frozen=True)(cls)
        if category not in ("", *CATEGORIES):
            hint = did_you_mean(category, CATEGORIES) or f"there are {', '.join(CATEGORIES)}"
            raise CnnscopeError.of("E413", f"the layer type `{tag}` has the unknown category `{category}`", hint=hint)
        if category:
            cls.category = category
        cls.tag = tag
        if tag:
            REGISTRY.add(tag, cls)

    # -- from plain values ------------------------------------------------------------------------------------------

    @classmethod
    @cache
    def parameters(cls) -> dict[str, tuple[Argument, Any]]:
        """The kind and default of each argument by name (`dataclasses.MISSING` for a required one)."""
        hints = get_type_hints(cls, include_extras=True)
        own = [f for f in fields(cls) if not f.kw_only]  # type: ignore[arg-type]  # a call is no argument
        return {f.name: (get_args(hints[f.name])[-1], f.default) for f in own}

    @classmethod
    def read(cls, args: Mapping[str, object], ndim: int | None = None) -> Self:
        """Returns the op with these arguments. ``ndim`` is the number of spatial axes of its input.

        Raises `ArgumentError` if an argument is unknown, missing or wrong.
        """
        parameters = cls.parameters()
        for name in args:
            if name not in parameters:
                raise cls.unknown_argument(str(name))
        values: dict[str, Any] = {}
        for name, (kind, default) in parameters.items():
            if name in args:
                try:
                    values[name] = kind.read(args[name], ndim)
                except ArgumentError as error:
                    raise ArgumentError(
                        f"`{name}` of `{cls.tag}`: {error.message}",
                        hint=error.hint, code=error.code, where=(name, *error.where),
                    ) from None  # fmt: skip
            elif default is MISSING:
                raise ArgumentError(f"`{cls.tag}` needs `{name}`: {kind.describe()}", code="E204")
            elif kind.spatial and isinstance(default, tuple):
                values[name] = default * (ndim or 1)  # the default for one axis is that of all axes
        return cls(**values)

    @classmethod
    def unknown_argument(cls, name: str) -> ArgumentError:
        """E202, with the right spelling if a name is near or is that of another framework."""
        known = [*cls.parameters(), *(("norm", "act") if cls.decorates else ())]
        right = cls.aliases.get(name)
        hint = f"did you mean `{right}`?" if right in known else did_you_mean(name, known)
        return ArgumentError(f"`{cls.tag}` has no argument `{name}`", hint=hint, code="E202", where=(name,))

    # -- facts, each from the input values --------------------------------------------------------------------------

    def bind(self, x: Sequence[Value]) -> Op:
        """Returns the op with arguments that no longer depend on the input (``pad: half`` becomes numbers)."""
        return self

    def output(self, x: Sequence[Value]) -> Value:
        """Returns the output. Raises `ShapeError` with the axis and the reason if the inputs do not fit."""
        return x[0]

    def refused(self, x: Sequence[Value]) -> str | None:
        """Why torch refuses inputs on which the op is defined, as other frameworks have it. A spec is refused then."""
        return None

    def weights(self, x: Sequence[Value]) -> Mapping[str, Shape]:
        """Trainable tensors by role, in the order and with the shapes torch uses."""
        return {}

    def buffers(self, x: Sequence[Value]) -> Mapping[str, Shape]:
        """Tensors that are state but not parameters, such as running statistics."""
        return {}

    def macs(self, x: Sequence[Value]) -> int | None:
        """Multiply-accumulates of convolutions and matrix products, without biases. None means unknown."""
        return 0

    def elementwise(self, x: Sequence[Value]) -> int | None:
        """All other arithmetic, for FLOPs = 2 * MACs + this. None means unknown."""
        return self.flops * self.output(x).numel if self.flops else 0

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...] | None:
        """What an output element reads of each input, as steps of `cnnscope.ir.steps`. None means unknown."""
        return ((),) * len(x)

    def anchored(self, x: Sequence[Value]) -> tuple[int, ...]:
        """Axes of the first input whose positions differ although `reads` treats them alike, because each has weights
        of its own (position embeddings) or because their order matters (running sums)."""
        return ()

    def saved(self, step: TrainStep) -> Kept | None:
        """What training keeps of this op for the backward pass (see `cnnscope.ops.saved`). None means unknown."""
        return self.keeps

    # -- for people -------------------------------------------------------------------------------------------------

    def arguments(self) -> dict[str, Any]:
        """Arguments as plain JSON values."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}  # type: ignore[arg-type]

    def label(self) -> str:
        """A few characters for diagrams and tables that distinguish this layer from others of its type."""
        return self.tag

    # -- for code that places the op in a graph -----------------------------------------------------------------------

    @classmethod
    def check(cls, x: Sequence[Value]) -> None:
        """Raises `ShapeError` if this type of layer does not accept the number or the kind of the inputs."""
        low, high = cls.arity
        if len(x) < low or (high is not None and len(x) > high):
            wanted = f"{low}" if high == low else f"at least {low}" if high is None else f"{low} to {high}"
            inputs = "input" if wanted == "1" else "inputs"
            raise ShapeError(f"`{cls.tag}` takes {wanted} {inputs} but gets {len(x)}")
        for value in x:
            if value.kind != "tensor" and value.kind not in cls.accepts:
                wanted = " or ".join(cls.accepts)
                raise ShapeError(
                    f"`{cls.tag}` needs a {wanted} input but gets {shape_text(value.features)}",
                    hint=cls.remedies.get(value.kind),
                )

    def infer(self, x: Sequence[Value]) -> Value:
        """Returns `output` after `check`. Raises `ShapeError` if it would have absurdly many elements."""
        self.check(x)
        result: Value = checked_result(
            self.output(x), Value, f"{layer_type(self)}: its `output`", "it returns a `cnnscope.ir.Value`"
        )
        if result.numel > MAX_INT:
            raise ShapeError(f"`{self.tag}` would make {shape_text(result.features)}: more elements than 64 bits count")
        return result


def named(name: str) -> type[Op] | None:
    """Returns the layer type of this name, which may be another framework's: ``nn.Conv2d``, ``Conv2DTranspose``."""
    plain = name.rpartition(".")[2].lower().replace("_", "").replace("-", "")
    for word in (name, plain, re.sub(r"[123]d(?=$|transpose)", "", plain)):
        if word in REGISTRY:
            return REGISTRY[word]
        for op in REGISTRY.values():
            if word in op.foreign:
                return op
    return None


def channel_axis(value: Value) -> int:
    """The axis of channels or features in the full shape: the last axis of tokens, else the one after the batch."""
    return len(value.shape) - 1 if value.kind == "tokens" else min(1, len(value.shape) - 1)


def along(value: Value, axis: int | None) -> int:
    """Returns `axis_of` this axis, or the axis of the channels if it is None."""
    return channel_axis(value) if axis is None else axis_of(value, axis)


def axis_of(value: Value, axis: int) -> int:
    """Returns an axis of the full tensor (the batch is 0) as a number from 0; a negative one counts from the end.

    Raises `ShapeError` if there is no such axis, or if it is the batch.
    """
    rank = len(value.shape)
    place = axis + rank if axis < 0 else axis
    if not 0 <= place < rank:
        raise ShapeError(f"axis {axis} does not exist in {shape_text(value.features)}", hint=_axes_hint(rank))
    if value.kind != "tensor" and place == value.batch_axis:
        raise ShapeError(f"axis {axis} is the batch", hint=_axes_hint(rank))
    return place


def _axes_hint(rank: int) -> str:
    return f"the axes are 1 to {rank - 1}" if rank > 2 else "the only axis is 1"


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value
