"""Files that are no Keras model, or one that cannot be read: each is one error, its reason, and what to do."""

from __future__ import annotations

import contextlib
import copy
import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.keras import MAX_CONFIG_BYTES, read_graph
from cnnscope.sources.keras.build import build
from cnnscope.sources.keras.config import read_network

DATA = Path(__file__).parent / "data"
APPLICATION = DATA / "applications" / "MobileNetV2.keras"


def refused(path: Path, **options: Any) -> tuple[str, str, str | None]:
    with pytest.raises(CnnscopeError) as caught:
        read_graph(path, **options)
    (diagnostic,) = caught.value.diagnostics
    assert caught.value.exit_code == 2
    return diagnostic.code, diagnostic.message, diagnostic.hint


def sequential(*layers: dict[str, Any], shape: tuple[int | None, ...] | None = (None, 8, 8, 3)) -> dict[str, Any]:
    first = {"class_name": "InputLayer", "config": {"name": "x", "batch_shape": shape}}
    return {"class_name": "Sequential", "config": {"name": "net", "layers": [first, *layers]}}


def conv(**changed: Any) -> dict[str, Any]:
    return {"class_name": "Conv2D", "config": {"name": "conv", "filters": 4, "kernel_size": [3, 3], **changed}}


def written(tmp_path: Path, document: Any) -> Path:
    path = tmp_path / "model.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


# -- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "message", "hint"),
    [
        ("m.keras", b"", "`m.keras` is empty (0 bytes)", "download the file itself again"),
        ("m.keras", b"<!DOCTYPE html><html>", "`m.keras` is a web page, not a Keras model",
         "download the file itself again"),
        ("m.json", b"  <html>", "`m.json` is a web page, not a Keras model", "download the file itself again"),
        ("m.keras", b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
         "`m.keras` is a git-LFS pointer, not a Keras model", "run `git lfs pull` in its repository"),
        ("m.keras", b"\x80\x02}q\x00.",
         "`m.keras` is a Python pickle, which runs code when it is read, not a Keras model",
         "save it in an open format"),
        ("m.json", b"conv: 3", "`m.json` is not a Keras model: its first bytes are `63 6f 6e 76 3a 20 33`", None),
        ("m.json", b"\xff\xfe\x00\xd8", "`m.json` is not a Keras model: its first bytes are `ff fe 00 d8`", None),
    ],
)  # fmt: skip
def test_other_kinds_of_file(tmp_path: Path, name: str, content: bytes, message: str, hint: str | None) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert refused(path) == ("E440", message, hint)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    assert refused(tmp_path / "no.keras") == ("E440", f"there is no file `{tmp_path / 'no.keras'}`", None)
    assert refused(tmp_path) == ("E440", f"`{tmp_path}` is a folder", "name a file in it")


def test_an_archive_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.txt", "hello")
    message = "`m.keras` is an archive without `config.json`: not a Keras model"
    assert refused(path) == ("E440", message, "write one with `model.save('model.keras')`")


@pytest.mark.parametrize("kept", [10, 100, 2000, -30])
def test_a_truncated_archive(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "m.keras"
    path.write_bytes(APPLICATION.read_bytes()[:kept])
    code, message, hint = refused(path)
    assert (code, hint) == ("E441", "download or save it again")
    assert message.startswith("`m.keras` is damaged: ")


def test_flipped_bytes(tmp_path: Path) -> None:
    path, whole = tmp_path / "m.keras", bytearray(APPLICATION.read_bytes())
    for at in range(0, len(whole), 97):
        changed = whole.copy()
        changed[at] ^= 0xFF
        path.write_bytes(changed)
        with contextlib.suppress(CnnscopeError):  # anything else is a failure
            read_graph(path)


def test_a_zip_bomb(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("config.json", "w") as config:
        for _ in range(MAX_CONFIG_BYTES // 2**20 + 1):
            config.write(bytes(2**20))
    assert path.stat().st_size < 2**17
    assert refused(path) == ("E442", "`m.keras` is refused: its config has more than 64 MiB", None)


def test_json_nested_too_deeply(tmp_path: Path) -> None:
    path = written(tmp_path, '{"class_name": "Model", "config": ' + "[" * 200_000)
    assert refused(path) == ("E442", "`model.json` is refused: its config is nested too deeply", None)


def test_deep_arguments(tmp_path: Path) -> None:
    deep: Any = 0
    for _ in range(450):
        deep = [deep]
    document = {"class_name": "Functional", "config": {"name": "m", "input_layers": deep, "output_layers": deep,
                "layers": [sequential()["config"]["layers"][0]]}}  # fmt: skip
    assert refused(written(tmp_path, document))[0] in ("E442", "E443")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"class_name": "Seq", "config"', "`model.json` is damaged: line 1, column 31: expecting ':' delimiter"),
        ('{"a": ' + "9" * 5000 + "}", None),
    ],
)
def test_broken_json(tmp_path: Path, text: str, message: str | None) -> None:
    code, said, _ = refused(written(tmp_path, text))
    assert code == "E441"
    assert message is None or said == message


def test_models_that_call_each_other_without_end(tmp_path: Path) -> None:
    """Fifteen levels of models that call the one below twenty times each: 20^15 calls if one believed it."""
    inner: dict[str, Any] = {"class_name": "Activation", "config": {"name": "act", "activation": "relu"}}
    first = {"class_name": "InputLayer", "config": {"name": "x", "batch_shape": [None, 4]}, "inbound_nodes": []}
    for level in range(15):
        calls = [[["x" if n == 0 else "inner", max(n - 1, 0), 0, {}]] for n in range(20)]
        inner = {**inner, "name": "inner", "inbound_nodes": calls}
        inner["config"] = {**inner["config"], "name": f"inner{level}"}
        inner = {"class_name": "Functional", "config": {"name": "m", "layers": [first, inner],
                 "input_layers": [["x", 0, 0]], "output_layers": [["inner", 19, 0]]}}  # fmt: skip
    assert refused(written(tmp_path, inner))[0] == "E442"


# -- configs ---------------------------------------------------------------------------------------------------------


CODE = {"class_name": "__lambda__", "config": {"code": "4wEAAAAA"}}
LAMBDA = {"class_name": "Lambda", "module": "keras.layers", "config": {"name": "hidden", "function": CODE}}


@pytest.mark.parametrize(
    ("document", "code", "message", "hint"),
    [
        (sequential(LAMBDA), "E444", "layer `hidden`: a `Lambda` holds Python code, which is not run",
         "replace it by layers of Keras, or export the model to ONNX"),
        (sequential({"class_name": "MyBlock", "registered_name": "mine>MyBlock", "module": None,
                     "config": {"name": "b"}}),
         "E445", "layer `b`: the class `MyBlock` is unknown",
         "a class of your own: build it of Keras' layers, or export the model to ONNX"),
        (sequential({"class_name": "Conv2d", "config": {"name": "c"}}), "E445", "layer `c`: the class `Conv2d` is "
         "unknown", "did you mean `Conv2D`?"),
        (sequential({"class_name": "MelSpectrogram", "module": "keras.layers", "config": {"name": "r"}}), "E445",
         "layer `r`: cnnscope does not read `MelSpectrogram` yet", "export the model to ONNX and name that file"),
        (sequential(conv(activation="my_function")), "E445", "layer `conv`: the activation `my_function` is not one of "
         "Keras'", "a function of your own: use one of Keras', or export the model to ONNX"),
        ({"class_name": "MyModel", "config": {}}, "E444", "`MyModel` is a model of a class of its own: its config does "
         "not say what layers it calls", "rebuild it with `keras.Model(inputs, outputs)`, or export it to ONNX"),
        ({"format": "cnnscope.summary"}, "E443", "this JSON is not a Keras model",
         "it needs `class_name` and `config`, as `to_json()` writes"),
        ([1, 2], "E443", "this JSON is not a Keras model", "it needs `class_name` and `config`, as `to_json()` writes"),
        (sequential(conv(), conv()), "E443", "two layers are called `conv`", None),
        (sequential(conv(filters="many")), "E443",
         "layer `conv`: `out` of `conv`: expected a whole number >= 1 but got `many`", None),
        (sequential(conv(kernel_size=[3, 3, 3])), "E443", "layer `conv`: `kernel_size`: got 3 values but the map has 2 "
         "spatial axes", None),
        (sequential(conv(kernel_size=[9, 9])), "E301", "layer `conv`: kernel 9 does not fit into 8 + 2*0", None),
        (sequential({"class_name": "Dense", "config": {"name": "d", "units": 3}}, conv(name="late"),
                    {"class_name": "Flatten", "config": {"name": "f"}}, conv(name="last")), "E301",
         "layer `last`: it needs 2 axes of positions and the channels, not [144]", None),
    ],
)  # fmt: skip
def test_configs(tmp_path: Path, document: Any, code: str, message: str, hint: str | None) -> None:
    assert refused(written(tmp_path, document)) == (code, message, hint)


def test_the_error_says_which_file(tmp_path: Path) -> None:
    with pytest.raises(CnnscopeError) as caught:
        read_graph(written(tmp_path, sequential(LAMBDA)))
    assert [note.message for note in caught.value.diagnostics[0].notes] == ["while reading `model.json`"]


def test_nothing_in_a_lambda_is_run(tmp_path: Path) -> None:
    """A marshalled function that would write a file stays text."""
    target = tmp_path / "written"
    hostile = copy.deepcopy(LAMBDA)
    hostile["config"]["function"] = f"__import__('pathlib').Path({str(target)!r}).touch()"  # type: ignore[index]
    assert refused(written(tmp_path, sequential(hostile)))[0] == "E444"
    assert not target.exists()


def test_layers_that_wait_for_each_other(tmp_path: Path) -> None:
    def act(name: str, source: str) -> dict[str, Any]:
        return {"class_name": "ReLU", "name": name, "config": {"name": name}, "inbound_nodes": [[[source, 0, 0, {}]]]}

    first = {"class_name": "InputLayer", "name": "x", "config": {"name": "x", "batch_shape": [None, 4]}}
    document = {"class_name": "Functional", "config": {"name": "m", "layers": [first, act("a", "b"), act("b", "a")],
                "input_layers": [["x", 0, 0]], "output_layers": [["b", 0, 0]]}}  # fmt: skip
    assert refused(written(tmp_path, document)) == ("E443", "layer `a` needs its own output", None)


# -- sizes -----------------------------------------------------------------------------------------------------------


def size(text: str) -> list[InputSize]:
    return [InputSize.parse(text)]


def test_an_open_size_is_asked_for_and_taken(tmp_path: Path) -> None:
    path = written(tmp_path, sequential(conv(), shape=(None, None, None, 3)))
    assert refused(path) == ("E403", "the input `x` has no fixed size: ?x?x3", "say it: `--input 224x224x3`")
    assert read_graph(path, input=size("32x16x3")).inputs["x"].shape == (1, 3, 32, 16)


def test_a_model_that_never_saw_its_input(tmp_path: Path) -> None:
    document = {"class_name": "Sequential", "config": {"name": "net", "layers": [conv()]}}
    message = "the model was saved before it knew the shape of its input"
    assert refused(written(tmp_path, document)) == ("E403", message, "say it: `--input 224x224x3`")
    assert read_graph(tmp_path / "model.json", input=size("10x10x3")).value("conv").features == (4, 8, 8)


def test_a_size_in_the_wrong_order_is_not_guessed(tmp_path: Path) -> None:
    path = written(tmp_path, sequential(conv()))
    message = "the input is 8x8x3 (height x width x channels), but `--input` is 3x32x32"
    assert refused(path, input=size("3x32x32")) == ("E403", message, "write `--input 32x32x3`")
    assert read_graph(path, input=size("16")).inputs["x"].features == (3, 16, 16)
    assert read_graph(path, input=size("32x32x3")).value("conv").features == (4, 30, 30)


def test_a_size_for_no_input(tmp_path: Path) -> None:
    path = written(tmp_path, sequential(conv()))
    assert refused(path, input=size("y=8x8x3")) == ("E403", "the model has no input `y`", "its inputs: `x`")


# -- fuzz ------------------------------------------------------------------------------------------------------------

MODELS = [
    entry["config"]
    for entry in json.loads(gzip.decompress((DATA / "keras3_layers.json.gz").read_bytes()))["models"].values()
] + [
    entry["config"]
    for entry in json.loads(gzip.decompress((DATA / "keras2_layers.json.gz").read_bytes()))["models"].values()
]
JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 5), st.integers(), st.floats(), st.text(max_size=5),
    st.lists(st.integers(-1, 4), max_size=4), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.sampled_from(["same", "valid", "channels_first", "Conv2D", "Dense", "relu", "input_layer", "Lambda"]),
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in items for place in places(item, (*path, key)))]


def mutated(document: Any, place: tuple[Any, ...], junk: Any, drop: bool) -> Any:
    if not place:
        return junk
    document = copy.deepcopy(document)
    parent = document
    for key in place[:-1]:
        parent = parent[key]
    if drop:
        del parent[place[-1]]
    else:
        parent[place[-1]] = junk
    return document


@given(st.data())
@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example])
def test_a_damaged_config_is_a_graph_or_an_error(data: st.DataObject) -> None:
    document = data.draw(st.sampled_from(MODELS))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(places(document)))
        document = mutated(document, place, data.draw(JUNK), data.draw(st.booleans()))
    try:
        graph = build(read_network(document))
    except CnnscopeError:
        pass
    else:
        assert isinstance(graph, Graph)
        assert graph.outputs
