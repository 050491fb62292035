"""The commands ``audit report compare``: how a trained network's predictions and features change when images move."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from cnnscope.audits.statistics import METRICS
from cnnscope.cli import options as o
from cnnscope.cli.flat import flat
from cnnscope.cli.output import Showing, Writing
from cnnscope.cli.signals import Terminated
from cnnscope.errors import CnnscopeError
from cnnscope.options.group import group, part
from cnnscope.options.running import Running, paths
from cnnscope.options.trained import AuditOptions, Gates, Reports
from cnnscope.progress import Silent, on_stderr
from cnnscope.trained.images import known

if TYPE_CHECKING:
    from cnnscope.audits.audit import Audit
    from cnnscope.audits.result import AuditResult
    from cnnscope.audits.run.audit import Asked
    from cnnscope.audits.run.job import Job
    from cnnscope.audits.run.shards import Ranks

INCOMPLETE, INTERRUPTED = 5, 130
_GATES = (
    "Exit with 1 unless a lower confidence bound is at least this: translation@1.agreement=0.95, rotation.kappa=0.5. "
    f"Metrics: {', '.join(METRICS.names())}."
)


@flat(
    output="The folder for shards, result and report, by default a new one in `audits`; or a report to write: .html, "
    ".md, .xml (JUnit), .json, .csv, .tsv, .txt, or its figures: .svg, .png, .pdf. May be repeated.",
    fail_under=_GATES,
    data=f"Images: {known()}.",
)
def audit(options: AuditOptions, loading: o.Loading, showing: Showing, source: o.DefaultSource = o.DEFAULT) -> int:
    """Measure how moving, rotating, scaling and flipping images changes predictions and features, with controls."""
    from cnnscope.audits.audit import Audit, asked, check_plots, open_audit, places
    from cnnscope.audits.run.shards import Ranks
    from cnnscope.trained.loading import open_network

    named, reports = places(options.output)
    ranks, gates = Ranks.of(), asked(options)
    notes = Silent(lambda text: showing.say(f"note: {text}") if ranks.leads else None)
    running = replace(part(options, Running), device=ranks.device(options.device))
    check_plots(Path("audits"), reports)
    job = open_audit(open_network(loading.load(source), running), options, notes)
    folder = named or Path("audits") / f"{_slug(source)}-{options.preset}-{job.digest[:8]}"
    result = _run(job, folder, ranks, options.resume, showing, gates)
    if result is None:
        return 0
    _notes(result, folder, showing)
    return _show(Audit.of(result), reports, showing)


def _run(job: Job, folder: Path, ranks: Ranks, resume: bool, showing: Showing, asked: Asked) -> AuditResult | None:
    """Runs the audit with a progress bar. An interruption exits and says how to continue."""
    from cnnscope.audits.run.audit import finished, run, start_over

    if not resume:
        if ranks.world > 1:
            raise CnnscopeError.of("E409", "`--no-resume` is for one process: others may have begun already",
                                   hint=f"remove `{folder}` first")  # fmt: skip
        start_over(folder)
    if ranks.leads:
        showing.say(f"auditing in {folder}")
    try:
        with on_stderr(showing.quiet or not ranks.leads) as progress:
            return run(job, folder, asked=asked, ranks=ranks, progress=progress)
    except (KeyboardInterrupt, Terminated) as stop:
        kept = f"{finished(job, folder)} of {len(job.pieces)} shards are kept in {folder}"
        Showing().say(f"interrupted: {kept}; the same command continues from there")
        raise typer.Exit(INTERRUPTED if isinstance(stop, KeyboardInterrupt) else INCOMPLETE) from None


def _notes(result: AuditResult, folder: Path, showing: Showing) -> None:
    """Says which images were left out, and where the reports are."""
    from cnnscope.audits.result import DOCUMENT

    data = result.facts.data
    if data.skipped:
        first = data.skipped[0]
        left_out = f"{len(data.skipped)} of {data.images} images are left out, as `{first.file}`: {first.reason}"
        showing.say(f"note: {left_out}")
    showing.say(f"wrote {folder / 'report.html'} and {folder / DOCUMENT}")


def _show(result: Audit, reports: tuple[Path, ...], showing: Showing) -> int:
    """Writes the reports that are asked for, else prints the summary; the exit code that the audit comes to."""
    if reports:
        showing.files([file for path in reports for file in result.write(path)])
    else:
        showing.show(result.report)
    return result.exit_code


def _slug(source: str) -> str:
    """A name for a folder: ``torchvision-resnet18``, ``net``."""
    text = Path(source).stem if "/" in source or source.endswith((".yaml", ".yml")) else source
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.") or "network"


@flat(fail_under=_GATES)
def report(
    result: Annotated[Path, typer.Argument(metavar="RESULT", help="The folder of an audit, or its audit.json.")],
    reports: Reports,
    gates: Gates,
    showing: Showing,
) -> int:
    """Report on a finished audit and check it against gates, without running it again."""
    from cnnscope.audits.audit import check_names, report

    wanted = paths(reports.output)
    check_names(wanted)
    return _show(report(result, gates), tuple(map(Path, wanted)), showing)


@group("Output")
class ComparisonWriting(Writing):
    """Where a comparison is written."""

    KINDS: ClassVar[Sequence[str]] = ("html",)


@flat(
    output="Write to a file: .html is a page with figures, .json .csv .tsv .md .txt have the table.",
    verbose="List each metric at each magnitude, with all columns.",
)
def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="The audit to compare with: its folder, or its audit.json.")],
    others: Annotated[list[Path], typer.Argument(metavar="B...", help="Audits of which the differences are shown.")],
    writing: ComparisonWriting,
) -> None:
    """Compare finished audits; on the same images, image by image."""
    from cnnscope.audits.audit import compare

    if writing.picture is not None:
        import_module("matplotlib")
    writing.deliver(replace(compare(a, *others), verbose=writing.verbose))
