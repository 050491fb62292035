"""Results as folders, and the cases chosen for the gallery."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic_outcomes import ALL, grid, outcomes, result, turns

from cnnscope.audits.report import save
from cnnscope.audits.result import AuditResult, Case, Gallery, load, worst_cases
from cnnscope.errors import CnnscopeError


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[AuditResult, Path]:
    folder = tmp_path_factory.mktemp("audit")
    made = result()
    save(made, folder)
    return made, folder


def copied(folder: Path, to: Path) -> Path:
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


def test_a_result_is_loaded_from_its_folder_or_the_document_in_it(saved: tuple[AuditResult, Path]) -> None:
    made, folder = saved
    assert sorted(path.name for path in folder.iterdir()) == ["audit.json", "gallery.npz", "outcomes.npz"]
    for path in (folder, folder / "audit.json"):
        found = load(path)
        assert found.facts == made.facts
        assert found.outcomes.result_hash() == made.outcomes.result_hash()
        assert found.gallery.cases == made.gallery.cases
        assert np.array_equal(found.gallery.transformed, made.gallery.transformed)


def test_saved_twice_it_is_the_same_bytes(saved: tuple[AuditResult, Path], tmp_path: Path) -> None:
    made, folder = saved
    save(made, tmp_path)
    assert all((tmp_path / p.name).read_bytes() == p.read_bytes() for p in folder.iterdir())


def test_figures_that_are_no_numbers_are_null(tmp_path: Path) -> None:
    made = result(images=5)
    odd = replace(made.facts.controls[0], value=float("nan"), limit=float("inf"))
    save(replace(made, facts=replace(made.facts, controls=(odd,))), tmp_path)
    text = (tmp_path / "audit.json").read_text(encoding="utf-8")
    (control,) = json.loads(text, parse_constant=pytest.fail)["controls"]
    assert (control["value"], control["limit"]) == (None, None)


def test_what_is_no_result_is_refused(saved: tuple[AuditResult, Path], tmp_path: Path) -> None:
    def refusal(path: Path) -> str:
        with pytest.raises(CnnscopeError) as caught:
            load(path)
        assert caught.value.diagnostics[0].code == "E475"
        return caught.value.diagnostics[0].message.replace(str(tmp_path), "")

    _, folder = saved
    (tmp_path / "empty").mkdir()
    assert refusal(tmp_path / "empty") == "`/empty` holds no result of an audit: there is no `audit.json` in it"
    assert refusal(tmp_path / "none") == "`/none` holds no result of an audit: there is no such file"
    (tmp_path / "text.json").write_text("not JSON")
    assert refusal(tmp_path / "text.json") == "`/text.json` holds no result of an audit: `text.json` is not JSON"
    (tmp_path / "other.json").write_text('{"format": "cnnscope.summary"}')
    assert refusal(tmp_path / "other.json").endswith("`other.json` is no `cnnscope.audit` document")
    (tmp_path / "bare.json").write_text('{"format": "cnnscope.audit"}')
    assert refusal(tmp_path / "bare.json").endswith("`bare.json` lacks what is known of the audit ('model')")
    (tmp_path / "report.json").write_bytes((folder / "audit.json").read_bytes())
    assert refusal(tmp_path / "report.json").endswith("there is no `outcomes.npz` beside `report.json`")
    (tmp_path / "copy").mkdir()
    copied(folder, tmp_path / "copy")
    outcomes(seed=9).save(tmp_path / "copy" / "outcomes.npz")
    assert refusal(tmp_path / "copy").endswith("`outcomes.npz` is not what `audit.json` was written with")
    (tmp_path / "copy" / "outcomes.npz").write_bytes(b"PK")
    assert refusal(tmp_path / "copy").startswith("`/copy/outcomes.npz` holds no outcomes of an audit: ")


def test_a_damaged_gallery_is_refused_a_missing_one_is_empty(saved: tuple[AuditResult, Path], tmp_path: Path) -> None:
    copied(saved[1], tmp_path)
    saved[0].gallery.save(tmp_path / "gallery.npz")
    replace(saved[0].gallery, cases=(Case(99, 0),) * 6).save(tmp_path / "gallery.npz")
    with pytest.raises(CnnscopeError, match=r"E475: .* `gallery.npz` shows what is not in `outcomes.npz`"):
        load(tmp_path)
    (tmp_path / "gallery.npz").write_bytes(b"")
    with pytest.raises(CnnscopeError, match="E475"):
        load(tmp_path)
    (tmp_path / "gallery.npz").unlink()
    assert load(tmp_path).gallery.cases == ()
    with pytest.raises(ValueError, match="not uint8"):
        Gallery((Case(0, 0),), np.zeros((1, 4, 4)), np.zeros((1, 4, 4)))  # type: ignore[arg-type]


def test_the_worst_cases_are_the_mildest_changes_and_no_image_is_shown_twice() -> None:
    o = outcomes(images=40, transforms=(*grid(1, 8), *turns(15, 30, 180)))
    o.top1[:] = o.top1_clean[:, None]
    place = {t.name: i for i, t in enumerate(o.transforms)}
    far, near, turn, half = (place[n] for n in ("shift +8,+0", "shift -1,+0", "rotate 15", "rotate 180"))

    def wrong(image: int, transform: int, sure: float) -> None:
        o.top1[image, transform] = (o.top1_clean[image] + 1) % 10
        o.confidence[image, transform] = sure

    wrong(3, far, 0.99)
    wrong(3, near, 0.3)
    wrong(5, near, 0.9)
    wrong(5, turn, 0.9)
    wrong(8, half, 0.9)
    wrong(9, turn, 0.2)
    found = worst_cases(o)
    assert [(case.image, case.transform) for case in found] == [(3, near), (5, near), (9, turn), (8, half)]
    assert [case.image for case in worst_cases(o, 1)] == [5]
    assert worst_cases(o.select([0, 1])) == ()


def test_cases_are_of_every_family() -> None:
    found = worst_cases(outcomes(images=200), 16)
    assert len(found) == 16
    assert len({case.image for case in found}) == 16
    assert {ALL[case.transform].family for case in found} == {"translation", "scale", "rotation", "flip"}
