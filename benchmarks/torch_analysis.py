"""CPU time of analysing a torch model, against torchinfo's summary of the same model; and peak memory.

    python benchmarks/torch_analysis.py [ROUNDS]

Analysis is the graph, shapes, parameters, MACs, memory and theoretical receptive fields of a model that is built
already. torchinfo, which runs the real forward pass, is asked for its summary in the same process, in turn. Prints the
median of user + system time and the ratio (target: at most 1.0), and the peak memory of a process that summarises
timm's convnext_xxlarge, 847 million parameters (target: 600 MB).
"""

from __future__ import annotations

import gc
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from statistics import median

import torchinfo

from cnnscope.analysis.summary import summarize
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.torch.module import from_module
from cnnscope.sources.torch.user_code import import_with_operators

MODELS = ("resnet152", "densenet201", "swin_t")
SIZE = (3, 224, 224)
LARGE = "import sys; from cnnscope.cli.app import main; sys.exit(main(['summary', 'timm:convnext_xxlarge', '-q']))"


def cpu_seconds(run: Callable[[], object]) -> float:
    """User and system time of this process, all threads."""
    gc.collect()
    start = time.process_time()
    run()
    return time.process_time() - start


def memory() -> None:
    """First of all, as a process starts out with the peak of the one it comes from."""
    subprocess.run([sys.executable, "-c", LARGE], check=True, stdout=subprocess.DEVNULL)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6
    print(f"peak memory of `summary timm:convnext_xxlarge`: {peak:.0f} MB{'' if peak <= 600 else '  over the target'}")


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    memory()
    models = import_with_operators(lambda: import_module("torchvision")).models
    for name in MODELS:
        module = models.get_model(name, weights=None).eval()
        ours, theirs = [], []
        for _ in range(rounds + 1):  # the first is a warm-up of both
            ours.append(cpu_seconds(lambda: summarize(from_module(module, [InputSize(SIZE)]))))  # noqa: B023
            theirs.append(cpu_seconds(lambda: torchinfo.summary(module, (1, *SIZE), verbose=0)))  # noqa: B023
        a, b = median(ours[1:]), median(theirs[1:])
        print(f"{name}: {a:.3f} s, torchinfo {b:.3f} s, ratio {a / b:.2f}{'' if a <= b else '  over the target'}")


if __name__ == "__main__":
    main()
