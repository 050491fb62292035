"""The text of a class: the constructor, and a forward pass with statements as a person would write them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cnnscope.nn import code
from cnnscope.nn.code import Call, Expr, Infix, Lit, Raw
from cnnscope.nn.export.pytorch.body import Body, Class, Step
from cnnscope.nn.export.pytorch.scopes import is_spoken, member

_SPARE = ("y", "z", "u", "v", "w")
_LONGEST = 80
"""Columns up to which an expression may become part of the expression that uses it."""


def docstring(text: str) -> str:
    """Text as it stands between triple quotes, whatever an author's title has in it."""
    text = text.replace("\\", "\\\\")
    if '"""' in text or text.endswith('"'):
        text = text.replace('"', '\\"')
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def class_lines(
    cls: Class, about: str, inputs: Sequence[str] = (), outputs: Sequence[str] = (), extra: Sequence[str] = ()
) -> list[str]:
    """Returns the class definition.

    ``about`` is its docstring. ``inputs`` are the names of the arguments of ``forward``, by default ``x``. A network
    with several outputs returns a dict with the keys ``outputs``. The statements ``extra`` are the end of `__init__`.
    """
    body = cls.body
    result = [f"class {cls.name}(nn.{'Module' if body.steps else 'Sequential'}):", f'    """{docstring(about)}"""', ""]
    constructed = bool(body.fields or body.stored or extra)
    if constructed:
        result += code.signature("def __init__", ["self", *(p.annotated for p in cls.parameters)], " -> None:", 4)
        numbered = not body.steps and [name for name, _ in body.fields] == [str(i) for i in range(len(body.fields))]
        result += code.lines(Call("super().__init__", tuple(made for _, made in body.fields if numbered)), 8)
        result += [f"        self.{name} = {name}" for name in body.stored]
        for name, made in () if numbered else body.fields:
            result += _registered(name, made)
        result += [f"        {line}" for line in extra]
    if body.steps:
        result += [""] if constructed else []
        result += _forward(body, inputs or _inputs(body.inputs), outputs)
    return result if result[-1] else result[:-1]


def _registered(path: str, made: Expr) -> list[str]:
    """The statement that gives a module, parameter or buffer its name."""
    parent, _, name = path.rpartition(".")
    if is_spoken(name):
        return code.lines(made, 8, f"{member(path)} = ")
    return code.lines(Call("setattr", (Raw(member(parent) if parent else "self"), Lit(name), made)), 8)


def _inputs(count: int) -> tuple[str, ...]:
    return ("x",) if count == 1 else tuple(f"x{i + 1}" for i in range(count))


def _forward(body: Body, names: Sequence[str], keys: Sequence[str]) -> list[str]:
    parameters = ["self", *(f"{name}: Tensor" for name in names)]
    in_training = [step for step in body.steps if step.training_only]
    always = [i for i in body.outputs if not any(i in step.yields for step in in_training)]
    yields = _annotation(len(body.outputs), keys)
    if in_training and len(always) == 1:
        yields = f"Tensor | {yields}"
    writer = Writer(body, names, [*always, *body.outputs] if in_training else list(body.outputs))
    for step in body.steps:
        if not step.training_only:
            writer.run(step)
    if in_training:
        returned = [line[4:] for line in writer.returned(always, keys)]
        writer.done += ["if not self.training:", *(f"    {line}" for line in returned)]
        for step in in_training:
            writer.run(step)
    statements = [*writer.done, *(line[4:] for line in writer.returned(body.outputs, keys))]
    return [
        *code.signature("def forward", parameters, f" -> {yields}:", 4),
        *(f"        {line}" for line in statements),
    ]


def _annotation(count: int, keys: Sequence[str]) -> str:
    if count == 1:
        return "Tensor"
    return "dict[str, Tensor]" if keys else f"tuple[{', '.join(['Tensor'] * count)}]"


@dataclass
class Writer:
    """Writes steps as statements. A short expression that is used once becomes part of the expression that uses it."""

    body: Body
    names: Sequence[str]
    returns: Sequence[int]
    done: list[str] = field(default_factory=list)
    code: dict[int, Expr] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.code = {i: Raw(name) for i, name in enumerate(self.names)}
        self.left = [index for step in self.body.steps for index in code.refs(step.expression)] + list(self.returns)
        self.held = {name: i for i, name in enumerate(self.names)}  # the value in each variable

    def run(self, step: Step) -> None:
        """Writes one step as a statement, or keeps its expression for the step that uses it."""
        inputs = code.refs(step.expression)
        for index in inputs:
            self.left.remove(index)
        expression = code.place(step.expression, self.code)
        (first, *more) = step.yields
        if not more and self._inlines(step, expression, first):
            self.code[first] = expression
            return
        free = _variables(expression) if not more else set()
        variables = [self._variable(index, free, step, n) for n, index in enumerate(step.yields)]
        self.done += [line[8:] for line in code.lines(expression, 8, f"{', '.join(variables)} = ")]
        for variable, index in zip(variables, step.yields, strict=True):
            self.code[index] = Raw(variable)
            self.held[variable] = index

    def returned(self, outputs: Sequence[int], keys: Sequence[str]) -> list[str]:
        """The return statement for these outputs, with an indent of 4."""
        values = [self.code[index] for index in outputs]
        if len(values) == 1:
            return code.lines(values[0], 4, "return ")
        if not keys:
            return [f"    return {', '.join(map(code.text, values))}"]
        names = [keys[self.body.outputs.index(index)] for index in outputs]
        entries = [f"{code.literal(name)}: {code.text(value)}" for name, value in zip(names, values, strict=True)]
        whole = f"    return {{{', '.join(entries)}}}"
        if len(whole) + 4 <= code.WIDTH:
            return [whole]
        return ["    return {", *(f"        {entry}," for entry in entries), "    }"]

    def _inlines(self, step: Step, expression: Expr, index: int) -> bool:
        """Whether an expression becomes part of another: it is short, used once, and makes no chain of calls."""
        if self.left.count(index) != 1:
            return False
        if index in self.returns:
            return step is self.body.steps[-1] or (len(self.body.outputs) > 1 and not _nested(expression))
        if len(code.text(expression)) > _LONGEST:
            return False
        user = next(s for s in self.body.steps if index in code.refs(s.expression))
        if _calls_module(user.expression):
            return False
        if _calls_module(
            expression
        ):  # branches of a join may be inside it, but not one layer of a chain inside the next
            return not _nested(expression) and len(code.refs(user.expression)) > 1
        return not (isinstance(expression, Infix) and isinstance(user.expression, Infix))

    def _variable(self, index: int, read: set[str], step: Step, position: int) -> str:
        """The variable for a value: one that is read here for the last time, else a new one named after the layer."""
        named = _calls_module(step.expression) and not self._continues(index) and index not in self.returns
        for name, held in self.held.items():
            free = name in read and held not in self.left and not self._kept(name)
            if free and not named and name in ("x", *_SPARE):
                return name
        taken = {name for name, held in self.held.items() if held in self.left or self._kept(name)}
        if self._continues(index):
            return next((name for name in _SPARE if name not in taken), None) or code.free_name("y", taken)
        wanted = step.name if position == 0 else f"{step.name}{position + 1}"
        return code.free_name(wanted, taken)

    def _kept(self, name: str) -> bool:
        """Whether an expression that is not written yet reads the variable."""
        return any(
            index in self.left and not isinstance(written, Raw) and name in _variables(written)
            for index, written in self.code.items()
        )

    def _continues(self, index: int) -> bool:
        """Whether the only reader of a value is a layer with one input: a name after this layer would soon be wrong."""
        users = [step for step in self.body.steps if index in code.refs(step.expression)]
        return len(users) == 1 and len(code.refs(users[0].expression)) == 1


def _variables(expr: Expr) -> set[str]:
    return {leaf.text for leaf in code.leaves(expr) if isinstance(leaf, Raw)}


def _calls_module(expr: Expr) -> bool:
    return isinstance(expr, Call) and expr.callee.startswith(("self.", "getattr(self"))


def _nested(expr: Expr) -> bool:
    """Whether a module is called on anything but variables."""
    return any(not isinstance(inner, Raw) for inner in code.inside(expr))
