"""Errors travel between processes: every class of them is pickled with its diagnostics and attributes."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from importlib import import_module
from pkgutil import walk_packages

import pytest

import cnnscope
from cnnscope.errors import CnnscopeError, Diagnostic, Note, PartialError, ShapeError, Span, UnsupportedError
from cnnscope.ops.arguments import ArgumentError
from cnnscope.sources.resolve import load
from cnnscope.spec import load as load_spec

SPAN = Span("net.yaml", 3, 5, 4)
DIAGNOSTICS = (
    Diagnostic("E301", "too small", SPAN, (Note("in here", SPAN),), "add padding"),
    Diagnostic("E205", "gone"),
)


def subclasses(kind: type[CnnscopeError]) -> Iterator[type[CnnscopeError]]:
    yield kind
    for inner in kind.__subclasses__():
        yield from subclasses(inner)


def test_errors_survive_pickling() -> None:
    plain = CnnscopeError(*DIAGNOSTICS)
    plain.exit_code = 3
    for error in (plain, ShapeError("no", hint="yes", code="E303"), UnsupportedError(*DIAGNOSTICS)):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        assert (again.diagnostics, str(again), again.exit_code) == (error.diagnostics, str(error), error.exit_code)


def test_a_partial_graph_survives_pickling() -> None:
    text = "cnnscope: 1\ninput: {shape: [3, 8, 8]}\nlayers: [{conv: {out: 4, kernel: 3}}, {linear: 3}]"
    with pytest.raises(PartialError) as caught:
        load_spec("net.yaml", text=text)
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.diagnostics == caught.value.diagnostics
    assert again.graph == caught.value.graph
    assert [node.name for node in again.graph.nodes] == ["conv1"]


def test_every_class_of_errors_survives_pickling() -> None:
    for module in walk_packages(cnnscope.__path__, "cnnscope."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    for kind in set(subclasses(CnnscopeError)):
        error = kind.__new__(kind, "E301: too small")
        error.diagnostics = DIAGNOSTICS
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is kind
        assert again.diagnostics == DIAGNOSTICS


def test_errors_of_a_source_survive_pickling() -> None:
    with pytest.raises(CnnscopeError) as caught:
        load("no_such_model")
    assert pickle.loads(pickle.dumps(caught.value)).diagnostics == caught.value.diagnostics
    assert not issubclass(ArgumentError, CnnscopeError)  # it has no place yet; whoever reads it makes one of these
