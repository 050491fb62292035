"""Scopes as classes. Scopes that differ only in numbers share a class, and those numbers become its parameters."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph, Node
from cnnscope.nn.code import Call, Expr, Lit, Raw, Ref, blank, fill, literals
from cnnscope.nn.export.parameters import parameters
from cnnscope.nn.export.pytorch.body import Body, Class, Names, Step, sequential
from cnnscope.nn.export.pytorch.scopes import ANONYMOUS, Item, Scope, is_attribute, member, owner, registered, variable
from cnnscope.nn.export.pytorch.tensors import attribute_of, constant
from cnnscope.nn.ops.base import Code
from cnnscope.ops.call import Literal

_Fields = list[tuple[str, Expr]]
_EVERY_GRAPH = "`--to json` writes every graph"


@dataclass
class Classes:
    """Makes classes of scopes, innermost scopes first, so that an outer scope can construct the classes inside it."""

    graph: Graph
    codes: Mapping[str, Code]
    names: Names
    made: dict[str, Expr] = field(default_factory=dict)
    classes: list[Class] = field(default_factory=list)

    def add(self, root: Scope) -> None:
        """Adds classes for all scopes inside ``root``, and one for ``root`` itself."""
        scopes = sorted(_inside(root), key=lambda scope: scope.height)
        for height in dict.fromkeys(scope.height for scope in scopes):
            alike: dict[Hashable, list[tuple[Scope, Body]]] = {}
            for scope in scopes:
                if scope.height == height:
                    body = self.body(scope)
                    alike.setdefault(_skeleton(body, scope), []).append((scope, body))
            for members in sorted(alike.values(), key=len, reverse=True):
                self._define(members)
        self.classes.append(Class(self.names.root(self.graph.name), self.body(root), (), (root,)))

    def body(self, scope: Scope) -> Body:
        """The fields and steps of a scope, with a literal for each number."""
        chain = scope.follows and all(self._stands_alone(item) for item in scope.items)
        if chain:
            return Body(tuple((registered(item.name), self._made(item)) for item in scope.items), 1)
        number = {name: i for i, name in enumerate(scope.inputs)}
        fields: list[tuple[str, Expr]] = []
        steps: list[Step] = []
        for item in scope.items:
            own, modules = self._own(item, scope)
            fields += [field for field in (*modules, *own) if field not in fields]
            inputs: list[Expr] = [Ref(number[name]) for name in item.inputs]
            inputs += [Raw(member(name)) for name, _ in own]
            for name in item.outputs:
                number[name] = len(number)
            called = registered(item.same_as or item.name)
            if not item.same_as and not own and not self._is_function(item):
                fields.append((called, self._made(item)))
            expression = self._call(item, Raw(member(called)), inputs)
            yields = tuple(number[name] for name in item.outputs)
            steps.append(Step(yields, expression, variable(item.name), item.training_only))
        return Body(tuple(fields), len(scope.inputs), tuple(steps), tuple(number[name] for name in scope.outputs))

    def _own(self, item: Item, scope: Scope) -> tuple[_Fields, _Fields]:
        """The tensors that the scope's class has for an item, and the modules that only contain them: their names and
        the expressions that make them.
        """
        node = item.node
        found: _Fields = []
        modules: _Fields = []
        for i, part in enumerate(() if node is None else self.codes[node.name].own):
            assert node is not None
            if isinstance(part, Literal):
                name, key = f"{variable(item.name)}_numbers{i or ''}", node.name
                made = constant(part)
            else:
                key = node.params[part]
                param = self.graph.params[key]
                start = f"{scope.path}." if scope.path else ""
                name = key.removeprefix(start)
                inner, _, last = name.rpartition(".")
                taken = {
                    registered(other.name) for other in scope.items if other.node is None or not self._is_bare(other)
                }
                if not key.startswith(start) and param.data is not None and not param.persistent:
                    made = constant(Literal(param.shape, param.dtype, param.data))
                    found.append((f"{variable(item.name)}_{last}", _known(made, key)))
                    continue
                if not key.startswith(start) or inner.partition(".")[0] in taken:
                    raise _kept_elsewhere(node)
                for module in accumulate(inner.split("."), "{}.{}".format) if inner else ():
                    modules.append((module, Call("nn.Module")))
                made = attribute_of(param)
            found.append((name, _known(made, key)))
        return found, modules

    def _is_bare(self, item: Item) -> bool:
        """Whether an item has no module of its own in the class around it."""
        return item.node is not None and self.codes[item.node.name].construct is None

    def _stands_alone(self, item: Item) -> bool:
        if item.node is None:
            return True
        code = self.codes[item.node.name]
        return code.plain and code.construct is not None

    def _is_function(self, item: Item) -> bool:
        return item.node is not None and self.codes[item.node.name].function is not None

    def _made(self, item: Item) -> Expr:
        if item.node is None:
            return self.made[item.inner.path]
        _check_owner(item)
        made = self.codes[item.node.name].construct
        assert made is not None
        return made

    def _call(self, item: Item, attribute: Raw, inputs: Sequence[Expr]) -> Expr:
        if item.node is None:
            return Call(attribute.text, tuple(inputs))
        code = self.codes[item.node.name]
        return code.function(inputs) if code.function else code.call(attribute, inputs)

    def _define(self, members: Sequence[tuple[Scope, Body]]) -> None:
        """Adds one class for scopes with the same skeleton, or makes plain sequences if a class is no help."""
        bodies = [literals(body) for _, body in members]
        scope, body = members[0]
        taken = {name for name, _ in body.fields}
        found, replaced = parameters(_places(body), bodies, [self._channels(scope) for scope, _ in members], taken)
        if not body.steps and not scope.is_row and (_numbered(body) or _plain(scope, len(members), len(found))):
            for scope, body in members:
                self.made[scope.path] = sequential(body.fields)
            return
        filled = _filled(body, replaced)
        scopes = tuple(scope for scope, _ in members)
        name = self.names.of(scopes, filled)
        self.classes.append(Class(name, filled, found, scopes))
        for i, (scope, _) in enumerate(members):
            args = tuple(Lit(p.values[i], p.name) for p in found if not p.has_default)
            named = tuple((p.name, Lit(p.values[i], p.name, p.default)) for p in found if p.has_default)
            self.made[scope.path] = Call(name, args, named)

    def _channels(self, scope: Scope) -> tuple[int, int]:
        """Channels (or features) that enter and leave."""
        ends = (self.graph.value((scope.inputs or scope.outputs)[0]), self.graph.value(scope.outputs[0]))
        before, after = (v.shape[-1 if v.kind == "tokens" else 1] if len(v.shape) > 1 else 1 for v in ends)
        return before, after


def _filled(body: Body, values: Sequence[Expr]) -> Body:
    """The body with its parameters. Those that steps use become attributes."""
    in_fields = len(literals(body.fields))
    stored: dict[str, None] = {}
    given: list[Expr] = list(values[:in_fields])
    for value in values[in_fields:]:
        if isinstance(value, Raw):
            stored |= dict.fromkeys(re.findall(r"[A-Za-z_]\w*", value.text))
            value = Raw(re.sub(r"([A-Za-z_]\w*)", r"self.\1", value.text))
        given.append(value)
    return replace(fill(body, iter(given)), stored=tuple(stored))


def _check_owner(item: Item) -> None:
    node = item.node
    assert node is not None
    if node.params and owner(node) != node.name.partition("#")[0]:
        raise _kept_elsewhere(node)


def _known(made: Expr | None, key: str) -> Expr:
    """The expression; E427 if there is none."""
    if made is None:
        raise CnnscopeError.of("E427", f"the numbers of `{key}` are too many to write", hint=_EVERY_GRAPH)
    return made


def _kept_elsewhere(node: Node) -> CnnscopeError:
    kept = next(iter(node.params.values()))
    return CnnscopeError.of("E427", f"`{node.name}` uses weights kept elsewhere (`{kept}`)")


def _inside(scope: Scope) -> list[Scope]:
    result: list[Scope] = []
    for item in scope.items:
        if item.scope and not item.same_as:
            result += [*_inside(item.scope), item.scope]
    return result


def _skeleton(body: Body, scope: Scope) -> Hashable:
    """What scopes must have in common to share a class."""
    return blank(body), scope.kind, scope.is_row


def _numbered(body: Body) -> bool:
    """Whether some layers have names that no attribute can have, such as numbers."""
    return not all(is_attribute(name) for name, _ in body.fields)


def _plain(scope: Scope, count: int, parameters: int) -> bool:
    """Whether a sequence needs no class: it has none in the source, occurs once, or needs too many arguments."""
    return scope.kind in ANONYMOUS or parameters > 2 * count or count == 1


def _places(body: Body) -> list[tuple[str, str]]:
    """For each literal of a body the attribute or step to which it belongs, and the argument that it sets."""
    parts = [
        *((variable(name), made) for name, made in body.fields),
        *((step.name, step.expression) for step in body.steps),
    ]
    return [(name, lit.name) for name, expression in parts for lit in literals(expression)]
