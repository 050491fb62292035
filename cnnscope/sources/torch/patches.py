"""Changes to torch while a model is traced, so that what the model does to itself or to memory stays in the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from threading import RLock
from typing import Any, Protocol

import torch
from torch import Tensor, nn

_LOCK = RLock()
"""The lock of a run: what is changed during a run are classes of torch."""


@contextmanager
def patched(changes: Mapping[tuple[Any, str], Any]) -> Iterator[None]:
    """Inside, the attributes (of an object, with a name) have other values."""
    with _LOCK:
        before = {(place, name): vars(place).get(name) for place, name in changes}
        try:
            for (place, name), value in changes.items():
                setattr(place, name, value)
            yield
        finally:
            for (place, name), value in before.items():
                if value is None:  # it is inherited
                    delattr(place, name)
                else:
                    setattr(place, name, value)


class Run(Protocol):
    """A run that models must not get out of."""

    def depends_on_data(self, function: str) -> Exception: ...
    def borrowed(self, t: Tensor) -> bool: ...
    def noted(self, t: Tensor) -> None: ...


@contextmanager
def contained(run: Run) -> Iterator[None]:
    """Inside, tensors without values have no address, arrays share no memory with tensors of the model, and modules
    that move themselves to a device or dtype do so in this run only, on any machine.
    """
    base: Any = torch._C.TensorBase
    storage: Any = torch.UntypedStorage
    initialise: Any = torch.cuda._lazy_init

    def with_device() -> None:
        if torch.cuda.is_available():
            initialise()

    @wraps(base.numpy)
    def numpy(t: Tensor, *args: Any, **kwargs: Any) -> Any:
        array = base.numpy(t, *args, **kwargs)
        run.noted(t)
        return array.copy() if run.borrowed(t) else array

    @wraps(base.tolist)
    def tolist(t: Tensor) -> Any:
        values = base.tolist(t)
        run.noted(t)
        return values

    changes = {
        (Tensor, "data_ptr"): _address(base.data_ptr, run),
        (storage, "data_ptr"): _address(storage.data_ptr, run),
        (Tensor, "numpy"): numpy,
        (Tensor, "tolist"): tolist,
        (nn.Module, "_apply"): _apply,
        (torch.cuda, "_lazy_init"): with_device,
    }
    with patched(changes):
        yield


def _address(address_of: Callable[[Any], int], run: Run) -> Callable[[Any], int]:
    @wraps(address_of)
    def address(x: Any) -> int:
        if x.device.type == "meta":  # C code that reads at its address, 0, ends the process
            raise run.depends_on_data("data_ptr")
        return address_of(x)

    return address


def _apply(module: nn.Module, change: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    """Replaces the tensors of a module, where torch writes other memory into the same parameters."""
    for child in module.children() if recurse else ():
        child._apply(change)  # type: ignore[no-untyped-call]  # torch's own, without types
    tables: list[Any] = [module._parameters, module._buffers]
    for table in tables:
        for name, t in dict.items(table):
            if t is not None:
                dict.__setitem__(table, name, change(t))
    return module
