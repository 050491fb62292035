"""What surrounds a small module in other people's code: state, containers, dtypes, flags, other calls.

A situation makes another module around one of `kinds`, says how its outputs are unpacked and what is set around the
load. What torch computes for that module is the oracle.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, UserDict, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from containers import Absent, Locked, Loud, Pair, Slotted, Unwalkable
from kinds import Make
from oracles import Arguments, images
from torch import Tensor, nn


@dataclass(frozen=True)
class Situation:
    """``around`` makes the module from the one inside; ``inputs`` are for cnnscope what ``arguments`` are for torch."""

    around: Callable[[nn.Module], nn.Module]
    inputs: tuple[str, ...] = ("3x8x8",)
    arguments: Arguments = images
    unpack: Callable[[Any], Any] = lambda out: out
    during: Callable[[], AbstractContextManager[Any]] = nullcontext

    def make(self, kind: Make) -> nn.Module:
        return self.around(kind())


class Around(nn.Module):
    """A module that does something ``before`` it runs the one inside and something with what that returns."""

    def __init__(self, inside: nn.Module, after: Callable[[Any, Any], Any] = lambda m, out: out,
                 before: Callable[[Any, Any], Any] = lambda m, x: x, **state: Any) -> None:  # fmt: skip
        super().__init__()
        self.inside, self.before, self.after = inside, before, after
        for name, value in state.items():
            setattr(self, name, value)

    def forward(self, x: Any) -> Any:
        return self.after(self, self.inside(self.before(self, x)))


def changes(m: Any, x: Any) -> Any:
    """Changes what it can reach in the module."""
    for value in list(vars(m).values()):
        if isinstance(value, deque):
            value.append(x)
        elif isinstance(value, list):
            list.append(value, x)
        elif isinstance(value, set):
            set.add(value, "more")
        elif isinstance(value, dict) and not isinstance(value, OrderedDict) and value is not vars(m)["_modules"]:
            if value is m.__dict__.get("nested"):
                value["a"]["b"].append(1)
                value["a"]["c"] = 2
            elif not any(value is vars(m)[own] for own in ("_parameters", "_buffers", "_modules")):
                dict.__setitem__(value, "seen", x) if type(value) is not Counter else value.update(a=1)
    m.last = x
    return x


def written(m: Any, x: Tensor) -> Tensor:
    m.steps += 1
    m.mean.mul_(0.9).add_(x.mean(), alpha=0.1)
    m.cache = x
    return x


def once(m: Any, x: Tensor) -> Tensor:
    m.calls += 1
    if m.calls > 1:
        raise RuntimeError("runs once")
    return x


def swallows(m: Any, x: Tensor) -> Tensor:
    try:
        return x.view(-1, 7)
    except RuntimeError:
        return x


def prints(m: Any, x: Tensor) -> Tensor:
    print("shape", x.shape, repr(m.inside)[:20])
    return x


def patches(m: Any, x: Tensor) -> Tensor:
    original = torch.nn.functional.relu
    torch.nn.functional.relu = lambda *args, **kwargs: original(*args, **kwargs)
    try:
        return torch.nn.functional.relu(x)
    finally:
        torch.nn.functional.relu = original


def returns(pack: Callable[[Any, Any], Any], unpack: Callable[[Any], Any]) -> Situation:
    return Situation(partial(Around, after=pack), unpack=unpack)


def dtype(name: str) -> Situation:
    def arguments(batch: int, device: str) -> tuple[Any, ...]:
        return tuple(x.to(getattr(torch, name)) for x in images(batch, device))

    return Situation(lambda inside: Around(inside).to(getattr(torch, name)), (f"3x8x8:{name}",), arguments)


@contextmanager
def deterministic() -> Iterator[None]:
    before, warn = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn)


@contextmanager
def double() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


class Weightless(nn.Module):
    """Holds the one inside where torch does not look for it."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.layers = (inside,)

    def forward(self, x: Tensor) -> Any:
        return self.layers[0](x)

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        self.layers[0]._apply(*args, **kwargs)
        return super()._apply(*args, **kwargs)


def hooked(inside: nn.Module) -> nn.Module:
    inside.register_forward_pre_hook(lambda m, args, kwargs: ((args[0] * 1,), kwargs), with_kwargs=True)
    inside.register_forward_hook(lambda m, args, out: out)
    return Around(inside)


class Frames(nn.Module):
    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, x: Tensor) -> Any:
        return self.inside(x.flatten(0, 1))


def frames(batch: int, device: str) -> tuple[Any, ...]:
    return (torch.rand(batch, 2, 3, 8, 8, device=device),)


def keeps_itself(inside: nn.Module) -> nn.Module:
    module = Around(inside)
    module.__dict__["me"] = [module]
    return module


def trained(inside: nn.Module) -> nn.Module:
    module = Around(inside)
    for p in module.parameters():
        p.grad = torch.ones_like(p)
    return module.requires_grad_(True).train()


SITUATIONS: dict[str, Situation] = {
    "alone": Situation(lambda inside: inside),
    # state
    "locked": Situation(lambda inside: Around(inside, before=changes, config=Locked(width=4), calls=Counter(a=3))),
    "loud": Situation(lambda inside: Around(inside, before=changes, seen=Loud([1, 2]), names=Absent("ab"))),
    "nested": Situation(lambda inside: Around(inside, before=changes, nested={"a": {"b": [0]}},
                        recent=deque([1, 2, 3], maxlen=3), of=defaultdict(list, k=[1]))),
    "counting": Situation(lambda inside: Around(inside, before=written, steps=nn.Buffer(torch.zeros(())),
                          mean=nn.Buffer(torch.ones(())))),
    "grown": Situation(lambda inside: Around(inside, before=lambda m, x: (
                       m.register_buffer("more", torch.zeros(1)), setattr(m, "scale", nn.Parameter(torch.ones(1))),
                       m.add_module("extra", nn.ReLU()), x)[-1])),
    "hooked": Situation(hooked),
    "weightless": Situation(Weightless),
    "itself": Situation(keeps_itself),
    "training": Situation(trained),
    "frozen": Situation(lambda inside: Around(inside).requires_grad_(False)),
    # what the forward pass does besides
    "prints": Situation(partial(Around, before=prints)),
    "patches": Situation(partial(Around, before=patches)),
    "moves": Situation(partial(Around, before=lambda m, x: m.to(x.device) and x.to(x.device))),
    "stores_grad": Situation(partial(Around, before=lambda m, x: x.detach().clone().requires_grad_(False))),
    "beside_fft": Situation(partial(Around, before=lambda m, x: x + 0 * torch.fft.fft2(x).abs())),
    "asserting": Situation(partial(Around, before=lambda m, x: x if x.shape[1] == 3 and x.dim() == 4 else 1 / 0)),
    "swallowing": Situation(partial(Around, before=swallows)),
    "once": Situation(partial(Around, before=once, calls=0)),
    "one_image": Situation(partial(Around, before=lambda m, x: x if len(x) == 1 else 1 / 0)),
    "parallel": Situation(lambda inside: nn.DataParallel(Around(inside))),
    "no_grad": Situation(partial(Around, before=lambda m, x: torch.no_grad()(lambda: x * 1)())),
    "channels_last": Situation(partial(Around, before=lambda m, x: x.contiguous(memory_format=torch.channels_last))),
    "transposed": Situation(partial(Around, before=lambda m, x: x.mT)),
    # outputs
    "list": returns(lambda m, out: [out, 3, None], lambda out: out[0]),
    "dict": returns(lambda m, out: {"out": out, "n": 1}, lambda out: out["out"]),
    "user_dict": returns(lambda m, out: UserDict(out=out), lambda out: out["out"]),
    "named": returns(lambda m, out: Pair(out, "text"), lambda out: out.first),
    "deque": returns(lambda m, out: deque([out]), lambda out: out[0]),
    "frozenset": returns(lambda m, out: frozenset([out] if isinstance(out, Tensor) else out), list),
    "namespace": returns(lambda m, out: SimpleNamespace(out=out, module=m), lambda out: out.out),
    "slotted": returns(lambda m, out: Slotted(out), lambda out: out.out),
    "unwalkable": returns(lambda m, out: Unwalkable(out), lambda out: out.out),
    "lazily": returns(lambda m, out: (part for part in [out]), lambda out: next(out)),
    # dtypes and layouts of the input
    "half": dtype("float16"), "bfloat16": dtype("bfloat16"), "float64": dtype("float64"),
    "frames": Situation(Frames, ("2x3x8x8",), frames),
    # flags
    "deterministic": Situation(partial(Around), during=deterministic),
    "inference": Situation(partial(Around), during=torch.inference_mode),
    "double": Situation(lambda inside: Around(inside).float(), during=double),
    "anomaly": Situation(partial(Around), during=lambda: torch.autograd.set_detect_anomaly(True, check_nan=False)),
    "autocast": Situation(partial(Around), during=lambda: torch.autocast("cpu", torch.bfloat16)),
    "gradients": Situation(partial(Around), during=torch.enable_grad),
}  # fmt: skip
"""Forty surroundings."""
