"""What is to be known of an audit besides its outcomes: the network, the images, the settings, the versions."""

from __future__ import annotations

import hashlib
import platform

import numpy as np
import PIL
import torch

from cnnscope._version import __version__
from cnnscope.analysis.summary import summarize
from cnnscope.audits.result import AuditFacts, DataFacts, ModelFacts, Rates, Skipped
from cnnscope.audits.run.job import Job
from cnnscope.audits.run.merge import Merged
from cnnscope.ir import Graph


def facts(job: Job, merged: Merged) -> AuditFacts:
    """Everything but what is worked out or measured on top: controls, predictions, the baseline."""
    network = job.network
    names = network.labels or (job.images.classes if len(job.images.classes) == network.classes else ())
    keys = "".join(f"{key}\n" for key in sorted(merged.outcomes.key))
    data = DataFacts(
        str(job.images.path), len(merged.places) + len(merged.skipped), len(merged.places),
        tuple(Skipped(entry.name, entry.reason) for entry in merged.skipped), hashlib.sha256(keys.encode()).hexdigest(),
    )  # fmt: skip
    model = ModelFacts(
        network.graph.name, network.source, network.weights, network.weights_sha256, network.trained,
        tuple(network.input_shape), total_stride(network.graph),
    )  # fmt: skip
    rate = merged.samples / merged.seconds if merged.seconds else None
    return AuditFacts(
        model, data, names, job.seed, network.device.type, str(network.dtype).removeprefix("torch."), job.batch,
        job.protocol.name, job.protocol.to_dict(), job.protocol.hash(job.seed), versions(), len(job.pieces),
        len(job.pieces), rates=Rates(merged.seconds, rate), retries=merged.retries,
    )  # fmt: skip


def versions() -> dict[str, str]:
    """Of everything that takes part in what is measured."""
    return {
        "cnnscope": __version__, "python": platform.python_version(), "torch": str(torch.__version__),
        "numpy": np.__version__, "pillow": PIL.__version__,
    }  # fmt: skip


def total_stride(graph: Graph) -> tuple[int, int] | None:
    """Pixels (y, x) between neighbours of the last map that has any; None where that is no whole number or unknown."""
    for row in reversed(summarize(graph).rows):
        field, value = row.receptive_field, row.output
        if field is not None and value is not None and max(value.spatial, default=1) > 1:
            strides = field.stride or ()
            whole = len(strides) == 2 and all(stride == int(stride) for stride in strides)
            return (int(strides[0]), int(strides[1])) if whole else None
    return None
