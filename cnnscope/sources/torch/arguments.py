"""The arguments of ``forward``: tensors of the sizes given, alone or inside dicts and lists, numbers, examples."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.sources.inputs import InputSize


@dataclass
class Arguments:
    """What ``forward`` is called with; ``tensors`` are the network's inputs by name."""

    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)


def make_arguments(module: nn.Module, sizes: Sequence[InputSize], *, real: bool = False, batch: int = 1) -> Arguments:
    """Returns arguments for ``batch`` images of these sizes, as ``forward`` takes them; raises E434 if it takes others.

    Tensors are on the meta device or, if ``real``, those of an example, normal random numbers, or zeros for integers,
    which may be indices.
    """
    accepted = inspect.signature(module.forward).parameters
    wanted = [p for p in accepted.values() if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    first = next((name for name, p in accepted.items() if p.kind is not p.VAR_KEYWORD), "input")
    default = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    made, places = Arguments(), []
    for size in sizes:
        root, keys = _path(size.name, first, wanted, accepted)
        if root is None and len(wanted) == 1 and wanted[0].kind is inspect.Parameter.KEYWORD_ONLY:
            root = wanted[0].name  # it cannot be passed without its name
        places.append((root, keys, size))
    _check(module, accepted, wanted, [(root, size) for root, _, size in places])
    found: dict[str, Any] = {}
    for root, keys, size in places:
        value = _value(size, accepted.get(root or ""), default, real, batch)
        if isinstance(value, Tensor):
            made.tensors[size.name or _unnamed(made.tensors)] = value
        if root is None:
            made.args.append(value)
        else:
            found[root] = _put(found.get(root), keys, value, size)
    made.kwargs.update((name, _lists(value)) for name, value in found.items())
    return made


def _unnamed(taken: Mapping[str, Tensor]) -> str:
    """Returns the name of an input without one: ``forward(*x)`` may take several."""
    count = sum(name == "input" or name.startswith("input#") for name in taken)
    return f"input#{count + 1}" if count else "input"


def _path(
    name: str | None, first: str, wanted: Sequence[inspect.Parameter], accepted: Mapping[str, inspect.Parameter]
) -> tuple[str | None, tuple[str | int, ...]]:
    """Returns the argument that a name leads into, and the keys on the way; no argument for a size without a name."""
    if name is None:
        return None, ()
    match = re.fullmatch(r"(?P<root>[^.\[\]]*)(?P<rest>(?:\.[^.\[\]]+|\[[^\[\]]+\])*)", name)
    if match is None:
        return name, ()
    parts = [one or two for one, two in re.findall(r"\.([^.\[\]]+)|\[([^\[\]]+)\]", match["rest"])]
    keys = tuple(int(part) if part.isdigit() else part for part in parts)
    root = match["root"] or (wanted[0].name if wanted else first)
    if root.startswith("#"):
        root = list(accepted)[int(root[1:])] if int(root[1:]) < len(accepted) else root
    return root, keys


def _check(
    module: nn.Module, accepted: Mapping[str, inspect.Parameter], wanted: Sequence[inspect.Parameter],
    given: Sequence[tuple[str | None, InputSize]],
) -> None:  # fmt: skip
    open_ended = any(p.kind is p.VAR_KEYWORD for p in accepted.values())
    named = [root for root, _ in given if root is not None]
    for root in named:
        if root not in accepted and not open_ended:
            known = f"it takes {_listed(accepted)}"
            if len(wanted) == 1:
                known += f"; an entry of a dict is `{wanted[0].name}.{root}=`"
            raise CnnscopeError.of(
                "E434", f"`{type(module).__name__}` has no input `{root}`", hint=did_you_mean(root, accepted) or known
            )
    missing = [p.name for p in wanted if p.name not in named][len(given) - len(named) :]
    if missing:
        takes = f"`{type(module).__name__}` takes {_listed(p.name for p in wanted)}"
        several = len(wanted) > 1
        examples = [f"--input {p.name + '=' if several else ''}3x224x224" for p in wanted]
        indices = f"{wanted[0].name + '=' if several else ''}128:int64"
        hint = f"for instance `{' '.join(examples)}`, or `{indices}` for indices"
        raise CnnscopeError.of("E434", f"{takes}; no size is given for {_listed(missing)}", hint=hint)


def _value(size: InputSize, parameter: inspect.Parameter | None, default: torch.dtype, real: bool, batch: int) -> Any:
    held = size.plain[0] if size.plain else None
    if isinstance(held, Tensor) and tuple(held.shape[1:]) == size.shape:
        held = torch.cat([held] * batch) if held.dim() and held.shape[0] == 1 else held
        return held.detach().cpu().clone() if real else torch.empty_like(held, device="meta")
    if size.plain and not isinstance(held, Tensor) and (not size.shape or _is_number(parameter)):
        return held
    dtype = getattr(torch, size.dtype) if size.dtype else default
    shape = (batch, *size.shape)
    if not real:
        return torch.empty(shape, dtype=dtype, device="meta")
    if not dtype.is_floating_point:
        return torch.zeros(shape, dtype=dtype)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)


def _is_number(parameter: inspect.Parameter | None) -> bool:
    """Returns whether the author of ``forward`` says that an argument is a number."""
    if parameter is None:
        return False
    kinds: tuple[Any, ...] = (int, float, bool, "int", "float", "bool")
    return parameter.annotation in kinds or isinstance(parameter.default, (int, float))


def _put(held: Any, keys: Sequence[str | int], value: Any, size: InputSize) -> Any:
    """Returns ``held`` with a value under the keys."""
    if not keys:
        return value
    container = {} if held is None else held
    if not isinstance(container, dict) or any(type(key) is not type(keys[0]) for key in container):
        raise CnnscopeError.of("E403", f"`{size}` and another input cannot both be in one argument")
    return {**container, keys[0]: _put(container.get(keys[0]), keys[1:], value, size)}


def _lists(value: Any) -> Any:
    """Returns the structure with lists where the keys are the numbers from 0 on."""
    if not isinstance(value, dict):
        return value
    inner = {key: _lists(item) for key, item in value.items()}
    return [inner[i] for i in range(len(inner))] if set(inner) == set(range(len(inner))) else inner


def or_numbers(sizes: Sequence[InputSize]) -> tuple[InputSize, ...]:
    """Returns the same inputs with ``n=4`` read as the number 4, not as a vector of 4."""
    return tuple(replace(s, shape=()) if s.plain and not isinstance(s.plain[0], Tensor) else s for s in sizes)


def from_example(example: Any, accepted: Iterable[str]) -> tuple[InputSize, ...]:
    """Returns the inputs of a call with an example: a tuple of arguments, a dict of them by name, or one argument.

    A tensor of several images stands for one of them.
    """
    names = set(accepted)
    if isinstance(example, Mapping) and example and set(example) <= names:
        found = [leaf for name, value in example.items() for leaf in _leaves(value, str(name))]
    else:
        args = example if isinstance(example, tuple) else (example,)
        found = [leaf for i, value in enumerate(args) for leaf in _leaves(value, f"#{i}")]
    batch = next((leaf.shape[0] for _, leaf in found if isinstance(leaf, Tensor) and leaf.dim()), 1)
    return tuple(_input(name, leaf, batch) for name, leaf in found)


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{name}.{key}")
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from _leaves(item, f"{name}[{i}]")
    else:
        yield name, value


def _input(name: str, leaf: Any, batch: int) -> InputSize:
    if not isinstance(leaf, Tensor):
        return InputSize((), name, None, (leaf,))
    one = leaf[:1] if leaf.dim() and leaf.shape[0] == batch else leaf
    return InputSize(tuple(one.shape[1:]), name, str(leaf.dtype)[6:], (one,))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
