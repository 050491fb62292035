"""Trains the two networks of digits that come with cnnscope: `python examples/train_digits.py` (seconds on a CPU).

LeNet-5 of the zoo on the bundle's `train` split, 1,437 scans: once as they are, once shifted, turned and scaled at
random. AdamW and one cycle of the learning rate (Smith and Topin, 2018, "Super-convergence"). The seed decides all of
it; another processor or version of torch may still round differently.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by

import cnnscope
from cnnscope.nn.checkpoint import write_weights
from cnnscope.trained.images.npz import open_npz
from cnnscope.trained.images.sample import Sample
from cnnscope.trained.preprocess import Preprocess

FOLDER = Path(__file__).resolve().parents[1] / "specs" / "digits"
BATCH = 64
RECIPES = {
    "lenet5-digits": {"epochs": 30, "augment": False},
    "lenet5-digits-augmented": {"epochs": 150, "augment": True},
}
SHIFT, TURN, ZOOM = 6.0, 15.0, (0.65, 1.2)
"""Augmentation: pixels either way, degrees either way, and the range of scales."""


def digits(split: str) -> tuple[Tensor, Tensor]:
    """(N, 1, 32, 32) inputs and (N,) labels."""
    settings = Preprocess.of((1, 32, 32), {"resize": 32})
    samples = [s for shard in open_npz(FOLDER / "digits.npz", split=split).shards for s in shard.read()]
    pixels = np.stack([settings.pixels(s.image) for s in samples if isinstance(s, Sample)])
    labels = [s.label for s in samples if isinstance(s, Sample)]
    return settings.normalise(torch.from_numpy(pixels)), torch.tensor(labels)


def moved(x: Tensor, generator: torch.Generator) -> Tensor:
    """Each image shifted, turned and scaled by draws of its own, on black."""
    n, side = len(x), x.shape[-1]

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=generator)

    angle = draw(-TURN, TURN) * math.pi / 180
    zoom = torch.exp(draw(math.log(ZOOM[0]), math.log(ZOOM[1])))
    cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    shift = torch.stack([draw(-SHIFT, SHIFT), draw(-SHIFT, SHIFT)], 1) * (2 / side)
    matrix = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
    theta = torch.cat([matrix, (matrix @ -shift[..., None])], 2)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def train(epochs: int, augment: bool, seed: int) -> nn.Module:
    """LeNet-5, trained."""
    x, y = digits("train")
    network = cnnscope.load("lenet5").module(seed=seed).train()
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    steps = epochs * math.ceil(len(x) / BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=generator).split(BATCH):
            images = moved(x[batch], generator) if augment else x[batch]
            loss = F.cross_entropy(network(images), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=FOLDER, help="the folder for the .safetensors files")
    options = parser.parse_args()
    torch.set_num_threads(1)  # tensors this small are not worth sharing, and the order of sums stays the same
    x, y = digits("test")
    for name, recipe in RECIPES.items():
        start = time.process_time()
        network = train(int(recipe["epochs"]), bool(recipe["augment"]), options.seed)
        with torch.inference_mode():
            right = int((network(x).argmax(1) == y).sum())
        path = options.out / f"{name}.safetensors"
        write_weights(network, path)
        seconds = time.process_time() - start
        print(f"{name}: {right} of {len(y)} test digits right ({right / len(y):.1%}), {seconds:.0f} CPU s, {path}")


if __name__ == "__main__":
    main()
