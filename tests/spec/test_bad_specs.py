"""Every kind of mistake, with its exact message and place: bad/NAME.yaml is refused as bad/NAME.txt says."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from diagnostic_text import text_of

from cnnscope.errors import CnnscopeError, PartialError
from cnnscope.spec import load
from cnnscope.spec.text import MAX_BYTES

BAD = Path(__file__).parent / "bad"
DOCS = Path(__file__).parents[2] / "docs" / "errors.md"
NAMES = sorted(path.stem for path in BAD.glob("*.yaml"))


def refusal(path: str | Path, text: str | bytes | None = None, **options: object) -> CnnscopeError:
    with pytest.raises(CnnscopeError) as caught:
        load(path, text=text, **options)  # type: ignore[arg-type]  # whatever a test passes on
    return caught.value


@pytest.mark.parametrize("name", NAMES)
def test_corpus(name: str) -> None:
    assert text_of(refusal(BAD / f"{name}.yaml")) == (BAD / f"{name}.txt").read_text()


def test_corpus_is_complete() -> None:
    assert {path.stem for path in BAD.glob("*.txt")} == set(NAMES)
    codes = set(re.findall(r"^(E\d+)", "\n".join(path.read_text() for path in BAD.glob("*.txt")), re.MULTILINE))
    documented = set(re.findall(r"^\| (E[123]\d\d) ", DOCS.read_text(), re.MULTILINE))
    elsewhere = {"E109", "E306", "E307", "E308"}  # files, see below; receptive fields' and equivariance's
    assert documented == codes | elsewhere


def test_a_place_points_into_the_file_that_was_read() -> None:
    (diagnostic,) = refusal(BAD / "e201-typo.yaml").diagnostics[:1]
    assert diagnostic.span is not None
    assert diagnostic.span.file == str(BAD / "e201-typo.yaml")
    line = (BAD / "e201-typo.yaml").read_text().splitlines()[diagnostic.span.line - 1]
    assert line[diagnostic.span.column - 1 :][: diagnostic.span.length] == "flaten"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "E101 1:1+1 the file is empty\n  help: a spec starts with `cnnscope: 1`\n"),
        (b" \n\t\n", "E101 1:1+1 the file is empty\n  help: a spec starts with `cnnscope: 1`\n"),
        (
            b"\x89PNG\r\n\0\0\0",
            "E101 1:1+1 this is a binary file, not YAML\n  help: a spec starts with `cnnscope: 1`\n",
        ),
        (b"name: caf\xe9\n", "E101 1:10+1 byte 0xe9 is not UTF-8\n  help: save the file as UTF-8\n"),
        (b"a: 1\nname: \xc3\xa9\xff\n", "E101 2:8+1 byte 0xff is not UTF-8\n  help: save the file as UTF-8\n"),
        (
            b"x" * (MAX_BYTES + 1),
            "E105 1:1+1 the file is larger than 2 MB\n"
            "  help: write repeated layers with `use: {block: ..., repeat: ...}`\n",
        ),
    ],
    ids=["empty", "blank", "binary", "latin-1", "broken-utf-8", "over-the-cap"],
)
def test_files_that_are_no_yaml(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "net.yaml"
    path.write_bytes(content)
    assert text_of(refusal(path)) == expected


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_bytes(b"\xef\xbb\xbfcnnscope: 1\ninput: {shape: [3, 8, 8]}\nlayers: [relu]\n")
    assert load(path).graph.outputs == ("relu1",)


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert text_of(refusal(tmp_path)) == "E109 1:1+1 this is a folder\n  help: name a file in it\n"
    missing = refusal(tmp_path / "nowhere.yaml")
    assert text_of(missing) == "E109 1:1+1 there is no such file\n  help: check the path\n"
    assert refusal("a\0b").diagnostics[0].code == "E109"

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")  # what the system says to anyone but root

    monkeypatch.setattr(Path, "open", refuse)
    (tmp_path / "denied.yaml").touch()
    denied = refusal(tmp_path / "denied.yaml")
    assert text_of(denied) == "E109 1:1+1 you may not read this file\n  help: check its permissions\n"


HEAD = "cnnscope: 1\ninput: {shape: [3, 8, 8]}\n"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"set": {"widht": 3}}, "E205 - the spec has no parameter `widht`\n  help: did you mean `width`?\n"),
        ({"set": {"width": "a lot"}}, "E203 4:22+6 `out` of `conv`: expected a whole number >= 1 but got `a lot`\n"),
        ({"set": {"width": "[1"}},
         "E203 - the value of parameter `width`, `[1`, is not YAML: expected `,` or `]`, but got `<stream end>`\n"),
        ({"set": {"width": ""}},
         "E204 3:17+1 parameter `width` has no value\n  help: give it one with `--set width=...`\n"),
        ({"set": {"width": -4}}, "E203 4:22+6 `out` of `conv`: expected a whole number >= 1 but got `-4`\n"),
        ({"set": {"width": 1.5}}, "E203 4:22+6 `out` of `conv`: expected a whole number >= 1 but got `1.5`\n"),
        ({"input": {"inptu": (3, 8, 8)}}, "E205 - there is no input `inptu`\n  help: did you mean `input`?\n"),
        ({"input": (3, 0, 8)}, "E203 - the shape of `input`: expected a whole number >= 1 but got `0`\n"),
        ({"input": (1, 3, 8, 8, 8)},
         "E203 - the shape of `input` has 5 numbers, but channels and at most three spatial sizes are read\n"
         "  help: leave the batch out\n"),
        ({"input": (2**62, 3, 3)}, "E203 - the shape of `input`: more elements than 64 bits count\n"),
    ],
)  # fmt: skip
def test_values_from_outside(options: dict[str, object], expected: str) -> None:
    text = HEAD + "params: {width: 4}\nlayers: [conv: {out: $width, kernel: 1}]\n"
    assert text_of(refusal("net.yaml", text, **options)) == expected


def test_one_shape_for_several_inputs() -> None:
    text = "cnnscope: 1\ninputs: {a: {shape: [1, 8, 8]}, b: {shape: [1, 8, 8]}}\nlayers: [add: {from: [a, b]}]\n"
    expected = "E203 - the network has several inputs: `a`, `b`\n  help: give each shape its name\n"
    assert text_of(refusal("net.yaml", text, input=(1, 4, 4))) == expected


def test_the_rows_up_to_the_failing_layer_are_there() -> None:
    error = refusal(
        "net.yaml", HEAD + "layers:\n  - conv: {out: 4, kernel: 3}\n  - relu\n  - linear: 10\n  - flatten\n"
    )
    assert isinstance(error, PartialError)
    assert error.graph is not None
    assert [(node.name, node.output.features) for node in error.graph.nodes] == [
        ("conv1", (4, 6, 6)),
        ("relu1", (4, 6, 6)),
    ]
    first = refusal("net.yaml", HEAD + "layers: [linear: 10]\n")
    assert isinstance(first, PartialError)
    assert first.graph is None


def test_reports_stop_where_they_stop_helping() -> None:
    text = HEAD + "layers:\n" + "  - cnov: {out: 6}\n" * 5000
    assert len(refusal("net.yaml", text).diagnostics) == 50


BOMBS = {
    "deep flow": "[" * 100_000,
    "deep block": "- " * 100_000,
    "deep mappings": "{a: " * 100_000,
    "long scalar": "a: " + "x" * 1_900_000,
    "long number": "cnnscope: " + "9" * 1_900_000,
    "long key": "x" * 1_000_000 + ": 1",
    "comments": "#" * 1_900_000,
    "empty lines": "\n" * 1_900_000 + "a",
    "repeats in blocks": HEAD
    + "blocks:\n  b0: {layers: [relu]}\n"
    + "".join(f"  b{i}: {{layers: [use: {{block: b{i - 1}, repeat: 10}}]}}\n" for i in range(1, 40))
    + "layers: [use: b39]\n",
    "long expression": HEAD + 'layers: [conv: {out: "${' + "(" * 1_000_000 + '}", kernel: 1}]\n',
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_do_not_go_off(name: str) -> None:
    start = time.process_time()
    error = refusal("net.yaml", BOMBS[name])
    assert time.process_time() - start < 5, "a bound against hanging, not a measurement"
    assert all(len(d.message) < 300 and len(d.hint or "") < 300 for d in error.diagnostics)


def test_what_slips_through_the_first_bound_is_stopped_by_the_second() -> None:
    blocks = """blocks:
  one: {layers: [relu]}
  some: {params: {n: ~}, layers: [use: {block: one, repeat: $n}]}
  many: {params: {n: ~}, layers: [use: {block: some, repeat: $n, with: {n: $n}}]}
"""
    error = refusal("net.yaml", HEAD + blocks + "layers: [use: {block: many, with: {n: 1000}}]\n")
    assert error.diagnostics[0].code == "E105"
    assert error.diagnostics[0].message == "the spec expands to more than 100,000 layers and ops"


def test_very_many_mistakes_inside_a_parameter() -> None:
    slopes = ", ".join(f"s{i}: 1" for i in range(60))
    text = HEAD + f"params: {{a: {{leakyrelu: {{{slopes}}}}}}}\nlayers: [conv: {{out: 6, kernel: 3, act: $a}}]\n"
    assert {d.code for d in refusal("net.yaml", text).diagnostics} == {"E202"}
