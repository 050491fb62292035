"""The documents show commands and what they print: every one of them is run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

import cnnscope
from cnnscope.cli.app import main
from cnnscope.spec import load

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
LECTURES = ROOT / "docs" / "lectures.md"
ELISION = "..."


def shown(document: Path) -> Iterator[tuple[str, list[str]]]:
    """Each command of a document's console blocks, and the lines below it."""
    for block in re.findall(r"^```console\n(.*?)^```$", document.read_text(encoding="utf-8"), re.M | re.S):
        nothing, *commands = re.split(r"^\$ cnnscope ", block, flags=re.M)
        assert not nothing, nothing
        for text in commands:
            command, *lines = text.splitlines()
            yield command, lines


def missing(lines: list[str], printed: list[str]) -> str | None:
    """The first line of a document that was not printed where it stands; `...` stands for any lines."""
    position, elided = 0, False
    for line in lines:
        if line == ELISION:
            elided = True
            continue
        found = next((i for i in range(position, len(printed)) if agree(line, printed[i])), None)
        if found is None or (found != position and not elided):
            return line
        position, elided = found + 1, False
    return None if elided or position == len(printed) else printed[position]


ROUNDING = 1e-6  # of float32, in which networks compute: what is smaller depends on the processor
NOISE = re.compile(r"\b\d\.\d+e-\d\d\b|\b0\.0e\+00|\b0\.000\b")  # two ways to print a sum without an error


def agree(shown: str, printed: str) -> bool:
    """Whether two lines are the same; a figure of rounding noise may be smaller, or larger by less than ten times."""
    if shown == printed:
        return True
    pairs = list(zip(NOISE.findall(shown), NOISE.findall(printed), strict=False))
    alike = all(a == b or (float(a) < ROUNDING and float(b) < 10 * float(a)) for a, b in pairs)
    return alike and NOISE.sub("noise", shown) == NOISE.sub("noise", printed)


def columns(text: str) -> list[str]:
    """Lines without the spaces that only align columns, and without empty ones."""
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


PAGES = ("lectures", "diagrams", "receptive-fields", "export", "ablate", "edit", "transfer", "equivariance", "filters",
         "attribution", "features", "audit")  # fmt: skip
COMMANDS: dict[str, list[list[str]]] = {}
for page in (README, *(ROOT / "docs" / f"{name}.md" for name in PAGES)):
    for command, lines in shown(page):
        COMMANDS.setdefault(command, []).append(lines)


@pytest.mark.parametrize("command", COMMANDS)
def test_documents_show_what_is_printed(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A command that several pages show runs once."""
    for folder in ("specs", "examples"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    (tmp_path / "reports").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cnnscope.audits.run.audit.html", lambda *_: "")  # no page shows it, and it takes longest
    code = main(shlex.split(command))
    out, err = capsys.readouterr()
    for lines in COMMANDS[command]:
        assert code == (2 if any(line.startswith("error[") for line in lines) else 0), err
        assert missing(columns("\n".join(lines)), columns(out + err)) is None


def test_a_line_that_is_not_printed_is_found() -> None:
    printed = ["a", "b", "c", "d"]
    assert missing(["a", ELISION, "d"], printed) is None
    assert missing(["a", ELISION, "e"], printed) == "e"
    assert missing(["a", "c", ELISION], printed) == "c"
    assert missing(["a", "b", "c"], printed) == "d"
    assert missing([ELISION, "c", ELISION, "b"], printed) == "b"


def test_only_rounding_noise_may_differ() -> None:
    assert agree("zero 0.456 6.0e-08", "zero 0.456 1.5e-07")
    assert agree("zero 0.456 6.0e-08", "zero 0.456 0.0e+00"), "a sum that is right to the last bit"
    assert agree("completeness 8.7e-08 < 0.010", "completeness 0.000 < 0.010")
    assert not agree("completeness 0.000 < 0.010", "completeness 8.7e-08 < 0.010")
    assert not agree("zero 0.456 6.0e-08", "zero 0.456 7.0e-07"), "more than noise"
    assert not agree("zero 0.456 6.0e-08", "zero 0.457 6.0e-08"), "another figure beside it"
    assert not agree("zero 6.0e-08", "zero 6.0e-08 6.0e-08")
    assert not agree("error 2.5e-03", "error 2.6e-03"), "too large to be noise"


def test_every_claim_has_its_section() -> None:
    text = LECTURES.read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[(\d+)\]\(#(\S+)\) \|", text, re.M)
    sections = re.findall(r"^## (\d+)\. (.+)$", text, re.M)
    anchors = [re.sub(r"[^a-z0-9 -]", "", f"{n}. {title}".lower()).replace(" ", "-") for n, title in sections]
    assert rows == list(zip([n for n, _ in sections], anchors, strict=True))
    assert len(list(shown(LECTURES))) == len(rows)


def test_every_lecture_spec_is_used() -> None:
    specs = {path.name for path in (ROOT / "examples" / "lectures").glob("*.yaml")}
    assert specs == set(re.findall(r"examples/lectures/([\w-]+\.yaml)", LECTURES.read_text(encoding="utf-8")))


def lecture(name: str, **settings: object) -> tuple[int, int, tuple[int, ...]]:
    """Weights, MACs and output shape of a lecture's network."""
    graph = load(ROOT / "examples" / "lectures" / f"{name}.yaml", set=settings).graph
    macs = [node.op.macs(graph.values(node)) or 0 for node in graph.nodes]
    return sum(param.numel for param in graph.params.values()), sum(macs), graph.nodes[-1].output.features


def test_a_1x1_convolution_makes_a_5x5_cheap() -> None:
    wide, narrow = lecture("wide-5x5"), lecture("bottleneck-5x5")
    assert wide == (32 * (192 * 25 + 1), 28 * 28 * 32 * 5 * 5 * 192, (32, 28, 28))
    assert wide[1] == 120_422_400
    assert narrow[1:] == (28 * 28 * 16 * 192 + 28 * 28 * 32 * 5 * 5 * 16, (32, 28, 28))
    assert narrow[1] == 12_443_648


def test_a_kernel_as_large_as_the_image_is_fully_connected() -> None:
    dense, conv = lecture("dense"), lecture("dense-as-conv")
    assert dense[:2] == conv[:2] == (10 * (3 * 32 * 32 + 1), 10 * 3 * 32 * 32)
    assert (dense[2], conv[2]) == ((10,), (10, 1, 1))


def test_dilation_has_the_footprint_of_a_larger_kernel() -> None:
    assert lecture("window", kernel=5)[::2] == (25, (1, 1, 1))
    assert lecture("window", dilation=2)[::2] == (9, (1, 1, 1))


def test_a_stride_does_what_pooling_does_for_a_quarter() -> None:
    (pooled, work, shape), (strided, less, same) = lecture("pooled"), lecture("strided")
    assert (pooled, shape) == (strided, same)
    assert work == 4 * less


@pytest.mark.parametrize("n", [5, 6, 11])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("pad", [0, 1, 2])
def test_the_output_size_formula(n: int, stride: int, pad: int) -> None:
    path = ROOT / "examples" / "lectures" / "window.yaml"
    graph = load(path, set={"stride": stride, "pad": pad}, input=(1, n, n)).graph
    positions = sum(1 for start in range(-pad, n + pad - 3 + 1) if (start + pad) % stride == 0)  # slide and count
    assert graph.nodes[-1].output.features == (1, positions, positions)
    assert positions == (n + 2 * pad - 3) // stride + 1


def test_the_readme_runs_as_python(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), re.M | re.S)
    exec(block, {})
    assert capsys.readouterr().out.startswith("4089184256\n")


def test_the_readme_picture_is_what_the_program_draws(tmp_path: Path) -> None:
    assert main(["diagram", "unet", "-q", "-o", str(tmp_path / "unet.svg")]) == 0
    assert (tmp_path / "unet.svg").read_bytes() == (ROOT / "docs" / "pictures" / "unet.svg").read_bytes()


def test_the_readme_names_only_targets_that_exist() -> None:
    targets = re.findall(r"^make (\w+)", README.read_text(encoding="utf-8"), re.M)
    assert targets == ["demo", "test"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(re.search(rf"^{target}:", makefile, re.M) for target in targets)


def test_links_lead_somewhere() -> None:
    for document in (README, *sorted((ROOT / "docs").glob("*.md"))):
        for link in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
            assert (document.parent / link).exists(), (document.name, link)


def test_every_error_code_is_explained() -> None:
    raised = set()
    for path in (ROOT / "cnnscope").rglob("*.py"):
        raised |= set(re.findall(r'"(E\d{3})"', path.read_text(encoding="utf-8")))
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"E\d{3}", text))
    for first, last in re.findall(r"E(\d{3}) to E(\d{3})", text):
        explained |= {f"E{code}" for code in range(int(first), int(last) + 1)}
    assert raised <= explained, sorted(raised - explained)


def test_the_page_about_python_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for block in re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S):
        exec(compile(block, "docs/python.md", "exec"), {"cnnscope": cnnscope})
    assert {file.name for file in tmp_path.iterdir()} >= {"alexnet.svg", "lenet5.html", "lenet5.py", "saliency.png"}
    table = set(re.findall(r"\w+", " ".join(line for line in text.splitlines() if line.startswith("| "))))
    assert set(cnnscope.__all__) - set(cnnscope._ELSEWHERE) <= table
