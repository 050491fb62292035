"""Does a weight file fit a network? Names and shapes are compared without building it; loading is all or nothing."""

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
"""What data-parallel wrappers and training frameworks put in front of every name."""
COUNTER = "num_batches_tracked"
"""Batch norm's step counter holds no weights: files from before torch 0.4.1 lack it and it then starts at 0."""
_AVERAGED = "n_averaged"
"""The counter torch's AveragedModel adds beside ``module.``."""
_SHOWN = 8


@dataclass(frozen=True, slots=True)
class NameMap:
    """Which name in a file stands for which of the network's: ``pairs`` from the network's to the file's.

    ``ignore`` are names in the file that have no place in the network. Shapes may differ in axes of size 1.
    """

    pairs: Mapping[str, str]
    ignore: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """A weight file beside a network.

    ``matched`` maps the network's keys to the file's. ``missing`` has what only the network has, ``extra`` what only
    the file has, ``misfits`` what both have in different shapes or types (the network's, the file's), each by the
    network's key. ``stripped`` is the prefix taken off every name in the file; ``counters`` are batch-norm counters
    only one side has, which is harmless.
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
        """Whether the file can be loaded."""
        return not (self.missing or self.extra or self.misfits)

    def nearest(self, key: str) -> str | None:
        """The most similar name among what the other side has too much: of the same shape, or any if they are few."""
        mine, others = (self.missing, self.extra) if key in self.missing else (self.extra, self.missing)
        alike = [other for other in others if others[other].shape == mine[key].shape]
        candidates = alike or (others if len(others) <= 50 else ())
        return next(iter(difflib.get_close_matches(key, candidates, n=1)), None)

    def error(self) -> CnnscopeError:
        """E425 with a note for every key that does not match, the first few of each kind."""
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
    """What the network wants and what the file has."""
    if wanted.shape == found.shape:
        return f"`{key}` is {wanted.dtype} in the network, {found.dtype} in the file"
    return f"`{key}` is {_size(wanted)} in the network, {_size(found)} in the file"


def compare(graph: Graph, checkpoint: Checkpoint, names: NameMap | None = None) -> Comparison:
    """The keys and shapes of a file beside those of ``graph.params``.

    Without ``names``, a prefix of `PREFIXES` that all names in the file have is taken off if more of them match then.
    """
    stripped = _prefix(checkpoint.tensors, graph.params) if names is None else ""
    place = _places(checkpoint, stripped, names)
    wanted, found = graph.params, {key: checkpoint.tensors[name] for key, name in place.items()}
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
        hint=None if misfits else _hint(graph, place, missing, extra),
    )  # fmt: skip


def _places(checkpoint: Checkpoint, stripped: str, names: NameMap | None) -> dict[str, str]:
    """The file's names by what they are called in the network, or would be."""
    if names is None:
        return {name.removeprefix(stripped): name for name in checkpoint.tensors}
    taken = {*names.pairs.values(), *names.ignore}
    own = {name: name for name in checkpoint.tensors if name not in taken}
    return own | {key: name for key, name in names.pairs.items() if name in checkpoint.tensors}


def load_weights(network: nn.Module, graph: Graph, path: Path | str, names: NameMap | None = None) -> Comparison:
    """Put a file's weights into the module `cnnscope.nn.build` made of ``graph``: all of them, or E425 and none."""
    comparison = compare(graph, read_header(path), names)
    network.load_state_dict(state_dict(graph, path, comparison), strict=True)
    return comparison


def state_dict(graph: Graph, path: Path | str, comparison: Comparison) -> dict[str, Tensor]:
    """A file's weights under the network's keys, in the network's order; counters the file lacks are 0.

    E425 if ``comparison``, made of the same file, does not fit.
    """
    import torch

    if not comparison.fits:
        raise comparison.error()
    weights = read_weights(path)
    counters = {key: torch.zeros((), dtype=torch.int64) for key in comparison.counters if key in graph.params}
    matched = {key: weights[name].reshape(graph.params[key].shape) for key, name in comparison.matched.items()}
    return {key: (matched | counters)[key] for key in graph.params}


def _prefix(keys: Collection[str], wanted: Collection[str]) -> str:
    """The prefix to take off every key: of the chains of `PREFIXES` all keys share, the one with most matches."""
    keys = [key for key in keys if key != _AVERAGED]
    chains = [""]
    while True:
        longer = next((p for p in PREFIXES if keys and all(key.startswith(chains[-1] + p) for key in keys)), None)
        if longer is None:
            break
        chains.append(chains[-1] + longer)
    return max(chains, key=lambda chain: sum(key[len(chain) :] in wanted for key in keys))


def _same(key: str, wanted: Param, found: Param, *, squeezed: bool) -> bool:
    """Equal shapes (``squeezed``: but for axes of size 1), and types that convert without changing the meaning."""
    fits = squeeze(wanted.shape) == squeeze(found.shape) if squeezed else wanted.shape == found.shape
    return fits and (_numbers(wanted) == _numbers(found) or _role(key) == COUNTER)


def squeeze(shape: Shape) -> Shape:
    """A shape without its axes of size 1: a 1x1 convolution's kernel is the weight of a linear layer."""
    return tuple(n for n in shape if n != 1)


def _role(key: str) -> str:
    return key.rpartition(".")[2]


def _numbers(param: Param) -> str:
    return "real" if "float" in param.dtype else "complex" if "complex" in param.dtype else "whole"


def _hint(graph: Graph, names: Collection[str], missing: Collection[str], extra: Collection[str]) -> str | None:
    """What explains the difference, or what to do about it."""
    scope = scope_of(names)
    if scope and any(key.removeprefix(scope) in missing for key in extra):
        return f"every name in the file starts with `{scope}`; `cnnscope weights map` takes it off"
    scope = scope_of(graph.params)
    if scope and any(scope + key in missing for key in extra):
        return f"every name in the network starts with `{scope}`; `cnnscope weights map` puts it on"
    if missing and len(missing) == len(extra):
        return "`cnnscope weights map` proposes which is which, by order and shape"
    return None


def scope_of(keys: Collection[str]) -> str:
    """The dotted prefix all keys share, with its dot."""
    columns = zip(*(key.split(".")[:-1] for key in keys), strict=False)
    return "".join(f"{column[0]}." for column in takewhile(lambda column: len(set(column)) == 1, columns))


def _size(param: Param) -> str:
    return "x".join(map(str, param.shape)) or "a single number"
