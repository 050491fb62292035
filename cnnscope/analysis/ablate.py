"""Ablation: the network without some of its layers; the shapes of all layers after them are inferred again.

A layer that read a removed layer reads that layer's input instead, as when Zeiler & Fergus (2014, section 5.1, "Varying
ImageNet Model Sizes") took layers out of AlexNet and trained the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cnnscope.edits.refit import MisfitError, refit
from cnnscope.edits.remove import detached, listed
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph


def ablate(graph: Graph, names: Sequence[str]) -> Graph:
    """``graph`` without the layers ``names``: rows, single ops, or groups (``layer3``, ``features.3``) as a whole.

    Weights that only removed layers used are removed too. `CnnscopeError`: E205 for an unknown name, E490 where a layer
    cannot be left out because no single value could take its place, E491 where a layer behind it does not fit any more,
    E492 where a traced op cannot be carried over to other shapes, E304 where shared weights would have two shapes.
    """
    kept, outputs = detached(graph, names)
    try:
        return _without_unused(refit(graph, kept, outputs), names)
    except CnnscopeError as error:
        raise _after_removal(names, error) from None


def _without_unused(graph: Graph, names: Sequence[str]) -> Graph:
    """The graph without unused weights that belong to removed layers."""
    gone = {key for key in graph.unused if any(key.startswith(f"{name}.") for name in names)}
    return replace(graph, params={key: param for key, param in graph.params.items() if key not in gone})


def _after_removal(names: Sequence[str], error: CnnscopeError) -> CnnscopeError:
    """The same error with a note on what was removed and a hint on what else could be."""
    (found,) = error.diagnostics
    hint = found.hint
    if isinstance(error, MisfitError) and found.code == "E491":
        scope = error.layer.rpartition(".")[0]
        hint = f"remove the block `{scope}` too, or layers that keep the size" if scope else hint
    return CnnscopeError(replace(found, message=f"without {listed(names)}, {found.message}", hint=hint))
