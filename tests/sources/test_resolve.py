"""Which kind of source a SOURCE is, and input sizes as written."""

from __future__ import annotations

from pathlib import Path

import pytest

from cnnscope.errors import CnnscopeError
from cnnscope.sources import zoo
from cnnscope.sources.inputs import InputSize, parse_inputs
from cnnscope.sources.resolve import resolve


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("lenet5", "zoo"), ("-", "spec"), ("net.yaml", "spec"), ("a/b c.yml", "spec"), ("lenet5.yaml", "spec"),
        ("torchvision:resnet18", "torchvision"), ("timm:vit_tiny_patch16_224?img_size=384", "timm"),
        ("a/net.py:make?width=2", "file"), ("pkg.mod:make", "module"), ("a/model.keras", "keras"), ("m.json", "keras"),
    ],
)  # fmt: skip
def test_a_source_is_recognised_by_its_form(source: str, kind: str) -> None:
    assert resolve(source).name == kind


@pytest.mark.parametrize(
    ("source", "near"),
    [("lenet", "`lenet5`"), ("LeNet5", "`lenet5`"), ("vgg-16", "`vgg16`"), ("resnet50x", "`resnet50`")],
)
def test_an_unknown_name_is_answered_with_the_nearest_models(source: str, near: str) -> None:
    with pytest.raises(CnnscopeError) as caught:
        resolve(source)
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.message) == ("E401", f"no model is called `{source}`")
    assert diagnostic.hint is not None
    assert near in diagnostic.hint


@pytest.mark.parametrize(("source", "named"), [("", "``"), ("x" * 10**5, f"`{'x' * 37}...`"), ("a\0b", "`a\0b`")])
def test_what_can_be_no_name_is_refused_like_any_other(source: str, named: str) -> None:
    with pytest.raises(CnnscopeError) as caught:
        resolve(source)
    assert caught.value.diagnostics[0].message == f"no model is called {named}"


def test_what_resembles_nothing_gets_the_list_of_kinds() -> None:
    with pytest.raises(CnnscopeError) as caught:
        resolve("qqqqqqqq")
    assert "path/to/spec.yaml" in str(caught.value.diagnostics[0].hint)


def test_files_of_no_known_kind_and_folders_say_so(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(CnnscopeError, match="is a file of no known kind"):
        resolve(str(tmp_path / "notes.txt"))
    with pytest.raises(CnnscopeError, match="is a folder"):
        resolve(str(tmp_path))


def test_every_model_of_the_zoo_is_found() -> None:
    assert {"lenet5", "resnet50", "vgg16"} <= set(zoo.names())
    assert all(zoo.path(name).is_file() for name in zoo.names())
    with pytest.raises(KeyError):
        zoo.path("../pyproject")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("3x224x224", InputSize((3, 224, 224))),
        ("left=3x64x64", InputSize((3, 64, 64), "left")),
        ("ids=128:int64", InputSize((128,), "ids", "int64")),
        ("3,224,224", InputSize((3, 224, 224))),
    ],
)
def test_input_sizes_are_read(text: str, size: InputSize) -> None:
    assert InputSize.parse(text) == size


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "`` is not an input size"), ("3x", "`3x` is not an input size"), ("0x3", "`0x3` is not an input size"),
        ("-1x3", "`-1x3` is not an input size"), ("3x2.5", "`3x2.5` is not an input size"),
        ("99999999999999999999", "`99999999999999999999` is not an input size"),
        ("9999999999999999999", "`9999999999999999999` is not an input size"),
        ("=3x3", "`=3x3` names no input before `=`"), ("3x3:float", "unknown dtype `float` of input `3x3:float`"),
    ],
)  # fmt: skip
def test_input_sizes_that_are_none_are_refused(text: str, message: str) -> None:
    with pytest.raises(CnnscopeError) as caught:
        InputSize.parse(text)
    assert (caught.value.diagnostics[0].code, caught.value.diagnostics[0].message) == ("E403", message)


def test_several_inputs_need_names_of_their_own() -> None:
    assert len(parse_inputs(["a=3x3", "b=3x3"])) == 2
    with pytest.raises(CnnscopeError, match="of several input sizes each needs a name"):
        parse_inputs(["a=3x3", "3x3"])
    with pytest.raises(CnnscopeError, match="input `a` is given two sizes"):
        parse_inputs(["a=3x3", "a=3x4"])
