"""Options of running a network with weights on images, which several verbs share."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from cnnscope.errors import CnnscopeError
from cnnscope.options.group import Option, group
from cnnscope.options.network import Precision

_RUN, _IMAGES = "Weights and device", "Images"


def layers(which: str) -> Option:
    """The option of an argument that names one layer or several."""
    return Option(f"{which}; may be repeated, or name several as A,B.", metavar="NAME")


@group(_RUN)
class Weights:
    """Which weights a network gets."""

    weights: Annotated[
        str | Path | None,
        Option(
            "A .safetensors, .pt or .pth file, or `pretrained`, which downloads what torchvision or timm publish. "
            "Without it: the weights that the source has or names, else random ones.",
            metavar="FILE",
            kind=str | None,
        ),
    ] = None


@group(_RUN)
class Device:
    """Where a network runs, and the seed of random draws."""

    device: Annotated[str, Option("auto, cpu, cuda, cuda:N or mps.", metavar="NAME")] = "auto"
    seed: Annotated[int, Option("Seed of all random draws.", min=0)] = 0


@group(_RUN)
class Dtype:
    """The precision a network runs in."""

    dtype: Annotated[Precision, Option("Precision that the network runs in.")] = "float32"


@group(_IMAGES)
class Preprocessing:
    """How images are prepared."""

    preprocess: Annotated[
        Mapping[str, Any] | Sequence[str],
        Option(
            "resize=256, mean=0.5 or mean=0.485,0.456,0.406, std=..., interpolation=bilinear, border=zero: instead of "
            "what the source says.",
            metavar="KEY=VALUE",
            kind=list[str] | None,
        ),
    ] = ()


@group(_IMAGES)
class Data:
    """Which images a network looks at."""

    data: Annotated[
        str | Path | None,
        Option(
            "A folder of images or of one folder for each class, .npz, WebDataset tars, parquet files.", metavar="PATH"
        ),
    ] = None


@group(_IMAGES)
class Labels:
    """What classes are called."""

    labels: Annotated[str | Path | None, Option("Names of the classes: one in each line, or JSON.", metavar="FILE")] = (
        None
    )


@group(_IMAGES)
class Picture:
    """One image to look at."""

    image: Annotated[
        str | Path | None, Option("A picture; by default the first of the network's images.", metavar="FILE")
    ] = None


@group(_RUN)
class Running(Weights, Device, Dtype, Data, Labels, Preprocessing):
    """What running a network on images takes. All of it replaces what the source says."""


def names(words: str | Sequence[str]) -> tuple[str, ...]:
    """``["conv1,conv2", "conv3"]`` or ``"conv1"`` as names, each once."""
    words = [words] if isinstance(words, str) else words
    return tuple(dict.fromkeys(name.strip() for word in words for name in word.split(",")))


def paths(output: str | Path | Sequence[str | Path]) -> tuple[str, ...]:
    """One path or several as texts; one that ends in ``/`` is a folder."""
    return tuple(map(str, [output] if isinstance(output, (str, Path)) else output))


def settings(preprocess: Mapping[str, Any] | Sequence[str]) -> dict[str, Any]:
    """``["mean=0.5,0.4,0.3"]`` as values by key; E406 where that is none."""
    if isinstance(preprocess, Mapping):
        return dict(preprocess)
    values: dict[str, Any] = {}
    for setting in preprocess:
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
