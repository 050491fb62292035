"""A whole audit: mark the folder, measure, merge, run controls, write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from cnnscope.audits import controls, report
from cnnscope.audits.controls.evidence import Evidence
from cnnscope.audits.result import AuditResult, load
from cnnscope.audits.run import predicted, shards
from cnnscope.audits.run.claims import FILE, abandoned, settle
from cnnscope.audits.run.finish import Merged, baseline, collect, facts, gallery, some
from cnnscope.audits.run.job import AuditProgress, Job
from cnnscope.audits.run.shards import Ranks
from cnnscope.audits.run.work import employ, one_core_an_op, threads
from cnnscope.audits.statistics import gates
from cnnscope.errors import CnnscopeError
from cnnscope.files import os_reason, write_text
from cnnscope.progress import Progress, Silent
from cnnscope.render.audit.page import html

REPORT = "report.html"
FEW, MOST = 32, 128
"""Controls and random weights are measured on an eighth of the images, within these bounds."""


@dataclass(frozen=True)
class Asked:
    """The gates of an audit: lower bounds, and how far agreement may fall below that of an earlier audit,
    ``before``."""

    fail_under: tuple[str, ...] = ()
    before: tuple[str, AuditResult] | None = None
    most: float | None = None

    @classmethod
    def of(cls, fail_under: Sequence[str], baseline: Path | None = None, most: float | None = None) -> Asked:
        """From expressions and the folder of an earlier audit, ``baseline``.

        E409, E475 or E476 where that cannot be.
        """
        if most is not None and baseline is None:
            raise CnnscopeError.of("E409", "`--max-regression` is from a `--baseline`", hint="name an audit's folder")
        for expression in fail_under:
            gates.parse(expression)
        return cls(tuple(fail_under), None if baseline is None else (str(baseline), load(baseline)), most)


def run(
    job: Job, folder: Path, *, asked: Asked | None = None, ranks: Ranks | None = None, progress: Progress | None = None
) -> AuditResult | None:
    """Runs an audit in a folder, continuing with the shards that are there; None on a rank that does not lead.

    `CnnscopeError`: E405 if the folder cannot be written, E461 for damaged images, E462 if none can be used, E473 if
    the folder belongs to another audit, E474 if memory does not suffice, E477 for gates that cannot be decided.
    """
    asked, ranks = asked or Asked(), ranks or Ranks()
    counted = AuditProgress(len(job.protocol.slots), progress or Silent())
    labelled = job.classes.known and job.images.labelled
    gates.check_measurable(map(gates.parse, asked.fail_under), job.protocol.records, labelled)
    place = _prepared(folder)
    settle(place, job.identity)
    many = threads(job, ranks)
    with one_core_an_op(job), _tidied(place):
        employ(job, place, ranks, counted, many)
        if not ranks.leads:
            return None
        merged = collect(job, place, counted)
        result = report.judged(_concluded(job, merged, counted), asked.fail_under, asked.before, asked.most)
    report.save(result, folder)
    write_text(folder / REPORT, _page(result))
    return result


def run_alone(job: Job, folder: Path | None, asked: Asked) -> AuditResult:
    """Runs an audit as the only process. Without ``folder`` nothing is kept on disk."""
    with TemporaryDirectory() if folder is None else nullcontext(folder) as place:
        result = run(job, Path(place), asked=asked)
    assert result is not None  # the only rank leads
    return result


def _concluded(job: Job, merged: Merged, progress: AuditProgress) -> AuditResult:
    """The result, with what is measured after all images: controls, random weights, predictions of the architecture."""
    few = some(job, merged, max(FEW, min(MOST, len(merged.places) // 8)))
    fitting = replace(job, batch=merged.batch)  # memory may not have sufficed for more
    checked = predicted.check(fitting, some(job, merged, predicted.IMAGES))
    evidence = Evidence(
        network=job.network, pixels=torch.from_numpy(few.pixels), keys=few.key, outcomes=merged.outcomes,
        protocol=job.protocol, seed=job.seed, batch=fitting.batch,
    )  # fmt: skip
    known = replace(
        facts(job, merged), controls=controls.run(evidence), predictions=checked.predictions,
        equivariance=checked.maps, local_equivariance=checked.local,
        baseline=baseline(fitting, few, AuditProgress(len(job.protocol.slots), Silent(progress.note))),
    )  # fmt: skip
    return AuditResult(known, merged.outcomes, gallery(job, merged))


def finished(job: Job, folder: Path) -> int:
    """The number of shards that are finished."""
    return sum((folder / shards.FOLDER / f"{piece.name}.npz").exists() for piece in job.pieces)


def start_over(folder: Path) -> None:
    """Removes the shards of any audit in the folder.

    E473 while one is running there, E405 if they cannot be removed.
    """
    place = folder / shards.FOLDER
    try:
        claims = list(place.glob("*.claim"))
        if any(not abandoned(claim) for claim in claims):
            raise CnnscopeError.of("E473", f"another audit is running in `{folder}`", hint="wait for it, or stop it")
        for file in (*claims, *place.glob("*.npz"), place / FILE):
            file.unlink(missing_ok=True)
    except OSError as error:
        raise CnnscopeError.of("E405", f"cannot remove `{place}`: {os_reason(error)}") from None


@contextmanager
def _tidied(place: Path) -> Iterator[None]:
    """If the audit ends before it has measured anything, its mark is removed and the folder is free for another."""
    try:
        yield
    except BaseException:
        if not any((*place.glob("*.npz"), *place.glob("*.claim"))):
            with suppress(OSError):  # there are other files, or one is being written
                (place / FILE).unlink(missing_ok=True)
                place.rmdir()
                place.parent.rmdir()
        raise


def _page(result: AuditResult) -> str:
    pictures = zip(result.gallery.original, result.gallery.transformed, strict=True)
    return html(report.document(result), list(pictures))


def _prepared(folder: Path) -> Path:
    """The folder of the shards, created if needed; E405 if that fails."""
    place = folder / shards.FOLDER
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CnnscopeError.of("E405", f"cannot write `{place}`: {os_reason(error)}") from None
    return place
