"""``weights`` and ``export`` on the command line: what they print, write and refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import Run
from documents import validator
from safetensors.torch import load_file, save_file

from cnnscope import api
from cnnscope.nn.build import build

NET = """{cnnscope: 1, name: net, input: {shape: [3, 8, 8]}, layers: [
    {conv: {out: 4, kernel: 3, norm: batch, act: relu, name: stem}}, flatten, {linear: {out: 5, name: fc}}]}"""


def valid(name: str, text: str) -> Any:
    found = json.loads(text)
    validator(name).validate(found)
    return found


@pytest.fixture
def net(tmp_path: Path) -> Path:
    path = tmp_path / "net.yaml"
    path.write_text(NET)
    return path


@pytest.fixture
def weights(net: Path) -> dict[str, torch.Tensor]:
    return build(api.load(net).graph, seed=4).state_dict()


def foreign(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same weights as another author might have called them."""
    return {
        key.replace("stem.conv", "features.0").replace("stem.norm", "features.1").replace("fc", "head"): tensor
        for key, tensor in weights.items()
    }


# -- weights check -----------------------------------------------------------------------------------------------------


def test_check_of_a_file_that_fits(run: Run, net: Path, weights: dict[str, torch.Tensor]) -> None:
    file = net.with_name("w.pt")
    torch.save({"epoch": 3, "state_dict": {f"module.{key}": tensor for key, tensor in weights.items()}}, file)
    outcome = run("weights", "check", str(net), str(file))
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines() == [
        "fits: 9 of 9 tensors match", "read from `state_dict`", "`module.` is taken off every name",
        "ignored: `epoch` (int)",
    ]  # fmt: skip
    every = run("weights", "check", str(net), str(file), "-v", "-q").out.splitlines()
    assert every[1].split() == ["stem.conv.weight", "4x3x3x3", "4x3x3x3", "ok", "-"]
    assert len(every) == 10


def test_check_of_a_file_that_does_not_fit(run: Run, net: Path, weights: dict[str, torch.Tensor]) -> None:
    file = net.with_name("w.safetensors")
    del weights["stem.conv.bias"]
    save_file({**weights, "fc.bias": torch.ones(7), "stem.conv.biass": torch.ones(4)}, file)
    outcome = run("weights", "check", str(net), str(file))
    assert (outcome.code, outcome.err) == (1, "")
    lines = [line.split() for line in outcome.out.splitlines()]
    assert lines[1] == ["stem.conv.bias", "4", "-", "missing", "stem.conv.biass"]
    assert lines[2] == ["stem.conv.biass", "-", "4", "not", "the", "network's", "stem.conv.bias"]
    assert lines[3] == ["fc.bias", "5", "7", "misshapen", "-"]
    assert outcome.out.splitlines()[-1] == "does not fit: 7 of 9 tensors match"


def test_check_as_json(run: Run, net: Path, weights: dict[str, torch.Tensor]) -> None:
    file = net.with_name("w.pt")
    torch.save({key: tensor for key, tensor in weights.items() if key != "fc.bias"} | {"x": torch.ones(2)}, file)
    outcome = run("weights", "check", str(net), str(file), "-f", "json")
    assert (outcome.code, outcome.err) == (1, "")
    found = valid("weights_check", outcome.out)
    assert (found["fits"], found["matched"]) == (False, 8)
    assert found["missing"] == [{"key": "fc.bias", "shape": [5], "dtype": "float32", "nearest": None}]
    assert [entry["key"] for entry in found["extra"]] == ["x"]


def test_check_of_a_file_that_is_none(run: Run, net: Path) -> None:
    file = net.with_name("w.pt")
    file.write_text("version https://git-lfs.github.com/spec/v1\nsize 12\n")
    outcome = run("weights", "check", str(net), str(file))
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        "error[E420]: `w.pt` is a git-LFS pointer, not the weights themselves; the real file has 12 bytes\n"
        "  = help: run `git lfs pull` in its repository\n"
    )


def test_a_missing_argument_names_the_verb(run: Run) -> None:
    outcome = run("weights", "check", "lenet5")
    assert outcome.code == 2
    assert outcome.err == (
        "error[E400]: missing argument `FILE`\n  = help: `cnnscope weights check --help` shows what there is\n"
    )


# -- weights map -------------------------------------------------------------------------------------------------------


def test_map_and_what_it_is_good_for(run: Run, net: Path, weights: dict[str, torch.Tensor]) -> None:
    file, mapping = net.with_name("w.pt"), net.with_name("map.json")
    torch.save(foreign(weights), file)
    outcome = run("weights", "map", str(net), str(file))
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines()[1].split() == ["stem.conv.weight", "features.0.weight", "4x3x3x3", "ok"]
    assert outcome.out.splitlines()[-1] == "9 of 9 tensors mapped by order and shape"
    written = run("weights", "map", str(net), str(file), "-o", str(mapping))
    assert (written.code, written.out, written.err) == (0, "", f"wrote {mapping}\n")
    assert valid("weights_map", mapping.read_text())["pairs"]["fc.bias"] == "head.bias"
    for names in (str(mapping), "auto"):
        assert run("weights", "check", str(net), str(file), "--map", names).code == 0
    assert run("weights", "check", str(net), str(file)).code == 1


@pytest.mark.parametrize("name", ["renamed.safetensors", "renamed.pt"])
def test_map_writes_weights_under_the_networks_names(
    run: Run, net: Path, weights: dict[str, torch.Tensor], name: str
) -> None:
    file, target = net.with_name("w.pt"), net.with_name(name)
    torch.save(foreign(weights), file)
    outcome = run("weights", "map", str(net), str(file), "-o", str(target))
    assert (outcome.code, outcome.err) == (0, f"wrote {target}\n")
    found = load_file(target) if name.endswith("safetensors") else torch.load(target, weights_only=True)
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[key], weights[key]) for key in weights)


def test_an_incomplete_map(run: Run, net: Path, weights: dict[str, torch.Tensor]) -> None:
    file, target = net.with_name("w.pt"), net.with_name("renamed.pt")
    torch.save({**foreign(weights), "head.weight": torch.ones(9, 9)}, file)
    outcome = run("weights", "map", str(net), str(file), "-o", str(target))
    assert (outcome.code, outcome.err) == (1, "")
    assert not target.exists()
    assert outcome.out.splitlines()[-1].startswith("incomplete: ")
    refused = run("weights", "check", str(net), str(file), "--map", "auto")
    assert refused.code == 2
    assert refused.err == (
        "error[E425]: no mapping of `w.pt` onto `net` is complete\n"
        "  = help: `cnnscope weights map` shows what is left; edit what it writes and name it with `--map`\n"
    )


def test_an_edited_map_may_leave_tensors_out(run: Run, net: Path, weights: dict[str, torch.Tensor]) -> None:
    file, mapping = net.with_name("w.pt"), net.with_name("map.json")
    torch.save({**foreign(weights), "aux.weight": torch.ones(2, 2)}, file)
    assert run("weights", "map", str(net), str(file), "-o", str(mapping)).code == 1
    document = json.loads(mapping.read_text())
    assert document["unused"] == ["aux.weight"]
    mapping.write_text(json.dumps({**document, "ignore": document["unused"]}))
    assert run("weights", "check", str(net), str(file), "--map", str(mapping)).code == 0


# -- export ------------------------------------------------------------------------------------------------------------


def test_export_to_stdout(run: Run, net: Path) -> None:
    for target, start in (("pytorch", '"""net in PyTorch'), ("spec", "cnnscope: 1\nname: net\n"), ("json", "{\n")):
        outcome = run("export", str(net), "--to", target)
        assert (outcome.code, outcome.err) == (0, "")
        assert outcome.out.startswith(start)
        assert outcome.out.endswith("\n")
        assert not outcome.out.endswith("\n\n")
    valid("graph", run("export", str(net), "--to", "json").out)


@pytest.mark.parametrize(
    ("name", "kind"), [("x.py", "pytorch"), ("x.yaml", "spec"), ("x.json", "json"), ("x.yml", "spec")]
)
def test_the_suffix_says_what_to_write(run: Run, net: Path, name: str, kind: str) -> None:
    target = net.with_name(name)
    outcome = run("export", str(net), "-o", str(target))
    assert (outcome.code, outcome.out, outcome.err) == (0, "", f"wrote {target}\n")
    assert target.read_text() == run("export", str(net), "--to", kind).out
    report = run("export", str(net), "-o", str(target), "-f", "json")
    assert (report.code, report.err) == (0, "")
    (file,) = valid("files", report.out)["files"]
    assert file == {"path": str(target), "kind": kind, "bytes": target.stat().st_size}


def test_an_exported_spec_is_a_source_again(run: Run, net: Path) -> None:
    target = net.with_name("again.yaml")
    assert run("export", str(net), "-o", str(target)).code == 0
    totals = [json.loads(run("summary", str(path), "-f", "json").out)["totals"] for path in (net, target)]
    assert totals[0] == totals[1]


def test_onnx_with_weights(run: Run, net: Path, weights: dict[str, torch.Tensor]) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    file, target = net.with_name("w.pt"), net.with_name("net.onnx")
    torch.save(foreign(weights), file)
    words = ("export", str(net), "-o", str(target), "--weights", str(file))
    refused = run(*words)
    assert refused.code == 2
    assert refused.err.splitlines()[0] == (
        "error[E425]: `w.pt` does not fit `net`: 8 missing, 8 not the network's; 0 keys match"
    )
    assert not target.exists()
    outcome = run(*words, "--map", "auto")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", f"wrote {target}\n")
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(target).graph.initializer}
    assert (stored["fc.bias"] == weights["fc.bias"].numpy()).all()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("export", "lenet5"), "error[E400]: missing option `--to`\n  = help: one of pytorch, onnx, spec, json\n"),
        (("export", "lenet5", "-o", "x.txt"),
         "error[E404]: `x.txt` has no known suffix\n  = help: use .py, .onnx, .yaml, .yml, .json, or say --to\n"),
        (("export", "lenet5", "-o", "x.jsn"),
         "error[E404]: `x.jsn` has no known suffix\n  = help: did you mean `.json`?\n"),
        (("export", "lenet5", "--to", "onnx"),
         "error[E400]: an ONNX file needs a name\n  = help: say `-o model.onnx`\n"),
        (("export", "lenet5", "--to", "spec", "--weights", "w.pt"),
         "error[E400]: `--weights` goes with `--to onnx`\n"
         "  = help: the other formats have no weights in them; `cnnscope weights map -o` writes weights\n"),
    ],
)  # fmt: skip
def test_what_export_refuses(run: Run, words: tuple[str, ...], error: str) -> None:
    outcome = run(*words)
    assert (outcome.code, outcome.out, outcome.err) == (2, "", error)


def test_a_failed_export_leaves_the_old_file(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "x.py"
    target.write_text("old")
    (tmp_path / "scaled.py").write_text(
        "import torch\nclass Scaled(torch.nn.Module):\n    def forward(self, x):\n        return x + torch.rand(4)\n"
    )
    outcome = run("export", f"{tmp_path / 'scaled.py'}:Scaled", "--input", "3x4x4", "-o", str(target))
    assert outcome.code == 2
    assert "`Scaled` cannot be written as PyTorch: 1 of its ops lack operands\n" in outcome.err
    assert "`add` is `elementwise` (add) without its operand `other`\n" in outcome.err
    assert target.read_text() == "old"
