"""Turns a live torch module into a graph: one run without values, after which the module is exactly as it was."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph
from cnnscope.sources.fitting import NOWHERE, Stop
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.torch.arguments import make_arguments, or_numbers
from cnnscope.sources.torch.batches import Twice
from cnnscope.sources.torch.copies import duplicate
from cnnscope.sources.torch.failure import Attempt, failure, misfit, stop
from cnnscope.sources.torch.flags import plain_flags
from cnnscope.sources.torch.lazy import with_shapes
from cnnscope.sources.torch.outputs import tensors_of
from cnnscope.sources.torch.patches import contained
from cnnscope.sources.torch.refusals import is_own, lacks_values
from cnnscope.sources.torch.several import InseparableError, mixing, of_all_images, of_one_image
from cnnscope.sources.torch.shapes import watched
from cnnscope.sources.torch.trace import Trace
from cnnscope.sources.torch.untouched import untouched

Build = Callable[[], nn.Module]

_REAL_RUN = "`{name}` ran for real, on a copy with random numbers ({why}); other images may go other ways"


def from_module(module: nn.Module, inputs: Sequence[InputSize] = ()) -> Graph:
    """Returns the graph of a module at batch 1 in eval mode. The module itself is not changed in any way.

    ``inputs`` are sizes without batch, named like the parameters of ``forward`` if there are several. What a reader
    should know about the run is issued as a warning. Raises `CnnscopeError` if the module cannot be traced, and its
    subclass `PartialError`, with the graph so far, if the forward pass fails.
    """
    graph, notes = trace(module, inputs)
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return graph


def trace(
    module: nn.Module, inputs: Sequence[InputSize], *, name: str | None = None, rebuild: Build | None = None,
    batch: int = 1,
) -> tuple[Graph, tuple[str, ...]]:  # fmt: skip
    """Returns the graph and the notes of `from_module`. ``rebuild`` makes the module with values, if this one
    has none. ``batch`` images are in the run; the graph is of one of them where it can be (see `several`).
    """
    module, notes = _plain(module)
    _check(module)
    name = name or type(module).__name__
    module = with_shapes(module, inputs)
    inputs, more = _chosen(module, inputs, name, batch)
    notes += more
    run, real = _attempt(module, inputs, name, batch=batch), False
    if run.graph is None:
        notes += (_REAL_RUN.format(name=name, why=run.why),)
        module, real = _with_values(module, run.why or "", rebuild), True
        run = _attempt(module, inputs, name, real=True, batch=batch)
    if batch > 1:
        graph, more = _separated(module, inputs, name, run, real, batch)
        return graph, notes + more
    if run.doubtful and not real:
        run, more = _with_batch_two(module, inputs, name, run)
        notes += more
    assert run.graph is not None
    return run.graph, notes


def _chosen(
    module: nn.Module, inputs: Sequence[InputSize], name: str, batch: int
) -> tuple[Sequence[InputSize], tuple[str, ...]]:
    """Returns the inputs with ``n=4`` as the vector or the number with which the module runs, and a note on which it
    is, if it runs with either.
    """
    numbers = or_numbers(inputs)
    if numbers == tuple(inputs):
        return inputs, ()
    as_number = _outcome(module, numbers, name, batch) is None
    if _outcome(module, inputs, name, batch) is not None:
        return numbers if as_number else inputs, ()
    if not as_number:
        return inputs, ()
    either = [size for size, number in zip(inputs, numbers, strict=True) if size != number]
    spelled = " ".join(f"--input {size.name}=+{size.plain[0]}" for size in either)
    several = "are vectors" if len(either) > 1 else "is a vector"
    named = ", ".join(f"`{size}`" for size in either)
    return inputs, (f"{named} {several} here; the module runs with numbers as well: `{spelled}`",)


def _separated(
    module: nn.Module, inputs: Sequence[InputSize], name: str, first: _Run, real: bool, batch: int
) -> tuple[Graph, tuple[str, ...]]:
    """Returns the graph of one image of a ``batch``, or else that of all, with notes. ``first`` is the run of it."""
    assert first.graph is not None
    together = f"all figures are for the {batch} images of a batch together"
    with _silent():
        try:
            second = _attempt(module, inputs, name, real=real, batch=2 * batch, remedies=False)
        except Exception as error:  # noqa: BLE001  # it may fail anywhere; the first run is an answer all the same
            why = f"at batch {2 * batch}, {_first_line(error)}"
            return of_all_images(first.graph), (f"{together}: {why}",)
        twice = Twice.of(first.recorder.recording.drafts, second.recorder.recording.drafts, second.ends)
        run = _attempt(module, inputs, name, real=real, batch=batch, twice=twice)
    assert run.graph is not None
    try:
        graph = of_one_image(run.graph, run.recorder.recording, run.ends, twice, batch)
    except InseparableError as error:
        return of_all_images(first.graph), (f"{together}: `{error}` takes images apart, or joins them",)
    return graph, _mixed(list(dict.fromkeys(mixing(run.graph, graph))))


@dataclass(frozen=True, slots=True)
class _Run:
    """A run that came to its end: the graph, or None and the reason ``why`` it needs values; what was recorded, and
    the places of the outputs.
    """

    graph: Graph | None
    recorder: Trace
    ends: Sequence[int] = ()
    why: str | None = None

    @property
    def doubtful(self) -> bool:
        """Whether it is open where the batch is in a tensor that the graph has, or an output has no batch axis."""
        recording, uncertain = self.recorder.recording, self.recorder.batches.uncertain
        if any(recording.drafts[place].output.batch_axis is None for place in self.ends):
            return True
        return bool(uncertain) and not uncertain.isdisjoint(recording.needed(self.ends))


def _with_batch_two(
    module: nn.Module, inputs: Sequence[InputSize], name: str, first: _Run
) -> tuple[_Run, tuple[str, ...]]:
    """Returns the run with the batch axes that a run of two images shows, and notes. What the model prints and warns
    of was said by its ``first`` run.
    """
    recording = first.recorder.recording
    with _silent():
        try:
            second = _attempt(module, inputs, name, batch=2, remedies=False)
        except Exception as error:  # noqa: BLE001  # it may fail anywhere; the first run is an answer all the same
            return first, (f"`{name}` needs batch 1: at batch 2, {_first_line(error)}",)
        if second.graph is None:
            return first, ()
        twice = Twice.of(recording.drafts, second.recorder.recording.drafts, second.ends)
        run = _attempt(module, inputs, name, twice=twice)
    return run, _mixed(run.recorder.recording.rows(run.recorder.batches.mixing, run.ends))


def _mixed(rows: Sequence[str]) -> tuple[str, ...]:
    where = ", ".join(f"`{row}`" for row in rows[:3]) + (", ..." if len(rows) > 3 else "")
    return (f"images of a batch are mixed in {where}: results depend on the other images",) if rows else ()


def _first_line(error: Exception) -> str:
    return error.diagnostics[0].message if isinstance(error, CnnscopeError) else str(error).split("\n")[0]


@contextmanager
def _silent() -> Iterator[None]:
    """Inside, nothing that a model prints or warns of is shown, because its first run has shown it."""
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()), warnings.catch_warnings(action="ignore"):
        yield


def _attempt(
    module: nn.Module, inputs: Sequence[InputSize], name: str, *, real: bool = False, batch: int = 1,
    twice: Twice | None = None, again: bool = False, remedies: bool = True,
) -> _Run:  # fmt: skip
    """Runs the module. ``twice`` is a run of twice the batch, which says where the batch is.

    A run that stops raises E435, with ``remedies`` that were tried. If it is one ``again``, only to try other inputs,
    the error has just where it stopped.
    """
    with plain_flags(_dtype(module)), untouched(module), torch.inference_mode():
        made = make_arguments(module, inputs, real=real, batch=batch)
        recorder = Trace(module, real=real, twice=twice, images=batch)
        for given, tensor in made.tensors.items():
            recorder.feed(tensor, given)
        try:
            with recorder.versions, contained(recorder), _hooks(recorder), watched(recorder), recorder:
                results = tensors_of(output := module(*made.args, **made.kwargs))
        except Exception as error:
            why = recorder.takes_values or _needs_values(error)
            if why and not real and not misfit(error, recorder):
                return _Run(None, recorder, why=why)
            if is_own(error):
                raise
            if again:
                raise _StoppedError(stop(error, recorder)) from error
            rerun = None if real or not remedies else lambda sizes, n: _outcome(module, sizes, name, n)
            raise failure(error, recorder, Attempt(name, inputs, batch, rerun)) from error
        if recorder.takes_values and not real:
            return _Run(None, recorder, why=recorder.takes_values)
        if not results:
            raise CnnscopeError.of("E438", f"`{name}` returns no tensor but {type(output).__name__}")
        ends = recorder.ends(results)
        return _Run(recorder.recording.graph(name, ends), recorder, ends)


class _StoppedError(Exception):
    """A run to try other inputs stopped."""

    def __init__(self, found: Stop) -> None:
        super().__init__()
        self.found = found


def _outcome(module: nn.Module, sizes: Sequence[InputSize], name: str, batch: int) -> Stop | None:
    """Returns where a run at other sizes stops; None if it reaches its end. What it prints is not shown again."""
    try:
        with redirect_stdout(StringIO()), warnings.catch_warnings(action="ignore"):
            run = _attempt(module, sizes, name, batch=batch, again=True)
    except _StoppedError as error:
        return error.found
    except CnnscopeError:
        return NOWHERE
    return NOWHERE if run.graph is None else None


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


def _dtype(module: nn.Module) -> torch.dtype:
    """Returns the dtype of the weights."""
    return next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)


# -- the run -----------------------------------------------------------------------------------------------------------


@contextmanager
def _hooks(recorder: Trace) -> Iterator[None]:
    """Tells the recorder which module is running."""

    def enter(module: nn.Module, args: Any) -> None:
        recorder.recording.enter(module, args)

    def leave(module: nn.Module, args: Any, output: Any) -> Any:
        passed_on = isinstance(output, Tensor) and recorder.recording.idle(module) and recorder.tracked(output)
        result = recorder.idle(output, type(module).__name__) if passed_on else None
        recorder.recording.leave(sys.exc_info()[1] if output is None else None)
        return result

    handles = register_module_forward_pre_hook(enter), register_module_forward_hook(leave, always_call=True)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


# -- after it ----------------------------------------------------------------------------------------------------------


_NEEDS_VALUES = {
    "numpy": "it reads values: `numpy`",
    "tolist": "it reads values: `tolist`",
    "incompatible tensor type": "it replaces its weights",
    "should be the same": "it mixes types, as autocast does",
}
"""Parts of error messages of torch that mean that the run needs values. Some ways to read values are no ATen calls."""


def _needs_values(error: Exception) -> str | None:
    why = next((why for words, why in _NEEDS_VALUES.items() if words in str(error)), None)
    return why or ("a function has no shape without values" if lacks_values(error) else None)
