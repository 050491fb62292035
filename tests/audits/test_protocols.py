"""What is drawn, and what the presets hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cnnscope.audits.protocol.presets import PRESETS, preset
from cnnscope.audits.protocol.protocol import CLEAN, Draw, Protocol, Transform, mirror, resolve, rotate, shift, zoom
from cnnscope.audits.protocol.transforms import reach
from cnnscope.errors import CnnscopeError

BIG, SMALL = (224, 224), (32, 32)
KEYS = [f"{i:064x}" for i in range(2000)]


def test_draws_depend_on_seed_image_and_slot_alone() -> None:
    slot = Draw("translation", 16, "px", "crop 1", (-16, 15), (-16, 15))
    drawn = resolve(slot, 7, KEYS[3])
    assert resolve(slot, 7, KEYS[3]) == drawn == resolve(replace(slot), 7, KEYS[3])
    others = [resolve(slot, 8, KEYS[3]), resolve(slot, 7, KEYS[4]), resolve(replace(slot, name="crop 2"), 7, KEYS[3])]
    assert all((other.dy, other.dx) != (drawn.dy, drawn.dx) for other in others)
    fixed = shift(1, 2)
    assert resolve(fixed, 7, KEYS[3]) is fixed


def test_a_known_draw_stays() -> None:
    """Philox4x64 keyed by the first 16 bytes of sha256, worked out with numpy alone."""
    import hashlib

    slot = Draw("translation", 16, "px", "crop 1", (-16, 15), (-16, 15))
    key = int.from_bytes(hashlib.sha256(f"5\n{KEYS[0]}\ncrop 1".encode()).digest()[:16], "little")
    random = np.random.Generator(np.random.Philox(key=key))
    expected = [int(random.integers(-16, 16)) for _ in range(2)]
    drawn = resolve(slot, 5, KEYS[0])
    assert [drawn.dy, drawn.dx] == expected


def test_draws_are_uniform() -> None:
    slot = preset("zhang-256", BIG).slots[0]
    drawn = np.array([[t.dy, t.dx] for t in (resolve(slot, 0, key) for key in KEYS)])
    assert set(drawn.flatten()) == set(range(-16, 16))
    counts = np.stack([np.histogram(axis, bins=32, range=(-16, 16))[0] for axis in drawn.T])
    chi_square = ((counts - 62.5) ** 2 / 62.5).sum(1)
    assert np.all(chi_square < 61.1)  # 99.9 % of chi square with 31 degrees of freedom
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.08


def test_the_hash_is_over_what_decides_the_pixels() -> None:
    protocol = preset("quick", SMALL)
    same = replace(protocol, name="other", source="", chains=())
    assert protocol.hash() == same.hash() == preset("quick", SMALL).hash(0)
    shorter = replace(protocol, slots=protocol.slots[1:])
    others = [protocol.hash(1), protocol.bordered("zero").hash(), replace(protocol, margin=0).hash(),
              replace(protocol, resize=40).hash(), shorter.hash()]  # fmt: skip
    assert len({protocol.hash(), *others}) == 6
    assert Protocol("a", "", (shift(1, 0),)).hash() == Protocol("a", "", (shift(1.0, 0.0),)).hash()


def test_names_are_checked() -> None:
    with pytest.raises(ValueError, match="slots of one name in protocol p"):
        Protocol("p", "", (shift(1, 0), shift(1, 0)))
    with pytest.raises(ValueError, match="protocol p has no slot shift"):
        Protocol("p", "", (shift(1, 0),), chains=((CLEAN, "shift +2,+0"),))
    protocol = Protocol("p", "", (shift(1, 0), rotate(5)), chains=((CLEAN, "rotate 5"),))
    assert protocol.index(protocol.chains[0]) == (-1, 1)


@pytest.mark.parametrize(("slot", "magnitude", "unit", "on_grid"), [
    (shift(-3, 2), 3, "px", True), (shift(0.5, 0), 0.5, "px", False), (zoom(0.7), 0.7, "x", False),
    (rotate(270), -90, "deg", True), (rotate(180), 180, "deg", True), (rotate(30), 30, "deg", False),
    (mirror("vertical"), 0, "", True),
])  # fmt: skip
def test_magnitudes(slot: Transform, magnitude: float, unit: str, on_grid: bool) -> None:
    record = slot.record
    assert (record.magnitude, record.unit, record.on_grid) == (magnitude, unit, on_grid)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("size", [BIG, SMALL, (48, 64), (8, 8), (299, 299)])
def test_every_preset_fits_every_size(name: str, size: tuple[int, int]) -> None:
    protocol = preset(name, size)
    assert protocol.source
    assert protocol.slots
    if protocol.border == "crop":
        assert protocol.margin == reach(protocol.slots, size)
    assert len(protocol.records) == len(protocol.slots)
    assert protocol.to_dict()["name"] == name


def test_quick_at_32_pixels() -> None:
    slots = preset("quick", SMALL).slots
    shifts = [s for s in slots if s.family == "translation" and s.on_grid]
    assert {s.magnitude for s in shifts} == {1, 2, 4, 8}
    assert len(shifts) == 16
    assert {abs(s.magnitude) for s in slots if s.family == "rotation"} == {5, 10, 15, 30, 45, 60, 90, 180}
    assert {s.magnitude for s in slots if s.family == "scale"} == {0.7, 0.8, 0.9, 1.1, 1.2, 1.4}
    assert sum(s.family == "flip" for s in slots) == 2


def test_presets_are_as_published() -> None:
    zhang, kayhan = preset("zhang-256", BIG), preset("kayhan-288", BIG)
    assert (zhang.resize, zhang.margin, zhang.slots[0].dy) == (256, 16, (-16, 15))  # type: ignore[union-attr]
    assert (kayhan.resize, kayhan.margin, kayhan.slots[0].dx) == (288, 32, (-32, 31))  # type: ignore[union-attr]
    assert len(zhang.pairs[0]) == len(zhang.slots)

    engstrom = preset("engstrom-grid", BIG)
    assert len(engstrom.slots) + 1 == 31 * 5 * 5 == 775
    assert {s.dx for s in engstrom.slots if isinstance(s, Transform)} == {-24, -12, 0, 12, 24}
    assert max(abs(s.angle) for s in engstrom.slots if isinstance(s, Transform)) == 30

    chains = preset("imagenet-p", BIG).chains
    assert [len(chain) for chain in chains] == [41, 31, 31]
    assert all(chain.count(CLEAN) == 1 for chain in chains)
    assert (chains[2][0], chains[2][24], chains[2][-1]) == ("zoom 0.4", CLEAN, "zoom 1.15")

    vertical, scales, turns = preset("zeiler-fergus", BIG).chains
    assert (vertical[0], vertical[15], vertical[-1]) == ("shift -60,+0", CLEAN, "shift +60,+0")
    assert (scales[0], scales[-1]) == (CLEAN, "zoom 1.8")
    assert (turns[0], turns[1], turns[-1]) == (CLEAN, "rotate 10", CLEAN)

    (diagonal,) = preset("azulay-diag", BIG).chains
    assert diagonal == (CLEAN, *(f"shift +{i},+{i}" for i in range(1, 11)))


def test_small_networks_and_unknown_presets() -> None:
    with pytest.raises(CnnscopeError, match="there is no protocol `zang-256`") as caught:
        preset("zang-256", BIG)
    assert caught.value.diagnostics[0].hint == "did you mean `zhang-256`?"
    with pytest.raises(CnnscopeError, match="an input of 4x9 is too small for an audit"):
        preset("quick", (4, 9))
