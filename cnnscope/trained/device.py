"""Where a network runs, and in which precision."""

from __future__ import annotations

import torch

from cnnscope.errors import CnnscopeError

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16, "float16": torch.float16}
_KNOWN = "use auto, cpu, cuda, cuda:1 or mps"


def find_device(name: str = "auto") -> torch.device:
    """``auto`` is the first there is of cuda, mps and cpu; ``cuda:1`` the second GPU. E451 where there is none such."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise CnnscopeError.of("E451", f"no device is called `{name}`", hint=_KNOWN) from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise CnnscopeError.of("E451", "there is no CUDA device here", hint="use `--device cpu`")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise CnnscopeError.of("E451", f"there is no `{name}`: CUDA devices are numbered 0 to {count - 1}")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise CnnscopeError.of("E451", "there is no MPS device here", hint="use `--device cpu`")
    if device.type not in ("cpu", "cuda", "mps"):
        raise CnnscopeError.of("E451", f"networks do not run on `{name}` here", hint=_KNOWN)
    return device


def find_dtype(name: str, device: torch.device) -> torch.dtype:
    """The precision of that name; E451 where the device does not have it."""
    if name not in DTYPES:
        raise CnnscopeError.of("E451", f"there is no precision `{name}`", hint=f"there are {', '.join(DTYPES)}")
    if device.type == "mps" and name == "float64":
        raise CnnscopeError.of("E451", "MPS devices have no float64", hint="use `--dtype float32`")
    return DTYPES[name]
