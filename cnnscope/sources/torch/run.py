"""One run of a module without values, or with values on a copy: what it recorded, or where and why it stopped."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
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
from cnnscope.sources.torch.arguments import Arguments, make_arguments
from cnnscope.sources.torch.batches import Twice
from cnnscope.sources.torch.failure import Attempt, failure, misfit, stop
from cnnscope.sources.torch.flags import plain_flags
from cnnscope.sources.torch.outputs import tensors_of
from cnnscope.sources.torch.patches import contained
from cnnscope.sources.torch.refusals import is_own, lacks_values
from cnnscope.sources.torch.trace import Trace
from cnnscope.sources.torch.untouched import untouched
from cnnscope.sources.torch.watching import watched


@dataclass(frozen=True, slots=True)
class Run:
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


def attempt(
    module: nn.Module, inputs: Sequence[InputSize], name: str, *, real: bool = False, batch: int = 1,
    twice: Twice | None = None, again: bool = False, remedies: bool = True,
) -> Run:  # fmt: skip
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
                results = tensors_of(output := _called(module, made))
        except Exception as error:
            why = recorder.takes_values or _needs_values(error)
            if why and not real and not misfit(error, recorder):
                return Run(None, recorder, why=why)
            if is_own(error):
                raise
            if again:
                raise _StoppedError(stop(error, recorder)) from error
            rerun = None if real or not remedies else lambda sizes, n: outcome(module, sizes, name, n)
            raise failure(error, recorder, Attempt(name, inputs, batch, rerun)) from error
        if recorder.takes_values and not real:
            return Run(None, recorder, why=recorder.takes_values)
        if not results:
            raise CnnscopeError.of("E438", f"`{name}` returns no tensor but {type(output).__name__}")
        ends = recorder.ends(results)
        return Run(recorder.recording.graph(name, ends), recorder, ends)


def _called(module: nn.Module, made: Arguments) -> Any:
    """Returns what the model returns. A model that ends the program stops like one that raises an error."""
    try:
        return module(*made.args, **made.kwargs)
    except SystemExit as error:
        what = f"it ends the program with `sys.exit({error.code!r})`"
        raise RuntimeError(what).with_traceback(error.__traceback__) from error


class _StoppedError(Exception):
    """A run to try other inputs stopped."""

    def __init__(self, found: Stop) -> None:
        super().__init__()
        self.found = found


def outcome(module: nn.Module, sizes: Sequence[InputSize], name: str, batch: int) -> Stop | None:
    """Returns where a run at other sizes stops; None if it reaches its end. What it prints is not shown again."""
    try:
        with silent():
            run = attempt(module, sizes, name, batch=batch, again=True)
    except _StoppedError as error:
        return error.found
    except CnnscopeError:
        return NOWHERE
    return NOWHERE if run.graph is None else None


@contextmanager
def silent() -> Iterator[None]:
    """Inside, nothing that a model prints or warns of is shown, because its first run has shown it."""
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()), warnings.catch_warnings(action="ignore"):
        yield


def _dtype(module: nn.Module) -> torch.dtype:
    """Returns the dtype of the weights."""
    return next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)


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
