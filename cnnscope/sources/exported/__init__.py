"""Programs of ``torch.export`` (``.pt2``) as sources: graph, weights and paths of modules.

A program is a list of calls of ATen, so it can be read without the code it was made from. `torch.export.load`
unpickles; here the archive is read as data, and nothing in it is run but functions of ATen that compute tensors, on
tensors without values (`cnnscope.sources.exported.functions`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cnnscope.errors import CnnscopeError, PartialError
from cnnscope.ir import Graph
from cnnscope.sources import files
from cnnscope.sources.exported import archive
from cnnscope.sources.exported.archive import Archive, Stored, open_archive
from cnnscope.sources.exported.document import Meta, Open, Program, read
from cnnscope.sources.exported.module import module_of, runs
from cnnscope.sources.exported.running import ProgramError
from cnnscope.sources.files import sizes_by_input
from cnnscope.sources.inputs import InputSize, fit
from cnnscope.sources.resolve import Extras, Loaded
from cnnscope.sources.torch.constants import LARGEST
from cnnscope.sources.torch.module import trace


def load(source: str, inputs: tuple[InputSize, ...], settings: Mapping[str, Any], *, batch: int = 1) -> Loaded:
    """Returns the network in a ``.pt2`` file, as it was exported; ``batch`` images are in the run that is recorded.

    `CnnscopeError`: E403 for sizes that the program leaves open, E440 to E442 for files, E449 for programs that are
    not of one image network, E435 if it does not run at these sizes.
    """
    if settings:
        raise CnnscopeError.of("E406", f"`{source}` is a file that has no parameters to set")
    path = Path(source)
    opened = open_archive(path)
    program = _program(opened)
    places = archive.index(opened)
    sizes, images = _sizes(program, inputs)
    with files.reading(path):
        make = partial(_module, program, path, opened, places)
        module = make(all_values=False)
        try:
            found = trace(module, sizes, name=path.stem, rebuild=make, batch=batch)
        except PartialError:
            if batch > 1 or images == 1:
                raise
            found = trace(module, sizes, name=path.stem, rebuild=make, batch=images)
        except ProgramError as error:
            raise files.damaged(path, str(error)) from None
    open_batch = images == 1 and all(isinstance(_batch(program.meta(name)), Open) for name in program.inputs)
    extras = Extras(
        make if open_batch and runs(program) else None, own=partial(_weights, program, opened, places, found.graph)
    )
    if extras.make is not None:
        extras = Extras(make, own_weights="in its file")
    return Loaded(found.graph, source, notes=found.notes, extras=extras, remarks=found.remarks)


def _program(opened: Archive) -> Program:
    try:
        program = read(opened.document(opened.program))
        for name in (*program.inputs, *(weight.name for weight in program.weights)):
            program.meta(name)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        why = f"`{opened.program}` is not as torch writes it ({type(error).__name__}: {str(error)[:80]})"
        raise files.damaged(opened.path, why) from None
    return program


def _module(
    program: Program, path: Path, opened: Archive, places: Mapping[str, Stored | Tensor], *, all_values: bool = True
) -> nn.Module:
    """Returns the program as a module. Without ``all_values``, only constants, tables of integers and small buffers
    have values.
    """
    parameters = {weight.key: program.meta(weight.name) for weight in program.weights if weight.parameter}
    known: dict[object, Tensor] = {}  # tied weights are one tensor

    def values(key: str) -> Tensor | None:
        place = places.get(key)
        if place is None:
            if not all_values:
                return None
            raise files.damaged(path, f"it has no values of `{key}`")
        held = archive.place(place)
        if held not in known:
            empty = not all_values and (key in parameters or prod(place.shape) > LARGEST)
            known[held] = torch.empty_like(_stated(place), device="meta") if empty else archive.tensor(opened, place)
        return known[held]

    try:
        return module_of(program, path.stem, values)
    except (KeyError, TypeError, ValueError) as error:
        raise files.damaged(path, f"its program cannot be followed ({str(error)[:80]})") from None


def _stated(place: Stored | Tensor) -> Tensor:
    return place if isinstance(place, Tensor) else torch.empty(place.shape, dtype=place.dtype, device="meta")


def _weights(
    program: Program, opened: Archive, places: Mapping[str, Stored | Tensor], graph: Graph
) -> Mapping[str, Tensor]:
    """Returns the weights of the graph from the file."""
    missing = next((key for key in graph.stored if key not in places), None)
    if missing is not None:
        raise files.damaged(opened.path, f"it has no values of `{missing}`")
    return {key: archive.tensor(opened, places[key]) for key in graph.stored}


# -- inputs ------------------------------------------------------------------------------------------------------------


def _batch(meta: Meta) -> int | Open | None:
    return meta.shape[0] if meta.shape else None


def _sizes(program: Program, given: tuple[InputSize, ...]) -> tuple[tuple[InputSize, ...], int]:
    """Returns the inputs of a program at the sizes given, and the number of images that it was exported for.

    An input whose first axis is not that of the network's image has no batch: it is passed as it is.
    """
    if not program.inputs:
        raise CnnscopeError.of("E449", "the program has no tensor as input")
    metas = {name: program.meta(name) for name in program.inputs}
    image = max(metas.values(), key=lambda meta: len(meta.shape))
    batch = _batch(image)
    asked = sizes_by_input(metas, given)
    symbols: dict[str, int] = {}
    for name, size in asked.items():
        _learn(symbols, name, _own(metas[name], batch), size.shape)
    several = len(metas) > 1
    sizes = tuple(_size(name, meta, batch, asked.get(name), symbols, several) for name, meta in metas.items())
    return sizes, batch if isinstance(batch, int) else 1


def _own(meta: Meta, batch: int | Open | None) -> tuple[int | Open, ...]:
    """Returns the shape of an input without the batch."""
    return meta.shape[1:] if _has_batch(meta, batch) else meta.shape


def _has_batch(meta: Meta, batch: int | Open | None) -> bool:
    return bool(meta.shape) and meta.shape[0] == batch


def _size(
    name: str, meta: Meta, batch: int | Open | None, given: InputSize | None, symbols: Mapping[str, int], several: bool
) -> InputSize:  # fmt: skip
    own = _own(meta, batch)
    free = [n for n in own if isinstance(n, Open) and n.symbol not in symbols]
    if free:
        example = "x".join(str((n.hint or 224) if isinstance(n, Open) else n) for n in own)
        named = ", ".join(dict.fromkeys(f"`{n.symbol}`" for n in free))
        label = f"{name}=" if several else ""
        message = f"the input `{name}` is {_text(own)} in the program, with {named} left open"
        raise CnnscopeError.of("E403", message, hint=f"say its size: `--input {label}{example}`")
    shape = tuple(symbols[n.symbol] if isinstance(n, Open) else n for n in own)
    dtype = given.dtype if given is not None and given.dtype else meta.dtype
    if _has_batch(meta, batch):
        return InputSize(shape, name, dtype)
    held = torch.zeros((), dtype=getattr(torch, dtype)).expand(shape)
    return InputSize(shape[1:], name, dtype, (held,))


def _learn(symbols: dict[str, int], name: str, own: Sequence[int | Open], given: Sequence[int]) -> None:
    """Learns from the size given for an input which extent each symbol is; E403 where it is not one of this input."""
    if all(isinstance(n, int) for n in own):
        fit((InputSize(tuple(given)),), (InputSize(tuple(n for n in own if isinstance(n, int))),))
    fits = len(own) == len(given) and all(
        symbols.setdefault(n.symbol, size) == size if isinstance(n, Open) else n == size
        for n, size in zip(own, given, strict=True)
    )
    if not fits:
        hint = None if any(isinstance(n, Open) for n in own) else "export the network with dynamic shapes"
        raise CnnscopeError.of(
            "E403", f"the input `{name}` is {_text(own)} in the program, not {_text(given)}", hint=hint
        )


def _text(shape: Sequence[int | Open]) -> str:
    return "x".join(n.symbol if isinstance(n, Open) else str(n) for n in shape) or "a scalar"
