"""What verbs that run a network share: options about weights, device and images, and opening the network with them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cnnscope.cli.layers import load
from cnnscope.cli.options import SOURCE_HELP, complete_source
from cnnscope.errors import CnnscopeError

if TYPE_CHECKING:
    from cnnscope.api import Model
    from cnnscope.trained.network import TrainedNetwork

DEFAULT = "lenet5-digits"
"""What is looked at where no SOURCE is named: it has weights, and images, beside it."""

_RUN = "Weights and device"
_IMAGES = "Images"

Source = Annotated[str, typer.Argument(metavar="[SOURCE]", autocompletion=complete_source, help=SOURCE_HELP)]
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights", metavar="FILE", rich_help_panel=_RUN,
        help="A .safetensors, .pt or .pth file, or `pretrained`, which downloads what torchvision or timm publish. "
        "Without it: the weights the source has or names, else random ones.",
    ),
]  # fmt: skip
Device = Annotated[
    str, typer.Option("--device", metavar="NAME", rich_help_panel=_RUN, help="auto, cpu, cuda, cuda:N or mps.")
]
Dtype = Annotated[
    Literal["float32", "float64", "bfloat16", "float16"],
    typer.Option("--dtype", rich_help_panel=_RUN, help="Precision that the network runs in."),
]
Seed = Annotated[int, typer.Option("--seed", min=0, rich_help_panel=_RUN, help="Of everything drawn at random.")]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="PATH", rich_help_panel=_IMAGES,
        help="A folder of images or of one folder a class, .npz, WebDataset tars, parquet files.",
    ),
]  # fmt: skip
Labels = Annotated[
    Path | None,
    typer.Option("--labels", metavar="FILE", rich_help_panel=_IMAGES, help="Names of classes, one a line, or JSON."),
]
Preprocess = Annotated[
    list[str] | None,
    typer.Option(
        "--preprocess", metavar="KEY=VALUE", rich_help_panel=_IMAGES,
        help="resize=256, mean=0.5 or mean=0.485,0.456,0.406, std=..., interpolation=bilinear, border=zero: instead of "
        "what the source says.",
    ),
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Opening:
    """The options above, as given."""

    inputs: Sequence[str] = ()
    settings: Sequence[str] = ()
    weights: str | None = None
    device: str = "auto"
    dtype: str = "float32"
    seed: int = 0
    preprocess: Sequence[str] = ()
    labels: Path | None = None
    data: Path | None = None


def open_trained(source: str, options: Opening, quiet: bool = False) -> TrainedNetwork:
    """The network with its weights; what to know of it goes to stderr."""
    return trained(load(source, options.inputs, options.settings), options, quiet)


def trained(model: Model, options: Opening, quiet: bool = False) -> TrainedNetwork:
    """A network that is loaded already, so that code of the user's own runs once."""
    network = model.trained(
        weights=options.weights, seed=options.seed, device=options.device, dtype=options.dtype,
        preprocess=parse_preprocess(options.preprocess), labels=options.labels, data=options.data,
    )  # fmt: skip
    say(network.notes, quiet)
    return network


def say(notes: Sequence[str], quiet: bool) -> None:
    """What a reader should know, on stderr."""
    if not quiet:
        for note in notes:
            print(f"note: {note}", file=sys.stderr)


def parse_preprocess(settings: Sequence[str]) -> dict[str, Any]:
    """``["mean=0.5,0.4,0.3"]`` as values by key; E406 where that is none."""
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not text:
            hint = "write `--preprocess resize=256`"
            raise CnnscopeError.of("E406", f"`--preprocess {setting}` sets nothing", hint=hint)
        values[key] = _value(key, text)
    return values


def _value(key: str, text: str) -> Any:
    if key in ("interpolation", "border"):
        return text
    convert = int if key in ("resize", "crop") else float
    try:
        numbers = [convert(part) for part in text.replace("x", ",").split(",")]
    except ValueError:
        kind = "whole numbers" if convert is int else "numbers"
        raise CnnscopeError.of("E406", f"`{key}` is {kind}, not `{text}`", hint="write `mean=0.5,0.4,0.3`") from None
    return numbers[0] if len(numbers) == 1 else numbers
