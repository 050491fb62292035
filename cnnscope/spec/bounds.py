"""What makes an expansion endless or hopeless, found before it starts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

from cnnscope.errors import CnnscopeError, Diagnostic, Note
from cnnscope.spec import expressions
from cnnscope.spec.expressions import ExpressionError
from cnnscope.spec.marks import Marked
from cnnscope.spec.network import MAX_NODES, too_many
from cnnscope.spec.syntax import Block, Body, Document, Item, Join, Residual, Use
from cnnscope.spec.values import Env, evaluate


def refuse_recursion(blocks: Mapping[str, Block]) -> list[str]:
    """The blocks, used ones before their users; E110 naming the cycle if some use each other."""
    users = {name: {use.block for use in uses(block.body)} & blocks.keys() for name, block in blocks.items()}
    try:
        return list(TopologicalSorter(users).static_order())
    except CycleError as error:
        cycle: list[str] = error.args[1][::-1]
        arrows = " -> ".join(f"`{name}`" for name in cycle)
        spans = [
            next(use.common.span for use in uses(blocks[user].body) if use.block == used)
            for user, used in pairwise(cycle)
        ]
        notes = tuple(Note(f"`{used}` is used here", span) for used, span in zip(cycle[2:], spans[1:], strict=True))
        raise CnnscopeError(
            Diagnostic("E110", f"blocks use each other without end: {arrows}", spans[0], notes)
        ) from None


def refuse_huge(document: Document, order: Iterable[str], env: Env) -> dict[str, int]:
    """How many layers each block expands to at least; E105 if that alone is too many.

    A repeat that depends on a block's parameters counts as one, a layer with a `when` as none. What slips through is
    stopped while expanding.
    """
    least: dict[str, int] = {}
    for name in order:
        block = document.blocks[name]
        visible = {param: value for param, value in env.items() if param not in block.params}
        least[name] = _least(block.body, least, visible)
    for body in (document.body, *(head.group.body for head in document.heads)):
        _least(body, least, env)
    return least


def _least(body: Body, least: Mapping[str, int], env: Env) -> int:
    total = 0
    for item in _certain(body):
        count = _times(item, env) * least.get(item.block, 1) if isinstance(item, Use) else 1
        total += count
        if total > MAX_NODES:
            raise too_many(item.repeat.span if isinstance(item, Use) and item.repeat else item.common.span)
    return max(total, 1)


def _certain(body: Body) -> Iterator[Item]:
    """The layers of a list that nothing can leave out."""
    return (item for item in flattened(body) if item.common.when is None)


def _times(item: Use, env: Env) -> int:
    if item.each is not None:
        return len(item.each.rows)
    return _known(item.repeat, env) if item.repeat is not None else 1


def _known(value: Marked, env: Env) -> int:
    try:
        names = expressions.parse(str(value.value)).names if expressions.is_expression(value.value) else frozenset()
        result = evaluate(value, env, None).value if names <= env.keys() else 1
    except (CnnscopeError, ExpressionError):
        return 1  # reported where it is expanded
    return result if isinstance(result, int) else 1


def uses(body: Body) -> Iterator[Use]:
    """Every `use` in a list of layers, however deep in residuals and paths."""
    return (item for item in flattened(body) if isinstance(item, Use))


def flattened(body: Body) -> Iterator[Item]:
    """Every layer of a list and of the lists in it."""
    items: list[Item] = list(reversed(body.items))
    while items:
        item = items.pop()
        yield item
        if isinstance(item, Residual):
            items += item.shortcut.items if isinstance(item.shortcut, Body) else ()
            items += reversed(item.body.items)
        elif isinstance(item, Join):
            for path in reversed(list((item.paths or {}).values())):
                items += reversed(path.items)
