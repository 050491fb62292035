"""The graph of one image from a run of several, for models that do not run at batch 1.

A second run of twice as many images shows which axis of every tensor has the batch: the one that has doubled. The graph
is then written for one image, and each op is asked whether it makes the shapes that follow. Where an op takes images
apart, as contrastive pairs do, there is no graph of one image, and the one of the whole batch is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cnnscope.edits.refit import rebound
from cnnscope.errors import ShapeError
from cnnscope.ir import Graph, Node, Value
from cnnscope.ir.steps import Expand, Shape
from cnnscope.ops.base import Op
from cnnscope.ops.generic import Constant, Gather, Movement, Select, Unsupported
from cnnscope.sources.batch import follow
from cnnscope.sources.torch.batches import Twice, compare
from cnnscope.sources.torch.recording import Recording


class InseparableError(Exception):
    """An op, in the row of this name, has no counterpart for one image."""


def of_one_image(graph: Graph, recording: Recording, ends: Sequence[int], twice: Twice, images: int) -> Graph:
    """Returns the graph with one image in place of so many ``images``; raises `InseparableError` if there is none.

    ``graph`` was made of ``recording`` and its outputs ``ends``.
    """
    places = [place for place in recording.needed(ends) if recording.drafts[place].op is not None]
    values = {
        name: replace(value, shape=(1, *value.shape[1:])) if value.shape[:1] == (images,) else value
        for name, value in graph.inputs.items()
    }
    nodes = []
    for place, node in zip(places, graph.nodes, strict=True):
        seen = twice.drafts[place].shape if place < len(twice.drafts) else None
        shape = None if seen is None else _share(node.output.shape, seen, images)
        if shape is None:
            raise InseparableError(node.layer)
        found = _separated(graph, node, [values[name] for name in node.inputs], shape)
        values[found.name] = found.output
        nodes.append(found)
    inputs = {name: values[name] for name in graph.inputs}
    return replace(graph, inputs=inputs, nodes=tuple(nodes))


def of_all_images(graph: Graph) -> Graph:
    """Returns the graph of a whole batch, whose images are an axis like any other."""
    inputs = {name: replace(value, batch_axis=None) for name, value in graph.inputs.items()}
    return replace(graph, inputs=inputs)


def mixing(before: Graph, after: Graph) -> Iterator[str]:
    """Yields the rows in which elements of several images meet; ``after`` is the graph of one image."""
    for node, single in zip(before.nodes, after.nodes, strict=True):
        steps = node.op.reads(before.values(node)) or ()
        whole = list(before.values(node))
        for x, one, read in zip(whole, after.values(single), steps, strict=False):
            axis = next((i for i, (n, m) in enumerate(zip(x.shape, one.shape, strict=True)) if n != m), None)
            if axis is not None and follow((axis, one.shape[axis]), x.shape, read)[1]:
                yield node.layer
                break


def _share(shape: Shape, seen: Shape, images: int) -> Shape | None:
    """Returns the shape that one image has, from that of the batch and that of twice the batch."""
    if shape == seen:
        return shape
    axis = compare(shape, seen)
    if axis is None or shape[axis] % images:
        return None
    return (*shape[:axis], shape[axis] // images, *shape[axis + 1 :])


def _separated(graph: Graph, node: Node, x: Sequence[Value], shape: Shape) -> Node:
    """Returns the node for one image, which reads ``x`` and makes ``shape``."""
    old = graph.values(node)
    if shape == node.output.shape and list(old) == list(x):
        return node
    assert isinstance(node.op, Op)
    try:
        op = _resized(node.op, old, x, shape)
        made = op.output(x).shape
    except ShapeError:
        made = ()
    if made != shape:
        raise InseparableError(node.layer)
    return replace(node, op=op, output=replace(node.output, shape=shape))


def _resized(op: Op, old: Sequence[Value], new: Sequence[Value], shape: Shape) -> Op:
    """Returns the op for one image; ``shape`` is known, so that what was counted in the run can be counted again."""
    if isinstance(op, (Constant, Gather, Select, Unsupported)):
        fields: Mapping[str, Any] = {"shape": shape}
        return replace(op, **fields)
    if isinstance(op, Movement) and list(old) == list(new) and op.steps and isinstance(op.steps[-1], Expand):
        stays = len(op.steps) == 1 and new[0].shape == shape
        return replace(op, steps=() if stays else (*op.steps[:-1], Expand(shape)))
    return rebound(op, old, new)
