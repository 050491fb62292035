"""Options of the verbs about networks with weights: transfer, filters, features, attribute, kernels, audit, report."""

from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import Annotated, Literal

from cnnscope.options.group import Option, group
from cnnscope.options.running import Data, Device, Dtype, Labels, Picture, Preprocessing, Running, Weights, layers


@group("Plan")
class HeadOptions:
    """Another head, and what is trained."""

    classes: Annotated[int, Option("Number of classes of the new head.", metavar="N")] = field(kw_only=False)
    freeze: Annotated[
        Sequence[str],
        Option(
            "Layers or groups to freeze; the rest is trained: conv1, layer1, 'features.*'. Several add up.",
            metavar="PATTERN",
        ),
    ] = ()
    head: Annotated[
        str | None, Option("The layer to replace; by default the last one with weights.", metavar="LAYER")
    ] = None
    batch_size: Annotated[int, Option("Images in a training step.", min=2)] = 32


@group("Training")
class TransferOptions(HeadOptions, Weights, Device, Preprocessing):
    """Another head; with images also how it is trained."""

    train: Annotated[
        str | Path | None,
        Option(
            "Train on these images: a folder of one folder for each class, .npz, WebDataset tars, parquet files.",
            metavar="PATH",
        ),
    ] = None
    fine_tune: Annotated[bool, Option("Train every layer, not the head alone.")] = False
    epochs: Annotated[int, Option("Passes over the images.", min=1)] = 10
    lr: Annotated[float, Option("Learning rate of AdamW.")] = 1e-3


@group("Filters")
class FilterOptions(Weights, Device, Data, Preprocessing):
    """Which filters are shown, in which order."""

    layer: Annotated[
        str | Sequence[str], layers("The layer whose filters are shown, by default the first convolution")
    ] = ()
    sort: Annotated[Literal["norm", "orientation", "redundancy"], Option("Which filters come first.")] = "norm"
    limit: Annotated[int, Option("Number of images to look for dead filters with.", min=1, metavar="N")] = 1000


@group("Features")
class FeatureOptions(Running, Picture):
    """Which feature maps are shown, or which channel."""

    layer: Annotated[
        str | Sequence[str], layers("The layer whose maps are shown, by default the first convolutions")
    ] = ()
    channel: Annotated[
        str | None,
        Option(
            "A page about one channel: its kernel, the images that activate it most, the image that maximises it.",
            metavar="LAYER:C",
        ),
    ] = None
    limit: Annotated[int, Option("Number of images to look for patches in.", min=1, metavar="N")] = 1000
    steps: Annotated[int, Option("Optimisation steps that maximise a channel's activation.", min=1, max=100_000)] = 256


@group("Attribution")
class AttributionOptions(Device, Dtype, Data, Labels, Preprocessing, Picture):
    """Which class is explained, by which methods."""

    weights: Annotated[
        str | Path | Sequence[str | Path],
        Option("A checkpoint, or `pretrained`; several make a row each.", metavar="FILE"),
    ] = ()
    target: Annotated[
        str | int | None,
        Option("Number or name of the class; by default the predicted one.", metavar="N|NAME", kind=str | None),
    ] = None
    method: Annotated[
        str | Sequence[str],
        Option(
            "Names of methods, or `all`; may be repeated, or name several as A,B.",
            flags=("--method", "-m"),
            metavar="NAME",
        ),
    ] = ()
    baseline: Annotated[str, Option("What absence looks like: zero, mean, blur, black or white.", metavar="NAME")] = (
        "zero"
    )
    layer: Annotated[
        str | Sequence[str],
        layers("The layer whose maps Grad-CAM and similar methods use, by default the last one with maps"),
    ] = ()
    steps: Annotated[int | None, Option("Number of steps or samples of a method.", min=1, metavar="N")] = None
    window: Annotated[
        int | None, Option("Side of the square that occlusion covers, in pixels.", min=1, metavar="N")
    ] = None
    trust: Annotated[bool, Option("Check each attribution: random weights, insertion, deletion, equivariance.")] = False
    batch_size: Annotated[int, Option("Most images in a forward pass.", min=1)] = 16


Borders = Literal["crop", "reflect", "zero", "mean", "circular"]


@group("Gates")
class Gates:
    """What makes an audit fail."""

    fail_under: Annotated[
        Sequence[str],
        Option(
            "Exit with 1 unless a lower confidence bound is at least this: translation@1.agreement=0.95, "
            "rotation.kappa=0.5.",
            metavar="EXPR",
        ),
    ] = ()
    baseline: Annotated[str | Path | None, Option("Folder of an earlier audit to compare with.", metavar="RESULT")] = (
        None
    )
    max_regression: Annotated[
        float | None,
        Option(
            "Exit with 1 if a probe's agreement may have fallen by more than X from the baseline.",
            metavar="X",
            min=0,
            max=1,
        ),
    ] = None


@group("Output")
class Reports:
    """Where reports of an audit go."""

    output: Annotated[
        str | Path | Sequence[str | Path],
        Option(
            "Write a report, may be repeated: .html, .md, .xml (JUnit), .json, .csv, .tsv, .txt; .svg, .png, .pdf have "
            "its figures alone.",
            flags=("--output", "-o"),
            metavar="FILE",
        ),
    ] = ()


@group("Audit")
class AuditOptions(Running, Gates, Reports):
    """What is measured, on which images, and how the work is divided."""

    preset: Annotated[
        str,
        Option(
            "quick, full, zhang-256, kayhan-288, azulay-diag, engstrom-grid, zeiler-fergus or imagenet-p.",
            metavar="NAME",
        ),
    ] = "quick"
    limit: Annotated[int | None, Option("Number of images to use, spread over the set.", min=1)] = None
    border: Annotated[Borders | None, Option("What lies beyond the edges of an image that is moved.")] = None
    layer: Annotated[
        str | Sequence[str], layers("A layer to watch besides the input, by default up to eight of them")
    ] = ()
    batch_size: Annotated[
        int | None, Option("Most images in a forward pass; halved where the memory does not suffice.", min=1)
    ] = None
    shard_size: Annotated[int, Option("Images that are measured and kept as a whole.", min=1)] = 128
    strict_data: Annotated[
        bool, Option("Refuse images and labels that cannot be used, instead of leaving them out.")
    ] = False
    resume: Annotated[bool, Option("Continue with what the folder has, or start over.")] = True


@group("Step by step")
class KernelOptions:
    """A kernel over numbers, step by step; or kernels on an image."""

    kernel: Annotated[
        str | None,
        Option('Numbers: "-1 1", rows as "1 0 -1; 2 0 -2; 1 0 -1", channels as "1 0 | 0 1".', metavar="NUMBERS"),
    ] = None
    input: Annotated[
        str | None, Option('Numbers that the kernel slides over: "0 1 0 1 1", or rows.', metavar="NUMBERS")
    ] = None
    op: Annotated[
        Literal["conv", "upconv", "maxpool", "avgpool"] | None,
        Option("What is done: conv, upconv (a transposed convolution), maxpool or avgpool; conv."),
    ] = None
    stride: Annotated[
        int | None, Option("Distance between positions of the kernel; 1, of pooling its window.", min=1)
    ] = None
    pad: Annotated[int | None, Option("Zeros around the input; 0.", min=0)] = None
    dilation: Annotated[int | None, Option("Distance between the kernel's numbers on the input; 1.", min=1)] = None
    bias: Annotated[str | None, Option("A number that is added to every sum; 0.", metavar="NUMBER")] = None
    act: Annotated[Literal["relu", "sigmoid", "tanh"] | None, Option("What every output goes through.")] = None
    steps: Annotated[
        str | None, Option("Steps to show, counted from 1: 1,2,5; without it all of them.", metavar="N,N")
    ] = None
    image: Annotated[str | Path | None, Option("A picture; by default one of the bundled digits.", metavar="FILE")] = (
        None
    )
    size: Annotated[
        int | None, Option("Side of the designed kernels, 3, or of a pooling window, 2.", min=2, max=31)
    ] = None
