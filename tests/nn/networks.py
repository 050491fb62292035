"""Whole networks of torchvision and timm, built and written again, beside the ones that were read.

    python tests/nn/networks.py                    # all, a line for each that is not equal, and the counts
    python tests/nn/networks.py 'swin*' vit_b_16   # those that match a pattern

A network is equal if the module of its graph, with the same weights, has its outputs at batch 1 and 2 to 1e-5 of their
scale, and so has its PyTorch file at batch 2; each of the two may be refused instead, by the name of an op.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

import cnnscope
from cnnscope.errors import CnnscopeError
from cnnscope.nn.build import build
from cnnscope.nn.export.pytorch import pytorch_source
from cnnscope.sources.torch.user_code import import_with_operators
from tests.nn.exported import run
from tests.sources.test_torch_timm import MODELS

CLOSE = 1e-5
SMALLEST = {"inception_v3": 75, "maxvit_t": 224, "vit_h_14": 28, "alexnet": 63, "googlenet": 32}
"""Sides of images where 64 pixels are too few, or are more than it takes."""


@dataclass(frozen=True)
class Outcome:
    """How it ended for the built module and for the PyTorch file: ``equal``, ``refused: why`` or ``wrong: how``."""

    built: str
    written: str = "refused: not built"


def torchvision_names() -> list[str]:
    """The names of torchvision's classification networks."""
    models = import_with_operators(lambda: import_module("torchvision.models"))
    return list(models.list_models(module=models))


def torchvision_network(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """The network with random weights, and a small size of its input."""
    models = import_with_operators(lambda: import_module("torchvision.models"))
    side = SMALLEST.get(name, 32 if name.startswith(("vit", "swin_")) else 64)
    given: dict[str, Any] = {"image_size": side} if name.startswith("vit") else {}
    if name in ("googlenet", "inception_v3"):
        given["init_weights"] = False
    return getattr(models, name)(weights=None, **given), (3, side, side)


def timm_network(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """The network with random weights, and the size of its input."""
    timm = import_with_operators(lambda: import_module("timm"))
    module = timm.create_model(name, pretrained=False)
    size = (getattr(module, "pretrained_cfg", None) or {}).get("input_size", (3, 224, 224))
    return module, tuple(size)


def outcome(module: nn.Module, size: tuple[int, ...]) -> Outcome:
    """Loads, builds and writes the network."""
    shake(module.eval())
    x = torch.randn(2, *size, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        graph = cnnscope.load(module, input=size).graph
        wanted = module(x)
        weights = {key: t for key, t in module.state_dict().items() if key in graph.stored}  # tied ones once
        try:
            network = build(graph).eval()
        except CnnscopeError as error:
            return Outcome(f"refused: {error.diagnostics[0].message}")
        network.load_state_dict(weights)
        built = verdict((network(x), wanted), (network(x[1:]), module(x[1:])))
        del network
        try:
            file = run(pytorch_source(graph))().eval()
        except CnnscopeError as error:
            (found,) = error.diagnostics
            return Outcome(built, f"refused: {'; '.join([found.message, *(note.message for note in found.notes)])}")
        file.load_state_dict({key: weights[key] for key in file.state_dict()})
        return Outcome(built, verdict((file(x), wanted)))


def shake(module: nn.Module) -> None:
    """Gives weights that are all alike, such as those of norms and small scales, and statistics other numbers."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for t in (*module.parameters(), *module.buffers()):
            if t.is_floating_point() and t.numel() > 1 and bool((t == t.flatten()[0]).all()):
                t.add_(torch.rand(t.shape, generator=generator), alpha=0.1)


def verdict(*pairs: tuple[Any, Any]) -> str:
    """Whether outputs are equal."""
    for found, wanted in pairs:
        for a, b in zip(_tensors(found), _tensors(wanted), strict=True):
            if a.shape != b.shape:
                return f"wrong: {tuple(a.shape)} for {tuple(b.shape)}"
            if not b.isfinite().all() or not b.std() > 0:
                return "wrong: the network has no finite outputs of several values"
            off = float((a - b).abs().max() / b.abs().max())
            if not off <= CLOSE:
                return f"wrong: off by {off:.1e} of the scale"
    return "equal"


def _tensors(output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    values: Iterable[Any] = output.values() if isinstance(output, dict) else output
    return [t for value in values for t in _tensors(value)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*", default=["*"])
    patterns = parser.parse_args().patterns
    counts: dict[str, Counter[str]] = {"built": Counter(), "written": Counter()}
    for name, make in [(n, torchvision_network) for n in torchvision_names()] + [(n, timm_network) for n in MODELS]:
        if not any(fnmatchcase(name, pattern) for pattern in patterns):
            continue
        start = time.process_time()
        try:
            found = outcome(*make(name))
        except Exception as error:  # noqa: BLE001  # the others are tried all the same
            found = Outcome(f"wrong: {type(error).__name__}: {str(error).splitlines()[0]}", "wrong: not built")
        for form, counter in counts.items():
            counter[getattr(found, form).partition(":")[0]] += 1
        print(f"{name} ({time.process_time() - start:.0f} s): {found.built} | {found.written}")
        sys.stdout.flush()
    print(*(f"{form}: {dict(counter)}" for form, counter in counts.items()), sep="\n")


if __name__ == "__main__":
    main()
