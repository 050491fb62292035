"""Checkpoints of training scripts open with placeholders for foreign objects; nothing of a pickle is ever called."""

from __future__ import annotations

import argparse
import collections
import datetime
import io
import os
import pathlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cnnscope.errors import CnnscopeError
from cnnscope.nn import inert
from cnnscope.nn.checkpoint import read_header, read_weights

MARKER = b"cnnscope-inert-ran"
CALLS = {
    "reduce": b"cos\nmkdir\n(V" + MARKER + b"\ntR.",
    "inst": b"(V" + MARKER + b"\nios\nmkdir\n.",
    "obj": b"(cos\nmkdir\nV" + MARKER + b"\no.",
    "newobj": b"\x80\x02cos\nmkdir\nV" + MARKER + b"\n\x85\x81.",
    "newobj with keywords": b"\x80\x04cos\nmkdir\nV" + MARKER + b"\n\x85}\x92.",
    "a name of strings": b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93\x8c\x12" + MARKER + b"\x85R.",
    "eval": b"c__builtin__\neval\n(V__import__('os').mkdir('" + MARKER + b"')\ntR.",
    "a class that looks harmless": b"csubprocess\nPopen\n((Vmkdir\nV" + MARKER + b"\nltR.",
    "a state that is a call": b"cargparse\nNamespace\n)\x81cos\nmkdir\n(V" + MARKER + b"\ntRb.",
}
REFUSED = {
    "a state for a function of torch": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}V__kwdefaults__\n}s\x86b.",
    "a state for a class of torch": b"\x80\x02ctorch.nn.parameter\nParameter\nN}V__new__\nNs\x86b.",
    "items for a function of torch": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(Va\nVb\nu.",
    "a call of a number": b"\x80\x02K\x01)R.",
    "an extension": b"\x80\x02\x82\x05)R.",
}


class Opaque(nn.Module):
    """A class of a training script."""


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize(
    "foreign",
    [
        argparse.Namespace(lr=0.1, out=pathlib.PurePosixPath("runs")), np.float64(1.5), np.arange(4), np.array(["a"]),
        pathlib.Path("a/b"), datetime.datetime(2024, 1, 2), collections.defaultdict(list, a=[1]),
        {"deep": [argparse.Namespace()]}, np.random.RandomState(0).get_state(), np.dtype("float32"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_weights_beside_foreign_objects(tmp_path: Path, foreign: object, new: bool) -> None:
    net = network()
    optimiser = torch.optim.AdamW(net.parameters())
    net(torch.ones(2, 1, 4, 4)).sum().backward()
    optimiser.step()
    saved = {"model": net.state_dict(), "args": foreign, "optimizer": optimiser.state_dict()}
    torch.save(saved, tmp_path / "run.pth", _use_new_zipfile_serialization=new)
    header, weights = read_header(tmp_path / "run.pth"), read_weights(tmp_path / "run.pth")
    assert header.wrapper == ("model",)
    assert list(header.tensors) == list(weights) == list(net.state_dict())
    assert all(torch.equal(weights[key], value) for key, value in net.state_dict().items())
    assert len(header.ignored) == 2


@pytest.mark.parametrize("name", CALLS)
def test_no_call_of_a_pickle_runs(tmp_path: Path, name: str) -> None:
    """The reader is given the pickle itself, before anything has looked at its names."""
    assert isinstance(inert.load(io.BytesIO(CALLS[name])), inert.Placeholder)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", CALLS)
def test_python_would_have_run_it(tmp_path: Path, name: str) -> None:
    """The other tests can fail: Python's own reader runs each of these."""
    try:
        made = pickle.loads(CALLS[name])
        if name.startswith("a class"):
            made.wait()
    except (TypeError, AttributeError, pickle.UnpicklingError, RecursionError):  # after the call
        pass
    expected = name not in ("newobj", "newobj with keywords")  # Python's needs a class there
    assert bool(list(tmp_path.iterdir())) == expected


@pytest.mark.parametrize("name", REFUSED)
def test_nothing_of_torch_is_changed(name: str) -> None:
    before = dict(vars(torch.nn.Parameter)), torch._utils._rebuild_tensor_v2.__kwdefaults__
    with pytest.raises(pickle.UnpicklingError):
        inert.load(io.BytesIO(REFUSED[name]))
    assert (dict(vars(torch.nn.Parameter)), torch._utils._rebuild_tensor_v2.__kwdefaults__) == before


class AsTensor:
    """Pickled as the parameter of an object of a foreign class."""

    def __reduce__(self) -> Any:
        return torch._utils._rebuild_parameter, (argparse.Namespace(a=1), True, collections.OrderedDict())


def test_no_placeholder_becomes_a_weight(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2), "b": AsTensor(), "c": argparse.Namespace()}, tmp_path / "w.pt")
    assert list(read_weights(tmp_path / "w.pt")) == ["a"]
    assert read_header(tmp_path / "w.pt").ignored == ("`b` (Placeholder)", "`c` (Namespace)")


class Command:
    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], self.call[1:]


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ((os.system, "mkdir ran"), "system"), ((eval, "1"), "builtins.eval"), ((exec, "1"), "builtins.exec"),
        ((os.path.join, "a"), "posixpath.join"), ((getattr, 1, "real"), "builtins.getattr"),
        ((torch.hub.list, "a"), "torch.hub.list"),
        ((np.loadtxt, "a"), "numpy.loadtxt"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_call_of_a_function_is_refused_by_name(tmp_path: Path, call: tuple[Any, ...], name: str) -> None:
    state = {"model": network().state_dict(), "args": argparse.Namespace(a=Command(*call))}
    torch.save(state, tmp_path / "w.pt")
    for read in (read_header, read_weights):
        with pytest.raises(CnnscopeError, match="E422") as caught:
            read(tmp_path / "w.pt")
        assert name in str(caught.value)
        assert "Namespace" not in str(caught.value)


def test_a_whole_module_is_refused(tmp_path: Path) -> None:
    torch.save({"model": Opaque(), "epoch": 3}, tmp_path / "w.pt")
    with pytest.raises(CnnscopeError, match=r"E422.*Opaque"):
        read_header(tmp_path / "w.pt")


@pytest.mark.parametrize("args", [None, argparse.Namespace(lr=0.1)])
def test_an_entry_is_chosen(tmp_path: Path, args: object) -> None:
    pair = {name: {"w": torch.full((2,), i)} for i, name in enumerate(("student", "teacher", "G"))}
    torch.save(pair | {"args": args, "ema": {"shadow": {"v": torch.ones(1)}}, "flat.k": torch.ones(1)}, "run#1.pt")
    with pytest.raises(CnnscopeError, match="E423") as caught:
        read_header("run#1.pt")
    assert caught.value.diagnostics[0].hint == "say which entry has the weights: `run#1.pt#ema.shadow`"
    for i, name in enumerate(pair):
        assert read_header(f"run#1.pt#{name}").wrapper == (name,)
        assert torch.equal(read_weights(f"run#1.pt#{name}")["w"], torch.full((2,), i))
    assert list(read_weights("run#1.pt#ema.shadow")) == ["v"]
    assert list(read_weights("run#1.pt#flat")) == ["k"]
    with pytest.raises(CnnscopeError, match="E423") as caught:
        read_header("run#1.pt#studnt")
    (found,) = caught.value.diagnostics
    assert (found.message, found.hint) == ("`run#1.pt` has no entry `studnt` with weights", "did you mean `student`?")
