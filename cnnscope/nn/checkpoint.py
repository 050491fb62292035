"""Weight files: reading their names and shapes, reading the tensors, and writing them.

The formats are ``.safetensors`` and what `torch.save` writes. Nothing in a file is ever executed
(`cnnscope.nn.unpickling`); a pickle that names functions to call is refused with their names.

Weights in several files are named by their index (``model.safetensors.index.json``), or by the folder that has it.

``FILE#key`` names one entry of a file that has several state dicts: ``run.pt#teacher``, ``run.pt#ema.state_dict``.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.files import replacing
from cnnscope.ir import Param
from cnnscope.nn.formats import Format, safetensors_header, sniff
from cnnscope.nn.shards import parts
from cnnscope.nn.state_dicts import below
from cnnscope.nn.unpickling import check_records, refuse_code, torch_state

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The contents of a weight file: shape and type of each tensor by key, in the order of the file.

    ``wrapper`` are the keys under which the state dict was found (``("state_dict",)``). ``ignored`` lists other entries
    of the file, with their types. ``ordered`` says whether tensors are in the order in which modules were registered;
    safetensors sorts names alphabetically. ``values`` has the tensors where the source of the network read them, from a
    file of its own format.
    """

    path: Path
    tensors: Mapping[str, Param]
    wrapper: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    ordered: bool = True
    values: Mapping[str, Tensor] | None = None


def read_header(path: Path | str) -> Checkpoint:
    """Returns names, shapes and types in a weight file without reading tensors; only old ``.pth`` files are read whole.

    Raises `CnnscopeError`: E420 if it is no weight file, E421 if it is damaged, E422 for a pickle with code, E423 if it
    has no state dict.
    """
    path, entry = _entry(path)
    shards = parts(path)
    if shards is not None:
        headers = {part.path: read_header(part.path).tensors for part in shards}
        found = {name: headers[part.path][name] for part in shards for name in part.checked(headers[part.path])}
        return Checkpoint(path, below(path, found, entry), wrapper=(entry,) if entry else (), ordered=False)
    kind = _format(path)
    if kind == "safetensors":
        tensors = below(path, safetensors_header(path), entry)
        return Checkpoint(path, tensors, wrapper=(entry,) if entry else (), ordered=False)
    state, wrapper, ignored = torch_state(path, kind, "meta", entry)
    if kind == "torch":
        check_records(path, state)
    tensors = {key: Param(tuple(t.shape), str(t.dtype).removeprefix("torch.")) for key, t in state.items()}
    return Checkpoint(path, tensors, wrapper, ignored)


def held(path: Path, values: Mapping[str, Tensor]) -> Checkpoint:
    """Returns the contents of a file whose tensors were read already, under the network's names."""
    tensors = {key: Param(tuple(t.shape), str(t.dtype).removeprefix("torch.")) for key, t in values.items()}
    return Checkpoint(path, tensors, values=values)


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """Returns the tensors of a weight file on the CPU. Keys and errors are those of `read_header`."""
    path, entry = _entry(path)
    shards = parts(path)
    if shards is not None:
        found: dict[str, Tensor] = {}
        for part in shards:
            tensors = read_weights(part.path)
            found |= {name: tensors[name] for name in part.checked(tensors)}
        return below(path, found, entry)
    kind = _format(path)
    if kind == "safetensors":
        from safetensors.torch import load_file

        safetensors_header(path)
        return below(path, load_file(path), entry)
    return torch_state(path, kind, "cpu", entry)[0]


def _entry(path: Path | str) -> tuple[Path, str]:
    """The file and the entry in ``FILE#entry``, "" for the whole file. A file of exactly this name comes first."""
    path = Path(path)
    folder, mark, entry = str(path).rpartition("#")
    return (Path(folder), entry) if mark and folder and entry and not os.path.lexists(path) else (path, "")


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


def _format(path: Path) -> Format:
    """`sniff`, but E422 comes before what else is wrong with a pickle."""
    try:
        return sniff(path)
    except CnnscopeError as error:
        known = (
            path.is_file() and zipfile.is_zipfile(path) and error.diagnostics[0].code == "E420"
        )  # TorchScript, Keras
        if path.is_file() and not known:
            refuse_code(path)
        raise
