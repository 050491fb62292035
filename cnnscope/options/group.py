"""Groups of options: dataclasses whose fields are options of the command line and keyword arguments in Python.

@group("Audit")
class AuditOptions(Running):
    limit: Annotated[int | None, Option("Number of images to use, spread over the set.", min=1)] = None

class Model:
    @takes(AuditOptions)
    def audit(self, options: AuditOptions) -> AuditResult: ...

model.audit(limit=100)  # type checkers know `limit`, and so does `help(model.audit)`
"""

import dataclasses
import inspect
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import inf
from types import UnionType
from typing import (
    Annotated,
    Any,
    Concatenate,
    Literal,
    ParamSpec,
    SupportsFloat,
    TypeVar,
    Union,
    cast,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

from cnnscope.errors import CnnscopeError, did_you_mean

P = ParamSpec("P")
G = TypeVar("G")
T = TypeVar("T")
M = TypeVar("M")
R = TypeVar("R")
K = TypeVar("K")

RENAMED = {
    "batch": "batch_size",
    "layers": "layer",
    "out": "output",
    "size": "shard_size",
    "strict": "strict_data",
}
"""Keyword arguments that still work under their former names, with a FutureWarning."""


@dataclass(frozen=True, slots=True)
class Option:
    """How the command line spells and explains a field.

    ``flags`` are ``--name-of-the-field`` unless given. ``kind`` is the type on the command line where it does not
    follow from the field's own. ``written`` is True for a file that is written.
    """

    help: str
    flags: tuple[str, ...] = ()
    metavar: str | None = None
    min: float | None = None
    max: float | None = None
    kind: Any = None
    written: bool = False


@dataclass(frozen=True, slots=True)
class Field:
    """One option of a group. ``default`` is `dataclasses.MISSING` where it is required."""

    name: str
    type: Any
    default: Any
    panel: str
    option: Option

    @property
    def flags(self) -> tuple[str, ...]:
        """``--batch-size``, or ``--resume/--no-resume`` for what is on by default."""
        flag = "--" + self.name.replace("_", "-")
        return self.option.flags or (f"{flag}/--no-{flag[2:]}" if self.default is True else flag,)

    @property
    def words(self) -> tuple[str, ...]:
        """The only words that the option takes; empty where it takes others."""
        kinds = (self.type, *get_args(self.type))
        return next((get_args(kind) for kind in kinds if get_origin(kind) is Literal), ())

    def listed(self, value: Any) -> Any:
        """The value; a text alone, where the option takes a list of texts, as a list of one."""
        kinds = get_args(self.type) if get_origin(self.type) in (Union, UnionType) else (self.type,)
        return (value,) if isinstance(value, str) and Sequence[str] in kinds and str not in kinds else value


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def group(panel: str) -> Callable[[type[T]], type[T]]:
    """Makes a class a group: a frozen dataclass of keyword arguments, under a heading of the command line's help.

    A group may extend others. TypeError where a field has no `Option`, or where two of them share a name or a flag.
    """

    def decorate(cls: type[T]) -> type[T]:
        found: dict[str, Field] = {}
        for base in cls.__bases__:
            combine(found, fields(base), cls.__name__)
        made = dataclass(frozen=True, kw_only=True, eq=False, repr=False)(cls)
        cls.__eq__, cls.__hash__, cls.__repr__ = _equal, _hash, _repr  # type: ignore[method-assign]  # once for all groups: generating them takes longer than the rest
        names = inspect.get_annotations(cls)
        hints = get_type_hints(cls, include_extras=True) if any(isinstance(h, str) for h in names.values()) else names
        own = (_field(f, hints[f.name], panel) for f in dataclasses.fields(made) if f.name in names)  # type: ignore[arg-type]  # a dataclass by now
        inherited = tuple(found.values())
        combine(found, own, cls.__name__)
        made.__options__ = (*tuple(found.values())[len(inherited) :], *inherited)  # type: ignore[attr-defined]  # what `fields` reads
        return made

    return decorate


def _values(self: Any) -> dict[str, Any]:
    return {one.name: getattr(self, one.name) for one in fields(type(self))}


def _equal(self: Any, other: object) -> bool:
    return type(self) is type(other) and _values(self) == _values(other)


def _hash(self: Any) -> int:
    return hash((type(self), *map(repr, _values(self).values())))


def _repr(self: Any) -> str:
    return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in _values(self).items())})"


def _field(own: "dataclasses.Field[Any]", hint: Any, panel: str) -> Field:
    options = [part for part in get_args(hint)[1:] if isinstance(part, Option)] if get_origin(hint) is Annotated else []
    if not options:
        raise TypeError(f"`{own.name}` has no `Option`")
    return Field(own.name, get_args(hint)[0], own.default, panel, options[0])


def fields(cls: type) -> tuple[Field, ...]:
    """The options of a group, before those of the groups it extends; empty for any other class."""
    found: tuple[Field, ...] = getattr(cls, "__options__", ())
    return found


def part(options: Any, cls: type[T]) -> T:
    """The fields of another group that these options have; the others have their defaults."""
    return cls(**{one.name: getattr(options, one.name) for one in fields(cls) if hasattr(options, one.name)})


def combine(found: dict[str, Field], more: Iterable[Field], where: str) -> None:
    """Adds options by name. TypeError where one has the name or a flag of another."""
    taken = {flag: other.name for other in found.values() for flag in other.flags}
    for one in more:
        if one.name in found:
            raise TypeError(f"`{where}`: two groups have an option `{one.name}`")
        shared = next((flag for flag in one.flags if flag in taken), None)
        if shared is not None:
            raise TypeError(f"`{where}`: `{one.name}` and `{taken[shared]}` are both written `{shared}`")
        found[one.name] = one
        taken |= dict.fromkeys(one.flags, one.name)


def takes(options: Callable[P, G]) -> Callable[[Callable[[M, G], R]], Callable[Concatenate[M, P], R]]:
    """Makes a method that takes a group of options a method of keyword arguments: the fields of the group.

    A wrong name is a TypeError that says the nearest right one, a wrong value a `CnnscopeError` (E400).
    """

    def decorate(method: Callable[[M, G], R]) -> Callable[Concatenate[M, P], R]:
        def call(owner: M, /, *args: P.args, **kwargs: P.kwargs) -> R:
            return method(owner, checked(options(*args, **renamed(method.__name__, kwargs, options))))

        _describe(call, method, options)
        return call

    return decorate


def takes_alone(options: Callable[P, G]) -> Callable[[Callable[[G], R]], Callable[P, R]]:
    """As `takes`, for a function of nothing but a group."""

    def decorate(function: Callable[[G], R]) -> Callable[P, R]:
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            return function(checked(options(*args, **renamed(function.__name__, kwargs, options))))

        _describe(call, function, options)
        return call

    return decorate


def _describe(call: Any, function: Callable[..., Any], options: Any) -> None:
    """Name, signature and documentation of a function whose last parameter became keyword arguments."""
    signature = inspect.signature(function)
    *own, _ = signature.parameters.values()
    kinds = {one.name: one.type for one in fields(options)}
    taken = [p.replace(annotation=kinds[name]) for name, p in inspect.signature(options).parameters.items()]
    call.__signature__ = signature.replace(parameters=[*own, *taken])
    explained = "\n".join(f"{one.name}: {one.option.help}" for one in fields(options))
    call.__doc__ = f"{inspect.cleandoc(function.__doc__ or '')}\n\n{explained}\n"
    for name in ("__name__", "__qualname__", "__module__"):
        setattr(call, name, getattr(function, name))


def renamed(function: str, given: K, options: Any) -> K:
    """Keyword arguments under their names of today. TypeError where one is unknown."""
    known = {one.name: one for one in fields(options)}
    found: dict[str, Any] = {}
    for name, value in cast("dict[str, Any]", given).items():
        today = name if name in known else RENAMED.get(name, name)
        if today not in known:
            near = did_you_mean(name, known) or f"options: {', '.join(known)}"
            raise TypeError(f"{function}() has no option `{name}`; {near}")
        if today != name:
            warnings.warn(f"`{name}` of {function}() is now `{today}`", FutureWarning, stacklevel=_caller())
        found[today] = known[today].listed(value)
    return cast("K", found)


def _caller() -> int:
    """How many calls above `renamed` the first one outside cnnscope is: the line that a warning names."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("cnnscope."):
        level, frame = level + 1, frame.f_back
    return level


def checked(options: G) -> G:
    """The options, whose values typer has not checked. E400 for a word or a number that an option does not take."""
    for one in fields(type(options)):
        value = getattr(options, one.name)
        if value is not None and (reason := _fault(one, value)):
            raise CnnscopeError.of("E400", f"`{one.name}` is {value!r}, {reason}", hint=_hint(one, value))
    return options


def _fault(one: Field, value: Any) -> str | None:
    least, most = one.option.min, one.option.max
    if one.words and value not in one.words:
        return f"not {', '.join(one.words[:-1])} or {one.words[-1]}"
    if least is None or (isinstance(value, SupportsFloat) and least <= float(value) <= (inf if most is None else most)):
        return None
    return f"not a number of at least {least:g}" if most is None else f"not a number from {least:g} to {most:g}"


def _hint(one: Field, value: Any) -> str | None:
    return did_you_mean(value, one.words) if isinstance(value, str) else None
