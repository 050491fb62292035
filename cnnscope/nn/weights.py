"""Compares a weight file with a network by names and shapes, without building it; and loads all weights or none."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from cnnscope.errors import CnnscopeError, Diagnostic, Note
from cnnscope.ir import Graph, Param, Shape
from cnnscope.nn.checkpoint import Checkpoint, read_header, read_weights

if TYPE_CHECKING:
    from torch import Tensor, nn

PREFIXES = ("module.", "model.")
"""Prefixes that data-parallel wrappers and training frameworks add to every name."""
COUNTER = "num_batches_tracked"
"""Batch norm's step counter, which is no weight. Files from before torch 0.4.1 lack it; then it starts at 0."""
_AVERAGED = "n_averaged"
"""The counter torch's AveragedModel adds beside ``module.``."""
_SHOWN = 8


@dataclass(frozen=True, slots=True)
class NameMap:
    """The names in a file for the network's weights: ``pairs`` maps the network's names to the file's.

    ``ignore`` are names in the file that the network does not have. Shapes may differ in axes of size 1.
    """

    pairs: Mapping[str, str]
    ignore: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a weight file compares with a network.

    ``matched`` maps the network's keys to the file's. ``missing`` has tensors of the network alone, ``extra`` those of
    the file alone, ``misfits`` those with different shapes or types (the network's, the file's), all by the network's
    key. ``stripped`` is the prefix that was removed from every name in the file. ``counters`` are batch-norm counters
    on one side only, which are harmless.
    """

    network: str
    file: str
    matched: Mapping[str, str]
    missing: Mapping[str, Param] = field(default_factory=dict)
    extra: Mapping[str, Param] = field(default_factory=dict)
    misfits: Mapping[str, tuple[Param, Param]] = field(default_factory=dict)
    stripped: str = ""
    counters: tuple[str, ...] = ()
    hint: str | None = None

    @property
    def fits(self) -> bool:
        """Whether the file can be loaded: every tensor of the network is in it. What it has besides, such as the
        weights of a loss, is left out.
        """
        return not (self.missing or self.misfits)

    def nearest(self, key: str) -> str | None:
        """The most similar unmatched name of the other side: of the same shape, or of any if there are few."""
        mine, others = (self.missing, self.extra) if key in self.missing else (self.extra, self.missing)
        alike = [other for other in others if others[other].shape == mine[key].shape]
        candidates = alike or (others if len(others) <= 50 else ())
        return next(iter(difflib.get_close_matches(key, candidates, n=1)), None)

    def error(self) -> CnnscopeError:
        """E425 with notes on the keys that do not match, the first few of each kind."""
        counts = ((self.missing, "missing"), (self.extra, "not the network's"), (self.misfits, "misshapen"))
        summary = ", ".join(f"{len(keys):,} {what}" for keys, what in counts if keys)
        matched = f"{len(self.matched):,} {'key matches' if len(self.matched) == 1 else 'keys match'}"
        message = f"`{self.file}` does not fit `{self.network}`: {summary}; {matched}"
        return CnnscopeError(Diagnostic("E425", message, notes=tuple(self._notes()), hint=self.hint))

    def _notes(self) -> Iterable[Note]:
        for keys, what in ((self.missing, "missing"), (self.extra, "not the network's")):
            for key in list(keys)[:_SHOWN]:
                near = self.nearest(key)
                yield Note(f"{what}: `{key}`" + (f"; nearest is `{near}`" if near else ""))
            if len(keys) > _SHOWN:
                yield Note(f"{what}: {len(keys) - _SHOWN:,} more")
        for key in list(self.misfits)[:_SHOWN]:
            yield Note(f"misshapen: {misfit_text(key, *self.misfits[key])}")
        if len(self.misfits) > _SHOWN:
            yield Note(f"misshapen: {len(self.misfits) - _SHOWN:,} more")


def misfit_text(key: str, wanted: Param, found: Param) -> str:
    """The difference between the network's tensor and the file's, in words."""
    if wanted.shape == found.shape:
        return f"`{key}` is {wanted.dtype} in the network, {found.dtype} in the file"
    return f"`{key}` is {_size(wanted)} in the network, {_size(found)} in the file"


def compare(graph: Graph, checkpoint: Checkpoint, names: NameMap | None = None) -> Comparison:
    """The keys and shapes of a file beside those of ``graph.stored``.

    Without ``names``, a prefix of `PREFIXES` that all names in the file have is taken off if more of them match then.
    """
    stripped = _prefix(checkpoint.tensors, graph.stored) if names is None else ""
    place = _places(checkpoint, stripped, names)
    wanted, found = graph.stored, {key: checkpoint.tensors[name] for key, name in place.items()}
    mapped = {} if names is None else names.pairs
    both = [key for key in wanted if key in found]
    fits = {key for key in both if _same(key, wanted[key], found[key], squeezed=key in mapped)}
    odd = wanted.keys() ^ found.keys()
    harmless = {key for key in odd if _role(key) in (COUNTER, _AVERAGED)}
    missing, extra = ({k: p for k, p in side.items() if k in odd - harmless} for side in (wanted, found))
    misfits = {key: (wanted[key], found[key]) for key in both if key not in fits}
    return Comparison(
        network=graph.name, file=checkpoint.path.name, matched={key: place[key] for key in both if key in fits},
        missing=missing, extra=extra, misfits=misfits, stripped=stripped, counters=tuple(sorted(harmless)),
        hint=None if misfits else _hint(graph, place, missing, extra) or _part(checkpoint, missing, extra),
    )  # fmt: skip


def _places(checkpoint: Checkpoint, stripped: str, names: NameMap | None) -> dict[str, str]:
    """The file's names by what they are called in the network, or would be."""
    if names is None:
        return {name.removeprefix(stripped): name for name in checkpoint.tensors}
    taken = {*names.pairs.values(), *names.ignore}
    own = {name: name for name in checkpoint.tensors if name not in taken}
    return own | {key: name for key, name in names.pairs.items() if name in checkpoint.tensors}


def load_weights(network: nn.Module, graph: Graph, path: Path | str, names: NameMap | None = None) -> Comparison:
    """Loads a file's weights into the module that `build` made of ``graph``. If they do not fit, E425 and no change."""
    comparison = compare(graph, read_header(path), names)
    network.load_state_dict(state_dict(graph, path, comparison), strict=True)
    return comparison


def state_dict(graph: Graph, path: Path | str, comparison: Comparison) -> dict[str, Tensor]:
    """Returns a file's weights under the network's keys, in the network's order. Counters that the file lacks are 0.

    ``comparison`` is that of the same file. Raises `CnnscopeError` E425 if it does not fit.
    """
    import torch

    if not comparison.fits:
        raise comparison.error()
    weights = read_weights(path)
    counters = {key: torch.zeros((), dtype=torch.int64) for key in comparison.counters if key in graph.stored}
    matched = {key: weights[name].reshape(graph.stored[key].shape) for key, name in comparison.matched.items()}
    return {key: (matched | counters)[key] for key in graph.stored}


def _prefix(keys: Collection[str], wanted: Collection[str]) -> str:
    """The prefix to remove: of the chains of `PREFIXES` that all keys start with, the one with most matches."""
    keys = [key for key in keys if key != _AVERAGED]
    chains = [""]
    while True:
        longer = next((p for p in PREFIXES if keys and all(key.startswith(chains[-1] + p) for key in keys)), None)
        if longer is None:
            break
        chains.append(chains[-1] + longer)
    return max(chains, key=lambda chain: sum(key[len(chain) :] in wanted for key in keys))


def _same(key: str, wanted: Param, found: Param, *, squeezed: bool) -> bool:
    """Whether shapes are equal (if ``squeezed``, apart from axes of size 1) and types convert without a loss."""
    fits = squeeze(wanted.shape) == squeeze(found.shape) if squeezed else wanted.shape == found.shape
    return fits and (_numbers(wanted) == _numbers(found) or _role(key) == COUNTER)


def squeeze(shape: Shape) -> Shape:
    """A shape without axes of size 1, in which a 1x1 convolution's kernel equals the weight of a linear layer."""
    return tuple(n for n in shape if n != 1)


def _role(key: str) -> str:
    return key.rpartition(".")[2]


def _numbers(param: Param) -> str:
    return "real" if "float" in param.dtype else "complex" if "complex" in param.dtype else "whole"


def _part(checkpoint: Checkpoint, missing: Collection[str], extra: Collection[str]) -> str | None:
    """Which parts of the file have everything that is missing: `net.` of a module that is trained with its loss."""
    if not missing:
        return None
    first = next(iter(missing))
    scopes = [key.removesuffix(f".{first}") for key in extra if key.endswith(f".{first}")]
    whole = [scope for scope in scopes if all(f"{scope}.{key}" in extra for key in missing)]
    file = checkpoint.path.name.partition("#")[0]
    names = [f"`{file}#{'.'.join((*checkpoint.wrapper, scope))}`" for scope in whole]
    return f"its tensors are in a part of the file: {', '.join(names)}" if names else None


def _hint(graph: Graph, names: Collection[str], missing: Collection[str], extra: Collection[str]) -> str | None:
    """The reason for the difference, or what to do about it."""
    scope = scope_of(names)
    if scope and any(key.removeprefix(scope) in missing for key in extra):
        return f"every name in the file starts with `{scope}`; `cnnscope weights map` takes it off"
    scope = scope_of(graph.stored)
    if scope and any(scope + key in missing for key in extra):
        return f"every name in the network starts with `{scope}`; `cnnscope weights map` puts it on"
    if missing and len(missing) == len(extra):
        return "`cnnscope weights map` proposes which is which, by order and shape"
    return None


def scope_of(keys: Collection[str]) -> str:
    """The dotted prefix of all keys, with its dot."""
    columns = zip(*(key.split(".")[:-1] for key in keys), strict=False)
    return "".join(f"{column[0]}." for column in takewhile(lambda column: len(set(column)) == 1, columns))


def _size(param: Param) -> str:
    return "x".join(map(str, param.shape)) or "a single number"
