"""Every model of timm against its own parameters and torch's FLOP counter.

    python benchmarks/timm_sweep.py                     # all of them, about an hour on one core
    python benchmarks/timm_sweep.py 'vit_*' 'resnet*'   # those that match a pattern
    python benchmarks/timm_sweep.py --every 7

Prints a line for each model that is not exactly right and a summary at the end; ``--out FILE`` keeps all as JSON lines.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from importlib import import_module

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from cnnscope.analysis.cost import known, node_costs
from cnnscope.analysis.receptive_field import theoretical
from cnnscope.errors import CnnscopeError
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.torch.build import build
from cnnscope.sources.torch.models import timm
from cnnscope.sources.torch.module import trace
from cnnscope.sources.torch.user_code import import_with_operators


@dataclass
class Outcome:
    """One model. ``fields`` counts its ops with a local receptive field, only a global one, and an unknown one."""

    model: str
    seconds: float = 0.0
    ops: int = 0
    macs: int | None = None
    counted: int | None = None
    params_agree: bool | None = None
    unsupported: tuple[str, ...] = ()
    fields: tuple[int, int, int] = (0, 0, 0)
    notes: tuple[str, ...] = ()
    error: str = ""

    @property
    def deviation(self) -> float | None:
        """Of the MACs from torch's counter, relative to it."""
        if self.macs is None or not self.counted:
            return None
        return self.macs / self.counted - 1

    @property
    def exact(self) -> bool:
        return not self.error and self.macs == self.counted and bool(self.params_agree) and not self.unsupported


def analyse(name: str) -> Outcome:
    """Traces one model and compares."""
    outcome = Outcome(name)
    try:
        recipe = timm(name, {})
        module = build(recipe.make)
        assert isinstance(module, nn.Module)
        sizes = recipe.sizes(module)
        start = time.process_time()
        graph, outcome.notes = trace(module, sizes, name=name)
        fields = theoretical(graph)
        outcome.seconds = round(time.process_time() - start, 3)
        costs = node_costs(graph)
        outcome.ops, outcome.macs = len(graph.nodes), known(costs.values()).macs
        outcome.unsupported = tuple({n.op.label() for n in graph.nodes if costs[n.name].macs is None})
        ours = sum(p.numel for p in graph.params.values() if not p.buffer)
        outcome.params_agree = ours == sum(p.numel() for p in module.parameters())
        reached = [fields.get(node.name) for node in graph.nodes]
        outcome.fields = (
            sum(1 for f in reached if f and f.maps), sum(1 for f in reached if f and not f.maps and f.via),
            sum(1 for f in reached if f is None),
        )  # fmt: skip
        outcome.counted = count(module, sizes)
    except CnnscopeError as error:
        outcome.error = str(error)
    except Exception as error:  # noqa: BLE001  # a sweep goes on
        outcome.error = f"{type(error).__name__}: {error}".split("\n")[0]
    return outcome


def count(module: nn.Module, sizes: tuple[InputSize, ...]) -> int:
    """MACs by torch's own counter, on meta, where it sees attention too."""
    module = module.eval().to("meta").requires_grad_(False)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*(torch.empty(1, *size.shape, device="meta") for size in sizes))
    return int(counter.get_total_flops()) // 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*", default=["*"])
    parser.add_argument("--every", type=int, default=1, help="take every n-th model")
    parser.add_argument("--out", help="file for JSON lines")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)

    listed = import_with_operators(lambda: import_module("timm")).list_models()
    names = [n for n in listed if any(fnmatchcase(n, p) for p in options.patterns)]
    outcomes = []
    for name in names[:: options.every]:
        outcome = analyse(name)
        outcomes.append(outcome)
        if options.out:
            with open(options.out, "a") as file:
                file.write(json.dumps(asdict(outcome)) + "\n")
        if not outcome.exact:
            print(f"{name}: {outcome.macs} MACs, torch counts {outcome.counted}", outcome.unsupported, outcome.error)
    deviations = [abs(o.deviation) for o in outcomes if o.deviation is not None]
    print(
        f"{len(outcomes)} models: {sum(not o.error for o in outcomes)} traced, {sum(o.exact for o in outcomes)} exact, "
        f"{sum(bool(o.params_agree) for o in outcomes)} with exact parameters, "
        f"largest deviation {max(deviations, default=0):.3%}, {sum(bool(o.unsupported) for o in outcomes)} with "
        f"unsupported ops, {sum(o.fields[2] > 0 for o in outcomes)} with unknown receptive fields, "
        f"{sum(o.seconds for o in outcomes):.0f} s of analysis"
    )


if __name__ == "__main__":
    main()
