"""The audit's measuring loop against bare forward passes, and against one image at a time through PIL.

    python benchmarks/audit_loop.py                           # LeNet-5 at 32 px, ResNet-18 at 112 px, one CPU thread
    python benchmarks/audit_loop.py --device cuda             # ResNet-50 at 224 px in bfloat16
    python benchmarks/audit_loop.py lenet5 --rounds 9

The loop makes every transform, runs the network, keeps features of its stages and works out what is stored. Bare is the
same module on the same samples in the same precision, layout and batch, made beforehand. Each round takes all ways in
turn; the ratio printed is the median over rounds of time against bare in that round (CPU time on a CPU, events on a
GPU), after it that of the fastest rounds. Targets: the loop at most 1.15 x bare on a CPU, 1.05 x on a GPU; PIL at least
4 x (LeNet-5) and 1.5 x (ResNet-18) the loop.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import cnnscope
from cnnscope.audits.features import default_layers
from cnnscope.audits.measure import measure_batch
from cnnscope.audits.protocol.presets import preset
from cnnscope.audits.protocol.protocol import Protocol, Transform
from cnnscope.audits.protocol.transforms import inverse
from cnnscope.trained.network import TrainedNetwork


@dataclass(frozen=True)
class Case:
    """A network at a size, and how many images go through the loop in one round."""

    source: str
    side: int
    images: int
    batch: int
    one_by_one: int  # images of the slow way in a round
    loop_target: float
    pil_target: float | None
    dtype: str = "float32"


CASES = {
    "lenet5": Case("lenet5-digits", 32, 128, 1024, 2, 1.15, 4.0),
    "resnet18": Case("resnet18", 112, 16, 64, 1, 1.15, 1.5),
    "resnet50": Case("resnet50", 224, 256, 256, 0, 1.05, None, "bfloat16"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], help="default: by device")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--protocol", default="quick")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.cases or (["lenet5", "resnet18"] if options.device == "cpu" else ["resnet50"]):
        run(CASES[name], options.device, options.protocol, options.rounds)


def run(case: Case, device: str, protocol_name: str, rounds: int) -> None:
    model = cnnscope.load(case.source, input=None if case.source == "lenet5-digits" else (3, case.side, case.side))
    network = model.trained(device=device, dtype=case.dtype)
    network.module.to(memory_format=torch.channels_last)
    c, h, w = network.input_shape
    protocol = preset(protocol_name, (h, w))
    margin = protocol.margin if case.source != "lenet5-digits" else 0
    random = torch.Generator().manual_seed(0)
    shape = (case.images, c, h + 2 * margin, w + 2 * margin)
    pixels = torch.randint(0, 256, shape, generator=random, dtype=torch.uint8).to(network.device)
    keys, layers = [str(i) for i in range(case.images)], default_layers(network)
    samples = case.images * (len(protocol.slots) + 1)
    inputs = moved(network, pixels, keys, protocol, case.batch)

    ways: dict[str, tuple[int, Callable[[], object]]] = {
        "bare": (samples, lambda: bare(network, inputs)),
        "loop": (samples, lambda: measure_batch(network, pixels, keys, protocol, layers=layers, batch=case.batch)),
    }
    if case.one_by_one:
        few = case.one_by_one * (len(protocol.slots) + 1)
        ways["one by one, PIL"] = few, lambda: one_by_one(network, pixels[: case.one_by_one], protocol)
    clock = cpu_clock if network.device.type == "cpu" else device_clock
    for _, way in ways.values():
        way()
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (count, way) in ways.items():
            times[name].append(clock(way) / count)
    print(f"{network.graph.name} {h}x{w} {case.dtype} on {device}: {case.images} images x {len(protocol.slots)}"
          f" transforms ({protocol.name}), batch {case.batch}, {len(layers)} layers")  # fmt: skip
    for name, taken in times.items():
        ratio = median(a / b for a, b in zip(taken, times["bare"], strict=True))
        rate = 1 / median(taken)
        best = min(taken) / min(times["bare"])
        note = f"  target <= {case.loop_target}" if name == "loop" else ""
        print(f"  {name:16} {median(taken) * 1e6:10.1f} us/sample {rate:10.1f} images x transforms/s"
              f" {ratio:7.3f} x bare ({best:.3f}){note}")  # fmt: skip
    if case.one_by_one:
        gain = median(a / b for a, b in zip(times["one by one, PIL"], times["loop"], strict=True))
        print(f"  the loop is {gain:.2f} x as fast as one by one  target >= {case.pil_target}")


@torch.inference_mode()
def moved(network: TrainedNetwork, pixels: Tensor, keys: list[str], protocol: Protocol, batch: int) -> list[Tensor]:
    """What the loop puts through the network, batch by batch."""
    taken: list[Tensor] = []
    hook = network.module.register_forward_pre_hook(lambda _, args: taken.append(args[0].clone()))
    measure_batch(network, pixels, keys, protocol, layers=[], batch=batch)
    hook.remove()
    return taken


@torch.inference_mode()
def bare(network: TrainedNetwork, inputs: list[Tensor]) -> None:
    """Forward passes only."""
    for x in inputs:
        network.module(x)


@torch.inference_mode()
def one_by_one(network: TrainedNetwork, pixels: Tensor, protocol: Protocol) -> list[float]:
    """As most scripts do it: each picture moved by PIL, normalised, run alone, and its answer read."""
    _, h, w = network.input_shape
    changes = []
    for array in pixels.cpu().numpy():
        picture = Image.fromarray(array[0] if len(array) == 1 else np.ascontiguousarray(array.transpose(1, 2, 0)))
        clean = None
        for slot in (None, *protocol.slots):
            moved = picture if slot is None else moved_by_pil(picture, slot)
            left, top = (moved.width - w) // 2, (moved.height - h) // 2
            values = np.asarray(moved.crop((left, top, left + w, top + h)))
            image = torch.from_numpy(values[None].copy() if values.ndim == 2 else values.transpose(2, 0, 1).copy())
            p = network.logits(network.input(image[None])).softmax(1)[0]
            clean = p if clean is None else clean
            changes.append(float((p - clean).abs().sum()))
    return changes


def moved_by_pil(picture: Image.Image, slot: object) -> Image.Image:
    """A picture under a transform, by PIL's affine warp."""
    assert isinstance(slot, Transform)
    a, b = inverse(slot)
    centre = np.array([picture.width, picture.height]) / 2
    offset = b + centre - a @ centre
    data = (a[0, 0], a[0, 1], offset[0], a[1, 0], a[1, 1], offset[1])
    return picture.transform(picture.size, Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)


def cpu_clock(way: Callable[[], object]) -> float:
    start = time.process_time()
    way()
    return time.process_time() - start


def device_clock(way: Callable[[], object]) -> float:
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    start.record()
    way()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1e3


if __name__ == "__main__":
    main()
