"""Names for classes: the source's own word for a block, or what a layer consists of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from keyword import iskeyword
from typing import TYPE_CHECKING

from cnnscope.nn.code import Call
from cnnscope.nn.export.pytorch.scopes import ANONYMOUS, Scope
from cnnscope.ops.base import REGISTRY
from cnnscope.ops.composite import Composite

if TYPE_CHECKING:
    from cnnscope.nn.export.pytorch.classes import Body


@dataclass
class Names:
    """Class names given so far; ``parts`` has, for each kind of block, what the first of its classes consists of."""

    taken: set[str]
    parts: dict[str, frozenset[str]] = field(default_factory=dict)

    def root(self, title: str) -> str:
        """The network's own class, which may share its name with nothing."""
        return self._free(camel(title))

    def of(self, scopes: Sequence[Scope], body: Body) -> str:
        """A class for scopes with this body; a variant of a block is named after the difference."""
        scope = scopes[0]
        if scope.is_row:
            return self._free("".join(_family(made) for _, made in body.fields) or camel(scope.path))
        name = _word(scope)
        own = frozenset(item.name.partition("_")[0] for item in scope.items)
        first = self.parts.setdefault(name, own)
        more, less = own - first, first - own
        if name in self.taken and len(more | less) in (1, 2) and not (more and less):
            difference = "".join(map(camel, sorted(more | less)))
            return self._free(f"{name}{'With' if more else 'Without'}{difference}")
        return self._free(name)

    def _free(self, name: str) -> str:
        result, count = name, 2
        while result in self.taken:
            result, count = f"{name}{count}", count + 1
        self.taken.add(result)
        return result


def _word(scope: Scope) -> str:
    """What to call a block: as its author does, unless that is a join's name or hardly a word."""
    last = scope.path.rpartition(".")[2]
    op = REGISTRY.get(scope.kind)
    if op is not None:
        return op.__name__ if issubclass(op, Composite) else camel(last)
    if scope.kind in ANONYMOUS:
        return camel(last) if not last.isdigit() else "Block"
    return camel(scope.kind) if len(scope.kind) > 1 else f"Block{camel(scope.kind)}"


def _family(made: object) -> str:
    """``Conv`` of ``nn.Conv2d(...)``."""
    callee = made.callee if isinstance(made, Call) else ""
    return re.sub(r"\d+d$", "", callee.rpartition(".")[2])


def camel(words: str) -> str:
    """``ResNet-50`` -> ``ResNet50``, ``inception_3a`` -> ``Inception3a``."""
    parts = [part for part in re.split(r"[^0-9A-Za-z]+", words) if part]
    name = "".join(part[0].upper() + part[1:] for part in parts) or "Block"
    return f"Net{name}" if name[0].isdigit() or iskeyword(name) else name
