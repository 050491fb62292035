"""Turns a live torch module into a graph: one run without values, after which the module is exactly as it was."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import nn

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.torch.arguments import or_numbers
from cnnscope.sources.torch.batches import Twice
from cnnscope.sources.torch.copies import duplicate
from cnnscope.sources.torch.flags import plain_flags
from cnnscope.sources.torch.lazy import with_shapes
from cnnscope.sources.torch.run import Run, attempt, outcome, silent
from cnnscope.sources.torch.several import InseparableError, mixing, of_all_images, of_one_image


class Read(NamedTuple):
    """The graph of a module, what a reader should know about its run, and what qualifies its figures."""

    graph: Graph
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


Build = Callable[[], nn.Module]

_REAL_RUN = "`{name}` ran for real, on a copy with random numbers ({why}); other images may go other ways"


def from_module(module: nn.Module, inputs: Sequence[InputSize] = ()) -> Graph:
    """Returns the graph of a module at batch 1 in eval mode. The module itself is not changed in any way.

    ``inputs`` are sizes without batch, named like the parameters of ``forward`` if there are several. What a reader
    should know about the run is issued as a warning. Raises `CnnscopeError` if the module cannot be traced, and its
    subclass `PartialError`, with the graph so far, if the forward pass fails.
    """
    graph, notes, remarks = trace(module, inputs)
    for note in (*notes, *remarks):
        warnings.warn(note, stacklevel=2)
    return graph


def trace(
    module: nn.Module, inputs: Sequence[InputSize], *, name: str | None = None, rebuild: Build | None = None,
    batch: int = 1,
) -> Read:  # fmt: skip
    """Returns the graph of `from_module`, and the notes and remarks that it warns of.

    ``rebuild`` makes the module with values, if this one has none. ``batch`` images are in the run; the graph is of one
    of them where it can be (see `several`).
    """
    module, notes = _plain(module)
    _check(module)
    name = name or type(module).__name__
    module = with_shapes(module, inputs)
    inputs, more = _chosen(module, inputs, name, batch)
    notes += more
    run, real = attempt(module, inputs, name, batch=batch), False
    if run.graph is None:
        notes += (_REAL_RUN.format(name=name, why=run.why),)
        module, real = _with_values(module, run.why or "", rebuild), True
        run = attempt(module, inputs, name, real=True, batch=batch)
    if batch > 1:
        graph, remarks = _separated(module, inputs, name, run, real, batch)
        return Read(graph, notes, remarks)
    remarks = ()
    if run.doubtful and not real:
        run, remarks = _with_batch_two(module, inputs, name, run)
    assert run.graph is not None
    return Read(run.graph, notes, remarks)


def _chosen(
    module: nn.Module, inputs: Sequence[InputSize], name: str, batch: int
) -> tuple[Sequence[InputSize], tuple[str, ...]]:
    """Returns the inputs with ``n=4`` as the vector or the number with which the module runs, and a note on which it
    is, if it runs with either.
    """
    numbers = or_numbers(inputs)
    if numbers == tuple(inputs):
        return inputs, ()
    as_number = outcome(module, numbers, name, batch) is None
    if outcome(module, inputs, name, batch) is not None:
        return numbers if as_number else inputs, ()
    if not as_number:
        return inputs, ()
    either = [size for size, number in zip(inputs, numbers, strict=True) if size != number]
    spelled = " ".join(f"--input {size.name}=+{size.plain[0]}" for size in either)
    several = "are vectors" if len(either) > 1 else "is a vector"
    named = ", ".join(f"`{size}`" for size in either)
    return inputs, (f"{named} {several} here; the module runs with numbers as well: `{spelled}`",)


def _separated(
    module: nn.Module, inputs: Sequence[InputSize], name: str, first: Run, real: bool, batch: int
) -> tuple[Graph, tuple[str, ...]]:
    """Returns the graph of one image of a ``batch``, or else that of all, with remarks. ``first`` is the run of it."""
    assert first.graph is not None
    together = f"all figures are for the {batch} images of a batch together"
    with silent():
        try:
            second = attempt(module, inputs, name, real=real, batch=2 * batch, remedies=False)
        except Exception as error:  # noqa: BLE001  # it may fail anywhere; the first run is an answer all the same
            why = f"at batch {2 * batch}, {_first_line(error)}"
            return of_all_images(first.graph), (f"{together}: {why}",)
        twice = Twice.of(first.recorder.recording.drafts, second.recorder.recording.drafts, second.ends)
        run = attempt(module, inputs, name, real=real, batch=batch, twice=twice)
    assert run.graph is not None
    try:
        graph = of_one_image(run.graph, run.recorder.recording, run.ends, twice, batch)
    except InseparableError as error:
        return of_all_images(first.graph), (f"{together}: `{error}` takes images apart, or joins them",)
    return graph, _mixed(list(dict.fromkeys(mixing(run.graph, graph))))


def _with_batch_two(
    module: nn.Module, inputs: Sequence[InputSize], name: str, first: Run
) -> tuple[Run, tuple[str, ...]]:
    """Returns the run with the batch axes that a run of two images shows, and remarks. What the model prints and warns
    of was said by its ``first`` run.
    """
    recording = first.recorder.recording
    with silent():
        try:
            second = attempt(module, inputs, name, batch=2, remedies=False)
        except Exception as error:  # noqa: BLE001  # it may fail anywhere; the first run is an answer all the same
            return first, (f"`{name}` needs batch 1: at batch 2, {_first_line(error)}",)
        if second.graph is None:
            return first, ()
        twice = Twice.of(recording.drafts, second.recorder.recording.drafts, second.ends)
        run = attempt(module, inputs, name, twice=twice)
    return run, _mixed(run.recorder.recording.rows(run.recorder.batches.mixing, run.ends))


def _mixed(rows: Sequence[str]) -> tuple[str, ...]:
    where = ", ".join(f"`{row}`" for row in rows[:3]) + (", ..." if len(rows) > 3 else "")
    return (f"images of a batch are mixed in {where}: results depend on the other images",) if rows else ()


def _first_line(error: Exception) -> str:
    return error.diagnostics[0].message if isinstance(error, CnnscopeError) else str(error).split("\n")[0]


# -- before the run ----------------------------------------------------------------------------------------------------


def _plain(module: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """Returns the module inside ``torch.compile`` or ``DataParallel``, and a note that says so."""
    notes: tuple[str, ...] = ()
    while type(module).__name__ in _WRAPPERS:
        notes += (f"looked inside `{type(module).__name__}`",)
        module = getattr(module, _WRAPPERS[type(module).__name__])
    return module, notes


_WRAPPERS = {"OptimizedModule": "_orig_mod", "DataParallel": "module", "DistributedDataParallel": "module"}


def _check(module: nn.Module) -> None:
    """Raises E436 for modules whose calls do not pass through torch's dispatcher one by one."""
    for path, m in module.named_modules():
        kind, place = type(m), f"`{path}`" if path else "the model"
        if isinstance(m, torch.jit.ScriptModule):
            raise CnnscopeError.of("E436", f"{place} is TorchScript", hint="load the Python module it was made from")
        if (
            ".quantized." in kind.__module__
            and kind.__name__ != "FloatFunctional"
            and kind.__module__.startswith("torch.")
        ):
            raise CnnscopeError.of(
                "E436", f"{place} is quantised (`{kind.__name__}`)", hint="load the model before its conversion"
            )


def _with_values(module: nn.Module, why: str, rebuild: Build | None) -> nn.Module:
    """Returns a copy on the CPU whose weights have values; raises E437 if that is impossible."""
    if not any(t.is_meta for t in (*module.parameters(), *module.buffers())):
        with plain_flags():
            return duplicate(module)
    if rebuild is None:
        reason = "its weights are on the meta device, without values"
        raise CnnscopeError.of("E437", f"`{type(module).__name__}` takes a run with values ({why}), but {reason}")
    with plain_flags(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # the weights decide where a detector goes, so they must not depend on what ran before
        return rebuild()
