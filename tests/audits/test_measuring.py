"""The measuring loop against the plainest code that could do it, and against networks whose behaviour is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from small_networks import AdaptivePolyphase, QuarterTurns, circular, flattened, plain, seeded, trained
from torch import Tensor, nn

from cnnscope.audits.features import default_layers
from cnnscope.audits.measure import BatchOutcome, jensen_shannon, measure_batch
from cnnscope.audits.protocol.presets import preset
from cnnscope.audits.protocol.protocol import Draw, Protocol, Transform, mirror, resolve, rotate, shift, zoom
from cnnscope.audits.protocol.transforms import canvas, sample, sliceable, window
from cnnscope.errors import CnnscopeError
from cnnscope.trained.network import TrainedNetwork

SLOTS = (
    shift(1, 0), rotate(30), Draw("translation", 4, "px", "drawn", (-4, 4), (-4, 4)), mirror("horizontal"), zoom(0.8),
    rotate(90), Draw("rotation", 20, "deg", "turned", angle=(-20, 20), whole=False), shift(0.5, 0),
)  # fmt: skip
PROTOCOL = Protocol("test", "", SLOTS, "crop", margin=4)


def pixels(n: int, side: int = 40, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 3, 5, 5, generator=random)
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic")  # neighbours alike, as in pictures
    return (smooth.clamp(0, 1) * 255).to(torch.uint8)


def keys(n: int) -> list[str]:
    return [f"{i:064x}" for i in range(n)]


def one_by_one(network: TrainedNetwork, images: Tensor, protocol: Protocol, seed: int) -> dict[str, np.ndarray]:
    """Every image under every transform alone, numbers in float64."""
    size = network.input_shape[1:]
    black = network.preprocess.normalise(torch.zeros(1, 3, 1, 1)).flatten()
    names = ("top1", "confidence", "kept", "js", "input", "output")
    found: dict[str, list[list[float]]] = {name: [] for name in names}
    for image, key in zip(images, keys(len(images)), strict=True):
        whole = canvas(network.input(image[None]), size, 30, protocol.border, black, protocol.margin)
        rows: dict[str, list[float]] = {name: [] for name in found}
        x0 = window(whole, shift(0, 0), size)
        y0 = network.logits(x0)[0].double()
        p = y0.softmax(0)
        for slot in protocol.slots:
            t = resolve(slot, seed, key)
            x = window(whole, t, size) if sliceable(t, size) else sample(whole, [t], size)[0]
            y = network.logits(x)[0].double()
            q, m = y.softmax(0), (p + y.softmax(0)) / 2
            js = sum(float((a * (a / m).log()).sum()) for a in (p, q)) / 2 / math.log(2)
            values = (int(q.argmax()), float(q.max()), float(q[p.argmax()]), js,
                      float((x - x0).double().norm()), float((y - y0).norm()))  # fmt: skip
            for name, value in zip(rows, values, strict=True):
                rows[name].append(value)
        for name, row in rows.items():
            found[name].append(row)
    return {name: np.array(rows) for name, rows in found.items()}


@pytest.mark.parametrize(("n", "batch"), [(12, 5), (3, 64), (1, 1)])
def test_against_one_image_at_a_time(n: int, batch: int) -> None:
    network, images = trained(plain()), pixels(n)
    outcome = measure_batch(network, images, keys(n), PROTOCOL, seed=3, batch=batch)
    expected = one_by_one(network, images, PROTOCOL, seed=3)
    assert np.array_equal(outcome.top1, expected["top1"])
    assert np.abs(outcome.confidence - expected["confidence"]).max() < 1e-3  # half precision
    assert np.abs(outcome.clean_class_probability - expected["kept"]).max() < 1e-3
    assert np.abs(outcome.js - expected["js"]).max() < 1e-6
    assert np.abs(outcome.distance[:, 0] / expected["input"] - 1).max() < 1e-3
    assert np.abs(outcome.distance[:, -1] - expected["output"]).max() < 1e-4
    assert len(np.unique(outcome.top1)) > 1 or n < 12, "a test on a constant classifier shows nothing"


def test_shapes_and_types() -> None:
    outcome = measure_batch(trained(plain()), pixels(3), keys(3), PROTOCOL)
    layers = len(outcome.layers)
    expected = {
        "top1_clean": (np.int32, (3,)), "confidence_clean": (np.float16, (3,)), "top1": (np.int32, (3, 8)),
        "confidence": (np.float16, (3, 8)), "clean_class_probability": (np.float16, (3, 8)), "js": (np.float32, (3, 8)),
        "distance": (np.float32, (3, layers, 8)), "spread": (np.float32, (3, layers)),
    }  # fmt: skip
    for name, (dtype, shape) in expected.items():
        array = getattr(outcome, name)
        assert (array.dtype, array.shape) == (dtype, shape), name
    assert outcome.layers[0] == "input"


def test_spread_is_the_distance_to_another_image() -> None:
    network, images = trained(plain()), pixels(3)
    outcome = measure_batch(network, images, keys(3), PROTOCOL)
    middle = network.input(images)[:, :, 4:-4, 4:-4].flatten(1)
    logits = network.logits(network.input(images)[:, :, 4:-4, 4:-4])
    assert np.allclose(outcome.spread[:, 0], (middle - middle.roll(-1, 0)).norm(dim=1), rtol=1e-5)
    assert np.allclose(outcome.spread[:, -1], (logits - logits.roll(-1, 0)).norm(dim=1), rtol=1e-4)
    alone = measure_batch(network, images[:1], keys(1), PROTOCOL)
    assert np.isnan(alone.spread).all()
    assert np.isfinite(alone.distance).all()


def test_the_company_of_an_image_changes_nothing_but_its_spread() -> None:
    network = trained(plain())
    ours, others = pixels(4), torch.cat([pixels(4)[:1], pixels(3, seed=1)])
    a, b = (measure_batch(network, images, keys(4), PROTOCOL, batch=64) for images in (ours, others))
    for name in ("top1", "confidence", "clean_class_probability", "js", "distance"):
        assert np.array_equal(getattr(a, name)[0], getattr(b, name)[0]), name
    assert not np.array_equal(a.spread[0], b.spread[0])


def test_order_and_grouping_change_at_most_a_rounding() -> None:
    network, images = trained(plain()), pixels(40)
    whole = measure_batch(network, images, keys(40), PROTOCOL, batch=64)
    again = measure_batch(network, images, keys(40), PROTOCOL, batch=64)
    small = measure_batch(network, images, keys(40), PROTOCOL, batch=8)
    back = measure_batch(network, images.flip(0), keys(40)[::-1], PROTOCOL, batch=64)
    for name in ("top1", "js", "distance", "spread"):
        assert np.array_equal(getattr(whole, name), getattr(again, name)), name
    for other in (small, _reversed(back)):
        assert np.array_equal(whole.top1, other.top1)
        assert np.abs(whole.distance - other.distance).max() < 1e-4


def _reversed(outcome: BatchOutcome) -> BatchOutcome:
    from dataclasses import fields, replace

    arrays = {f.name: getattr(outcome, f.name)[::-1] for f in fields(outcome) if f.name != "layers"}
    return replace(outcome, **arrays)


def test_nothing_moved_is_no_change_at_all() -> None:
    still = Protocol("still", "", (shift(0, 0),))
    outcome = measure_batch(trained(plain()), pixels(3), keys(3), still)
    assert outcome.js.max() < 1e-12  # rounding: a processor may sum a batch of another size in another order
    assert outcome.distance.max() < 1e-6
    assert np.array_equal(outcome.top1[:, 0], outcome.top1_clean)


def test_jensen_shannon_is_that_of_scipy() -> None:
    from scipy.spatial.distance import jensenshannon

    random = torch.Generator().manual_seed(0)
    p, q = (torch.randn(50, 10, generator=random, dtype=torch.float64).mul(3).softmax(1) for _ in range(2))
    expected = jensenshannon(p, q, base=2, axis=1) ** 2
    assert np.abs(jensen_shannon(p, q).numpy() - expected).max() < 1e-7
    nearly = (p * (1 + 1e-4 * torch.randn(50, 10, generator=random))).float()
    nearly /= nearly.sum(1, keepdim=True)
    exact = jensen_shannon(p, nearly.double())
    assert ((jensen_shannon(p.float(), nearly) - exact).abs() / exact).max() < 0.05  # not lost in rounding
    ends = torch.eye(2)
    assert abs(float(jensen_shannon(ends[0], ends[1])) - 1) < 1e-5
    assert float(jensen_shannon(ends[0], ends[0])) == 0


# -- known answers -----------------------------------------------------------------------------------------------------

SHIFTS = (shift(4, 0), shift(-8, 12), shift(16, 4), shift(1, 0), shift(2, 2), shift(6, 3))


def changes(module: nn.Module, *slots: Transform, border: str = "circular") -> np.ndarray:
    """Relative change of the scores, the largest over images, by transform."""
    network = trained(module.eval())
    protocol = Protocol("known", "", slots, border)  # type: ignore[arg-type]
    images = pixels(6, 32) // 2 + torch.randint(0, 128, (6, 3, 32, 32), generator=torch.Generator().manual_seed(2))
    outcome = measure_batch(network, images.to(torch.uint8), keys(6), protocol)
    scale = network.logits(network.input(images)).norm(dim=1).numpy()
    return (outcome.distance[:, -1] / scale[:, None]).max(0)


def test_wrapped_and_pooled_globally_is_exact_at_multiples_of_the_stride() -> None:
    exact, between = np.split(changes(circular(), *SHIFTS), 2)
    assert exact.max() < 1e-5
    assert between.min() > 1e-3


def test_zero_padding_is_not_exact() -> None:
    assert changes(plain(), *SHIFTS[:3]).min() > 1e-3


def test_a_dense_layer_on_positions_is_not() -> None:
    assert changes(flattened(), *SHIFTS).min() > 1e-2


def test_adaptive_polyphase_sampling_is_exact() -> None:
    assert changes(seeded(AdaptivePolyphase(), 2), *SHIFTS).max() < 1e-5


def test_a_network_averaged_over_quarter_turns_is_exact_on_them() -> None:
    turned = changes(QuarterTurns(plain()), rotate(90), rotate(180), rotate(-90), border="mean")
    assert turned.max() < 1e-5
    assert changes(QuarterTurns(plain()), rotate(30), mirror("horizontal"), border="mean").min() > 1e-3
    assert changes(plain(), rotate(90), border="mean").min() > 1e-3


# -- bad input ---------------------------------------------------------------------------------------------------------


def test_pixels_that_do_not_fit() -> None:
    network = trained(plain())
    for shape, text in (((2, 3, 31, 32), "2x3x31x32"), ((2, 1, 32, 32), "2x1x32x32"), ((0, 3, 32, 32), "0x3x32x32")):
        with pytest.raises(CnnscopeError, match=f"pixels of {text} do not hold images of 3x32x32"):
            measure_batch(network, torch.zeros(shape, dtype=torch.uint8), keys(shape[0]), PROTOCOL)
    with pytest.raises(ValueError, match="1 keys for 2 images"):
        measure_batch(network, pixels(2), keys(1), PROTOCOL)
    with pytest.raises(CnnscopeError, match="has no layer `nothing`"):
        measure_batch(network, pixels(2), keys(2), PROTOCOL, layers=["nothing"])


class Overflow(nn.Module):
    """Answers that are finite for the picture as it is only."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 10)

    def forward(self, x: Tensor) -> Tensor:
        corner = x[:, :, 0, 0]
        return self.head(corner) / (corner.abs().sum(1, keepdim=True) > 0)


def test_answers_that_stop_being_finite() -> None:
    network = trained(Overflow().eval())
    moved = Protocol("moved", "", (shift(4, 4),), "mean")
    images = torch.full((2, 3, 32, 32), 200, dtype=torch.uint8)
    assert torch.isfinite(network.logits(network.input(images))).all()
    with pytest.raises(CnnscopeError, match="returns numbers that are not finite"):
        measure_batch(network, images, keys(2), moved)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_same_on_a_gpu(dtype: str) -> None:
    import cnnscope

    model = cnnscope.load("resnet18", input=(3, 64, 64))
    images, protocol = pixels(20, 64), preset("quick", (64, 64))
    host = measure_batch(model.trained(device="cpu"), images, keys(20), protocol)
    card = measure_batch(model.trained(device="cuda", dtype=dtype), images.cuda(), keys(20), protocol)
    tolerance = 1e-3 if dtype == "float32" else 0.1
    assert (host.top1 == card.top1).mean() > 1 - tolerance
    assert np.abs(host.distance[:, 0] / card.distance[:, 0] - 1).max() < tolerance
    assert default_layers(model.trained(device="cpu")) == card.layers[1:]
