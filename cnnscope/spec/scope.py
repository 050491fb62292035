"""Names: who may see which, and what a layer without one is called."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from cnnscope.errors import CnnscopeError, Diagnostic, Note, Span


def join(path: str, name: str) -> str:
    """``path.name``; the network itself has the empty path."""
    return f"{path}.{name}" if path else name


@dataclass(slots=True)
class Names:
    """All names of a network: where each was taken (None: by an input), and the node a finished one stands for."""

    taken: dict[str, Span | None] = field(default_factory=dict)
    nodes: dict[str, str] = field(default_factory=dict)
    omitted: dict[str, Span | None] = field(default_factory=dict)

    def take(self, path: str, span: Span | None) -> None:
        """Reserves a path; E207 if it is another layer's."""
        if path in self.taken:
            first = self.taken[path]
            if first is None:
                raise CnnscopeError.of("E207", f"`{path}` is the name of an input", span=span)
            message = f"two layers are called `{path}` (first on line {first.line})"
            raise CnnscopeError(Diagnostic("E207", message, span, (Note("first here", first),)))
        self.taken[path] = span


@dataclass(slots=True)
class Scope:
    """A level of names. ``weights`` is the path its weights are kept under, another one where layers are reused.

    ``parent`` is the scope around it whose names are visible, None at the edge of a block.
    """

    names: Names
    path: str = ""
    weights: str = ""
    parent: Scope | None = None
    reserved: frozenset[str] = frozenset()
    counts: dict[str, int] = field(default_factory=dict)

    def fresh(self, base: str) -> str:
        """``base1``, ``base2``, ...: the first one nobody has or will have."""
        while True:
            self.counts[base] = self.counts.get(base, 0) + 1
            name = f"{base}{self.counts[base]}"
            if self._free(name):
                return name

    def alone(self, base: str) -> str:
        """``base`` itself, then ``base2``, ... (``base_2`` behind a digit)."""
        if self._free(base):
            return base
        stem = f"{base}_" if base[-1].isdigit() else base
        self.counts.setdefault(stem, 1)
        return self.fresh(stem)

    def _free(self, name: str) -> bool:
        return name not in self.reserved and join(self.path, name) not in self.names.taken

    def find(self, name: str) -> str | None:
        """The graph node that ``name`` stands for here, looking outward."""
        for scope in self.outward():
            node = self.names.nodes.get(join(scope.path, name))
            if node is not None:
                return node
        return None

    def outward(self) -> Iterator[Scope]:
        """This scope and those around it, up to the edge."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent
