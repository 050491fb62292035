"""Stored outcomes: their bytes, their hash, putting parts together, and files that are something else."""

from __future__ import annotations

import zipfile
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_outcomes import ALL, grid, outcomes

from cnnscope.audits.outcomes import Outcomes, concatenate
from cnnscope.errors import CnnscopeError


def same(a: Outcomes, b: Outcomes) -> bool:
    values = ((getattr(a, field.name), getattr(b, field.name)) for field in fields(Outcomes))
    return all(
        np.array_equal(x, y, equal_nan=x.dtype.kind == "f") and x.dtype == y.dtype
        if isinstance(x, np.ndarray) else x == y
        for x, y in values
    )  # fmt: skip


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    made = outcomes(layers=("conv1", "überschicht", "fc"))
    made.distance[3] = np.nan
    made.save(tmp_path / "o.npz")
    assert same(made, Outcomes.load(tmp_path / "o.npz"))
    assert list(tmp_path.iterdir()) == [tmp_path / "o.npz"]


def test_equal_outcomes_are_equal_bytes() -> None:
    assert outcomes().to_bytes() == outcomes().to_bytes()
    assert outcomes().to_bytes() != outcomes(seed=1).to_bytes()


def test_the_file_holds_no_pickle(tmp_path: Path) -> None:
    outcomes().save(tmp_path / "o.npz")
    with zipfile.ZipFile(tmp_path / "o.npz") as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert all(b"'|O'" not in archive.read(entry)[:128] for entry in archive.infolist())


def test_parts_make_the_whole() -> None:
    whole = outcomes()
    parts = [whole.select(range(i, min(i + 16, 60))) for i in range(0, 60, 16)]
    assert [len(part) for part in parts] == [16, 16, 16, 12]
    assert same(concatenate(parts), whole)
    with pytest.raises(ValueError, match="different transforms"):
        concatenate([whole, outcomes(transforms=ALL[:3])])


def test_the_hash_knows_every_outcome_but_not_the_order_or_the_shards() -> None:
    made = outcomes()
    shuffled = made.select(np.random.default_rng(1).permutation(60))
    assert shuffled.name != made.name
    assert shuffled.result_hash() == made.result_hash()
    assert replace(made, shard=np.zeros(60, np.int32)).result_hash() == made.result_hash()
    for name in ("label", "top1_clean", "confidence_clean", "top1", "confidence", "clean_class_probability", "js",
                 "distance", "spread"):  # fmt: skip
        array = getattr(made, name).copy()
        array.flat[7] += 1
        assert replace(made, **{name: array}).result_hash() != made.result_hash(), name
    assert replace(made, name=("other.png", *made.name[1:])).result_hash() != made.result_hash()
    assert replace(made, transforms=(replace(ALL[0], dy=3), *ALL[1:])).result_hash() != made.result_hash()


def test_the_hash_takes_every_nan_and_every_zero_for_the_same() -> None:
    made = outcomes()
    zero, minus, nan, other = (made.spread.copy() for _ in range(4))
    zero[0, 0], minus[0, 0], nan[0, 0] = 0.0, -0.0, np.nan
    other.view(np.uint32)[0, 0] = 0xFFC00123
    assert np.isnan(other[0, 0])
    assert replace(made, spread=zero).result_hash() == replace(made, spread=minus).result_hash()
    assert replace(made, spread=nan).result_hash() == replace(made, spread=other).result_hash()
    whole = replace(ALL[0], magnitude=1.0)
    assert replace(made, transforms=(whole, *ALL[1:])).result_hash() == made.result_hash()


def test_arrays_of_another_shape_or_type_are_refused() -> None:
    made = outcomes()
    with pytest.raises(ValueError, match=r"top1 is int32 \(60, 2\), not int32 \(60, 30\)"):
        replace(made, top1=made.top1[:, :2])
    with pytest.raises(ValueError, match="js is float64"):
        replace(made, js=made.js.astype(np.float64))
    with pytest.raises(ValueError, match="59 keys for 60 images"):
        replace(made, key=made.key[1:])


def test_no_image_is_no_error(tmp_path: Path) -> None:
    nothing = outcomes().select([])
    nothing.save(tmp_path / "o.npz")
    assert len(Outcomes.load(tmp_path / "o.npz")) == 0
    assert len(concatenate([nothing, outcomes()])) == 60


def damaged(content: bytes) -> dict[str, bytes]:
    return {
        "empty": b"", "text": b"no archive", "cut short": content[: len(content) // 2],
        "flipped": content[:900] + bytes(b ^ 0xFF for b in content[900:1400]) + content[1400:],
    }  # fmt: skip


@pytest.mark.parametrize("kind", damaged(b""))
def test_damaged_files_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "o.npz"
    path.write_bytes(damaged(outcomes().to_bytes())[kind])
    with pytest.raises(CnnscopeError, match=r"E475: `.*o.npz` holds no outcomes of an audit: "):
        Outcomes.load(path)


def archives(path: Path) -> dict[str, Any]:
    return {
        "an array": lambda: np.save(path.open("wb"), np.arange(3)),
        "other arrays": lambda: np.savez(path, images=np.zeros(3)),
        "pickles": lambda: np.savez(path, header=np.array([{}], dtype=object)),
    }  # fmt: skip


@pytest.mark.parametrize("kind", archives(Path()))
def test_other_archives_are_refused(tmp_path: Path, kind: str) -> None:
    archives(tmp_path / "o.npz")[kind]()
    with pytest.raises(CnnscopeError, match="E475"):
        Outcomes.load(tmp_path / "o.npz")


def test_missing_and_unwritable_files(tmp_path: Path) -> None:
    with pytest.raises(CnnscopeError, match=r"E475: `.*` holds no outcomes of an audit: there is no such file"):
        Outcomes.load(tmp_path / "none.npz")
    with pytest.raises(CnnscopeError, match=r"E405: cannot write `.*`: no such file or directory"):
        outcomes(transforms=grid(1)).save(tmp_path / "nowhere" / "o.npz")
