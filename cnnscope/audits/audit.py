"""Audits as results: run, read from their folders, judged and compared, and written as reports of every kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnscope.audits import comparison
from cnnscope.audits.report import document, judged
from cnnscope.audits.result import AuditResult, load
from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.options.running import names, paths
from cnnscope.options.trained import AuditOptions, Gates
from cnnscope.progress import SILENT, Progress
from cnnscope.render.audit.page import html
from cnnscope.render.audit.pictures import picture
from cnnscope.render.audit.report import AuditReport, CompareReport
from cnnscope.render.audit.text import junit, markdown
from cnnscope.render.result import File, written
from cnnscope.render.style import PICTURES

if TYPE_CHECKING:
    from cnnscope.audits.run.audit import Asked
    from cnnscope.audits.run.job import Job
    from cnnscope.trained.network import TrainedNetwork


@dataclass(frozen=True, eq=False)
class Audit(AuditResult):
    """A finished audit that can be shown and written as a report. ``made`` is the result that it was made from."""

    made: AuditResult | None = None

    @classmethod
    def of(cls, result: AuditResult) -> Audit:
        """The same audit; its document is not computed again."""
        return cls(**{f.name: getattr(result, f.name) for f in fields(AuditResult)}, made=result)

    @cached_property
    def document(self) -> dict[str, Any]:
        """The ``cnnscope.audit`` document: half a minute of work for tens of thousands of images."""
        return document(self.made or self)

    @property
    def report(self) -> AuditReport:
        """The tables of the document."""
        return AuditReport(self.document)

    @property
    def exit_code(self) -> int:
        """The exit code of the command: 0 passed, 1 a gate failed, 4 a control failed, 5 pieces are missing."""
        return int(self.document["verdict"]["code"])

    def to_dict(self) -> dict[str, Any]:
        """The ``cnnscope.audit`` document."""
        return self.report.to_dict()

    def write(self, path: str | Path) -> tuple[File, ...]:
        """Writes a report of the kind that the suffix names: .html .md .xml (JUnit) .json .csv .tsv .txt.

        .svg .png .pdf have the figures alone. E404 for another suffix.
        """
        check_names([str(path)])
        kind, writer = WRITERS[Path(path).suffix.lower()]
        return (written(path, kind, writer(self)),)

    def __str__(self) -> str:
        return str(self.report)

    def __repr__(self) -> str:
        return f"<Audit of {self.facts.model.name}: print it, or write(path)>"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return self.report._repr_mimebundle_()


def audit(network: TrainedNetwork, options: AuditOptions, progress: Progress = SILENT) -> Audit:
    """Runs an audit as the only process, or continues with what its folder has.

    ``options.output`` has the folder of shards, result and report, without which nothing is kept but what is returned,
    and reports to write. `CnnscopeError` where images cannot be used (E46x) or the audit cannot be made (E40x, E47x).
    """
    from cnnscope.audits.run.audit import run_alone, start_over

    folder, reports = places(options.output)
    gates = asked(options)
    check_plots(folder, reports)
    job = open_audit(network, options, progress)
    if folder is not None and not options.resume:
        start_over(folder)
    result = Audit.of(run_alone(job, folder, gates))
    for path in reports:
        result.write(path)
    return result


def asked(options: Gates) -> Asked:
    """The gates of an audit that is yet to run. E409, E475, E476 where they cannot be."""
    from cnnscope.audits.run.audit import Asked

    baseline = None if options.baseline is None else Path(options.baseline)
    return Asked.of(options.fail_under, baseline, options.max_regression)


def open_audit(network: TrainedNetwork, options: AuditOptions, progress: Progress = SILENT) -> Job:
    """The audit that the options describe, ready to run."""
    from cnnscope.audits.run.job import open_job

    job = open_job(
        network,
        preset=options.preset,
        seed=options.seed,
        batch=options.batch_size,
        limit=options.limit,
        border=options.border,
        layers=names(options.layer) or None,
        size=options.shard_size,
        strict=options.strict_data,
    )
    for note in (*network.notes, job.classes.note):
        if note:
            progress.note(note)
    if job.total < len(job.images):
        progress.note(f"{job.total:,} of {len(job.images):,} images are looked at, spread over the set")
    return job


def report(result: str | Path, options: Gates | None = None) -> Audit:
    """A finished audit from its folder or ``audit.json``, checked against gates; nothing runs again.

    `CnnscopeError`: E475 no result, E476 and E477 gates that cannot be read or decided, E409 a bound without baseline.
    """
    options = options or Gates()
    found = load(Path(result))
    earlier = None if options.baseline is None else (str(options.baseline), load(Path(options.baseline)))
    return Audit.of(judged(found, options.fail_under, earlier, options.max_regression))


def compare(first: str | Path, *others: str | Path) -> CompareReport:
    """Finished audits beside the first; on the same images, image by image. E475 and E477 where that cannot be."""
    before = load(Path(first))
    records = []
    for other in others:
        after = load(Path(other))
        sides = comparison.side(before, str(first)), comparison.side(after, str(other))
        records.append(comparison.record(comparison.compare(before, after), *sides))
    return CompareReport(tuple(records))


def places(output: str | Path | Sequence[str | Path]) -> tuple[Path | None, tuple[Path, ...]]:
    """The folder of an audit, if one is named, and the reports to write.

    What ends in ``/``, has no suffix, or is a folder names the folder. E409 for two of them, E404 for other suffixes.
    """
    written = paths(output)
    folders = [one for one in written if one.endswith("/") or not Path(one).suffix or Path(one).is_dir()]
    reports = [one for one in written if one not in folders]
    check_names(reports)
    if len(folders) > 1:
        raise CnnscopeError.of("E409", f"an audit has one folder, not `{folders[0]}` and `{folders[1]}`",
                               hint="a report's name ends in .html, .md, .xml, .json, .csv, .tsv, "
                               ".txt, .svg, .png or .pdf")  # fmt: skip
    return Path(folders[0]) if folders else None, tuple(map(Path, reports))


def check_plots(folder: Path | None, reports: Sequence[Path]) -> None:
    """The error E414 without matplotlib where a page is to be written: before anything is measured, not after."""
    if folder is not None or any(report.suffix.lower() in _DRAWN for report in reports):
        import_module("matplotlib")


def check_names(reports: Sequence[str]) -> None:
    """E404 for a name whose suffix is no kind of report. To be called before anything runs."""
    for path in map(Path, reports):
        suffix = path.suffix.lower()
        if suffix not in WRITERS:
            hint = did_you_mean(suffix, WRITERS) or f"use {', '.join(WRITERS)}"
            raise CnnscopeError.of("E404", f"`{path.name or path}` has no known suffix", hint=hint)


def _picture(form: str) -> Callable[[Audit], bytes]:
    return lambda result: picture(result.document, form)


def _html(result: Audit) -> str:
    return html(result.document, list(zip(result.gallery.original, result.gallery.transformed, strict=True)))


WRITERS: Mapping[str, tuple[str, Callable[[Audit], str | bytes]]] = {
    ".html": ("html", _html), ".htm": ("html", _html), ".md": ("markdown", lambda result: markdown(result.document)),
    ".xml": ("junit", lambda result: junit(result.document)),
    ".json": ("json", lambda result: f"{result.report.to_json()}\n"),
    ".csv": ("csv", lambda result: f"{result.report.to_csv()}\n"),
    ".tsv": ("tsv", lambda result: f"{result.report.to_tsv()}\n"), ".txt": ("text", lambda result: f"{result}\n"),
    **{f".{form}": (form, _picture(form)) for form in PICTURES},
}  # fmt: skip
"""Kinds of reports by their suffixes."""
_DRAWN = (".html", ".htm", *(f".{form}" for form in PICTURES))
"""Suffixes of reports with figures."""
