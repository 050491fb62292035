"""What a page has embedded of receptive fields, decoded and compared with the engines unit by unit."""

from __future__ import annotations

import random
from itertools import product
from math import prod
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnscope.analysis.receptive_field.exact import Exact, exact
from cnnscope.analysis.receptive_field.exact.boxes import _Units
from cnnscope.analysis.receptive_field.exact.steps import EMPTY
from cnnscope.api import load
from cnnscope.render.page import fields
from cnnscope.render.page.document import field_records

MOST = 60
"""Units of a layer that are looked at: all, or this many with the corners among them."""

SPECS = {
    "holes": "cnnscope: 1\ninput: {shape: [1, 5, 7]}\nlayers:\n  - upconv: {out: 2, kernel: 2, stride: 3}\n"
             "  - conv: {out: 2, kernel: 2, stride: 2}\n",
    "turned": "cnnscope: 1\ninput: {shape: [1, 6, 9]}\nlayers:\n  - conv: {out: 2, kernel: 3, stride: [1, 2]}\n"
              "  - permute: [1, 3, 2]\n  - conv: {out: 2, kernel: 2}\n",
    "up": "cnnscope: 1\ninput: {shape: [1, 13, 10]}\nlayers:\n  - conv: {out: 2, kernel: 3, stride: 2, pad: 2}\n"
          "  - upsample: 2\n  - conv: {out: 1, kernel: 3}\n  - tokens\n  - linear: 3\n",
}  # fmt: skip


def decoded(bounds: list[tuple[int | None, int, int]], series: list[list[int]], at: tuple[int, ...],
            extents: tuple[int, ...]) -> tuple[tuple[int, int], ...] | None:  # fmt: skip
    """What the page's script makes of it."""
    through = 0
    for index, extent in zip(at, extents, strict=True):
        through = through * extent + index
    box = []
    for axis, first, last in bounds:
        place = through if axis is None else at[axis] if at else 0
        low, high = (_entry(series[number], place) for number in (first, last))
        box.append((low, high))
    return None if any(low > high for low, high in box) else tuple(box)


def _entry(packed: list[int], place: int) -> int:
    period, value, *runs = packed
    for step, times in zip(runs[::2], runs[1::2], strict=True):
        taken = min(times, place % period)
        value, place = value + step * taken, place % period - taken
    return value


@pytest.mark.parametrize("source", ["lenet5", "alexnet", "efficientnet_b0", "vit_tiny", "siamese", *SPECS])
def test_every_unit_has_the_box_of_the_engine(source: str, tmp_path: Path) -> None:
    if source in SPECS:
        (tmp_path / "net.yaml").write_text(SPECS[source])
        source = str(tmp_path / "net.yaml")
    _compare(source)


@pytest.mark.slow
@pytest.mark.parametrize("source", ["unet", "m5", "r3d_18", "googlenet", "densenet201", "retinanet_resnet50_fpn"])
def test_every_unit_of_large_networks(source: str) -> None:
    _compare(source)


def _compare(source: str) -> None:
    model = load(source)
    summary = model._summary
    records, series = field_records(model.graph, summary)
    answers = exact(model.graph)
    shown = 0
    for row, record in zip(summary.rows, records, strict=True):
        if record is None:
            assert row.receptive_field is None or answers.range(row.name) is None
            continue
        extents = tuple(record["at"])
        for at in _positions(extents):
            local, full = answers.box(row.name, at, local=True), answers.box(row.name, at)
            got = decoded(record["exact"], series, at, extents) if "exact" in record else None
            assert got == local
            assert (decoded(record["full"], series, at, extents) if "full" in record else got) == full
            if "theory" in record:
                assert row.receptive_field
                assert decoded(record["theory"], series, at, extents) == row.receptive_field.box(at)
            shown += 1
    assert shown


def _positions(extents: tuple[int, ...]) -> list[tuple[int, ...]]:
    if prod(extents) <= MOST:
        return list(product(*map(range, extents)))
    rng = random.Random(0)
    corners = product(*((0, n - 1) for n in extents))
    return [*corners, *(tuple(rng.randrange(n) for n in extents) for _ in range(MOST))]


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=12), st.integers(1, 4))
def test_a_series_comes_back(values: list[int], times: int) -> None:
    packed = fields.packed(values * times)
    period = fields.unpacked(packed)
    assert [period[i % len(period)] for i in range(len(values) * times)] == values * times


def test_boxes_whose_sides_depend_on_several_axes_are_embedded_one_by_one() -> None:
    extents = (3, 4)
    boxes = {(y, x): None if (y, x) == (1, 2) else ((y + x, 9), (x, x + y)) for y in range(3) for x in range(4)}
    shelf = fields.Shelf()
    bounds = fields.exact_bounds(_answers(boxes, extents), "a", shelf, local=False)
    assert bounds is not None
    assert [axis for axis, _, _ in bounds] == [None, None]
    series = [list(one) for one in shelf.places]
    assert {at: decoded(list(bounds), series, at, extents) for at in boxes} == boxes


def test_boxes_with_rows_and_columns_that_read_nothing_are_still_two_series() -> None:
    extents = (3, 4)
    boxes = {(y, x): None if y == 1 or x == 2 else ((y, y + 2), (x, 9)) for y in range(3) for x in range(4)}
    shelf = fields.Shelf()
    bounds = fields.exact_bounds(_answers(boxes, extents), "a", shelf, local=False)
    assert bounds is not None
    assert [axis for axis, _, _ in bounds] == [0, 1]
    series = [list(one) for one in shelf.places]
    assert {at: decoded(list(bounds), series, at, extents) for at in boxes} == boxes


def test_too_many_boxes_are_left_out_rather_than_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fields, "MOST_POSITIONS", 11)
    boxes = {(y, x): ((y + x, 9), (x, x + y)) for y in range(3) for x in range(4)}
    assert fields.exact_bounds(_answers(boxes, (3, 4)), "a", fields.Shelf(), local=False) is None


def _answers(boxes: dict[tuple[int, int], tuple[tuple[int, int], ...] | None], extents: tuple[int, ...]) -> Exact:
    """An engine's answers that are these boxes."""
    empty = ((int(EMPTY), -int(EMPTY)),) * 2
    bounds = tuple(
        np.array([[(boxes[at] or empty)[axis][0] for at in boxes], [-(boxes[at] or empty)[axis][1] for at in boxes]])
        .reshape(2, *extents) for axis in range(2)
    )  # fmt: skip
    return Exact({"a": "a"}, {"a": _Units(extents, bounds, None)})


def test_tokens_lie_on_a_grid_behind_the_class_token() -> None:
    model = load("vit_tiny")
    records, _ = field_records(model.graph, model._summary)
    assert {tuple(record["grid"]) for record in records if record and record["at"] == (197,)} == {(14, 14, 1)}
