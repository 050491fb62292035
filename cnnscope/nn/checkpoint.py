"""Weight files: reading their names and shapes, reading the tensors, and writing them.

The formats are ``.safetensors`` and what `torch.save` writes. Nothing in a file is ever executed: pickles are read with
``weights_only=True``. Where a pickle also has objects of a training script, `cnnscope.nn.inert` reads it and puts
placeholders for them; one that names functions to call is refused with their names.

``FILE#key`` names one entry of a file that has several state dicts: ``run.pt#teacher``, ``run.pt#ema.state_dict``.
"""

from __future__ import annotations

import os
import re
import tarfile
import warnings
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.files import replacing
from cnnscope.ir import Param
from cnnscope.nn.formats import Format, damaged, refusal, safetensors_header, sniff
from cnnscope.nn.pickles import calls, commands, is_quantised

if TYPE_CHECKING:
    from torch import Tensor, nn

WRAPPERS = (
    "state_dict", "model_state_dict", "model", "module", "net", "network", "params", "weights",
    "ema_state_dict", "state_dict_ema", "model_ema", "params_ema", "ema", "teacher", "student",
)  # fmt: skip
"""Keys under which training scripts keep the state dict; the first one that is there counts."""
_INSERTED = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""Name parts that `torch.compile`, FSDP and activation checkpointing put in front of a module's own."""

_SHOWN = 8
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The contents of a weight file: shape and type of each tensor by key, in the order of the file.

    ``wrapper`` are the keys under which the state dict was found (``("state_dict",)``). ``ignored`` lists other entries
    of the file, with their types. ``ordered`` says whether tensors are in the order in which modules were registered;
    safetensors sorts names alphabetically.
    """

    path: Path
    tensors: Mapping[str, Param]
    wrapper: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    ordered: bool = True


def read_header(path: Path | str) -> Checkpoint:
    """Returns names, shapes and types in a weight file without reading tensors; only old ``.pth`` files are read whole.

    Raises `CnnscopeError`: E420 if it is no weight file, E421 if it is damaged, E422 for a pickle with code, E423 if it
    has no state dict.
    """
    path, entry = _entry(path)
    kind = _format(path)
    if kind == "safetensors":
        tensors = _below(path, safetensors_header(path), entry)
        return Checkpoint(path, tensors, wrapper=(entry,) if entry else (), ordered=False)
    state, wrapper, ignored = _torch_state(path, kind, "meta", entry)
    if kind == "torch":
        _check_records(path, state)
    tensors = {key: Param(tuple(t.shape), str(t.dtype).removeprefix("torch.")) for key, t in state.items()}
    return Checkpoint(path, tensors, wrapper, ignored)


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """Returns the tensors of a weight file on the CPU. Keys and errors are those of `read_header`."""
    path, entry = _entry(path)
    kind = _format(path)
    if kind == "safetensors":
        from safetensors.torch import load_file

        safetensors_header(path)
        return _below(path, load_file(path), entry)
    return _torch_state(path, kind, "cpu", entry)[0]


def _entry(path: Path | str) -> tuple[Path, str]:
    """The file and the entry in ``FILE#entry``, "" for the whole file. A file of exactly this name comes first."""
    path = Path(path)
    folder, mark, entry = str(path).rpartition("#")
    return (Path(folder), entry) if mark and folder and entry and not os.path.lexists(path) else (path, "")


def _below(path: Path, tensors: dict[str, _T], entry: str) -> dict[str, _T]:
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


def write_weights(weights: nn.Module | Mapping[str, Tensor], path: Path | str) -> None:
    """Writes a module's state dict to ``.safetensors``, ``.pt`` or ``.pth``. After an error there is no file.

    Tied weights are written under each of their keys. Raises `CnnscopeError`: E404 for another suffix, E405 if the
    system does not allow it.
    """
    import torch

    path = Path(path)
    state = weights.state_dict() if isinstance(weights, torch.nn.Module) else weights
    plain = {key: tensor.detach().contiguous().cpu() for key, tensor in state.items()}
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        separate = {key: tensor.clone() for key, tensor in plain.items()}  # the format has no shared tensors
        with replacing(path) as draft:
            save_file(separate, draft)
    elif path.suffix in (".pt", ".pth"):
        with replacing(path) as draft:
            torch.save(plain, draft)
    else:
        hint = did_you_mean(path.suffix, (".safetensors", ".pt", ".pth")) or "use `.safetensors`, `.pt` or `.pth`"
        raise CnnscopeError.of("E404", f"`{path.name}` has no known suffix", hint=hint)


def _torch_load(path: Path, kind: Format, device: str) -> Any:
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location=device, weights_only=True, mmap=False)
    except Exception as error:  # a hostile pickle can raise any error, and each means that the file cannot be read
        foreign = _foreign(path)
        if commands(foreign):
            raise _code(path, commands(foreign)) from None
        if _quantised(path):
            hint = "save the weights of the network that it was quantised from"
            raise refusal(path, "a state dict with quantised tensors", hint) from None
        if foreign:
            return _inert_load(path, device)
        first = next(iter(str(error).splitlines()), "").strip() or type(error).__name__
        raise damaged(path, f"torch cannot read it ({first[:160]})") from error


def _format(path: Path) -> Format:
    """`sniff`, but E422 comes before what else is wrong with a pickle."""
    try:
        return sniff(path)
    except CnnscopeError as error:
        known = (
            path.is_file() and zipfile.is_zipfile(path) and error.diagnostics[0].code == "E420"
        )  # TorchScript, Keras
        if path.is_file() and not known:
            _refuse_code(path)
        raise


_NO_ARCHIVE = (OSError, zipfile.BadZipFile, tarfile.TarError, NotImplementedError, RuntimeError)
"""What the readers of archives raise for a file that is none, or is damaged."""


def _refuse_code(path: Path) -> None:
    """E422 for a pickle that refers to more than tensors and plain containers."""
    if code := _foreign(path):
        raise _code(path, code)


def _foreign(path: Path) -> list[str]:
    """What the pickles of a file refer to beyond tensors and plain containers; [] where there is no pickle."""
    try:
        return calls(path)
    except _NO_ARCHIVE:
        return []


def _quantised(path: Path) -> bool:
    try:
        return is_quantised(path)
    except _NO_ARCHIVE:
        return False


def _code(path: Path, names: Iterable[str]) -> CnnscopeError:
    listed = ", ".join(f"`{name.replace('__builtin__.', 'builtins.')}`" for name in sorted(names))
    return CnnscopeError.of(
        "E422",
        f"`{path.name}` is a pickle that would run code ({listed}); it is not loaded",
        hint="where it was made, save the weights alone: `torch.save(model.state_dict(), 'weights.pt')`",
    )


def _inert_load(path: Path, device: str) -> Any:
    """What a file holds, with a placeholder for every object of a foreign class. Nothing of theirs is called."""
    import torch

    from cnnscope.nn import inert

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if zipfile.is_zipfile(path) and "constants.pkl" in torch._C.PyTorchFileReader(str(path)).get_all_records():
                raise ValueError("it is a TorchScript archive for torch, and another archive for `zipfile`")
            return torch.load(path, map_location=device, pickle_module=inert, weights_only=False, mmap=False)
    except Exception as error:  # as in `_torch_load`
        first = next(iter(str(error).splitlines()), "").strip() or type(error).__name__
        raise damaged(path, f"its pickle cannot be followed ({first[:160]})") from error


def _check_records(path: Path, state: Mapping[str, Tensor]) -> None:
    """Checks that every storage has the size of a zip member; on ``meta`` torch believes what the pickle says."""
    import torch

    with zipfile.ZipFile(path) as archive:
        sizes = {member.file_size for member in archive.infolist()}
    for key, tensor in state.items():
        if tensor.layout is torch.strided and tensor.untyped_storage().nbytes() not in sizes:
            raise damaged(path, f"`{key}` claims {tensor.untyped_storage().nbytes():,} bytes that are not in the file")


def _torch_state(
    path: Path, kind: Format, device: str, entry: str
) -> tuple[dict[str, Tensor], tuple[str, ...], tuple[str, ...]]:
    """What `_unwrap` finds in the entry of a file. A file of foreign objects alone, such as a whole module, is E422."""
    found = _torch_load(path, kind, device)
    try:
        if not entry:
            return _unwrap(path, found)
        state, wrapper, ignored = _unwrap(path, _chosen(path, found, entry))
        return state, (entry, *wrapper), ignored
    except CnnscopeError:
        if not entry and _holds_module(found):
            raise _code(path, _foreign(path)) from None
        raise


def _holds_module(found: Any) -> bool:
    """Whether a foreign object is where weights are expected: the module itself was saved."""
    places = [found.get(key) for key in WRAPPERS] if isinstance(found, Mapping) else [found]
    if all(place is None or type(place).__module__ in ("builtins", "collections", "torch") for place in places):
        return False
    from cnnscope.nn.inert import Placeholder

    return any(isinstance(place, Placeholder) for place in places)


def _chosen(path: Path, found: Any, entry: str) -> Any:
    """The entry of what was saved: one key, keys joined by dots, or the beginning of its tensors' names."""
    if not isinstance(found, Mapping):
        raise _no_state_dict(path, f"a {type(found).__name__}")
    if isinstance(found.get(entry), Mapping):
        return found[entry]
    first, dot, rest = entry.partition(".")
    if dot and isinstance(found.get(first), Mapping):
        return _chosen(path, found[first], rest)
    named = {key: value for key, value in found.items() if isinstance(key, str) and _is_tensor(value)}
    if any(key.startswith(f"{entry}.") for key in named):
        return _below(path, named, entry)
    raise _no_entry(path, entry, (key for key, value in found.items() if isinstance(value, Mapping)))


def _is_tensor(value: object) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _unwrap(path: Path, found: Any) -> tuple[dict[str, Tensor], tuple[str, ...], tuple[str, ...]]:
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
        choices = [
            ".".join((*wrapper, key)) for key, value in found.items() if isinstance(key, str) and _has_tensor(value)
        ]
        what = ", ".join(entries[:6]) + (", ..." if len(entries) > 6 else "") or "an empty dict"
        raise _no_state_dict(path, what, choices)
    ignored += _described((key, value) for key, value in found.items() if key not in tensors)
    return {_INSERTED.sub("", key): tensor for key, tensor in tensors.items()}, tuple(wrapper), tuple(ignored)


def _described(entries: Iterable[tuple[object, object]]) -> list[str]:
    return [f"`{key}` ({type(value).__name__})" for key, value in entries]


def _has_tensor(entry: object) -> bool:
    return isinstance(entry, Mapping) and any(_is_tensor(value) for value in entry.values())


def _no_state_dict(path: Path, what: str, choices: Sequence[str] = ()) -> CnnscopeError:
    hint = "save the weights by themselves: `torch.save(model.state_dict(), 'weights.pt')`"
    if choices:
        hint = "say which entry has the weights: " + ", ".join(f"`{path.name}#{name}`" for name in choices[:_SHOWN])
    return CnnscopeError.of("E423", f"`{path.name}` holds no state dict but {what}", hint=hint)
