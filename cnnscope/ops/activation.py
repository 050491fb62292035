"""Activations: functions of single elements, and the few that combine channels (softmax, glu)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, ClassVar

from cnnscope.errors import ShapeError
from cnnscope.ir.graph import Value
from cnnscope.ir.steps import Shape, Spread, Step, Taps
from cnnscope.ops.arguments import Bool, Integer, Maybe, Real
from cnnscope.ops.base import Case, Op, along, channel_axis
from cnnscope.ops.saved import FLOAT, INPUT, OUTPUT, Kept, TrainStep

_SAME = (
    Case(x=(3, 4, 5), args={}, shape=(3, 4, 5)),
    Case(x=(3, 6), args={}, shape=(3, 6), kind="tokens"),
    Case(x=(7,), args={}, shape=(7,), kind="flat"),
)
Axis = Annotated[int | None, Maybe(Integer())]


class _Pointwise(Op):
    """A function of each element alone. FLOPs: 1 an element, whatever the function."""

    flops = 1
    keeps = INPUT
    cases: ClassVar[Sequence[Case]] = _SAME


class ReLU(_Pointwise, tag="relu", category="activation"):
    """max(0, x). Source: Nair & Hinton 2010, section 3; in networks for images: Krizhevsky et al. 2012, section 3.1."""

    keeps = OUTPUT


class ReLU6(_Pointwise, tag="relu6", category="activation"):
    """min(max(0, x), 6). Source: Krizhevsky 2010 (Convolutional deep belief networks on CIFAR-10), section 2."""


class LeakyReLU(_Pointwise, tag="leakyrelu", category="activation"):
    """x above 0, slope * x below. Source: Maas et al. 2013, section 2."""

    slope: Real = 0.01
    short = "slope"
    aliases = {"negative_slope": "slope", "alpha": "slope"}

    def label(self) -> str:
        return f"leakyrelu {self.slope:g}"

    cases = (*_SAME, Case(x=(3, 4, 5), args={"slope": 0.1}, shape=(3, 4, 5)))


class ELU(_Pointwise, tag="elu", category="activation"):
    """x above 0, alpha * (exp(x) - 1) below. Source: Clevert et al. 2016, section 3."""

    alpha: Real = 1.0
    short = "alpha"
    cases = (*_SAME, Case(x=(3, 4, 5), args={"alpha": 0.5}, shape=(3, 4, 5)))


class SELU(_Pointwise, tag="selu", category="activation"):
    """1.0507 * elu(x) with alpha 1.6733: keeps mean 0 and variance 1. Source: Klambauer et al. 2017, section 2."""


class GELU(_Pointwise, tag="gelu", category="activation"):
    """x * Phi(x), where Phi is the normal distribution function; ``tanh`` uses the approximation by tanh.

    Source: Hendrycks & Gimpel 2016, section 2.
    """

    tanh: Bool = False
    aliases = {"approximate": "tanh"}
    cases = (*_SAME, Case(x=(3, 4, 5), args={"tanh": True}, shape=(3, 4, 5)))


class SiLU(_Pointwise, tag="silu", category="activation"):
    """x * sigmoid(x), also called swish. Source: Elfwing et al. 2018, section 2; Ramachandran et al. 2017."""

    foreign = ("swish",)


class Hardswish(_Pointwise, tag="hardswish", category="activation"):
    """x * relu6(x + 3) / 6. Source: Howard et al. 2019 (MobileNetV3), section 5.2."""


class Hardsigmoid(_Pointwise, tag="hardsigmoid", category="activation"):
    """relu6(x + 3) / 6. Source: Howard et al. 2019 (MobileNetV3), section 5.2."""


class Hardtanh(_Pointwise, tag="hardtanh", category="activation"):
    """x cut off below ``low`` and above ``high``. Source: Collobert 2004, chapter 7."""

    low: Real = -1.0
    high: Real = 1.0
    aliases = {"min_val": "low", "max_val": "high"}

    def output(self, x: Sequence[Value]) -> Value:
        if self.low >= self.high:
            raise ShapeError(f"`low` {self.low:g} must be below `high` {self.high:g}", code="E203")
        return x[0]

    cases = (*_SAME, Case(x=(3, 4, 5), args={"low": 0.0, "high": 4.0}, shape=(3, 4, 5)))


class Sigmoid(_Pointwise, tag="sigmoid", category="activation"):
    """1 / (1 + exp(-x)). Source: Rumelhart et al. 1986, equation 2."""

    keeps = OUTPUT


class LogSigmoid(_Pointwise, tag="logsigmoid", category="activation"):
    """log(1 / (1 + exp(-x))): the formula is the definition."""

    def saved(self, step: TrainStep) -> Kept:
        """The input, and a tensor of its size: exp(-|x|)."""
        return Kept((0,), image_bytes=FLOAT * step.x[0].numel)


class Tanh(_Pointwise, tag="tanh", category="activation"):
    """tanh(x). Source: LeCun et al. 1998, section II.B and appendix A (there scaled)."""

    keeps = OUTPUT


class Softplus(_Pointwise, tag="softplus", category="activation"):
    """log(1 + exp(beta * x)) / beta, or x itself where beta * x > ``threshold``. Source: Glorot et al. 2011, section
    3.2, with beta 1; torch.nn.Softplus."""

    beta: Real = 1.0
    threshold: Real = 20.0

    def output(self, x: Sequence[Value]) -> Value:
        if self.beta == 0:
            raise ShapeError("`beta` must not be 0, by which `softplus` divides", code="E203")
        return x[0]

    cases = (*_SAME, Case(x=(3, 4, 5), args={"beta": 2.0, "threshold": 1.0}, shape=(3, 4, 5)))


class Softsign(_Pointwise, tag="softsign", category="activation"):
    """x / (1 + |x|). Source: Glorot & Bengio 2010, section 3.1."""

    def saved(self, step: TrainStep) -> Kept:
        """The input, and a tensor of its size: 1 + |x|."""
        return Kept((0,), image_bytes=FLOAT * step.x[0].numel)


class Mish(_Pointwise, tag="mish", category="activation"):
    """x * tanh(softplus(x)). Source: Misra 2020, section 3."""


class Abs(_Pointwise, tag="abs", category="activation"):
    """|x|. Source: Jarrett et al. 2009, section 2.1 (rectification by the absolute value)."""


class PReLU(_Pointwise, tag="prelu", category="activation"):
    """x above 0, weight * x below, one learned weight per channel, or a single one if ``shared``.

    Parameters: C, or 1. Source: He et al. 2015, section 2.1.
    """

    shared: Bool = False
    accepts = ("map", "flat")

    def weights(self, x: Sequence[Value]) -> Mapping[str, Shape]:
        return {"weight": (1 if self.shared else x[0].shape[channel_axis(x[0])],)}

    keeps = INPUT
    cases = (
        Case(x=(3, 4, 5), args={}, shape=(3, 4, 5), params=3),
        Case(x=(3, 4), args={"shared": True}, shape=(3, 4), params=1),
        Case(x=(7,), args={}, shape=(7,), params=7, kind="flat"),
    )


class _Softmax(Op):
    """exp(x) / sum(exp(x)) along ``axis``, the channels unless said otherwise. FLOPs: 5 an element."""

    axis: Axis = None
    short = "axis"
    aliases = {"dim": "axis"}

    def output(self, x: Sequence[Value]) -> Value:
        along(x[0], self.axis)
        return x[0]

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        return ((Spread((along(x[0], self.axis),), "attention"),),)

    flops = 5
    keeps = OUTPUT
    cases = (*_SAME, Case(x=(3, 4, 5), args={"axis": 2}, shape=(3, 4, 5)),
             Case(x=(3, 4, 5), args={"axis": -1}, shape=(3, 4, 5)))  # fmt: skip


class Softmax(_Softmax, tag="softmax", category="activation"):
    """exp(x) / sum(exp(x)) along ``axis`` (the batch is 0), the channels unless said otherwise.

    FLOPs: 5 an element. Source: Bridle 1990, section 3.
    """


class LogSoftmax(_Softmax, tag="logsoftmax", category="activation"):
    """The logarithm of softmax along ``axis``. FLOPs: 5 an element. Source: Bridle 1990, section 3."""


class GLU(Op, tag="glu", category="activation"):
    """a * sigmoid(b), a and b the two halves of ``axis``, the channels unless said otherwise.

    (N, C, ...) -> (N, C / 2, ...). FLOPs: 2 an output element. Source: Dauphin et al. 2017, section 2.
    """

    axis: Axis = None
    short = "axis"
    aliases = {"dim": "axis"}

    def output(self, x: Sequence[Value]) -> Value:
        axis, shape = along(x[0], self.axis), list(x[0].shape)
        if shape[axis] % 2:
            raise ShapeError(f"`glu` halves its axis, which has {shape[axis]} elements: an odd number")
        shape[axis] //= 2
        return replace(x[0], shape=tuple(shape))

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        axis = along(x[0], self.axis)
        half = x[0].shape[axis] // 2
        return ((Taps(axis, half, 1, ((0, half),)),),)

    flops = 2
    keeps = INPUT
    cases = (
        Case(x=(6, 4, 5), args={}, shape=(3, 4, 5)),
        Case(x=(3, 8), args={}, shape=(3, 4), kind="tokens"),
        Case(x=(6, 4, 5), args={"axis": 2}, shape=(6, 2, 5)),
    )
