"""``transfer``: another head on a network: the plan, and with ``--train`` a run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnnscope.cli import options as o
from cnnscope.cli import trained as t
from cnnscope.cli.layers import load
from cnnscope.cli.output import Color, Output, check_folder
from cnnscope.errors import CnnscopeError
from cnnscope.progress import on_stderr

if TYPE_CHECKING:
    from cnnscope.api import Model
    from cnnscope.training.report import TransferReport
    from cnnscope.training.train import Settings

_PLAN, _TRAINING = "Plan", "Training"
WEIGHTS = (".safetensors", ".pt", ".pth")


def transfer(
    classes: Annotated[int, typer.Option(metavar="N", rich_help_panel=_PLAN, help="Classes of the new head.")],
    source: t.Source = t.DEFAULT,
    freeze: Annotated[
        list[str] | None,
        typer.Option(
            "--freeze", metavar="PATTERN", rich_help_panel=_PLAN,
            help="Layers or groups to freeze, the rest is trained: conv1, layer1, 'features.*'; several add up.",
        ),
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(metavar="LAYER", rich_help_panel=_PLAN, help="The layer to replace; else the last with weights."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=2, rich_help_panel=_PLAN, help="Images a step.")] = 32,
    train: Annotated[
        Path | None,
        typer.Option(metavar="PATH", rich_help_panel=_TRAINING,
                     help="Train on these images: a folder of one folder a class, .npz, WebDataset tars, parquet."),
    ] = None,
    fine_tune: Annotated[
        bool, typer.Option("--fine-tune", rich_help_panel=_TRAINING, help="Train every layer, not the head alone.")
    ] = False,
    epochs: Annotated[int, typer.Option(min=1, rich_help_panel=_TRAINING, help="Passes over the images.")] = 10,
    lr: Annotated[float, typer.Option(rich_help_panel=_TRAINING, help="AdamW's learning rate.")] = 1e-3,
    weights: t.Weights = None,
    device: t.Device = "auto",
    seed: t.Seed = 0,
    preprocess: t.Preprocess = None,
    input: o.Input = None,
    set: o.Settings = None,
    form: o.FormatOption = None,
    path: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", readable=False, rich_help_panel="Output",
            help="Write the trained weights (.safetensors .pt .pth), or the report (.json .csv .tsv .md .txt).",
        ),
    ] = None,
    quiet: o.Quiet = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", rich_help_panel="Output", help="Layer by layer.")] = False,
    color: o.ColorOption = Color.auto,
    debug: o.Debug = False,
) -> None:  # fmt: skip
    """Give a network another head for other classes: what is kept, frozen and trained, and what training costs."""
    target = path if path is not None and path.suffix.lower() in WEIGHTS else None
    output = Output.of(form, None if target else path, color, quiet)
    _refuse(train, fine_tune, freeze, target, lr)
    model = load(source, input or (), set or ())
    report = model.transfer(classes, freeze=freeze or (), head=head, batch=batch_size)
    if train is None:
        if weights not in (None, "pretrained"):
            _check_weights(model, Path(str(weights)))
        output.emit(replace(report, verbose=verbose, bare=quiet))
        return
    from cnnscope.training.train import Settings

    options = t.Opening(input or (), set or (), weights, device, "float32", seed, preprocess or ())
    settings = Settings(epochs, lr, batch_size, seed)
    strategy = 1 if fine_tune else 2 if freeze else 0
    report = _trained(report, strategy, model, options, train, settings, target, quiet)
    output.emit(replace(report, verbose=verbose, bare=quiet))
    if target is not None and not quiet:
        how = loading(report, source, target, input or (), set or (), head)
        print(f"wrote {target}; {how}", file=sys.stderr)


def _refuse(train: Path | None, fine_tune: bool, freeze: object, target: Path | None, lr: float) -> None:
    """E498 for options that do not go together or cannot be met."""
    if fine_tune and freeze:
        raise CnnscopeError.of("E498", "`--fine-tune` trains every layer, `--freeze` some", hint="say one of them")
    if fine_tune and train is None:
        raise CnnscopeError.of("E498", "`--fine-tune` needs images", hint="name them with `--train PATH`")
    if target is not None and train is None:
        raise CnnscopeError.of("E498", f"there are no weights to write to `{target}`", hint="train with `--train PATH`")
    if target is not None:
        check_folder(target)
    if not 0 < lr < float("inf"):
        raise CnnscopeError.of("E498", f"`--lr {lr:g}` is no learning rate", hint="use a small positive number")


def _check_weights(model: Model, path: Path) -> None:
    """E425 unless the file is of this network."""
    from cnnscope.nn.checkpoint import read_header
    from cnnscope.nn.weights import compare

    comparison = compare(model.graph, read_header(path))
    if not comparison.fits:
        raise comparison.error()


def _trained(
    report: TransferReport, strategy: int, model: Model, options: t.Opening, data: Path, settings: Settings,
    target: Path | None, quiet: bool,
) -> TransferReport:  # fmt: skip
    from cnnscope.nn.checkpoint import write_weights
    from cnnscope.training.data import read_images
    from cnnscope.training.train import cacheable, summarise, train

    plan, chosen = report.plan, report.plan.strategies[strategy]
    network = t.trained(model, options, quiet)
    with on_stderr(quiet) as progress:
        images = read_images(data, network.preprocess, plan.classes, settings.seed, progress)
        changed, losses, correct = train(network, plan, chosen, images, settings, progress)
    if target is not None:
        write_weights(changed.state(), target)
    run = summarise(network, chosen, str(data), images, settings, losses, correct, cacheable(changed, plan))
    return replace(report, training=run)


def loading(
    report: TransferReport, source: str, path: Path, inputs: Sequence[str], settings: Sequence[str], head: str | None
) -> str:  # fmt: skip
    """How the weights are loaded again: by the source, where it can have that many classes, else in Python."""
    from cnnscope import api
    from cnnscope.cli.layers import parse_settings
    from cnnscope.ops.traced import Traced
    from cnnscope.sources.inputs import parse_inputs

    graph, classes, given = report.plan.graph, report.plan.classes, parse_settings(settings)
    wanted = {key: param.shape for key, param in graph.params.items()}
    for name in (None, "classes", "num_classes"):
        changed = given if name is None else {**given, name: str(classes)}
        try:
            found = api.load(source, input=parse_inputs(inputs), set=changed).graph
        except CnnscopeError:  # it has no such parameter
            continue
        if {key: param.shape for key, param in found.params.items()} == wanted:
            words = [*(f" --input {size}" for size in inputs), *(f" --set {k}={v}" for k, v in changed.items())]
            return f"load it with `{source}{''.join(words)} --weights {path}`"
    if any(isinstance(node.op, Traced) for node in graph.nodes):
        return f"load it with `load_state_dict` into a module of {classes} classes"
    size = f", input={inputs[0]!r}" if len(inputs) == 1 and "=" not in inputs[0] else ""
    named = f", head={head!r}" if head else ""
    made = f"cnnscope.load({source!r}{size}{f', set={given!r}' if given else ''}).transfer({classes}{named}).plan.graph"
    return f"load it in Python with `cnnscope.load({made}).module(weights={str(path)!r})`"
