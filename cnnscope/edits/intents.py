"""What the numbers of an op stand for: padding by a word, sizes that follow another value.

`Node.intent` has it where the source states it. Where it does not (ONNX, numbers in torch), it is recovered: pixels
that equal ``half`` mean that, other pixels that equal ``same`` mean that, and a pad before a window without padding
that makes ``same`` for this window means that too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cnnscope.ir import Node, Shape, Value
from cnnscope.ops.arguments import Pair
from cnnscope.ops.base import Op
from cnnscope.ops.conv import TransposedConv
from cnnscope.ops.rearrange import Crop, Pad
from cnnscope.ops.resize import Upsample
from cnnscope.ops.window import resolve_pad

Pads = tuple[Pair, ...]


def is_window(op: Any) -> bool:
    """Whether an op slides a window whose padding can be stated by a word."""
    return hasattr(op, "kernel") and isinstance(getattr(op, "pad", None), tuple)


def pad_word(node: Node, x: Sequence[Value]) -> str | None:
    """The word for the padding of a window: the author's, or one that makes the same pixels; None for other pixels."""
    if node.intent.pad is not None:
        return node.intent.pad
    op: Any = node.op
    if not is_window(op) or isinstance(op, TransposedConv):
        return None
    if not any(map(any, op.pad)):
        return "half" if max(op.kernel) == 1 else "valid"
    return next((word for word in ("half", "same") if padded(op, word, x) == op.pad), None)


def padded(op: Any, word: str, x: Sequence[Value]) -> Pads | None:
    """The pixels that a word stands for, for a window on ``x``."""
    size, kernel = x[0].shape[2:], op.kernel
    stride, gaps = getattr(op, "step", None) or op.stride, getattr(op, "dilation", (1,) * len(kernel))
    if isinstance(op, TransposedConv):
        return None
    if word in ("same_lower", "causal"):
        same = resolve_pad("same" if word == "same_lower" else "full", size, kernel, stride, gaps)
        return tuple((high, low) for low, high in same) if word == "same_lower" else tuple((low, 0) for low, _ in same)
    return resolve_pad(word, size, kernel, stride, gaps)


def repadded(node: Node, before: Node, old: Sequence[Value], x: Sequence[Value]) -> Op:
    """The op of ``node`` with the padding that its author means for ``x``; ``before`` read ``old``."""
    op: Any = node.op
    if not is_window(op) or len(x) != 1:
        return op  # type: ignore[no-any-return]  # of an op
    same = op.pad == getattr(before.op, "pad", None)
    word = node.intent.pad or (pad_word(before, old) if same else None)
    pads = None if word is None else padded(op, word, x)
    return op if pads is None else replace(op, pad=pads)  # type: ignore[no-any-return]  # of an op


def padded_for_window(op: Pad, old: Value, new: Value, readers: Sequence[Node]) -> Op:
    """A pad that makes ``same`` for the only window behind it, which has no padding of its own."""
    window: Any = readers[0].op if len(readers) == 1 else None
    if not is_window(window) or any(map(any, window.pad)):
        return op
    same = padded(window, "same", [old])
    if same != op.pad or same == padded(window, "half", [old]):
        return op
    return replace(op, pad=padded(window, "same", [new]) or op.pad)


def takes_size(op: object) -> bool:
    """Whether an op states the size of its output, which may be that of another value."""
    return isinstance(op, Crop) or (isinstance(op, Upsample) and op.size is not None)


def source_of_size(node: Node, value: Mapping[str, Value], readers: Sequence[Node]) -> str | None:
    """Whose spatial size the output of a node takes: what its author says, else what a join behind it adds to it, else
    a network input of that size. ``value`` has all values of the network before it was changed."""
    if node.intent.like is not None:
        return node.intent.like if node.intent.like in value else None
    size = node.output.shape[2:]
    joined = (name for reader in readers if reader.op.category == "merge" for name in reader.inputs)
    return next((name for name in joined if name != node.name and value[name].shape[2:] == size), None)


def sized(op: Any, size: Shape) -> Op:
    """The op with that size of its output."""
    return replace(op, size=size)  # type: ignore[no-any-return]  # of an op
