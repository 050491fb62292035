"""``cnnscope audit``: one process, several, interrupted ones; what it writes, says and refuses."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import Run
from documents import validator
from PIL import Image

import cnnscope
from cnnscope.audits.result import load
from cnnscope.audits.run.job import AuditProgress, duration
from cnnscope.progress import on_stderr
from cnnscope.render.audit import page

PROGRAM = [sys.executable, "-m", "cnnscope", "audit"]
SMALL = ("--preset", "azulay-diag")


@pytest.fixture(autouse=True)
def _without_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots take longer than a small audit, and have tests of their own."""
    monkeypatch.setattr("cnnscope.audits.run.audit.html", lambda document, pictures: "<!DOCTYPE html>\n")


def digest(folder: Path) -> str:
    return load(folder).outcomes.result_hash()


def files(folder: Path) -> dict[str, tuple[int, int]]:
    """Pieces by name, with what tells whether they were written again."""
    return {file.name: (file.stat().st_ino, file.stat().st_mtime_ns) for file in (folder / "shards").glob("*.npz")}


# -- one process -------------------------------------------------------------------------------------------------------


def test_it_needs_no_arguments(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("zoo")  # which puts the process into the folder of these tests
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pytest.MonkeyPatch.chdir", lambda *_: None)
    monkeypatch.setattr("cnnscope.audits.run.audit.html", page.html)
    outcome = run("audit", "--limit", "40")
    assert outcome.code == 0
    assert outcome.out.startswith("LeNet-5 on digits (lenet5-digits), invariance\n\naudit valid: ")
    (folder,) = (tmp_path / "audits").iterdir()
    name = f"audits/{folder.name}"
    assert folder.name.startswith("lenet5-digits-quick-")
    assert (
        outcome.err == "note: 40 of 360 images are looked at, spread over the set\n"
        f"auditing in {name}\nwrote {name}/report.html and {name}/audit.json\n"
    )
    assert sorted(file.name for file in folder.iterdir()) == [
        "audit.json", "gallery.npz", "outcomes.npz", "report.html", "shards",
    ]  # fmt: skip
    assert "data:image/png;base64," in (folder / "report.html").read_text()
    found = load(folder)
    assert found.facts.controls
    assert all(control.passed for control in found.facts.controls)
    assert found.facts.predictions
    assert found.facts.baseline
    assert len(found.gallery.cases) > 0


def test_the_document_keeps_its_schema(run: Run, tmp_path: Path) -> None:
    words = ("audit", "--limit", "30", "-o", str(tmp_path), "-f", "json", "-q", "--fail-under",
             "translation.agreement=0.1")  # fmt: skip
    outcome = run(*words)
    assert (outcome.code, outcome.err) == (0, "")
    document = json.loads(outcome.out)
    validator("audit").validate(document)
    assert (document["data"]["images"], document["data"]["used"], document["preset"]) == (30, 30, "quick")
    assert document == json.loads((tmp_path / "audit.json").read_text())
    before = files(tmp_path)
    again = json.loads(run(*words).out)
    assert (again["result_hash"], files(tmp_path)) == (document["result_hash"], before)


def test_gates_decide_the_exit_code(run: Run, tmp_path: Path) -> None:
    words = ("audit", *SMALL, "--limit", "60", "-o", str(tmp_path), "-q")
    outcome = run(*words, "--fail-under", "translation@10.agreement=0.9")
    assert outcome.code == 1
    assert "FAILED: 1 gate failed: translation@10.agreement=0.9" in outcome.out
    assert run(*words, "--fail-under", "translation@1.agreement=0.5").code == 0


def test_an_earlier_audit_is_compared_with(run: Run, tmp_path: Path) -> None:
    words = ("audit", *SMALL, "--limit", "60", "-q")
    first, second = str(tmp_path / "a"), str(tmp_path / "b")
    assert run(*words, "lenet5-digits-augmented", "-o", first).code == 0
    outcome = run(*words, "-o", second, "--baseline", first, "--max-regression", "0.01")
    assert outcome.code == 1
    against = load(Path(second)).against
    assert against is not None
    assert (against["paired"], against["a"]["source"]) == (True, first)
    against_plain = ("--baseline", second, "--max-regression", "0")
    assert run(*words, "lenet5-digits-augmented", "-o", first, *against_plain).code == 0


def test_several_reports_in_one_go(run: Run, tmp_path: Path) -> None:
    names = [str(tmp_path / name) for name in ("r.xml", "r.md")]
    outcome = run("audit", *SMALL, "--limit", "20", "-o", str(tmp_path / "a"), "-q", "-o", names[0], "-o", names[1])
    assert outcome.code == 0
    assert all(Path(name).stat().st_size > 500 for name in names)


def test_layers_border_batch_and_seed_are_recorded(run: Run, tmp_path: Path) -> None:
    run("audit", *SMALL, "--limit", "20", "-o", str(tmp_path), "-q", "--layer", "c1, s4", "--border", "mean",
        "--batch-size", "32", "--seed", "7")  # fmt: skip
    found = load(tmp_path)
    assert found.outcomes.layers == ("input", "c1", "s4")
    assert (found.facts.protocol["border"], found.facts.batch_size, found.facts.seed) == ("mean", 32, 7)


def test_the_library_gives_the_same(tmp_path: Path, run: Run) -> None:
    run("audit", *SMALL, "--limit", "20", "-o", str(tmp_path), "-q")
    made = cnnscope.audit("lenet5-digits", preset="azulay-diag", limit=20)
    assert made.outcomes.result_hash() == digest(tmp_path)


def test_progress_has_a_rate_and_a_time(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    monkeypatch.setattr("cnnscope.progress.time.monotonic", lambda: now[0])
    monkeypatch.setattr("cnnscope.progress.EVERY", 10.0)
    with on_stderr(quiet=False) as shown:
        progress = AuditProgress(100, shown)
        progress.begin(50_000, 10_000)
        assert progress.text == "10,000 of 50,000 images"
        now[0] = 8.0
        progress.advance(12_800)
        progress.advance(3_200)
        assert progress.text == "10,160 of 50,000 images, 2,000 images x transforms/s, 33 min left"
        assert capsys.readouterr().err == ""
        now[0] = 16.0
        progress.done(160, 16_000)
        spoken = "auditing: 10,160 of 50,000 images, 1,000 images x transforms/s, 66 min left\n"
        assert capsys.readouterr().err == spoken
        progress.done(160, 0)  # another rank's
        assert progress.text == "10,320 of 50,000 images, 2,000 images x transforms/s, 33 min left"
        progress.done(39_680, 0)
        assert progress.text == "all 50,000 images measured; now controls, random weights and the report"
        progress.note("out of memory")
    assert capsys.readouterr().err == "note: out of memory\n"
    with on_stderr(quiet=True) as shown:
        silent = AuditProgress(100, shown)
        silent.begin(10, 0)
        silent.note("nothing")
        now[0] = 99.0
        silent.done(10, 0)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (89, "89 s"), (119, "2 min"), (7_500, "2 h 05 min")])
def test_durations_are_rounded_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# -- several processes, and fewer --------------------------------------------------------------------------------------

WORK = (*SMALL, "--shard-size", "12", "-q")  # 30 pieces of the 360 digits


# The audit, which gets a signal when it has kept so many pieces and begun another, however fast the machine is and
# however its threads take turns. The signal goes to the main thread, as one from outside does, and is handled before
# anything else has been measured.
STOPPED = """
import signal, sys, threading, time
from cnnscope.audits.run import work
from cnnscope.audits.run.shards import Measured
from cnnscope.cli.app import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a run of the tests in the background ignores
kept, once, measure, save = [], threading.Lock(), work.measure, Measured.save

def saved(*given):
    save(*given)
    kept.append(given)

def measured(*given):
    if len(kept) >= int(sys.argv[1]):
        if once.acquire(blocking=False):  # the first of the threads that get here
            signal.pthread_kill(threading.main_thread().ident, int(sys.argv[2]))
        time.sleep(1)
    return measure(*given)

work.measure, Measured.save = measured, saved
sys.exit(main(["audit", *sys.argv[3:]]))
"""


def stopped(pieces: int, number: signal.Signals) -> list[str]:
    """The program that gets the signal when it has kept so many pieces and begun another."""
    return [sys.executable, "-c", STOPPED, str(pieces), str(int(number))]


def start(folder: Path, program: Sequence[str] = PROGRAM, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*program, *WORK, "-o", str(folder)], env=os.environ | environment, text=True, cwd=folder.parent,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def until(folder: Path, pieces: int, process: subprocess.Popen[str]) -> None:
    """Waits for so many pieces."""
    limit = time.monotonic() + 120
    while len(list((folder / "shards").glob("*.npz"))) < pieces:
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < limit
        time.sleep(0.01)


@pytest.fixture(scope="module")
def alone() -> str:
    """The hash that one process comes to."""
    return cnnscope.audit("lenet5-digits", preset="azulay-diag", shard_size=12).outcomes.result_hash()


@pytest.mark.slow
def test_two_ranks_give_what_one_gives_and_one_of_them_answers(tmp_path: Path, alone: str) -> None:
    folder = tmp_path / "audit"
    ranks = [start(folder, RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank)) for rank in range(2)]
    answers = [rank.communicate() for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0]
    assert [bool(out) for out, _ in answers] == [True, False]
    assert [err for _, err in answers] == ["", ""]
    assert digest(folder) == alone
    assert len(files(folder)) == 30
    assert sorted(file.name for file in (folder / "shards").iterdir())[-1] == "identity.json"


def test_killed_ranks_lose_what_they_were_at_and_nothing_else(run: Run, tmp_path: Path, alone: str) -> None:
    folder = tmp_path / "audit"
    ranks = [start(folder, stopped(3, signal.SIGKILL), RANK=str(rank), WORLD_SIZE="2") for rank in range(2)]
    for rank in ranks:
        rank.communicate()
    assert [rank.returncode for rank in ranks] == [-signal.SIGKILL] * 2
    kept = files(folder)
    assert len(kept) == 6
    assert list((folder / "shards").glob("*.claim")), "they were at two others"
    assert not (folder / "audit.json").exists()
    assert run("audit", *WORK, "-o", str(folder)).code == 0
    after = files(folder)
    assert {name: after[name] for name in kept} == kept
    assert digest(folder) == alone


@pytest.mark.slow
def test_the_other_rank_does_what_a_killed_one_does_not(tmp_path: Path, alone: str) -> None:
    folder = tmp_path / "audit"
    first, second = (start(folder, RANK=str(rank), WORLD_SIZE="2") for rank in range(2))
    until(folder, 2, second)
    second.send_signal(signal.SIGKILL)
    second.communicate()
    first.communicate()
    assert (first.returncode, second.returncode) == (0, -signal.SIGKILL)
    assert digest(folder) == alone


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 5, marks=pytest.mark.slow)]
)
def test_an_interrupted_audit_says_how_to_go_on(
    run: Run, tmp_path: Path, alone: str, number: signal.Signals, code: int
) -> None:
    folder = tmp_path / "audit"
    process = start(folder, stopped(4, number), OMP_NUM_THREADS="2")  # two threads
    out, err = process.communicate()
    kept = files(folder)
    assert 4 <= len(kept) < 30
    assert (process.returncode, out) == (code, "")
    assert err == (
        f"interrupted: {len(kept)} of 30 shards are kept in {folder}; the same command continues from there\n"
    )
    assert not list((folder / "shards").glob("*.claim"))
    assert run("audit", *WORK, "-o", str(folder)).code == 0
    after = files(folder)
    assert {name: after[name] for name in kept} == kept
    assert digest(folder) == alone


def test_no_file_may_grow_so_large_and_later_it_may(run: Run, tmp_path: Path) -> None:
    """A disk that takes no more: nothing half-written stays, and what came before is kept."""
    folder = tmp_path / "audit"
    words = (*WORK, "--preset", "quick", "--limit", "24", "-o", str(folder))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, before[1]))
    try:
        full = run("audit", *words)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    path = re.escape(str(folder / "shards")) + r"/0000[01]\.npz"  # the first or, with several threads, its neighbour
    assert (full.code, full.out) == (2, "")
    assert re.fullmatch(rf"error\[E405\]: cannot write `{path}`: file too large\n", full.err)
    assert not folder.exists()
    assert run("audit", *words).code == 0


@pytest.mark.slow
def test_torchrun_starts_ranks(tmp_path: Path, alone: str) -> None:
    folder = tmp_path / "audit"
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "cnnscope", "audit", *WORK,
         "-o", str(folder)], capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("LeNet-5 on digits")
    assert digest(folder) == alone


@pytest.mark.parametrize("name", ["slurm_audit.sbatch", "kubernetes_audit.yaml"])
def test_examples_for_clusters_use_options_there_are(run: Run, name: str) -> None:
    text = (Path(__file__).parents[2] / "examples" / name).read_text().replace("\\\n", " ")
    code = "\n".join(line for line in text.splitlines() if not line.strip().startswith("#"))
    command = code[code.index("exec cnnscope audit") :].split("env:")[0].split("' audit")[0]
    options = re.findall(r"--[a-z-]+", command)
    assert len(options) == 8
    shown = run("audit", "--help").out
    assert [option for option in options if option not in shown] == []
    if name.endswith("sbatch"):
        assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_another_audits_folder_is_refused(run: Run, tmp_path: Path) -> None:
    words = ("audit", *SMALL, "--limit", "20", "-o", str(tmp_path), "-q")
    assert run(*words).code == 0
    outcome = run(*words, "--seed", "1")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        f"error[E473]: `{tmp_path / 'shards'}` holds shards of another audit: protocol, seed differ\n"
        "  = help: name another folder with -o, or start over with --no-resume\n"
    )
    before = files(tmp_path)
    assert run(*words, "--seed", "1", "--no-resume").code == 0
    assert load(tmp_path).facts.seed == 1
    assert files(tmp_path) != before


def test_starting_over_waits_for_who_is_there(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cnnscope.audits.run.claims import claimed

    words = ("audit", *SMALL, "--limit", "20", "-o", str(tmp_path), "-q", "--no-resume")
    (tmp_path / "shards").mkdir()
    with claimed(tmp_path / "shards" / "00000.claim"):
        outcome = run(*words)
    assert outcome.err.startswith(f"error[E473]: another audit is running in `{tmp_path}`\n")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run(*words).err == (
        "error[E409]: `--no-resume` is for one process: others may have begun already\n"
        f"  = help: remove `{tmp_path}` first\n"
    )


REFUSED = [
    (("--preset", "fast"), "error[E471]: there is no protocol `fast`\n  = help: there are quick, full, zhang-256, "
     "kayhan-288, azulay-diag, engstrom-grid, zeiler-fergus, imagenet-p\n"),
    (("--preset", "quik"), "error[E471]: there is no protocol `quik`\n  = help: did you mean `quick`?\n"),
    (("--max-regression", "0.1"), "error[E409]: `--max-regression` is from a `--baseline`\n  = help: name an audit's "
     "folder\n"),
    (("--layer", "c9"), "error[E205]: `LeNet-5 on digits` has no layer `c9`\n  = help: the layers are `c1`, "
     "`s2`, `c3`, `s4`, `c5`, `flatten1`, `f6`, `output`\n"),
    (("--fail-under", "translation@3.agreement=0.9"), "error[E477]: `translation@3.agreement=0.9`: the audit has no "
     "translation@3\n"),
    (("--data", "nowhere"), "error[E460]: there are no images at `nowhere`: no such file or folder\n"),
    (("-o", "x.xyz"), "error[E404]: `x.xyz` has no known suffix\n"),
    (("--baseline", "nowhere"), "error[E475]: `nowhere` holds no result of an audit: there is no such file\n"),
    (("--border", "black"), "error[E400]: invalid value for `--border`: `black` is not one of "),
    (("--batch-size", "0"), "error[E400]: invalid value for `--batch-size`: "),
]  # fmt: skip


@pytest.mark.parametrize(("words", "message"), REFUSED, ids=[" ".join(words) for words, _ in REFUSED])
def test_mistakes_are_found_before_anything_runs(
    run: Run, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    outcome = run("audit", "-o", str(tmp_path / "a"), *words)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.removeprefix(f"auditing in {tmp_path / 'a'}\n").startswith(message)
    assert not (tmp_path / "a" / "audit.json").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu_is_said(run: Run, tmp_path: Path) -> None:
    outcome = run("audit", "--device", "cuda", "-o", str(tmp_path))
    assert (outcome.code, outcome.err) == (
        2, "error[E451]: there is no CUDA device here\n  = help: use `--device cpu`\n",
    )  # fmt: skip


def test_a_folder_that_cannot_be_made_is_said(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    outcome = run("audit", *SMALL, "--limit", "20", "-q", "-o", str(tmp_path / "file" / "audit"))
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"error[E405]: cannot write `{tmp_path}/file/audit/shards`: not a directory\n"


# -- networks that are none, images that are none ----------------------------------------------------------------------

NETWORKS = """
import torch
from torch import nn

class Scores(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind, self.conv, self.head = kind, nn.Conv2d(1, 4, 3), nn.Linear(4, 10)
    def forward(self, x):
        y = self.head(self.conv(x).relu().mean((2, 3)))
        return {"nan": y * float("nan"), "tuple": (y, y), "map": self.conv(x)}.get(self.kind, y)

class Two(Scores):
    def forward(self, x, other):
        return super().forward(x) + super().forward(other)

def nan(): return Scores("nan")
def pair(): return Scores("tuple")
def maps(): return Scores("map")
def plain(): return Scores("")
def two(): return Two("")
def five(): return nn.Sequential(nn.Flatten(), nn.Linear(5120, 10))
"""


@pytest.fixture
def networks(tmp_path: Path) -> str:
    path = tmp_path / "networks.py"
    path.write_text(NETWORKS)
    return str(path)


@pytest.mark.parametrize(
    ("factory", "inputs", "message"),
    [
        ("nan", ["1x32x32"], "E453]: `nan` returns numbers that are not finite\n"),
        ("pair", ["1x32x32"], "E453]: `pair` returns a tuple, not class scores\n"),
        ("maps", ["1x32x32"], "E453]: `maps` returns 4x30x30 an image, not class scores\n"),
        ("two", ["x=1x32x32", "other=1x32x32"], "E452]: `two` needs 2 inputs (`x`, `other`), not one image\n"),
        ("five", ["5x32x32"], "E454]: preprocessing: an input of 5 channels is no image\n"),
    ],
)
def test_networks_that_cannot_be_audited_are_refused(
    run: Run, tmp_path: Path, networks: str, factory: str, inputs: list[str], message: str
) -> None:
    sizes = [word for size in inputs for word in ("--input", size)]
    digits = str(cnnscope.load("lenet5-digits").extras.data)
    outcome = run("audit", f"{networks}:{factory}", *sizes, "--data", digits, "--limit", "10", "-q",
                  "-o", str(tmp_path / "a"), *SMALL)  # fmt: skip
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"note: ran the code of `{networks}`\nerror[{message}")
    assert not (tmp_path / "a").exists()


def test_a_network_without_images_asks_for_some(run: Run, tmp_path: Path) -> None:
    outcome = run("audit", "lenet5", "-q", "-o", str(tmp_path))
    assert outcome.err == (
        "error[E460]: `lenet5` comes without images\n  = help: name some with `--data`: a folder, an .npz, tars or "
        "parquet files\n"
    )


def folder_of(tmp_path: Path, classes: int = 10) -> Path:
    """One picture a class, of mixed modes and sizes, and five files that are none."""
    random = np.random.default_rng(0)
    modes = ["L", "RGB", "RGBA", "CMYK", "I;16", "P", "LA", "1", "RGB", "L"]
    for label in range(classes):
        mode, side = modes[label % 10], 8 + 5 * label
        pixels = random.integers(0, 256, (side, side + 3, 3), dtype=np.uint8)
        picture = Image.fromarray(pixels)
        picture = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257) if mode == "I;16" else picture.convert(mode)
        place = tmp_path / "set" / str(label)
        place.mkdir(parents=True)
        picture.save(place / ("a.jpg" if mode == "CMYK" else "a.png"))
    (tmp_path / "set" / "0" / "empty.png").write_bytes(b"")
    (tmp_path / "set" / "0" / "text.jpg").write_text("I am a text")
    whole = (tmp_path / "set" / "1" / "a.png").read_bytes()
    (tmp_path / "set" / "1" / "half.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "set" / "notes.txt").write_text("mine")
    return tmp_path / "set"


def test_every_image_is_used_or_counted_with_a_reason(run: Run, tmp_path: Path) -> None:
    data = folder_of(tmp_path)
    outcome = run("audit", *SMALL, "--data", str(data), "-o", str(tmp_path / "a"))
    assert outcome.code in (0, 4)  # ten pictures of noise are no digits; controls may say so
    known = load(tmp_path / "a").facts.data
    assert (known.images, known.used) == (14, 10)
    assert {(skipped.file, skipped.reason.split(" (")[0]) for skipped in known.skipped} == {
        ("0/empty.png", "it is empty"), ("0/text.jpg", "it is no image of a known format"),
        ("1/half.png", "it is damaged"), ("notes.txt", "its name is not an image's"),
    }  # fmt: skip
    assert "note: 5 of 10 images were smaller than the input and are enlarged\n" in outcome.err
    assert "note: 4 of 14 images are left out, as `0/empty.png`: it is empty\n" in outcome.err
    assert "10 of 14 images used, 4 skipped" in outcome.out


def test_strictly_every_image_has_to_be_one(run: Run, tmp_path: Path) -> None:
    data = folder_of(tmp_path)
    words = ("audit", *SMALL, "--data", str(data), "-o", str(tmp_path / "a"), "--strict-data", "-q")
    outcome = run(*words)
    hint = "  = help: without `--strict-data` it is left out and counted\n"
    assert (outcome.code, outcome.err) == (
        2, f"error[E462]: `notes.txt` cannot be used: its name is not an image's\n{hint}",
    )  # fmt: skip
    (data / "notes.txt").unlink()
    outcome = run(*words)
    assert outcome.err == f"error[E462]: `0/empty.png` cannot be used, as 2 more: it is empty\n{hint}"
    assert not (tmp_path / "a").exists()  # nothing is left that a repaired set would be refused for
    for name in ("0/empty.png", "0/text.jpg", "1/half.png"):
        (data / name).unlink()
    assert run(*words).code in (0, 4)


def test_labels_that_do_not_fit_are_left_out_or_refused(run: Run, tmp_path: Path) -> None:
    data = folder_of(tmp_path, classes=4)
    words = ("audit", *SMALL, "--data", str(data))
    outcome = run(*words, "-o", str(tmp_path / "a"), "--preprocess", "mean=0.5")
    assert "note: labels are left out" not in outcome.err  # folders named 0 to 3 are classes of digits
    (data / "3").rename(data / "three")
    outcome = run(*words, "-o", str(tmp_path / "b"))
    assert "note: labels are left out: the images are of 4 classes, the network knows 10\n" in outcome.err
    assert load(tmp_path / "b").outcomes.label.tolist() == [-1] * 4
    outcome = run(*words, "-o", str(tmp_path / "c"), "--fail-under", "translation@1.accuracy=0.5")
    assert "error[E477]: `translation@1.accuracy=0.5`: the images have no labels\n" in outcome.err
    outcome = run(*words, "-o", str(tmp_path / "c"), "--strict-data")
    assert outcome.err == (
        "error[E463]: the images are of 4 classes, the network knows 10\n  = help: `--labels` names the network's "
        "classes\n"
    )


def test_labels_beyond_the_classes_are_counted(run: Run, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", images=pixels, labels=np.arange(12))
    run("audit", *SMALL, "--data", str(tmp_path / "x.npz"), "-o", str(tmp_path / "a"), "-q")
    known = load(tmp_path / "a").facts.data
    assert (known.images, known.used) == (12, 10)
    assert [skipped.reason for skipped in known.skipped] == [
        "its label 10 is none of 10 classes", "its label 11 is none of 10 classes",
    ]  # fmt: skip


def test_one_image_is_an_audit_and_none_is_not(run: Run, tmp_path: Path) -> None:
    data = tmp_path / "set"
    data.mkdir()
    (data / "a.png").write_bytes(b"")
    words = ("audit", *SMALL, "--data", str(data), "-q")
    outcome = run(*words, "-o", str(tmp_path / "a"))
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"error[E462]: none of 1 images at `{data}` can be used; `a.png`: it is empty\n"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)).save(data / "a.png")
    outcome = run(*words, "-o", str(tmp_path / "b"), "-f", "json")
    document = json.loads(outcome.out, parse_constant=pytest.fail)
    assert (outcome.code, document["data"]["used"]) == (0, 1)
    assert all(entry["distance"][0]["value"] is None for entry in document["layers"])  # there is no other image


def test_former_names_of_options_still_work_and_say_so_once(run: Run, tmp_path: Path) -> None:
    words = ("audit", *SMALL, "--limit", "20", "-f", "json")
    old = run(*words, "--out", str(tmp_path / "a.1"), "--layers", "c1")
    new = run(*words, "-o", f"{tmp_path / 'b.1'}/", "--layer", "c1", "-o", str(tmp_path / "b.txt"))
    assert (old.code, new.code) == (0, 0)
    assert old.err.startswith("note: `--out` is now called `--output`\nnote: `--layers` is now called `--layer`\n")
    assert old.err.count("is now called") == 2
    first, second = (json.loads((tmp_path / name / "audit.json").read_text()) for name in ("a.1", "b.1"))
    assert first["result_hash"] == second["result_hash"]
    assert (tmp_path / "b.txt").exists()


def test_an_audit_has_one_folder(run: Run, tmp_path: Path) -> None:
    outcome = run("audit", *SMALL, "-o", str(tmp_path / "a"), "-o", str(tmp_path / "b"))
    assert outcome.err == (
        f"error[E409]: an audit has one folder, not `{tmp_path / 'a'}` and `{tmp_path / 'b'}`\n"
        "  = help: a report's name ends in .html, .md, .xml, .json, .csv, .tsv, .txt, .svg, .png or .pdf\n"
    )
    assert list(tmp_path.iterdir()) == []
