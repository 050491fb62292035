"""Every verb with every optional package blocked: it works as before, or says in one line what to install."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import typer.main
from PIL import Image
from synthetic_outcomes import result

from cnnscope.audits.report import save
from cnnscope.cli.app import app
from cnnscope.errors import missing

DATA = Path(__file__).parents[1] / "sources" / "data"
STATIC = """
summary lenet5; shapes blocks.yaml; params lenet5; flops lenet5 alexnet; memory model.keras; rf lenet5
rf lenet5 --unit c3:1,1; rf lenet5 --unit c3:1,1 -o unit.png; rf lenet5 -o growth.png; diff lenet5 alexnet
diff lenet5 alexnet -o diff.svg; equivariance lenet5; ablate lenet5 --remove f6; diagram lenet5 -o graph.svg
diagram lenet5 -o graph.png; diagram lenet5 -o graph.pdf; diagram lenet5 --view volumes -o volumes.svg
diagram model.keras -o keras.dot; page lenet5 -o page.html; page lenet5 --image image.png -o image.html
transfer lenet5 --classes 3; kernels --kernel "-1 1" --input "0 1 0 1"; check lenet5; expand lenet5; zoo; ops conv
schema summary; export lenet5 --to spec; export lenet5 --to json; report audit; report audit -o report.html
compare audit audit
"""
"""What needs no torch, and nothing that is trained."""

RUNNING = """
summary torchvision:resnet18; summary timm:resnet18; summary model.py:Net --input 3x8x8; summary model.onnx
audit lenet5-digits --limit 3 --out audited --no-resume; filters lenet5-digits -o filters.png
attribute lenet5-digits -m saliency -o saliency.png; attribute lenet5-digits -m integrated-gradients -o captum.png
attribute lenet5-digits -m saliency --trust --steps 2 -o trust.png
features lenet5-digits --layer c1 -o features.png; transfer lenet5 --classes 10 --train digits.npz --epochs 1
weights check lenet5-digits weights.safetensors; weights map lenet5-digits weights.safetensors
export lenet5 --to pytorch; export lenet5 --to onnx -o lenet5.onnx; diagram model.onnx -o onnx.svg
diff model.onnx lenet5; audit lenet5-digits --limit 3 --data images.tar --no-resume
audit lenet5-digits --limit 3 --data images.parquet --no-resume
"""

WITHOUT_TORCH = (
    "summary model.onnx", "diagram model.onnx -o onnx.svg", "diff model.onnx lenet5",
    "weights check lenet5-digits weights.safetensors", "weights map lenet5-digits weights.safetensors",
)  # fmt: skip
"""Of these, what torch is not needed for: a graph, names and shapes."""

FRAMEWORKS = ("torch", "safetensors", "captum", "onnx", "onnxscript", "onnx_ir", "torchvision", "timm")
BASE = ("numpy", "matplotlib", "pygraphviz", "jinja2", "PIL")
OTHERS = ("webdataset", "pyarrow")

PROGRAM = """
import contextlib, hashlib, io, json, pathlib, shlex, sys
lists, blocked = json.loads(sys.argv[1])
sys.modules |= dict.fromkeys(blocked)
from cnnscope.cli import output
from cnnscope.cli.app import main

output.PATIENCE = 3600  # however busy the machine is, no command announces that it takes long
for line in lists:
    words, out, err = shlex.split(line), io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    picture = pathlib.Path(words[-1] if words[-2:-1] == ["-o"] else "none")
    written = hashlib.sha256(picture.read_bytes()).hexdigest() if picture.exists() else None
    picture.unlink(missing_ok=True)
    print(json.dumps([line, code, out.getvalue(), err.getvalue(), written]))
"""


def listed(text: str) -> list[str]:
    return [words.strip() for words in text.replace("\n", ";").split(";") if words.strip()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that the commands name: networks of every kind, a stored audit, images, weights."""
    path = tmp_path_factory.mktemp("work")
    shutil.copy(Path(__file__).with_name("blocks.yaml"), path)
    shutil.copy(DATA / "applications" / "MobileNetV2.keras", path / "model.keras")
    (path / "model.onnx").write_bytes(gzip.decompress((DATA / "exports" / "resnet18_dynamo.onnx.gz").read_bytes()))
    (path / "model.py").write_text("import torch\n\nNet = torch.nn.Conv2d(3, 4, 3)\n")
    digits = Path(__file__).parents[2] / "specs" / "digits"
    shutil.copy(digits / "digits.npz", path)
    shutil.copy(digits / "lenet5-digits.safetensors", path / "weights.safetensors")
    images = [digit(8 * n) for n in range(6)]
    (path / "image.png").write_bytes(images[0])
    with tarfile.open(path / "images.tar", "w") as archive:
        for n, image in enumerate(images):
            member = tarfile.TarInfo(f"{n}.png")
            member.size = len(image)
            archive.addfile(member, io.BytesIO(image))
    pyarrow.parquet.write_table(pyarrow.table({"image": images}), path / "images.parquet")
    (path / "audit").mkdir()
    save(result(), path / "audit")
    return path


def digit(shade: int) -> bytes:
    """A PNG file of a square on black."""
    picture, stream = Image.new("L", (32, 32)), io.BytesIO()
    picture.paste(100 + shade, (8, 8, 20 + shade // 8, 24))
    picture.save(stream, "png")
    return stream.getvalue()


def outcomes(folder: Path, lists: list[str], blocked: Sequence[str] = ()) -> list[Any]:
    """For each command, with these packages blocked: the command, its exit code, both streams, its picture's hash."""
    environment = {**os.environ, "PATH": "", "PYTHONPATH": os.pathsep.join(sys.path)}  # no Graphviz but the wheel's
    arguments = [sys.executable, "-c", PROGRAM, json.dumps([lists, blocked])]
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def refused(plain: list[Any], blocked: list[Any], packages: Sequence[str]) -> list[str]:
    """The commands that say what is missing; all others do exactly what they do with every package."""
    messages = [f"error[E414]: {missing(name).diagnostics[0].message}" for name in packages]
    found = []
    for normal, tried in zip(plain, blocked, strict=True):
        line, code, out, err, picture = tried
        if tried != normal:
            assert (code, out, picture) == (2, "", None), (line, err)
            assert err.splitlines()[-1] in messages, line
            found.append(line)
    return found


def verbs() -> set[str]:
    """Every verb of the command line, those of groups with two words."""
    found = set()
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]  # a group has them
        found |= {f"{name} {part}" for part in getattr(command, "commands", {})} or {name}
    return found


def test_every_verb_is_tried() -> None:
    words = listed(STATIC + RUNNING)
    assert {verb for verb in verbs() if not any(f"{tried} ".startswith(f"{verb} ") for tried in words)} == set()


def test_what_is_static_works_without_any_framework(folder: Path) -> None:
    plain, blocked = outcomes(folder, listed(STATIC)), outcomes(folder, listed(STATIC), FRAMEWORKS)
    assert refused(plain, blocked, FRAMEWORKS) == []
    assert {code for line, code, *_ in plain if not line.startswith("diff")} == {0}


def test_what_runs_a_network_says_that_it_needs_torch(folder: Path) -> None:
    for line, code, out, err, _ in outcomes(folder, listed(RUNNING), ["torch"]):
        if line in WITHOUT_TORCH:
            assert code in (0, 1), (line, err)
        else:
            message = "error[E414]: needs torch: pip install 'cnnscope[torch]'"
            assert (code, out, err.splitlines()[-1]) == (2, "", message), line


@pytest.fixture(scope="module")
def plain(folder: Path) -> list[Any]:
    found = outcomes(folder, listed(STATIC + RUNNING))
    assert [(line, err) for line, code, _, err, _ in found if code not in (0, 1, 4)] == []  # 4: squares are no digits
    return found


@pytest.mark.slow
@pytest.mark.parametrize("package", [*FRAMEWORKS, *BASE, *OTHERS])
def test_every_verb_without_one_package(folder: Path, plain: list[Any], package: str) -> None:
    assert refused(plain, outcomes(folder, listed(STATIC + RUNNING), [package]), [package])
