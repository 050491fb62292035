"""Networks as files: PyTorch source, specs, ONNX. `prepared` is what source and specs do to a graph first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cnnscope.errors import CnnscopeError, Diagnostic, Note
from cnnscope.ir import Graph, Node

_SHOWN = 8
TRACED = "a traced model's own source is its PyTorch code; `--to json` writes every graph"
_EVERY_GRAPH = "`--to json` writes every graph"


def prepared(graph: Graph) -> tuple[Graph, tuple[str, ...]]:
    """Returns the graph without weights that nothing uses, and the keys of those.

    In a trace the layer after a dropout reads the dropout's input, because in eval mode a dropout returns its input.
    Here that layer reads the dropout, so that the exported dropout works in training.
    """
    read = {name for node in graph.nodes for name in node.inputs} | set(graph.outputs)
    nodes = list(graph.nodes)
    for i, node in enumerate(nodes):
        if node.name in read or len(node.inputs) != 1 or not node.op.is_view:
            continue
        source = node.inputs[0]
        reader = next((k for k in range(i + 1, len(nodes)) if source in nodes[k].inputs), None)
        if reader is not None:
            inputs = tuple(node.name if name == source else name for name in nodes[reader].inputs)
            nodes[reader] = replace(nodes[reader], inputs=inputs)
    outputs = tuple(_behind(nodes, name, read) for name in graph.outputs)
    unused = set(graph.unused)
    kept = {key: param for key, param in graph.params.items() if key not in unused}
    return replace(graph, nodes=tuple(nodes), outputs=outputs, params=kept), graph.unused


def _behind(nodes: Sequence[Node], output: str, read: set[str]) -> str:
    """The output, or the view of it that no node reads."""
    last = next((n for n in nodes if n.inputs == (output,) and n.name not in read and n.op.is_view), None)
    return last.name if last else output


def check_operands(graph: Graph, form: str) -> None:
    """Raises E427 if an op of a traced network lacks operands."""
    lacking = [node.lacks for node in graph.nodes if node.lacks]
    if lacking:
        raise unwritable(graph, form, f"{len(lacking):,} of its ops lack operands", lacking, TRACED)


def unwritable(graph: Graph, form: str, why: str = "", notes: Sequence[str] = (), hint: str = "") -> CnnscopeError:
    """E427: the network cannot be written in this form. Of the notes, the first few are shown."""
    shown = [Note(note) for note in notes[:_SHOWN]]
    shown += [Note(f"{len(notes) - _SHOWN:,} more")] if len(notes) > _SHOWN else []
    message = f"`{graph.name}` cannot be written as {form}" + (f": {why}" if why else "")
    return CnnscopeError(Diagnostic("E427", message, notes=tuple(shown), hint=hint or _EVERY_GRAPH))


def described(nodes: Sequence[Node]) -> list[str]:
    """A note on each node: its op and label."""
    return [f"`{node.name}` is `{node.op.tag}` ({node.op.label()})" for node in nodes]
