"""A transfer as a result: the plan, what each way of training costs, and the score of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cnnscope.errors import CnnscopeError
from cnnscope.options.group import part
from cnnscope.options.running import Running
from cnnscope.options.trained import TransferOptions
from cnnscope.progress import SILENT, Progress
from cnnscope.render.result import File
from cnnscope.render.weights import WEIGHTS
from cnnscope.sources.resolve import Loaded
from cnnscope.training.plan import plan
from cnnscope.training.report import TransferReport

if TYPE_CHECKING:
    from cnnscope.training.model import TransferModel


@dataclass(frozen=True)
class Trained(TransferReport):
    """The report of a run, with the network that was trained."""

    model: TransferModel | None = None

    def write(self, path: str | Path) -> tuple[File, ...]:
        """Writes the trained weights (.safetensors .pt .pth), or the report by the suffix of a form of text."""
        from cnnscope.nn.checkpoint import write_weights

        path = Path(path)
        if path.suffix.lower() not in WEIGHTS:
            return super().write(path)
        assert self.model is not None
        write_weights(self.model.state(), path)
        return (File(path, "weights", path.stat().st_size),)


def transfer(model: Loaded, options: TransferOptions, progress: Progress = SILENT) -> TransferReport:
    """Another head for ``options.classes`` classes, and ways of training it; with ``options.train`` one of them is run.

    `CnnscopeError`: E493 without a head, E494 for a pattern that freezes nothing, E495 for fewer than 2 classes, E498
    for options that do not go together, E425 for weights of another network, E496 and E497 for images and training.
    """
    _refuse(options)
    planned = plan(model.graph, options.classes, freeze=options.freeze, head=options.head, batch=options.batch_size)
    report = TransferReport(model.graph, model.source, planned)
    if options.train is not None:
        return _trained(model, report, options, Path(options.train), progress)
    if options.weights not in (None, "pretrained"):
        _check_weights(model, Path(str(options.weights)))
    return report


def _refuse(options: TransferOptions) -> None:
    """E498 for options that do not go together or cannot be met."""
    if options.fine_tune and options.freeze:
        raise CnnscopeError.of("E498", "`--fine-tune` trains every layer, `--freeze` some", hint="say one of them")
    if options.fine_tune and options.train is None:
        raise CnnscopeError.of("E498", "`--fine-tune` needs images", hint="name them with `--train PATH`")
    if not 0 < options.lr < float("inf"):
        raise CnnscopeError.of("E498", f"`--lr {options.lr:g}` is no learning rate", hint="use a small positive number")


def _check_weights(model: Loaded, path: Path) -> None:
    """E425 unless the file is of this network."""
    from cnnscope.nn.checkpoint import read_header
    from cnnscope.nn.weights import compare

    comparison = compare(model.graph, read_header(path))
    if not comparison.fits:
        raise comparison.error()


def _trained(
    model: Loaded, report: TransferReport, options: TransferOptions, data: Path, progress: Progress
) -> Trained:
    from cnnscope.trained.loading import open_network
    from cnnscope.training.model import read_images
    from cnnscope.training.train import Settings, cacheable, summarise, train

    planned = report.plan
    chosen = planned.strategies[1 if options.fine_tune else 2 if options.freeze else 0]
    settings = Settings(options.epochs, options.lr, options.batch_size, options.seed)
    network = open_network(model, part(options, Running))
    for note in network.notes:
        progress.note(note)
    images = read_images(data, network.preprocess, planned.classes, settings.seed, progress)
    changed, losses, correct = train(network, planned, chosen, images, settings, progress)
    run = summarise(network, chosen, str(data), images, settings, losses, correct, cacheable(changed, planned))
    return Trained(report.graph, report.source, planned, training=run, model=changed)
