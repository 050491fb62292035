"""What the architecture alone does: the same audit of random weights, on some of the images.

An untrained network may agree with itself everywhere, because it always gives one answer; kappa tells.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cnnscope.audits.result import BaselinePoint
from cnnscope.audits.run.job import Job
from cnnscope.audits.run.prepare import Prepared
from cnnscope.audits.run.progress import AuditProgress
from cnnscope.audits.run.work import Batch, outcomes_of
from cnnscope.audits.statistics.groups import group
from cnnscope.audits.statistics.intervals import Bootstrap
from cnnscope.audits.statistics.metrics import agreement, kappa
from cnnscope.errors import CnnscopeError
from cnnscope.trained.loading import randomised


def baseline(job: Job, prepared: Prepared, progress: AuditProgress) -> tuple[BaselinePoint, ...]:
    """A point for each group of transforms; none for a network whose weights cannot be drawn, which is noted."""
    try:
        random = randomised(job.network, job.seed)
    except CnnscopeError as error:
        progress.note(f"no baseline of random weights: {error.diagnostics[0].message}")
        return ()
    outcomes, _ = outcomes_of(replace(job, network=random), prepared, Batch(job.batch), progress)
    boot = Bootstrap(len(outcomes))
    return tuple(
        BaselinePoint(
            g.family, g.magnitude, g.on_grid, g.label, float(np.mean(agreement(outcomes, g))),
            kappa(outcomes, [g], boot).value,
        )
        for g in group(outcomes.transforms)
    )  # fmt: skip
