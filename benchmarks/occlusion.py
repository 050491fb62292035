"""CPU time of occlusion against a hand-batched loop that gives the same maps: at most 1.1 times as much.

    python benchmarks/occlusion.py [SOURCE[@SIDE] ...]

Prints a line a network: seconds of CPU time of each (the least of several runs, one thread), their ratio, and whether
the maps are identical. Exit code 1 where a ratio is above the limit or maps differ.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

import cnnscope
from cnnscope.attribution.contract import Question
from cnnscope.attribution.methods.perturbations import falls

LIMIT = 1.1
BATCH = 16
RUNS = 7


def by_hand(module: nn.Module, x: Tensor, target: int, window: int, stride: int) -> Tensor:
    """(H, W) mean falls of the score, as one would write it for this purpose alone."""
    height, width = x.shape[2:]
    tops, lefts = (range(0, extent - window + stride, stride) for extent in (height, width))
    places = [(i, j) for i in tops for j in lefts]
    total, count = torch.zeros(height, width), torch.zeros(height, width)
    with torch.no_grad():
        whole = module(x)[0, target]
        for start in range(0, len(places), BATCH):
            part = places[start : start + BATCH]
            covered = x.repeat(len(part), 1, 1, 1)
            for n, (i, j) in enumerate(part):
                covered[n, :, i : i + window, j : j + window] = 0
            change = whole - module(covered)[:, target]
            for n, (i, j) in enumerate(part):
                total[i : i + window, j : j + window] += change[n]
                count[i : i + window, j : j + window] += 1
    return total / count


def seconds(run: Callable[[], Tensor]) -> tuple[float, Tensor]:
    start = time.process_time()
    result = run()
    return time.process_time() - start, result


def main(sources: list[str]) -> int:
    torch.set_num_threads(1)
    failed = False
    for source in sources:
        name, _, side = source.partition("@")
        model = cnnscope.load(name, input=f"3x{side}x{side}" if side else None)
        module = model.module().eval().requires_grad_(False)
        shape = next(iter(model.graph.inputs.values())).shape[1:]
        x = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
        window = max(min(shape[1:]) // 8, 1)
        stride = max(window // 2, 1)
        asked = Question(module, x, 1, torch.zeros_like(x), batch=BATCH)
        ours, theirs = [], []
        for _ in range(RUNS):  # in turn, so that a busy machine is busy for both
            spent, found = seconds(lambda: falls(asked, window, stride, BATCH))  # noqa: B023  # run at once
            ours.append(spent)
            spent, expected = seconds(lambda: by_hand(module, x, 1, window, stride))  # noqa: B023
            theirs.append(spent)
        ratio, same = min(ours) / min(theirs), torch.equal(found, expected)
        failed |= ratio > LIMIT or not same
        print(f"{source}: {min(ours):.3f} s, by hand {min(theirs):.3f} s, ratio {ratio:.2f}, identical maps: {same}")
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:] or ["lenet5-digits", "resnet18@64"]))
