"""What is said about a run that stops: the layer, both numbers, and sizes that torch itself takes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import cnnscope
from cnnscope.analysis.summary import summarize
from cnnscope.errors import CnnscopeError, PartialError
from cnnscope.sources.inputs import InputSize, parse_inputs
from cnnscope.sources.torch.module import from_module


def refusal(module: nn.Module, *sizes: str) -> tuple[str, str]:
    with pytest.raises(CnnscopeError) as caught:
        from_module(module, parse_inputs(sizes))
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E435"
    reason = re.sub(r"^with input \S+ the run stops in ", "", diagnostic.message)
    return reason, diagnostic.hint or ""


def runs(module: nn.Module, size: InputSize) -> bool:
    """The oracle: a plain forward pass on the CPU."""
    dtype = torch.int64 if size.dtype else torch.float32
    try:
        module.eval()(torch.zeros(1, *size.shape, dtype=dtype))
    except (RuntimeError, ValueError, AssertionError):
        return False
    return True


def head(features: int, *, pool: int = 2, kernel: int = 3) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, kernel), nn.ReLU(), nn.MaxPool2d(pool), nn.Flatten(), nn.Linear(features, 10)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (lambda: head(900), "3x24x24"), (lambda: head(800), "3x24x24"), (lambda: head(128), "3x24x24"),
        (lambda: head(4 * 8, pool=5, kernel=5), "3x50x50"), (lambda: head(8 * 49, pool=3), "3x7x7"),
        (lambda: head(7), "3x16x16"),
        (lambda: nn.Sequential(nn.Conv1d(2, 4, 5, stride=2), nn.Flatten(), nn.Linear(40, 3)), "2x64"),
        (lambda: nn.Sequential(nn.Conv3d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 27, 3)), "1x9x9x9"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 3)), "1x32x32"),
    ],
)  # fmt: skip
def test_sizes_said_to_fit_are_those_that_torch_takes(make: Callable[[], nn.Module], size: str) -> None:
    module = make()
    given = InputSize.parse(size)
    message, hint = refusal(module, size)
    linear = next(m for m in module.modules() if isinstance(m, nn.Linear))
    assert f"(`Linear`): it has `in_features={linear.in_features}`, but " in message
    (found,) = re.findall(r"gives (\d+)|the input is (\d+)$", message)
    assert f"`in_features={found[0] or found[1]}` fits this input" in hint
    axes = len(given.shape) - 1
    fitting = [n for n in range(1, 70) if runs(module, InputSize((given.shape[0], *[n] * axes)))]
    said = [InputSize.parse(text).shape[1] for text in re.findall(r"(?:--input |to `)(\d[\dx]*)", hint)]
    assert (min(said, default=0), max(said, default=0)) == (min(fitting, default=0), max(fitting, default=0))
    assert ("no square input gives" in hint) == (not fitting)


def test_the_numbers_of_the_nearest_sizes_are_said() -> None:
    assert refusal(head(900), "3x24x24") == (
        "`4` (`Linear`): it has `in_features=900`, but `3` gives 968 (8x11x11)",
        "`in_features=968` fits this input; no square input gives 900: 3x23x23 gives 800 and 3x24x24 gives 968",
    )  # fmt: skip


class Two(nn.Module):
    def __init__(self, join: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.b, self.join = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3, stride=2), join

    def forward(self, x: Tensor) -> Tensor:
        return self.join(self.a(x), self.b(x))


class Product(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(16, 4))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.w


class Padded(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(functional.pad(x, (1, 1, 1, 1)), torch.zeros(4, 6, 3, 3))


@pytest.mark.parametrize(
    ("module", "size", "message", "hint"),
    [
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(16, 8, 3)), "3x24x24",
         "`1` (`Conv2d`): it takes 16 channels, but `0` gives 8x22x22",
         "no other size helps: `in_channels=8` of `1` fits, or 16 channels from `0`"),
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.BatchNorm2d(16)), "3x24x24",
         "`2` (`BatchNorm2d`): it normalises 16 channels, but `0` gives 8x22x22",
         "no other size helps: `num_features=8` of `2` fits, or 16 channels from `0`"),
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(4, 16)), "3x9x9",
         "`1` (`GroupNorm`): it normalises 16 channels, but `0` gives 8x7x7",
         "no other size helps: `num_channels=8` of `1` fits, or 16 channels from `0`"),
        (nn.Sequential(nn.Conv2d(3, 6, 1), nn.Conv2d(8, 8, 3, groups=2)), "3x9x9",
         "`1` (`Conv2d`): it takes 8 channels in 2 groups, but `0` gives 6x9x9",
         "no other size helps: `in_channels=6` of `1` fits, or 8 channels from `0`"),
        (nn.ConvTranspose2d(4, 2, 2), "3x8x8",
         "`ConvTranspose2d`: it takes 4 channels, but the input is 3x8x8", "it runs with `--input 4x8x8`"),
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Linear(8, 2)), "3x8x8",
         "`2` (`Linear`): it has `in_features=8`, but `0` gives 8x1x1",
         "flatten before it: `nn.Flatten()` makes 8 features of 8x1x1"),
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.Linear(8, 2)), "3x8x8",
         "`1` (`Linear`): it has `in_features=8`, but `0` gives 8x6x6",
         "before it, `nn.AdaptiveAvgPool2d(1)` and `nn.Flatten()` leave its 8 features"),
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.LayerNorm([8, 6, 6])), "3x9x9",
         "`1` (`LayerNorm`): it normalises the last axes 8x6x6, but `0` gives 8x7x7",
         "`normalized_shape=[8, 7, 7]` fits this input; `--input 3x8x8` gives 6"),
        (Two(torch.add), "3x9x9", "`Two`: it combines different sizes: `a` gives 8x7x7, and `b` gives 8x4x4", ""),
        (Two(lambda a, b: torch.cat([a, b], 1)), "3x9x9",
         "`Two`: it joins maps of different sizes: `a` gives 8x7x7, and `b` gives 8x4x4", ""),
        (Padded(), "3x8x8", "`Padded`: it takes 6 channels, but `pad` gives 3x10x10", "it runs with `--input 6x8x8`"),
        (Product(), "3x8", "`Product`: 8 columns meet 16 rows: the input is 3x8, and the weight `w` is 16x4",
         "`--input 3x16` runs, 3x15 does not"),
        (nn.Sequential(nn.LSTM(24, 8)), "5x20", "`0` (`LSTM`): it has `input_size=24`, but the input is 5x20",
         "`input_size=20` fits this input; `--input 5x24` gives 24"),
        (nn.Sequential(nn.Linear(9, 2)), "8", "`0` (`Linear`): it has `in_features=9`, but the input is 8",
         "it runs with `--input 9`"),
        (nn.Sequential(nn.Conv1d(3, 8, 3)),
         "3x8x8", "`0` (`Conv1d`): it takes channels x length, but the input is 3x8x8",
         ""),
        (nn.Sequential(nn.Conv2d(3, 8, 7, padding=1)), "3x4x4",
         "`0` (`Conv2d`): its kernel of 7x7 is larger than its input with padding 1x1: the input is 3x4x4",
         "`--input 3x5x5` runs, 3x4x4 does not"),
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.MaxPool2d(4)), "3x5x5",
         "`1` (`MaxPool2d`): its kernel of 4x4 is larger than its input: `0` gives 8x3x3",
         "`--input 3x6x6` runs, 3x5x5 does not"),
        (nn.Sequential(nn.BatchNorm1d(8)), "8x3x3",
         "`0` (`BatchNorm1d`): it takes channels x length, but the input is 8x3x3", ""),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_by_layer_with_both_numbers(
    module: nn.Module, size: str, message: str, hint: str
) -> None:
    whole = refusal(module, size)
    assert whole == (message, hint)


@pytest.mark.parametrize(
    ("module", "size", "meant"),
    [
        (nn.Sequential(nn.Conv2d(3, 8, 3)), "24x24x3", "3x24x24"),
        (nn.Sequential(nn.Conv2d(3, 8, 3)), "1x3x8x8", "3x8x8"),
        (nn.Sequential(nn.Conv2d(3, 8, 3)), "24x20", "3x24x20"), (nn.Sequential(nn.Conv2d(3, 8, 3)), "24", "3x24x24"),
        (nn.Sequential(nn.Conv2d(1, 8, 3), nn.Flatten(), nn.Linear(8 * 26 * 26, 2)), "28x28", "1x28x28"),
        (nn.Sequential(nn.Embedding(10, 8), nn.Linear(8, 2)), "12", "12:int64"),
        (nn.Sequential(nn.Conv1d(2, 8, 3)), "64", "2x64"),
    ],
)  # fmt: skip
def test_another_spelling_is_said_where_it_runs(module: nn.Module, size: str, meant: str) -> None:
    _, hint = refusal(module, size)
    assert hint == f"it runs with `--input {meant}`"
    assert runs(module, InputSize.parse(meant))


class Fixed(nn.Module):
    """As vision transformers do it."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.conv = size, nn.Conv2d(3, 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[-1] == self.size, "input width does not match"
        return self.conv(x)  # type: ignore[no-any-return]  # torch's own


def test_a_size_is_only_said_where_it_runs() -> None:
    message, hint = refusal(nn.Sequential(Fixed(224)), "3x96x96")
    assert (message, hint) == (
        "`0` (`Fixed`): input width does not match",
        "`--input 3x224x224` runs, 3x223x223 does not",
    )
    assert refusal(nn.Sequential(Fixed(97)), "3x95x95") == ("`0` (`Fixed`): input width does not match", "")


def test_layers_behind_the_one_that_is_wrong_are_not_called_unused() -> None:
    with pytest.raises(PartialError) as stopped:
        from_module(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(16, 8, 3)), parse_inputs(("3x24x24",)))
    assert stopped.value.graph is not None
    row = summarize(stopped.value.graph).rows[-1]
    assert (row.name, row.label, row.unused, row.cost.params) == ("1", "not reached", False, 1160)


class Raising(nn.Module):
    """Stops with the given error."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.conv, self.error = nn.Conv2d(3, 8, 3), error

    def forward(self, x: Tensor) -> Tensor:
        self.conv(x)
        raise self.error


ASSERTING = """
from torch import nn

class Asserting(nn.Conv2d):
    def forward(self, x):
        y = super().forward(x)
        assert y.shape[1] == 4
        return y

class Unmade(nn.Module):
    def __init__(self, width):
        assert width % 2 == 0
"""


@pytest.mark.parametrize(
    ("made", "said", "line"),
    [
        ("Asserting?in_channels=3&out_channels=8&kernel_size=3", "assert y.shape[1] == 4", 7),
        ("Unmade?width=3", "assert width % 2 == 0", 12),
    ],
)
def test_an_assertion_without_a_message_is_quoted_with_its_line(
    tmp_path: Path, made: str, said: str, line: int
) -> None:
    file = tmp_path / "asserting.py"
    file.write_text(ASSERTING)  # pytest gives the assertions of tests a message
    with pytest.raises(CnnscopeError) as caught:
        cnnscope.load(f"{file}:{made}", input=(3, 8, 8))
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.message.endswith(f": an assertion fails: `{said}`")
    assert diagnostic.span is not None
    assert (diagnostic.span.file, diagnostic.span.line) == (str(file), line)


def test_an_error_without_a_message_is_named() -> None:
    for error, said in ((KeyError(), "KeyError"), (RuntimeError("  "), "RuntimeError"),
                        (AssertionError(), "an assertion fails")):  # fmt: skip
        assert refusal(Raising(error), "3x8x8") == (f"`Raising`: {said}", "")
