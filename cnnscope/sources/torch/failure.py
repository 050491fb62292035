"""The message about a run that stops in the user's model: where, why, and which inputs or numbers would fit.

Torch's own message names neither layer nor remedy. The layer is known from the hooks, the shapes from the call that
failed, and every size that the message recommends was run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from cnnscope.errors import CnnscopeError, Diagnostic, PartialError
from cnnscope.ops.base import shape_text
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.torch.mismatch import Mismatch, mismatch
from cnnscope.sources.torch.recording import Call
from cnnscope.sources.torch.sizes import Probe, Stop, fitting_sizes, smallest_size
from cnnscope.sources.torch.trace import Trace
from cnnscope.user_code import user_frames


def stop(error: Exception, recorder: Trace) -> Stop:
    """Returns what is known about the error with which a run stopped."""
    call = _call(error, recorder)
    _, args, _ = _function(error, recorder)
    source = next((a for a in (*args, *call.args) if isinstance(a, Tensor)), None)
    maker = "" if source is None else _maker(source, recorder)
    passed = frozenset(draft.layer for draft in recorder.recording.drafts)
    return Stop(error, call, misfit(error, recorder), maker, passed)


def misfit(error: Exception, recorder: Trace) -> Mismatch | None:
    """Returns which shapes do not fit where a run stopped; None if it stopped for another reason."""
    call = _call(error, recorder)
    return mismatch(call.module, call.args, *_function(error, recorder), lambda t: _named(t, recorder))


def _call(error: Exception, recorder: Trace) -> Call:
    failed = recorder.recording.failed
    return failed[1] if failed and failed[0] is error else recorder.recording.calls[0]


def _function(error: Exception, recorder: Trace) -> tuple[str, Sequence[Any], Mapping[str, Any]]:
    failing = recorder.failing
    return failing[1:] if failing and failing[0] is error else ("", (), {})


def failure(found: Stop, recorder: Trace, sizes: Sequence[InputSize], name: str, probe: Probe | None) -> CnnscopeError:
    """Returns E435 for a run that stopped, with the graph so far. ``probe`` runs the model at other sizes."""
    call, error = found.call, found.error
    kind = f" (`{type(call.module).__name__}`)" if call.module is not None else ""
    place = f"in `{call.path}`{kind}" if call.path else f"in `{name}`"
    given = ", ".join(str(size) for size in sizes)
    places = list(user_frames(error.__traceback__))
    hints = [*_hints(found, sizes, probe)]
    diagnostic = Diagnostic(
        "E435", f"with input {given} the run stops {place}: {_reason(found)}", places[-1][0] if places else None,
        hint="; ".join(hints) or None,
    )  # fmt: skip
    return PartialError(diagnostic, graph=recorder.recording.graph(name, ()))


def _reason(found: Stop) -> str:
    if found.mismatch is not None:
        return found.mismatch.text
    reason = str(found.error).strip().split("\n")[0].rstrip(".") or "no reason given"
    if type(found.error) not in (RuntimeError, ValueError, AssertionError):  # as torch and models report shapes
        reason = f"{type(found.error).__name__}: {reason}"
    return reason


def _hints(found: Stop, sizes: Sequence[InputSize], probe: Probe | None) -> Iterator[str]:
    """Yields what would help: another spelling of the size, another number in a layer, other sizes."""
    reason = found.mismatch
    spelled = next((s for s in _spellings(found, sizes) if probe is not None and probe(s) is None), None)
    if spelled is not None:
        yield f"it runs with `{' '.join(f'--input {size}' for size in spelled)}`"
        return
    if reason is not None and reason.kind == "channels":
        own = f"`{reason.remedy}={reason.found}` of `{found.call.path}`" if found.call.path else "the layer"
        yield f"no other size helps: {own} fits" + (
            f", or {reason.wanted} channels from `{found.maker}`" if found.maker else ""
        )
    elif reason is not None and reason.remedy is not None:
        yield reason.remedy
    if probe is None or len(sizes) != 1:
        return
    if reason is not None and reason.kind == "features":
        yield from fitting_sizes(found, sizes[0], probe)
    elif reason is None or reason.kind in ("size", "shapes"):
        yield from smallest_size(sizes[0], probe, least_first=reason is not None and reason.kind == "size")


def _spellings(found: Stop, sizes: Sequence[InputSize]) -> Iterator[tuple[InputSize, ...]]:
    """Yields what one of the sizes may have been meant for: without its batch, in another order, as indices."""
    reason = found.mismatch
    for i, size in enumerate(sizes):
        shape = size.shape
        tries: list[InputSize] = []
        if reason is not None and reason.kind == "dtype":
            tries.append(replace(size, dtype="int64"))
        elif reason is None or reason.kind in ("axes", "channels", "features"):
            if len(shape) > 2:
                tries += (replace(size, shape=(shape[-1], *shape[:-1])), replace(size, shape=(*shape[1:], shape[0])))
                if shape[0] <= _MOST_IMAGES:
                    tries += (replace(size, shape=shape[1:]), replace(size, shape=(shape[-1], *shape[1:-1])))
            if reason is not None and reason.wanted is not None and not found.maker:  # the input itself is refused
                tries += [replace(size, shape=(reason.wanted, *shape[1:]))] * (
                    reason.kind == "channels" or len(shape) == 1
                )
            if len(shape) < 3:
                likely = dict.fromkeys((*([reason.wanted] if reason and reason.wanted else ()), 3, 1))
                tries += [replace(size, shape=(c, *(shape * (3 - len(shape))))) for c in likely]
                tries += [replace(size, shape=(c, *shape)) for c in likely if len(shape) == 1]
        for other in dict.fromkeys(tries):
            if other != size:
                yield (*sizes[:i], other, *sizes[i + 1 :])


_MOST_IMAGES = 1024
"""The largest first extent of a size that may be a batch."""


def _maker(t: Tensor, recorder: Trace) -> str:
    """Returns the layer that gave a tensor its channels or features; an empty text for the input.

    Layers that pass them on, such as activations and norms, are skipped.
    """
    recording, place = recorder.recording, recorder.place(t)
    if place is None:
        return ""
    axis = 1 if t.dim() > 2 else -1
    while (draft := recording.drafts[place]).op is not None and len(draft.inputs) == 1:
        before = recording.drafts[draft.inputs[0]].output.shape
        mixes = any(recording.weights[key].dim() > 1 for key in draft.params.values() if key in recording.weights)
        if mixes or len(before) != t.dim() or before[axis] != t.shape[axis]:
            break
        place = draft.inputs[0]
    return "" if draft.op is None else draft.layer


def _named(t: Tensor, recorder: Trace) -> str:
    """Returns what a tensor is to a reader: which layer gives which shape."""
    shape = shape_text(tuple(t.shape[1:])) if t.dim() > 1 else "one number an image"
    key = recorder.key(t)
    if key is not None:
        return f"the weight `{key}` is {shape_text(tuple(t.shape))}"
    layer = _maker(t, recorder)
    place = recorder.place(t)
    if place is None:
        return f"a constant is {shape_text(tuple(t.shape))}"
    draft = recorder.recording.drafts[place]
    if draft.op is None:
        return f"the input is {shape}"
    layer = layer or draft.layer
    before = recorder.recording.drafts[draft.inputs[0]].output if len(draft.inputs) == 1 else None
    flat = before is not None and len(before.shape) > t.dim()
    return f"`{layer}` gives {shape}" + (f" ({shape_text(before.features)})" if flat and before is not None else "")
