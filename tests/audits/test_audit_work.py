"""Pieces measured, written, found again and merged: the same outcomes whoever measures them, and in whatever order."""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from audit_jobs import FEW, Heard, digits, job

import cnnscope
from cnnscope.audits.measure import measure_batch
from cnnscope.audits.outcomes import Outcomes
from cnnscope.audits.protocol.protocol import Draw
from cnnscope.audits.run import claims, shards, work
from cnnscope.audits.run.claims import settle
from cnnscope.audits.run.finish import Merged, collect
from cnnscope.audits.run.job import Job, open_job
from cnnscope.audits.run.shards import Ranks
from cnnscope.errors import CnnscopeError
from cnnscope.trained.loading import randomised


def audited(made: Job, folder: Path, ranks: tuple[Ranks, ...] = (Ranks(),)) -> Merged:
    folder.mkdir(exist_ok=True)
    for one in ranks:
        work.work(made, folder, one, Heard())
    return collect(made, folder, Heard())


def message(call: Any, *arguments: Any) -> tuple[str, str]:
    with pytest.raises(CnnscopeError) as caught:
        call(*arguments)
    return caught.value.diagnostics[0].code, caught.value.diagnostics[0].message


def test_outcomes_are_those_of_measuring_each_piece(tmp_path: Path) -> None:
    made = job()
    merged = audited(made, tmp_path)
    first = made.pieces[0]
    prepared, places = made.read(first)
    pixels = torch.from_numpy(prepared.pixels)
    alone = measure_batch(made.network, pixels, prepared.key, made.protocol, 0, made.layers, 64)
    rows = [merged.places.index(place) for place in places]
    part = merged.outcomes.select(rows)
    assert part.name == prepared.name
    for name in ("top1", "confidence", "js", "distance", "spread", "clean_class_probability", "top1_clean"):
        assert np.array_equal(getattr(part, name), getattr(alone, name)), name
    assert list(merged.places) == sorted(merged.places)
    assert len(merged.outcomes) == 40
    assert (merged.samples, merged.retries, merged.enlarged) == (240, (), 40)  # scans of 8 x 8 pixels, enlarged


def test_ranks_threads_and_order_change_nothing(tmp_path: Path) -> None:
    made = job()
    alone = audited(made, tmp_path / "a").outcomes
    backwards = audited(made, tmp_path / "b", (Ranks(2, 3), Ranks(1, 3), Ranks(0, 3))).outcomes
    (tmp_path / "c").mkdir()
    work.employ(made, tmp_path / "c", Ranks(), Heard(), 2)
    threaded = collect(made, tmp_path / "c", Heard()).outcomes
    assert alone.to_bytes() == backwards.to_bytes() == threaded.to_bytes()
    names = [sorted(file.name for file in (tmp_path / folder).iterdir()) for folder in "abc"]
    assert names == [["00000.npz", "00001.npz", "00002.npz"]] * 3


def test_the_batch_changes_no_transform_that_is_drawn(tmp_path: Path) -> None:
    drawn = Draw("translation", 8, "px", "drawn", (-8, 8), (-8, 8))
    made = [job(slots=(drawn,), batch=batch, size=size) for batch, size in ((64, 16), (7, 16), (64, 40))]
    found = [audited(each, tmp_path / str(i)).outcomes for i, each in enumerate(made)]
    assert len({each.protocol.hash(each.seed) for each in made}) == 1
    assert len({each.digest for each in made}) == 3
    for other in found[1:]:
        assert other.key == found[0].key
        assert np.array_equal(other.top1, found[0].top1)
        assert np.allclose(other.distance, found[0].distance, rtol=1e-4, atol=1e-4)
    elsewhere = audited(job(slots=(drawn,), seed=1), tmp_path / "seed").outcomes
    assert not np.allclose(elsewhere.distance, found[0].distance, rtol=1e-2)


def test_only_what_is_missing_is_measured_again(tmp_path: Path) -> None:
    made = job()
    before = audited(made, tmp_path).outcomes.result_hash()
    (tmp_path / "00001.npz").unlink()
    written = {file.name: (file.stat().st_ino, file.stat().st_mtime_ns) for file in tmp_path.iterdir()}
    heard = Heard()
    work.work(made, tmp_path, Ranks(), heard)
    assert heard.begun == [(40, 27)]
    assert (heard.entries, heard.samples) == (13, 13 * len(FEW))
    after = {file.name: (file.stat().st_ino, file.stat().st_mtime_ns) for file in tmp_path.iterdir()}
    assert {name: after[name] for name in written} == written
    assert collect(made, tmp_path, Heard()).outcomes.result_hash() == before


@pytest.mark.parametrize("damage", ["cut", "changed", "another's"])
def test_a_damaged_piece_is_measured_again(tmp_path: Path, damage: str) -> None:
    made, path = job(), tmp_path / "00001.npz"
    before = audited(made, tmp_path).outcomes.result_hash()
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-300])
    else:
        piece = shards.load(path, made.digest)
        if damage == "changed":
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 255
            path.write_bytes(bytes(content))
        else:
            piece.save(path, "another")
    heard = Heard()
    assert collect(made, tmp_path, heard).outcomes.result_hash() == before
    (note,) = heard.notes
    assert note.endswith("; it is measured again")
    assert str(path) in note


def test_pieces_say_what_they_are_and_read_as_outcomes(tmp_path: Path) -> None:
    made = job()
    audited(made, tmp_path)
    path = tmp_path / "00002.npz"
    piece = shards.load(path, made.digest)
    assert piece.outcomes.shard.tolist() == [2] * len(piece.places)
    assert Outcomes.load(path).result_hash() == piece.outcomes.result_hash()
    assert piece.batch == 64
    assert message(shards.load, path, "x") == ("E475", f"`{path}` is no piece of this audit: it is of another audit")
    forged = replace(piece.outcomes, label=piece.outcomes.label + 1)
    replace(piece, outcomes=forged).save(path, made.digest)
    assert shards.load(path, made.digest).outcomes.label.tolist() == forged.label.tolist()


# -- memory ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes."),
        RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
        MemoryError(),
    ],
)
def test_out_of_memory_halves_the_batch_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    made, asked = job(), []

    def scarce(*arguments: Any) -> object:
        asked.append(arguments[-1])
        if arguments[-1] > 20:
            raise error
        return measure_batch(*arguments)

    monkeypatch.setattr(work, "measure_batch", scarce)
    heard = Heard()
    work.work(made, tmp_path, Ranks(), heard)
    merged = collect(made, tmp_path, heard)
    assert asked == [64, 32, 16, 16, 16]
    assert heard.notes == [f"out of memory: going on with a batch of {batch}" for batch in (32, 16)]
    assert merged.retries[0] == "shard 00000: out of memory, measured with a batch of 16"
    assert len(merged.retries) == 3
    plenty = audited(job(batch=16), tmp_path / "plenty").outcomes
    assert merged.outcomes.result_hash() == plenty.result_hash()


def test_memory_for_nothing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*arguments: Any) -> object:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(work, "measure_batch", none)
    found = message(work.work, job(), tmp_path, Ranks(), Heard())
    assert found == ("E474", "memory does not suffice for a single sample on `cpu`")
    assert list(tmp_path.iterdir()) == []  # the claim is given back


def test_other_errors_are_not_taken_for_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*arguments: Any) -> object:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(work, "measure_batch", wrong)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        work.work(job(), tmp_path, Ranks(), Heard())


# -- several at once ---------------------------------------------------------------------------------------------------


def test_two_processes_share_a_folder(tmp_path: Path) -> None:
    made, heard = job(size=4), [Heard(), Heard()]
    threads = [
        threading.Thread(target=work.work, args=(work._own(made, threading.Event()), tmp_path, Ranks(), each))
        for each in heard
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ready = [each.begun[0][1] for each in heard]  # when one of them began, the other may have been at it for long
    assert [before + each.entries for before, each in zip(ready, heard, strict=True)] == [40, 40]  # both see it through
    assert sum(each.samples for each in heard) == 40 * len(FEW)  # and nothing was measured twice
    assert collect(made, tmp_path, Heard()).outcomes.to_bytes() == audited(made, tmp_path / "a").outcomes.to_bytes()


def test_ranks_that_do_not_lead_wait_for_nobody(tmp_path: Path) -> None:
    made = job()
    with work.claimed(tmp_path / "00001.claim"):
        work.work(made, tmp_path, Ranks(1, 2), Heard())
    assert sorted(file.name for file in tmp_path.iterdir()) == ["00000.npz", "00002.npz"]


def test_a_failing_thread_ends_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()

    def compute(made: Job) -> None:
        while True:
            begun.set()
            made.network.module(torch.zeros(1, 1, 32, 32))

    def fails(made: Job, folder: Path, ranks: Ranks, progress: object) -> None:
        if ranks.rank == 0:
            begun.wait(10)
            raise KeyError("gone")
        with pytest.raises(work.Stopped):
            compute(made)

    monkeypatch.setattr(work, "work", fails)
    with pytest.raises(KeyError):
        work.employ(job(), tmp_path, Ranks(), Heard(), 2)
    made = job()
    made.network.module(torch.zeros(1, 1, 32, 32))  # the network itself goes on as before


def test_interruption_gives_the_claim_back_and_keeps_what_is_finished(tmp_path: Path) -> None:
    made, heard = job(), Heard()

    def stop() -> None:
        if heard.samples > 16 * len(FEW):
            raise KeyboardInterrupt

    heard.then = stop
    with pytest.raises(KeyboardInterrupt):
        work.work(made, tmp_path, Ranks(), heard)
    assert [file.name for file in tmp_path.iterdir()] == ["00000.npz"]


# -- identity ----------------------------------------------------------------------------------------------------------


def test_whatever_decides_the_outcomes_is_in_the_identity() -> None:
    same = job()
    assert job().digest == same.digest
    others = {
        "limit": job(limit=39), "shard size": job(size=8), "protocol": job(slots=FEW[:3]), "batch size": job(batch=32),
        "layers": job(layers=("c1",)), "weights": replace(same, network=randomised(same.network, 3)),
        "preset": replace(same, protocol=replace(same.protocol, name="x")),
    }  # fmt: skip
    for name, other in others.items():
        differing = [key for key, value in same.identity.items() if other.identity[key] != value]
        assert differing == [name]
    seeded = job(seed=1).identity
    assert {key for key, value in same.identity.items() if seeded[key] != value} == {"seed", "protocol"}
    augmented = job(source="lenet5-digits-augmented").identity
    assert {key for key, value in same.identity.items() if augmented[key] != value} == {"weights"}


def test_another_audits_folder_is_refused_with_what_differs(tmp_path: Path) -> None:
    settle(tmp_path, job().identity)
    settle(tmp_path, job().identity)
    found = message(settle, tmp_path, job(seed=1, batch=8).identity)
    assert found == (
        "E473", f"`{tmp_path}` holds shards of another audit: protocol, seed, batch size differ",
    )  # fmt: skip
    found = message(settle, tmp_path, job(batch=8).identity)
    assert found[1].endswith("another audit: batch size differs")
    (tmp_path / claims.FILE).write_text("{")
    assert message(settle, tmp_path, job().identity)[1].endswith("`identity.json` is damaged")


def test_of_two_audits_that_come_at_once_one_has_the_folder(tmp_path: Path) -> None:
    gate, refused = threading.Barrier(8), []

    def attempt(seed: int) -> None:
        wanted = {"seed": str(seed)}
        gate.wait()
        try:
            settle(tmp_path, wanted)
        except CnnscopeError as error:
            refused.append(error.diagnostics[0].code)

    threads = [threading.Thread(target=attempt, args=(i % 2,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == ["E473"] * 4
    assert [file.name for file in tmp_path.iterdir()] == [claims.FILE]


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = job()

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        found = message(work.work, made, tmp_path, Ranks(), Heard())
    assert found == ("E405", f"cannot write `{tmp_path / '00000.npz'}`: no space left on device")
    assert list(tmp_path.iterdir()) == []
    assert len(audited(made, tmp_path).outcomes) == 40


def test_networks_of_the_same_weights_and_other_strides_differ(tmp_path: Path) -> None:
    found = set()
    for stride in (1, 2):
        path = tmp_path / f"{stride}.yaml"
        path.write_text(
            "cnnscope: 1\nname: N\ninput: {shape: [1, 32, 32]}\nlayers:\n"
            f"  - conv: {{out: 4, kernel: 3, stride: {stride}}}\n"
            "  - globalavgpool\n  - flatten\n  - linear: {out: 10}\n"
        )
        network = cnnscope.load(path).trained(data=digits().data)
        found.add((network.weights_sha256, open_job(network).identity["network"]))
    assert len({weights for weights, _ in found}) == 1
    assert len({graph for _, graph in found}) == 2
