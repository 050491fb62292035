"""How images are divided, and which process takes which piece."""

from __future__ import annotations

from pathlib import Path

import pytest

from cnnscope.audits.run.shards import Ranks, divide, spread
from cnnscope.errors import CnnscopeError
from cnnscope.trained.images import ImageSet, Shard


def images(*counts: int, random_access: bool = True) -> ImageSet:
    shards = tuple(Shard(str(i), "", count, lambda places: iter(()), random_access) for i, count in enumerate(counts))
    return ImageSet(Path("x"), "a test", shards)


@pytest.mark.parametrize("random_access", [True, False])
@pytest.mark.parametrize("limit", [None, 1, 7, 29, 30, 99])
@pytest.mark.parametrize("size", [1, 4, 128])
def test_every_chosen_entry_is_in_one_piece_of_its_shard(random_access: bool, limit: int | None, size: int) -> None:
    counts = (10, 0, 3, 17)
    pieces = divide(images(*counts, random_access=random_access), size, limit)
    found = sorted(piece.first + place for piece in pieces for place in piece.places)
    assert found == list(spread(30, limit))
    assert len(found) == min(30, limit or 30)
    for number, piece in enumerate(pieces):
        assert (piece.index, piece.name) == (number, f"{number:05d}")
        assert 0 < len(piece.places) <= size
        assert list(piece.places) == sorted(piece.places)
        assert all(place < piece.shard.count for place in piece.places)


def test_neighbours_come_apart_where_that_costs_nothing() -> None:
    apart, together = (divide(images(8, random_access=flag), 4) for flag in (True, False))
    assert [piece.places for piece in apart] == [(0, 2, 4, 6), (1, 3, 5, 7)]
    assert [piece.places for piece in together] == [(0, 1, 2, 3), (4, 5, 6, 7)]


def test_a_limit_takes_from_all_over_the_set() -> None:
    assert list(spread(1000, 4)) == [0, 250, 500, 750]


def test_each_rank_begins_with_its_own_and_knows_all() -> None:
    pieces = list(range(7))
    orders = [Ranks(rank, 3).order(pieces) for rank in range(3)]
    assert [order[:2] for order in orders] == [[0, 3], [1, 4], [2, 5]]
    assert all(sorted(order) == pieces for order in orders)


def test_ranks_come_from_the_environment() -> None:
    assert Ranks.of({}) == Ranks(0, 1, 0)
    two = Ranks.of({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"})
    assert two == Ranks(5, 8, 1)
    assert (two.leads, Ranks.of({}).leads) == (False, True)
    assert [two.device(name) for name in ("cuda", "cuda:3", "cpu", "mps")] == ["cuda:1", "cuda:3", "cpu", "mps"]
    assert Ranks.of({}).device("cuda") == "cuda"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"RANK": "2", "WORLD_SIZE": "2"}, "`RANK=2` of `WORLD_SIZE=2`: ranks count from 0"),
        ({"RANK": "one"}, "`RANK=one` is no whole number from 0"),
        ({"WORLD_SIZE": "0"}, "`WORLD_SIZE=0` is no whole number from 1"),
        ({"LOCAL_RANK": "-1"}, "`LOCAL_RANK=-1` is no whole number from 0"),
    ],
)
def test_an_environment_without_sense_is_refused(environment: dict[str, str], message: str) -> None:
    with pytest.raises(CnnscopeError) as caught:
        Ranks.of(environment)
    assert (caught.value.diagnostics[0].code, caught.value.diagnostics[0].message) == ("E478", message)
