"""Reads what `torch.save` wrote: tensors and plain containers with torch's reader of weights, and checkpoints that also
have objects of training scripts, or are whole modules, with `cnnscope.nn.inert`. Nothing in a pickle is ever called.
"""

from __future__ import annotations

import tarfile
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnscope.errors import CnnscopeError
from cnnscope.nn.formats import Format, damaged, refusal
from cnnscope.nn.pickles import calls, commands, is_quantised
from cnnscope.nn.state_dicts import WRAPPERS, chosen, unwrap

if TYPE_CHECKING:
    from torch import Tensor


def torch_state(
    path: Path, kind: Format, device: str, entry: str
) -> tuple[dict[str, Tensor], tuple[str, ...], tuple[str, ...]]:
    """What `unwrap` finds in the entry of a file. A file of foreign objects alone, such as a whole module, is E422."""
    found = _torch_load(path, kind, device)
    try:
        if not entry:
            return unwrap(path, found)
        state, wrapper, ignored = unwrap(path, chosen(path, found, entry))
        return state, (entry, *wrapper), ignored
    except CnnscopeError:
        if not entry and _holds_module(found):
            raise _code(path, _foreign(path)) from None
        raise


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


_NO_ARCHIVE = (OSError, zipfile.BadZipFile, tarfile.TarError, NotImplementedError, RuntimeError)
"""What the readers of archives raise for a file that is none, or is damaged."""


def refuse_code(path: Path) -> None:
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
            found = torch.load(path, map_location=device, pickle_module=inert, weights_only=False, mmap=False)
    except Exception as error:  # as in `_torch_load`
        first = next(iter(str(error).splitlines()), "").strip() or type(error).__name__
        raise damaged(path, f"its pickle cannot be followed ({first[:160]})") from error
    if isinstance(found, Mapping):
        return {key: inert.state_of(value) or value for key, value in found.items()}
    return inert.state_of(found) or found


def check_records(path: Path, state: Mapping[str, Tensor]) -> None:
    """Checks that every storage has the size of a zip member; on ``meta`` torch believes what the pickle says."""
    import torch

    with zipfile.ZipFile(path) as archive:
        sizes = {member.file_size for member in archive.infolist()}
    for key, tensor in state.items():
        if tensor.layout is torch.strided and tensor.untyped_storage().nbytes() not in sizes:
            raise damaged(path, f"`{key}` claims {tensor.untyped_storage().nbytes():,} bytes that are not in the file")


def _holds_module(found: Any) -> bool:
    """Whether a foreign object is where weights are expected: the module itself was saved."""
    places = [found.get(key) for key in WRAPPERS] if isinstance(found, Mapping) else [found]
    if all(place is None or type(place).__module__ in ("builtins", "collections", "torch") for place in places):
        return False
    from cnnscope.nn.inert import Placeholder

    return any(isinstance(place, Placeholder) for place in places)
