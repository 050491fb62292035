"""``audit``: how much a trained network's answers and features change when its images move."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cnnscope.cli import options as o
from cnnscope.cli import report as r
from cnnscope.cli import trained as t
from cnnscope.cli.output import Color
from cnnscope.errors import CnnscopeError
from cnnscope.progress import on_stderr

if TYPE_CHECKING:
    from cnnscope.audits.result import AuditResult
    from cnnscope.audits.run.audit import Asked
    from cnnscope.audits.run.job import Job
    from cnnscope.audits.run.ranks import Ranks

INCOMPLETE, INTERRUPTED = 5, 130
_AUDIT = "Audit"

Preset = Annotated[
    str,
    typer.Option(
        "--preset", metavar="NAME", rich_help_panel=_AUDIT,
        help="quick, full, zhang-256, kayhan-288, azulay-diag, engstrom-grid, zeiler-fergus or imagenet-p.",
    ),
]  # fmt: skip
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="DIR", rich_help_panel=_AUDIT,
        help="Where shards, result and report go; one of its own below `audits` by default.",
    ),
]  # fmt: skip
Resume = Annotated[
    bool,
    typer.Option("--resume/--no-resume", rich_help_panel=_AUDIT, help="Go on with what is there, or start over."),
]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, rich_help_panel=_AUDIT, help="So many images, spread over the set.")
]
BatchSize = Annotated[
    int | None,
    typer.Option("--batch-size", min=1, rich_help_panel=_AUDIT, help="Most samples in a forward pass; halved at need."),
]
ShardSize = Annotated[
    int, typer.Option("--shard-size", min=1, rich_help_panel=_AUDIT, help="Images measured and kept as a whole.")
]
Borders = Literal["crop", "reflect", "zero", "mean", "circular"]
Border = Annotated[
    Borders | None,
    typer.Option("--border", rich_help_panel=_AUDIT, help="What lies beyond a picture that is moved."),
]
Layers = Annotated[
    str | None, typer.Option("--layers", metavar="A,B,...", rich_help_panel=_AUDIT, help="Layers to watch.")
]
Strict = Annotated[
    bool, typer.Option("--strict-data", rich_help_panel=_AUDIT, help="Refuse images and labels that cannot be used.")
]


class Terminated(BaseException):
    """SIGTERM, as schedulers send it: not an error, so nothing on the way may take it for one."""


def audit(
    source: t.Source = t.DEFAULT,
    input: o.Input = None,
    set: o.Settings = None,
    weights: t.Weights = None,
    device: t.Device = "auto",
    dtype: t.Dtype = "float32",
    seed: t.Seed = 0,
    data: t.Data = None,
    labels: t.Labels = None,
    preprocess: t.Preprocess = None,
    preset: Preset = "quick",
    limit: Limit = None,
    border: Border = None,
    layers: Layers = None,
    batch_size: BatchSize = None,
    shard_size: ShardSize = 128,
    strict_data: Strict = False,
    out: Out = None,
    resume: Resume = True,
    fail_under: r.FailUnder = None,
    baseline: r.Baseline = None,
    max_regression: r.MaxRegression = None,
    form: o.FormatOption = None,
    paths: r.Reports = None,
    quiet: o.Quiet = False,
    color: o.ColorOption = Color.auto,
    debug: o.Debug = False,
) -> int:
    """Measure what shifts, turns, scales and flips do to a network's answers and layers, with controls."""
    r.check_report_names(paths or ())
    from cnnscope.audits.run.audit import Asked
    from cnnscope.audits.run.ranks import Ranks

    ranks = Ranks.of()
    asked = Asked.of(fail_under or (), baseline, max_regression)
    opening = t.Opening(
        input or (), set or (), weights, ranks.device(device), dtype, seed, preprocess or (), labels, data
    )
    job = _job(source, opening, quiet or not ranks.leads, preset, limit, border, layers, batch_size, shard_size,
               strict_data)  # fmt: skip
    folder = out or Path("audits") / f"{_slug(source)}-{preset}-{job.digest[:8]}"
    result = _run(job, folder, ranks, resume, quiet, asked)
    if result is None:
        return 0
    if not quiet:
        _notes(result, folder)
    return r.emit(result, paths or (), form, color, quiet)


def _job(
    source: str, opening: t.Opening, quiet: bool, preset: str, limit: int | None, border: Borders | None,
    layers: str | None, batch: int | None, size: int, strict: bool,
) -> Job:  # fmt: skip
    from cnnscope.audits.run.job import open_job

    job = open_job(
        t.open_trained(source, opening, quiet), preset=preset, seed=opening.seed, batch=batch, limit=limit,
        border=border, layers=None if layers is None else tuple(part.strip() for part in layers.split(",")), size=size,
        strict=strict,
    )  # fmt: skip
    if not quiet and job.classes.note:
        print(f"note: {job.classes.note}", file=sys.stderr)
    if not quiet and job.total < len(job.images):
        print(f"note: {job.total:,} of {len(job.images):,} images are looked at, spread over the set", file=sys.stderr)
    return job


def _run(job: Job, folder: Path, ranks: Ranks, resume: bool, quiet: bool, asked: Asked) -> AuditResult | None:
    """The audit with a bar; an interruption ends the program with what to do next."""
    from cnnscope.audits.run.audit import finished, run, start_over

    if not resume:
        if ranks.world > 1:
            raise CnnscopeError.of("E409", "`--no-resume` is for one process: others may have begun already",
                                   hint=f"remove `{folder}` first")  # fmt: skip
        start_over(folder)
    if not quiet and ranks.leads:
        print(f"auditing in {folder}", file=sys.stderr)
    try:
        with _terminable(), on_stderr(quiet or not ranks.leads) as progress:
            return run(job, folder, asked=asked, ranks=ranks, progress=progress)
    except (KeyboardInterrupt, Terminated) as stop:
        kept = f"{finished(job, folder)} of {len(job.pieces)} shards are kept in {folder}"
        print(f"interrupted: {kept}; the same command goes on from there", file=sys.stderr)
        raise typer.Exit(INTERRUPTED if isinstance(stop, KeyboardInterrupt) else INCOMPLETE) from None


def _notes(result: AuditResult, folder: Path) -> None:
    """What to know of the images, and where the reports are."""
    from cnnscope.audits.result import DOCUMENT

    data = result.facts.data
    if data.skipped:
        first = data.skipped[0]
        print(f"note: {len(data.skipped)} of {data.images} images are left out, as `{first.file}`: {first.reason}",
              file=sys.stderr)  # fmt: skip
    print(f"wrote {folder / 'report.html'} and {folder / DOCUMENT}", file=sys.stderr)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM raises `Terminated` inside."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _slug(source: str) -> str:
    """A name for a folder: ``torchvision-resnet18``, ``net``."""
    text = Path(source).stem if "/" in source or source.endswith((".yaml", ".yml")) else source
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.") or "network"
