"""All changes of one command as one: nothing in between has to fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cnnscope.edits.change import Change, Insert, Remove, Resize, Scale, SetArgs, Swap, Width
from cnnscope.edits.followed import Followed, WeightChanges, followed, weight_changes
from cnnscope.edits.place import inserted, resized, swapped, with_args, without
from cnnscope.edits.refit import refit
from cnnscope.edits.scale import scaled, widened
from cnnscope.edits.select import of_type, selected
from cnnscope.edits.untie import untied
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph, Node


@dataclass(frozen=True, slots=True)
class Edited:
    """A changed network: what was asked, what followed from it, and what became of the weights."""

    graph: Graph
    changes: tuple[Change, ...]
    asked: tuple[str, ...]
    followed: tuple[Followed, ...]
    weights: WeightChanges


def apply(graph: Graph, changes: Sequence[Change]) -> Edited:
    """The network with all changes. Places, types and arguments come first, widths after them; where that does not fit,
    widths come first.

    `CnnscopeError`: E491 where a layer does not fit, E492 what cannot be carried over, E205 unknown layers, E201
    unknown layer types, E202 unknown arguments, E400 contradictory changes, E490 what cannot be removed.
    """
    _check_contradictions(graph, changes)
    places = [change for change in changes if not isinstance(change, Width | Scale)]
    widths = [change for change in changes if isinstance(change, Width | Scale)]
    asked = tuple(dict.fromkeys(name for change in changes for name in _asked(graph, change)))
    try:
        result, why = _changed(graph, places, widths)
    except CnnscopeError as error:
        loose = untied(graph)
        if error.diagnostics[0].code != "E304" or loose == graph:
            raise
        result, why = _changed(loose, places, widths)
    return Edited(result, tuple(changes), asked, followed(graph, result, asked, why), weight_changes(graph, result))


def _changed(graph: Graph, places: Sequence[Change], widths: Sequence[Change]) -> tuple[Graph, dict[str, str]]:
    """The changed graph, and the layer that ties each width."""
    try:
        return _widened(_placed(graph, places), widths)
    except CnnscopeError as error:
        if not places or not widths or error.diagnostics[0].code not in ("E491", "E492"):
            raise
        try:
            wide, why = _widened(graph, widths)
            return _placed(wide, places), why
        except CnnscopeError:
            raise error from None


def _placed(graph: Graph, changes: Sequence[Change]) -> Graph:
    draft = graph
    for change in changes:
        match change:
            case SetArgs():
                draft = with_args(draft, graph, change)
            case Swap():
                draft = swapped(draft, change)
            case Remove():
                draft = without(draft, change)
            case Insert():
                draft = inserted(draft, change)
            case Resize():
                draft = resized(draft, change)
    if draft is graph:
        return graph
    return refit(graph, draft.nodes, draft.outputs, inputs=draft.inputs, tables=draft.inputs != graph.inputs)


def _widened(graph: Graph, changes: Sequence[Change]) -> tuple[Graph, dict[str, str]]:
    why: dict[str, str] = {}
    if not changes:
        return graph, why
    for change in (one for one in changes if isinstance(one, Scale)):
        graph, w = scaled(graph, change)
        why |= w.equations.why
    named = [one for one in changes if isinstance(one, Width)]
    if named:
        graph, w = widened(graph, named)
        why |= w.equations.why
    return graph, why


def _asked(graph: Graph, change: Change) -> tuple[str, ...]:
    """The nodes that a change names."""
    match change:
        case SetArgs(layers=layers) | Width(layers=layers):
            return tuple(node.name for node in graph.nodes if node in selected_or_none(graph, layers))
        case Swap(what=what, within=within):
            return tuple(node.name for node in of_type_or_none(graph, what, within))
    return ()


def selected_or_none(graph: Graph, layers: str) -> tuple[Node, ...]:
    """As `selected`, empty for a layer that another change of the transaction inserts."""
    try:
        return selected(graph, layers)
    except CnnscopeError:
        return ()


def of_type_or_none(graph: Graph, what: str, within: str) -> tuple[Node, ...]:
    """As `of_type`, empty for a layer that another change of the transaction inserts."""
    try:
        return of_type(graph, what, within)
    except CnnscopeError:
        return ()


def _check_contradictions(graph: Graph, changes: Sequence[Change]) -> None:
    """E400 where two changes give one argument of one layer two values."""
    if not changes:
        raise CnnscopeError.of("E400", "nothing is changed", hint="say what: `--set conv1.stride=1`")
    given: dict[tuple[str, str], object] = {}
    sizes: dict[str, object] = {}
    for change in changes:
        if isinstance(change, SetArgs):
            for name in _asked(graph, change):
                for argument, value in change.args.items():
                    if given.setdefault((name, argument), value) != value:
                        layer = graph.node(name).layer
                        first = given[name, argument]
                        message = f"`{layer}.{argument}` cannot be both {first} and {value}"
                        raise CnnscopeError.of("E400", message, hint="leave one of the changes out")
        if isinstance(change, Resize):
            for key, size in change.sizes.items():
                if sizes.setdefault(key, size) != size:
                    raise CnnscopeError.of("E400", "an input cannot have two sizes", hint="leave one of them out")
