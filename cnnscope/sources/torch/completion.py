"""Completes what a rule recorded: which operands of the call its nodes lack, and the call itself.

Ops that stand for many functions get the call with all its operands, so that they can be built and exported. For all
others the operands of the call are compared with what the nodes read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor

from cnnscope.ops.call import Held, Input, Operand
from cnnscope.ops.traced import Called
from cnnscope.sources.torch.calls import UnknownOperandError, call_of, is_for_every_batch
from cnnscope.sources.torch.nodes import Nodes
from cnnscope.sources.torch.operands import missing
from cnnscope.sources.torch.recording import Draft, dtype_name
from cnnscope.sources.torch.rules import Lowering, tensors


def places_of(nodes: Nodes, given: Sequence[Tensor]) -> dict[int, int]:
    """Returns the place of the draft that each of the operands is before a call, by the id of the tensor."""
    return {id(t): nodes.node(t) for t in given if id(t) in nodes.places}


def complete(
    nodes: Nodes, rule: Lowering, args: Any, kwargs: Any, result: Any, start: int, before: Mapping[int, int]
) -> None:  # fmt: skip
    """Notes which operands of a call the nodes from place ``start`` on lack, at the last of them. ``before`` has
    the places of its operands before it.

    Ops that stand for many functions get the call itself, where its ``result`` is theirs.
    """
    made = nodes.recording.drafts[start:]
    if not made:
        return
    if rule.operands:
        lacking = tuple(missing(rule.operands, args, kwargs, partial(_reads, nodes, made, before)))
        if lacking:
            made[-1].lost = tuple(dict.fromkeys((*made[-1].lost, *lacking)))
    if "::" in rule.name or not any(isinstance(draft.op, Called) for draft in made):
        return
    several = not isinstance(result, Tensor)
    for item, t in enumerate(tensors((result,), {})):
        _keep_call(nodes, rule, args, kwargs, t, item if several else None, start, before)


def _reads(nodes: Nodes, made: Sequence[Draft], before: Mapping[int, int], t: Tensor) -> bool:
    """Returns whether the ops of these drafts compute with a tensor. One without elements has nothing to read."""
    place = before.get(id(t), nodes.places.get(id(t)))
    if any(place in draft.inputs for draft in made):
        return True
    key = nodes.keys.get(id(t))
    if key is None:
        return t.numel() == 0
    return _is_weight(nodes, made, key) or t.numel() == 0


def _is_weight(nodes: Nodes, made: Sequence[Draft], key: str) -> bool:
    """Returns whether an op of these drafts computes with the parameter or buffer, or has it as an input."""
    as_input = nodes.parameter_places.get(key)
    for draft in made:
        if as_input in draft.inputs:
            return True
        for role, owned in draft.params.items():
            if owned == key and draft.op is not None:
                values = [nodes.recording.drafts[place].output for place in draft.inputs]
                if role in draft.op.weights(values) or role in draft.op.buffers(values):
                    return True
    return False


def _keep_call(
    nodes: Nodes, rule: Lowering, args: Any, kwargs: Any, out: Tensor, item: int | None, start: int,
    before: Mapping[int, int],
) -> None:  # fmt: skip
    """Gives the op of a result the call with all its operands, if they are known."""
    place = nodes.places.get(id(out), -1)
    draft = nodes.recording.drafts[place]
    if place < start or not isinstance(draft.op, Called):
        return
    values = [nodes.recording.drafts[i].output for i in draft.inputs]
    name = rule.name
    if name == "copy" and args[0].shape == args[1].shape:  # nothing of the target is left but its type
        name, args = "to", (args[1], args[0].dtype)
    call = call_of(name, args, kwargs, item, lambda t: _operand(nodes, t, draft, before))
    if call is not None and is_for_every_batch(call, draft.op, values, [*map(nodes.batches.has_images, draft.inputs)]):
        draft.op, draft.lost = replace(draft.op, call=call), ()


def _operand(nodes: Nodes, t: Tensor, draft: Draft, before: Mapping[int, int]) -> Operand:
    """Returns what a tensor is to a node; raises `UnknownOperandError` if the node does not have its numbers."""
    key = nodes.keys.get(id(t))
    place = before.get(id(t), nodes.parameter_places.get(key or "", -1))
    if place in draft.inputs:
        return Input(draft.inputs.index(place))
    roles = {owned: role for role, owned in draft.params.items()}
    if key in roles and id(t) in nodes.parameters:
        return Held(roles[key], tuple(t.shape), dtype=dtype_name(t), buffer=False)
    if nodes.tracked(t):
        raise UnknownOperandError
    return nodes.constants.operand(t, roles)
