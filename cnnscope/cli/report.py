"""``report``: what a finished audit found, in any form, without running anything again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnnscope.cli import options as o
from cnnscope.cli.output import Color, Format, Output
from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.files import write_text

if TYPE_CHECKING:
    from cnnscope.audits.result import AuditResult
    from cnnscope.render.audit.report import AuditReport

_GATES = "Gates"

FailUnder = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-under", metavar="EXPR", rich_help_panel=_GATES,
        help="Exit with 1 unless a lower confidence bound holds: translation@1.agreement=0.95, rotation.kappa=0.5.",
    ),
]  # fmt: skip
Baseline = Annotated[
    Path | None,
    typer.Option(metavar="RESULT", rich_help_panel=_GATES, help="An earlier audit to compare with: its folder."),
]
MaxRegression = Annotated[
    float | None,
    typer.Option(
        "--max-regression", metavar="X", min=0, max=1, rich_help_panel=_GATES,
        help="Exit with 1 if a probe's agreement may have fallen by more than X from the baseline.",
    ),
]  # fmt: skip
Reports = Annotated[
    list[Path] | None,
    typer.Option(
        "--output", "-o", metavar="FILE", readable=False, rich_help_panel="Output",
        help="Write to a file, several times if you like: .html, .md, .xml (JUnit), .json, .csv, .tsv, .txt.",
    ),
]  # fmt: skip


def report(
    result: Annotated[Path, typer.Argument(metavar="RESULT", help="The folder of an audit, or its audit.json.")],
    paths: Reports = None,
    fail_under: FailUnder = None,
    baseline: Baseline = None,
    max_regression: MaxRegression = None,
    form: o.FormatOption = None,
    quiet: o.Quiet = False,
    color: o.ColorOption = Color.auto,
    debug: o.Debug = False,
) -> int:
    """Report on a finished audit, and check it against gates; runs nothing again."""
    check_report_names(paths or ())
    from cnnscope.audits.judgement import judged
    from cnnscope.audits.result import load

    found = load(result)
    earlier = None if baseline is None else (str(baseline), load(baseline))
    return emit(judged(found, fail_under or (), earlier, max_regression), paths or (), form, color, quiet)


def emit(
    result: AuditResult, paths: Sequence[Path], form: Format | None = None, color: Color = Color.auto,
    quiet: bool = False,
) -> int:  # fmt: skip
    """Writes the reports that are asked for, else the summary to stdout; the exit code that the audit comes to."""
    from cnnscope.render.audit.report import AuditReport

    answer = AuditReport(result.document, bare=quiet)
    if paths:
        _write(result, answer, paths, Output(form or Format.table, color=color, quiet=quiet))
    else:
        Output(form or Format.table, color=color, quiet=quiet).emit(answer)
    return int(answer.document["verdict"]["code"])


def check_report_names(paths: Sequence[Path]) -> None:
    """E404 for a name that does not tell what kind of report it is to be; ask before working."""
    for path in paths:
        if path.suffix.lower() not in _WRITERS:
            known = ", ".join(_WRITERS)
            hint = did_you_mean(path.suffix.lower(), _WRITERS) or f"use {known}"
            raise CnnscopeError.of("E404", f"`{path.name}` does not tell a format", hint=hint)


def _write(result: AuditResult, answer: AuditReport, paths: Sequence[Path], output: Output) -> None:
    from cnnscope.render.files import File, FilesReport

    files = []
    for path in paths:
        kind, writer = _WRITERS[path.suffix.lower()]
        content = writer(result, answer)
        write_text(path, content)
        files.append(File(path, kind, len(content.encode())))
    output.emit(FilesReport(tuple(files)))


def _html(result: AuditResult, answer: AuditReport) -> str:
    from cnnscope.render.audit.page import html

    gallery = result.gallery
    return html(answer.document, list(zip(gallery.original, gallery.transformed, strict=True)))


def _markdown(result: AuditResult, answer: AuditReport) -> str:
    from cnnscope.render.audit.markdown import markdown

    return markdown(answer.document)


def _junit(result: AuditResult, answer: AuditReport) -> str:
    from cnnscope.render.audit.junit import junit

    return junit(answer.document)


_WRITERS: dict[str, tuple[str, Callable[[AuditResult, AuditReport], str]]] = {
    ".html": ("html", _html), ".htm": ("html", _html), ".md": ("markdown", _markdown), ".xml": ("junit", _junit),
    ".json": ("json", lambda _, answer: answer.to_json() + "\n"),
    ".csv": ("csv", lambda _, answer: answer.to_csv() + "\n"),
    ".tsv": ("tsv", lambda _, answer: answer.to_tsv() + "\n"), ".txt": ("text", lambda _, answer: f"{answer}\n"),
}  # fmt: skip
