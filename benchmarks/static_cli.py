"""CPU time of whole processes: static commands against `python -c "import torch"`, taken in turn in one run.

    python benchmarks/static_cli.py [ROUNDS]

Prints the median of user + system time and its ratio to torch's import. Targets: `summary lenet5` at most 0.35,
`summary resnet152` at most 0.5.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from statistics import median

COMMANDS = {
    "import torch": ["-c", "import torch"],
    "cnnscope --help": ["-m", "cnnscope", "--help"],
    "cnnscope summary lenet5": ["-m", "cnnscope", "summary", "lenet5"],
    "cnnscope summary resnet50": ["-m", "cnnscope", "summary", "resnet50"],
    "cnnscope summary resnet152": ["-m", "cnnscope", "summary", "resnet152"],
    "cnnscope rf resnet50": ["-m", "cnnscope", "rf", "resnet50"],
    "cnnscope zoo": ["-m", "cnnscope", "zoo"],
}
TARGETS = {"cnnscope summary lenet5": 0.35, "cnnscope summary resnet152": 0.5}


def cpu_seconds(arguments: list[str]) -> float:
    """User and system time of one process and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=os.environ)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    for arguments in COMMANDS.values():  # once unmeasured: byte code and file cache
        cpu_seconds(arguments)
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, arguments in COMMANDS.items():
            times[name].append(cpu_seconds(arguments))
    torch = median(times["import torch"])
    for name, taken in times.items():
        target = f"  target <= {TARGETS[name]}" if name in TARGETS else ""
        print(f"{name:28} {median(taken):7.3f} s  {median(taken) / torch:6.3f} x{target}")


if __name__ == "__main__":
    main()
