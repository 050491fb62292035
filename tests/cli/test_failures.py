"""What goes wrong, and how: exit codes, streams, wording. No traceback reaches a user who did not ask for one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import Run

from cnnscope import api
from cnnscope.ir import Graph, Node, Value
from cnnscope.ops import REGISTRY
from cnnscope.ops.generic import Unsupported

BROKEN = """\
cnnscope: 1
name: Broken
input: {shape: [1, 28, 28]}
layers:
  - conv: {out: 4, kernel: 5, name: c1}
  - maxpool: {kernel: 2, name: s2}
  - conv: {out: 8, kernel: 50, name: c3}
  - flatten
"""

USAGE = [
    ("sumary lenet5", "error[E400]: no such command `sumary`\n  = help: did you mean `summary`?\n"),
    ("summary", "error[E400]: missing argument `SOURCE`\n  = help: `cnnscope summary --help` shows what there is\n"),
    ("check", "error[E400]: missing argument `SOURCE`\n  = help: name a model, or say `--all`\n"),
    ("summary lenet", "error[E401]: no model is called `lenet`\n  = help: did you mean `lenet5` or `alexnet` or "
     "`googlenet`?\n"),
    ("summary lenet5 -f xml", "error[E400]: invalid value for `--format` / `-f`: `xml` is not one of `table`, `json`, "
     "`csv`, `tsv`, `markdown`\n  = help: `cnnscope summary --help` shows what there is\n"),
    ("summary lenet5 --columns nam", "error[E402]: no column is called `nam`\n  = help: did you mean `name`?\n"),
    ("summary lenet5 vgg16 --columns mac", "error[E402]: no column is called `mac`\n  = help: did you mean `macs`?\n"),
    ("summary lenet5 --input 3xx3", "error[E403]: `3xx3` is not an input size\n  = help: write 3x224x224, "
     "left=3x64x64 or ids=128:int64\n"),
    ("summary lenet5 --input 128:int64", "error[E403]: the inputs of a spec are float32, not int64\n"),
    ("summary lenet5 --set width", "error[E406]: `--set width` sets nothing\n  = help: write `--set width=32`\n"),
    ("rf lenet5 --unit :3", "error[E409]: `:3` names no unit\n  = help: write LAYER:y,x, as `--unit conv3:5,7`\n"),
    ("rf lenet5 --unit c1:1,-1", "error[E409]: `c1:1,-1` names no unit\n  = help: write LAYER:y,x, as `--unit "
     "conv3:5,7`\n"),
    ("rf lenet5 vgg16 --unit c1:1,1", "error[E409]: `--unit` looks at one SOURCE\n"),
    ("rf lenet5 --unit f7:1,1", "error[E205]: no layer is called `f7`\n"),
    ("ops konv", "error[E201]: unknown layer type `konv`\n  = help: did you mean `conv`?\n"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "message"), USAGE, ids=[words for words, _ in USAGE])
def test_mistakes_are_answered_in_the_style_of_a_compiler(run: Run, words: str, message: str) -> None:
    outcome = run(*words.split())
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == message


def test_values_out_of_range_are_refused(run: Run) -> None:
    outcome = run("summary", "lenet5", "--batch-size", "0")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("error[E400]: invalid value for `--batch-size`: ")


def test_a_summary_goes_up_to_the_layer_that_is_wrong(run: Run) -> None:
    outcome = run("summary", "-", stdin=BROKEN)
    assert outcome.code == 2
    assert outcome.out.startswith("Broken (-), input 1x28x28, up to the layer that is wrong\n")
    assert [line.split()[0] for line in outcome.out.splitlines()[3:5]] == ["c1", "s2"]
    assert "c3" not in outcome.out
    assert outcome.err == (
        "error[E301]: kernel 50 does not fit into 12 + 2*0\n"
        " --> <stdin>:7:5\n"
        "  |\n"
        "7 |   - conv: {out: 8, kernel: 50, name: c3}\n"
        "  |     ^^^^\n"
    )


def test_as_json_it_says_that_it_is_not_complete(run: Run) -> None:
    outcome = run("summary", "-", "-f", "json", stdin=BROKEN)
    assert outcome.code == 2
    found = json.loads(outcome.out)
    assert found["complete"] is False
    assert [layer["name"] for layer in found["layers"]] == ["c1", "s2"]
    (error,) = json.loads(outcome.err)["errors"]
    assert (error["code"], error["file"], error["line"], error["column"]) == ("E301", "<stdin>", 7, 5)


def test_no_file_is_written_for_part_of_a_network(run: Run, tmp_path: Path) -> None:
    outcome = run("summary", "-", "-o", str(tmp_path / "out.json"), stdin=BROKEN)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("error[E301]")
    assert list(tmp_path.iterdir()) == []


def test_a_spec_that_cannot_be_read_at_all_prints_no_table(run: Run) -> None:
    outcome = run("summary", "-", stdin="cnnscope: 1\nlayers: [flaten]\n")
    assert (outcome.code, outcome.out) == (2, "")
    assert "error[E201]: unknown layer type `flaten`" in outcome.err
    assert "error[E103]: `input` is missing" in outcome.err


def test_a_comparison_needs_all_its_networks_and_names_every_mistake(run: Run) -> None:
    outcome = run("summary", "lenet5", "lenet", "missing.yaml")
    assert (outcome.code, outcome.out) == (2, "")
    assert "error[E401]: no model is called `lenet`" in outcome.err
    assert "error[E109]: there is no such file" in outcome.err


def test_errors_are_json_where_the_result_would_have_been(run: Run) -> None:
    for words in (("summary", "lenet", "-f", "json"), ("summary", "lenet", "--format=json"), ("shapes", "-fjson", "x")):
        outcome = run(*words)
        assert (outcome.code, outcome.out) == (2, "")
        assert json.loads(outcome.err)["errors"][0]["code"] == "E401"


def test_a_wrong_reference_is_a_finding(run: Run) -> None:
    outcome = run("check", "lenet5", "blocks.yaml")
    assert (outcome.code, outcome.err) == (1, "")
    assert outcome.out.splitlines()[-1] == "2 ok, 2 wrong, 0 without reference"
    assert sum("MISMATCH" in line for line in outcome.out.splitlines()) == 2


def test_no_reference_is_no_finding(run: Run) -> None:
    outcome = run("check", "-", stdin="cnnscope: 1\ninput: {shape: [3, 8, 8]}\nlayers: [relu]\n")
    assert outcome.code == 0
    assert outcome.out.splitlines()[-1] == "0 ok, 0 wrong, 2 without reference"


def test_every_model_of_the_zoo_is_checked(run: Run) -> None:
    outcome = run("check", "--all", "-f", "json")
    assert outcome.code == 0
    assert all(check["ok"] for check in json.loads(outcome.out)["checks"])


@pytest.fixture
def with_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every SOURCE loads as a network with an op that no rule covers."""
    image, relu = Value((1, 3, 8, 8)), REGISTRY["relu"]()
    odd = Node("odd", Unsupported((1, 3, 8, 8), "float32", 0, "aten.odd"), ("image",), image)
    graph = Graph("Odd", {"image": image}, (odd, Node("relu", relu, ("odd",), image)), ("relu",))
    monkeypatch.setattr(api, "load", lambda source, **_: api.Model(graph, source))


def test_a_group_of_commands_alone_shows_its_help(run: Run) -> None:
    outcome = run("weights")
    assert outcome.code == 2
    assert "Usage: cnnscope weights" in outcome.out
    assert outcome.err == "error[E400]: missing command\n  = help: `cnnscope weights --help` shows what there is\n"


@pytest.mark.usefixtures("with_unsupported")
def test_what_is_unsupported_is_shown_and_totals_become_lower_bounds(run: Run) -> None:
    outcome = run("flops", "odd")
    assert outcome.code == 0
    row = next(line for line in outcome.out.splitlines() if line.startswith("odd"))
    assert row.split()[-2:] == ["?", "?"]
    assert ">= 0" in next(line for line in outcome.out.splitlines() if line.startswith("total"))
    assert "not supported, so totals are lower bounds: odd" in outcome.out
    found = json.loads(run("flops", "odd", "-f", "json").out)
    assert (found["layers"][0]["macs"], found["unsupported"]) == (None, ["odd"])
    assert found["totals"]["lower_bound"] is True


@pytest.mark.usefixtures("with_unsupported")
def test_strict_refuses_it_with_a_code_of_its_own(run: Run) -> None:
    for sources in (("odd",), ("odd", "odd")):
        outcome = run("summary", *sources, "--strict")
        assert (outcome.code, outcome.out) == (3, "")
        assert outcome.err.startswith("error[E407]: `odd` is not supported: aten.odd")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ZeroDivisionError("oops"), 70, "internal error: ZeroDivisionError: oops\nThis is a bug in cnnscope."),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_bugs_and_interrupts(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, message: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(api, "load", fail)
    outcome = run("summary", "lenet5")
    assert (outcome.code, outcome.out) == (code, "")
    assert outcome.err.startswith(message)
    assert "Traceback" not in outcome.err
    if code == 70:
        assert "Traceback" in run("summary", "lenet5", "--debug").err


def test_debug_shows_where_an_error_comes_from(run: Run) -> None:
    outcome = run("summary", "lenet", "--debug")
    assert "Traceback" in outcome.err
    assert "error[E401]" in outcome.err


def test_help_and_version_are_results(run: Run) -> None:
    for words in (("--help",), ("-h",), ("summary", "-h"), ()):
        outcome = run(*words)
        assert (outcome.code, outcome.err) == (0, "")
        assert "Usage: cnnscope" in outcome.out
    assert run("--version").out == "cnnscope 0.1.0\n"
    panels = run("--help").out
    assert panels.index("Look at a network") < panels.index("summary") < panels.index("Specs and layer types")


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("lenet5", "did you mean `cnnscope summary lenet5`?"), ("resnet5", "did you mean `cnnscope summary resnet50`?"),
        ("net.yaml", "did you mean `cnnscope summary net.yaml`?"), ("sumary", "did you mean `summary`?"),
        ("torchvision:resnet18", "did you mean `cnnscope summary torchvision:resnet18`?"),
        ("xyzzy", "`cnnscope --help` shows what there is"),
    ],
)  # fmt: skip
def test_a_network_in_place_of_a_command_is_understood(run: Run, word: str, hint: str) -> None:
    outcome = run(word)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"error[E400]: no such command `{word}`\n  = help: {hint}\n"


def test_the_program_alone_shows_five_commands_that_work(run: Run, tmp_path: Path) -> None:
    outcome = run()
    assert outcome.code == 0
    examples, _, rest = outcome.out.partition("Usage:")
    commands = [line.split("  ")[0].split()[1:] for line in examples.strip().splitlines()]
    assert len(commands) == 5
    assert "Look at a network" in rest
    for words in commands:
        place = [str(tmp_path / Path(word).name) if "." in word or "/" in word else word for word in words]
        assert run(*place).code == 0, words
