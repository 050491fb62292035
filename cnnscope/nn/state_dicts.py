"""Which entry of what `torch.save` wrote is the state dict: wrappers of training scripts, ``FILE#key``, names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cnnscope.errors import CnnscopeError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

WRAPPERS = (
    "state_dict", "model_state_dict", "model", "module", "net", "network", "params", "weights",
    "ema_state_dict", "state_dict_ema", "model_ema", "params_ema", "ema", "teacher", "student",
)  # fmt: skip
"""Keys under which training scripts keep the state dict; the first one that is there counts."""
_INSERTED = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""Name parts that `torch.compile`, FSDP and activation checkpointing put in front of a module's own."""


_SHOWN = 8
_T = TypeVar("_T")


def below(path: Path, tensors: dict[str, _T], entry: str) -> dict[str, _T]:
    """The tensors whose names begin with the entry, without it."""
    if not entry:
        return tensors
    below = {name.removeprefix(f"{entry}."): value for name, value in tensors.items() if name.startswith(f"{entry}.")}
    if not below:
        firsts = dict.fromkeys(name.partition(".")[0] for name in tensors)
        raise _no_entry(path, entry, firsts)
    return below


def _no_entry(path: Path, entry: str, known: Iterable[object]) -> CnnscopeError:
    names = [str(name) for name in known]
    hint = did_you_mean(entry, names) or "its entries: " + ", ".join(f"`{name}`" for name in names[:_SHOWN])
    return CnnscopeError.of("E423", f"`{path.name}` has no entry `{entry}` with weights", hint=hint)


def chosen(path: Path, found: Any, entry: str) -> Any:
    """The entry of what was saved: one key, keys joined by dots, or the beginning of its tensors' names."""
    if not isinstance(found, Mapping):
        raise _no_state_dict(path, f"a {type(found).__name__}")
    if isinstance(found.get(entry), Mapping):
        return found[entry]
    first, dot, rest = entry.partition(".")
    if dot and isinstance(found.get(first), Mapping):
        return chosen(path, found[first], rest)
    named = {key: value for key, value in found.items() if isinstance(key, str) and _is_tensor(value)}
    if any(key.startswith(f"{entry}.") for key in named):
        return below(path, named, entry)
    raise _no_entry(path, entry, (key for key, value in found.items() if isinstance(value, Mapping)))


def _is_tensor(value: object) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def unwrap(path: Path, found: Any) -> tuple[dict[str, Tensor], tuple[str, ...], tuple[str, ...]]:
    """Returns the state dict in what was saved, the keys under which it was found, and the other entries."""
    import torch

    wrapper: list[str] = []
    ignored: list[str] = []
    while isinstance(found, Mapping) and len(wrapper) < 4:
        key = next((key for key in WRAPPERS if isinstance(found.get(key), Mapping)), None)
        if key is None:
            break
        ignored += _described((name, value) for name, value in found.items() if name != key)
        wrapper.append(key)
        found = found[key]
    if not isinstance(found, Mapping):
        raise _no_state_dict(path, f"a {type(found).__name__}")
    tensors = {key: v for key, v in found.items() if isinstance(v, torch.Tensor) and isinstance(key, str)}
    if not tensors:
        entries = _described(found.items())
        choices = [".".join((*wrapper, key)) for key in _with_tensors(found)]
        what = ", ".join(entries[:6]) + (", ..." if len(entries) > 6 else "") or "an empty dict"
        raise _no_state_dict(path, what, choices)
    ignored += _described((key, value) for key, value in found.items() if key not in tensors)
    return {_INSERTED.sub("", key): tensor for key, tensor in tensors.items()}, tuple(wrapper), tuple(ignored)


def _described(entries: Iterable[tuple[object, object]]) -> list[str]:
    return [f"`{key}` ({type(value).__name__})" for key, value in entries]


def _with_tensors(entries: Mapping[object, object], deep: int = 4) -> Iterator[str]:
    """Yields the keys, joined by dots, that lead to entries with tensors."""
    for key, entry in entries.items():
        if isinstance(key, str) and isinstance(entry, Mapping):
            if any(_is_tensor(value) for value in entry.values()):
                yield key
            elif deep:
                yield from (f"{key}.{inner}" for inner in _with_tensors(entry, deep - 1))


def _no_state_dict(path: Path, what: str, choices: Sequence[str] = ()) -> CnnscopeError:
    hint = "save the weights by themselves: `torch.save(model.state_dict(), 'weights.pt')`"
    if choices:
        hint = "say which entry has the weights: " + ", ".join(f"`{path.name}#{name}`" for name in choices[:_SHOWN])
    return CnnscopeError.of("E423", f"`{path.name}` holds no state dict but {what}", hint=hint)
