"""Float32 in full: whatever a process allows torch, in whichever way, and restored as it was."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import torch
from torch import backends
from cnnscope.audits.run.precision import full_precision

BY_OPERATOR = hasattr(backends, "fp32_precision")  # since torch 2.9
SETTINGS = [
    "pass",
    "backends.cudnn.allow_tf32 = False",
    "backends.cudnn.allow_tf32 = True",
    "torch.set_float32_matmul_precision('medium')",
    "backends.cuda.matmul.allow_tf32 = False",
]
if BY_OPERATOR:
    SETTINGS += [
        "backends.mkldnn.conv.fp32_precision = 'bf16'",
        "backends.fp32_precision = 'tf32'",
        "backends.cuda.matmul.fp32_precision = 'tf32'",  # from here on torch refuses to read what was set before
        "backends.cudnn.conv.fp32_precision = 'ieee'",
    ]

def readable(read):
    try:
        return read()
    except RuntimeError:
        return "refused"

def state():
    whole = (readable(lambda: backends.cudnn.allow_tf32), readable(torch.get_float32_matmul_precision))
    if not BY_OPERATOR:
        return whole, ()
    cuda = (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)
    cpu = (backends.mkldnn.matmul, backends.mkldnn.conv, backends.mkldnn.rnn)
    return whole, tuple(operator.fp32_precision for operator in cuda + cpu), backends.fp32_precision

def check(when):
    before = state()
    with full_precision():
        whole, operators, *_ = state()
        assert operators == ("ieee",) * 6 or (not BY_OPERATOR and whole == (False, "highest")), (when, operators, whole)
    assert state() == before, (when, before, state())
    return before

seen = []
for setting in SETTINGS:
    exec(setting)
    seen.append(check(setting))
assert len(set(seen)) >= 4, seen
if BY_OPERATOR:
    assert seen[-1][0][0] == "refused", seen[-1]
backends.disable_global_flags()
check("frozen")
"""


def test_nothing_is_shortened_inside_and_all_is_restored() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
