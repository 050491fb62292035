"""What all tests share: settings under which a test's result depends on the test alone, and torchvision."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from cnnscope import progress
from cnnscope.cli import output
from cnnscope.render.diagram import layout

# Before torch is imported. The networks here are small: more threads cost more time than they save, and the suite
# already runs a process a core. `OMP_NUM_THREADS=4 make test` runs it with another number, which must pass as well.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Nothing is measured by the clock, as a busy machine is not a failure. Hypothesis draws the same examples in every
# run: a test that passed passes again. `--hypothesis-profile=search` draws new ones, to look for unknown failures.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("cnnscope", UNTIMED, derandomize=True)
settings.register_profile("search", UNTIMED, derandomize=False)
settings.load_profile("cnnscope")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--part", metavar="I/N", help="of the chosen tests, run every N-th by name, beginning at the I-th")


@pytest.hookimpl(trylast=True)  # when those that -m and -k leave out are gone
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if part := config.getoption("--part"):
        first, every = map(int, part.split("/"))
        chosen = set(sorted(item.nodeid for item in items)[first - 1 :: every])
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in chosen])
        items[:] = [item for item in items if item.nodeid in chosen]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The order of this run, which `-q` keeps from the header."""
    seed = config.getoption("randomly_seed", None)
    if seed is not None:
        terminalreporter.write_line(f"random order: --randomly-seed={seed}")


def pytest_collection_finish() -> None:
    """What was imported stays: looking through all of it again and again for garbage took a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def global_state(torch: Any) -> dict[str, object]:
    """What torch keeps for the whole process and one test could leave changed for the next."""
    return {
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "number of threads": torch.get_num_threads(),
        "gradients": torch.is_grad_enabled(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "frozen flags": torch.backends.flags_frozen(),
        "reduced precision": (torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()),
        "calls of scripted functions": torch._C.ScriptFunction.__call__,
    }


@pytest.fixture(autouse=True)
def _a_torch_of_its_own() -> Iterator[None]:
    """Each test starts from one state of torch's random numbers, and leaves torch's settings as they were."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        yield
        return
    torch.default_generator.manual_seed(0)  # `torch.manual_seed` formats its stack for CUDA, which takes 0.5 ms
    before = global_state(torch)
    yield
    assert global_state(torch) == before


@pytest.fixture(autouse=True)
def _all_the_time_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is, no command announces that it takes long, and no drawing takes too long."""
    monkeypatch.setattr(progress, "EVERY", float("inf"))
    monkeypatch.setattr(output, "PATIENCE", 3600.0)
    monkeypatch.setattr(layout, "LIMIT_SECONDS", 3600.0)


@pytest.fixture(scope="session")
def torchvision() -> ModuleType:
    """torchvision beside whichever torch is installed."""
    from cnnscope.sources.torch.user_code import import_with_operators

    return import_with_operators(lambda: import_module("torchvision"))
