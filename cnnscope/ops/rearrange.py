"""Borders (pad, crop), channel shuffle, and exchanges of channels for positions (pixel shuffle and its inverse)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from cnnscope.errors import ShapeError
from cnnscope.ir.graph import Value
from cnnscope.ir.steps import Permute, Reshape, Shape, Step, Taps
from cnnscope.ops.arguments import Choice, Maybe, PerAxis, Pos, Real, Sides, Size
from cnnscope.ops.base import Case, Op
from cnnscope.ops.saved import INPUT, NOTHING, SAVES_INPUT, Kept, TrainStep
from cnnscope.ops.window import BORDERS, check_border, size_text


class Pad(Op, tag="pad", category="movement"):
    """Adds pixels round a map: zeros (or ``value``), or mirrored, repeated or wrapped ones.

    (N, C, n...) -> (N, C, n + low + high, ...). No arithmetic. With ``value`` v: y[i] = v outside the image.
    """

    pad: Sides
    pad_mode: Annotated[str, Choice(tuple(BORDERS))] = "zeros"
    value: Real = 0.0
    foreign = ("zeropad", "zeropadding", "constantpad", "reflectionpad", "replicationpad", "circularpad")
    accepts = ("map",)
    short = "pad"
    aliases = {"padding": "pad", "sides": "pad", "mode": "pad_mode"}

    def output(self, x: Sequence[Value]) -> Value:
        size = x[0].shape[2:]
        if self.value and self.pad_mode != "zeros":
            raise ShapeError(f"`value` is for `pad_mode: zeros`, not {self.pad_mode}", code="E203")
        check_border(self.pad_mode, size, self.pad)
        padded = tuple(n + sum(sides) for n, sides in zip(size, self.pad, strict=True))
        return replace(x[0], shape=(*x[0].shape[:2], *padded))

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        axes = enumerate(zip(self.output(x).shape[2:], self.pad, strict=True), start=2)
        return (tuple(Taps(axis, n, 1, ((-low,),), BORDERS[self.pad_mode]) for axis, (n, (low, _)) in axes),)

    def saved(self, step: TrainStep) -> Kept:
        return INPUT if self.pad_mode in SAVES_INPUT else NOTHING

    cases = (
        Case(x=(3, 5, 5), args={"pad": 2}, shape=(3, 9, 9)),
        Case(x=(3, 5, 5), args={"pad": {"top": 1, "right": 3}, "value": 0.5}, shape=(3, 6, 8)),
        Case(x=(3, 5, 6), args={"pad": [4, 1], "pad_mode": "reflect"}, shape=(3, 13, 8)),
        Case(x=(3, 5), args={"pad": 5, "pad_mode": "circular"}, shape=(3, 15)),
        Case(x=(2, 2, 3, 4), args={"pad": 3, "pad_mode": "replicate"}, shape=(2, 8, 9, 10)),
    )


class Crop(Op, tag="crop", category="movement"):
    """Cuts a window of ``size`` out of a map, from the centre (floor((n - size) / 2)) unless ``offset`` says where.

    (N, C, n...) -> (N, C, *size). Source: Ronneberger et al. 2015 (U-Net), figure 1 (copy and crop).
    """

    size: Size
    offset: Annotated[tuple[int, ...] | None, Maybe(PerAxis(0))] = None
    foreign = ("cropping", "centercrop")
    accepts = ("map",)
    short = "size"
    like = "size"
    is_view = True

    def offsets(self, size: Shape) -> Shape:
        """The start of the window along each axis of an input of ``size``. Raises `ShapeError` if it does not fit."""
        centred = tuple((n - m) // 2 for n, m in zip(size, self.size, strict=True))
        offsets = centred if self.offset is None else self.offset
        for n, m, first in zip(size, self.size, offsets, strict=True):
            if m > n or first + m > n:
                where = "" if self.offset is None else f" at {size_text(offsets)}"
                raise ShapeError(f"a crop of {size_text(self.size)}{where} does not fit into {size_text(size)}")
        return offsets

    def output(self, x: Sequence[Value]) -> Value:
        self.offsets(x[0].shape[2:])
        return replace(x[0], shape=(*x[0].shape[:2], *self.size))

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        axes = enumerate(zip(self.size, self.offsets(x[0].shape[2:]), strict=True), start=2)
        return (tuple(Taps(axis, m, 1, ((first,),)) for axis, (m, first) in axes),)

    def label(self) -> str:
        return f"to {size_text(self.size)}"

    keeps = NOTHING
    cases = (
        Case(x=(64, 64, 64), args={"size": 56}, shape=(64, 56, 56)),
        Case(x=(3, 7, 8), args={"size": [2, 8], "offset": [5, 0]}, shape=(3, 2, 8)),
        Case(x=(3, 8), args={"size": 5}, shape=(3, 5)),
    )


class Shuffle(Op, tag="shuffle", category="movement"):
    """Channel shuffle: groups x (C / groups) channels are transposed, so that the next groups see all of these.

    (N, C, n...) -> the same. Source: Zhang et al. 2018 (ShuffleNet), section 3.1.
    """

    groups: Pos
    foreign = ("channelshuffle",)
    accepts = ("map",)
    short = "groups"

    def output(self, x: Sequence[Value]) -> Value:
        if x[0].shape[1] % self.groups:
            raise ShapeError(f"groups {self.groups} must divide the {x[0].shape[1]} channels")
        return x[0]

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        n, channels, *size = x[0].shape
        split = (n, self.groups, channels // self.groups, *size)
        order = (0, 2, 1, *range(3, len(split)))
        return ((Reshape(split), Permute(order), Reshape(x[0].shape)),)

    def label(self) -> str:
        return f"shuffle {self.groups}"

    keeps = NOTHING
    cases = (
        Case(x=(116, 28, 28), args={"groups": 2}, shape=(116, 28, 28)),
        Case(x=(6, 4), args={"groups": 3}, shape=(6, 4)),
    )


class PixelShuffle(Op, tag="pixelshuffle", category="movement"):
    """Turns channels into positions: (N, C f^d, n...) -> (N, C, n f, ...), d spatial axes, factor f.

    y[c, h f + i, w f + j] = x[c f^2 + i f + j, h, w].
    Source: Shi et al. 2016, section 2.2 (periodic shuffling).
    """

    factor: Pos
    accepts = ("map",)
    short = "factor"
    aliases = {"upscale_factor": "factor", "scale": "factor", "block_size": "factor"}

    def output(self, x: Sequence[Value]) -> Value:
        n, channels, *size = x[0].shape
        cell = self.factor ** len(size)
        if channels % cell:
            raise ShapeError(f"factor {self.factor} needs channels in multiples of {cell}, not {channels}")
        return replace(x[0], shape=(n, channels // cell, *(m * self.factor for m in size)))

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        n, channels, *size = x[0].shape
        d = len(size)
        cell = (n, channels // self.factor**d, *(self.factor,) * d, *size)
        beside = (place for axis in range(2, d + 2) for place in (axis + d, axis))
        return ((Reshape(cell), Permute((0, 1, *beside)), Reshape(self.output(x).shape)),)

    def label(self) -> str:
        return f"x{self.factor}"

    keeps = NOTHING
    cases = (
        Case(x=(27, 8, 8), args={"factor": 3}, shape=(3, 24, 24)),
        Case(x=(8, 2, 3, 3), args={"factor": 2}, shape=(1, 4, 6, 6)),
        Case(x=(6, 5), args={"factor": 2}, shape=(3, 10)),
    )


class PixelUnshuffle(Op, tag="pixelunshuffle", category="movement"):
    """Turns positions into channels (space to depth): (N, C, n f, ...) -> (N, C f^d, n, ...).

    y[c f^2 + i f + j, h, w] = x[c, h f + i, w f + j].
    Source: the inverse of Shi et al. 2016, section 2.2; as a layer Redmon & Farhadi 2017 (passthrough), section 2.
    """

    factor: Pos
    accepts = ("map",)
    short = "factor"
    aliases = {"downscale_factor": "factor", "block_size": "factor"}

    def output(self, x: Sequence[Value]) -> Value:
        n, channels, *size = x[0].shape
        if any(m % self.factor for m in size):
            raise ShapeError(f"factor {self.factor} must divide every extent of {size_text(size)}")
        return replace(x[0], shape=(n, channels * self.factor ** len(size), *(m // self.factor for m in size)))

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        n, channels, *size = x[0].shape
        d = len(size)
        cells = (n, channels, *(part for m in size for part in (m // self.factor, self.factor)))
        order = (0, 1, *range(3, 2 * d + 3, 2), *range(2, 2 * d + 2, 2))
        return ((Reshape(cells), Permute(order), Reshape(self.output(x).shape)),)

    def label(self) -> str:
        return f"/{self.factor}"

    keeps = NOTHING
    cases = (
        Case(x=(3, 12, 8), args={"factor": 4}, shape=(48, 3, 2)),
        Case(x=(2, 4, 6, 2), args={"factor": 2}, shape=(16, 2, 3, 1)),
    )
