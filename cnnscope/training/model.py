"""What training works on: a network with its new head, which layers are in training mode, and the images.

Layers are in training mode only where something is trained (`cnnscope.training.cost`): a frozen batch norm keeps its
statistics, and dropout before the first trained layer is off. Images are read into memory once, and some of each class
are held out.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph
from cnnscope.nn.build import Network, build
from cnnscope.ops.activation import LogSoftmax, Sigmoid, Softmax
from cnnscope.progress import Progress
from cnnscope.trained.images import ImageSet, Skipped, open_images
from cnnscope.trained.images.npz import open_npz
from cnnscope.trained.network import TrainedNetwork, scores
from cnnscope.trained.preprocess import Preprocess
from cnnscope.training.cost import steps
from cnnscope.training.plan import Plan, Strategy


@dataclass(frozen=True)
class TransferModel:
    """A network with its new head, ready to train: ``module`` gives scores before any softmax."""

    module: nn.Module
    graph: Graph
    head: nn.Module
    tail: tuple[nn.Module, ...] | None
    """The modules after the head, in order; None if they read other layers too."""

    def logits(self, x: Tensor) -> Tensor:
        """Scores (N, classes) for images (N, C, H, W)."""
        return scores(self.module(x), self.graph.name)

    def from_features(self, features: Tensor) -> Tensor:
        """Scores (N, classes) for the input of the head."""
        assert self.tail is not None
        x = self.head(features)
        for module in self.tail:
            x = module(x)
        return scores(x, self.graph.name)

    def state(self) -> dict[str, Tensor]:
        """The weights under the graph's names."""
        own = self.module.state_dict()
        return {key: own[key] for key in self.graph.stored}


def prepare(network: TrainedNetwork, plan: Plan, strategy: Strategy, seed: int) -> TransferModel:
    """The network with a head drawn from ``seed``, frozen as ``strategy`` says, every layer in its mode.

    E493 if the network runs as its original module and the head there is no plain torch layer.
    """
    if isinstance(network.module, Network):
        graph = _without_squashing(strategy.graph)
        module = _built(network, plan, graph, seed)
    else:
        graph, module = strategy.graph, _headed(network, plan, seed)
    module.to(network.device, network.dtype)
    for key, parameter in module.named_parameters():
        parameter.requires_grad_(graph.params[key].trainable)
    modules = _modules(module, graph)
    module.eval()
    for step in steps(graph):
        if step.training and step.node.name in modules:
            modules[step.node.name].train()
    return TransferModel(module, graph, modules[plan.new.name], _tail(graph, plan.new.name, modules))


def _without_squashing(graph: Graph) -> Graph:
    """The graph without a final softmax or sigmoid, because cross entropy includes it; the prediction stays the
    same."""
    (*before, last), outputs = graph.nodes, graph.outputs
    if outputs == (last.name,) and isinstance(last.op, (Softmax, LogSoftmax, Sigmoid)):
        return replace(graph, nodes=tuple(before), outputs=last.inputs)
    return graph


def _built(network: TrainedNetwork, plan: Plan, graph: Graph, seed: int) -> nn.Module:
    module = build(graph, seed=seed)
    new, old = module.state_dict(), network.module.state_dict()
    head = set(plan.new.params.values())
    kept = {key: t for key, t in old.items() if key in new and key not in head and t.shape == new[key].shape}
    module.load_state_dict({**new, **kept})
    return module


def _headed(network: TrainedNetwork, plan: Plan, seed: int) -> nn.Module:
    """A copy of the original module with a new last layer."""
    module = copy.deepcopy(network.module)
    path = plan.new.params["weight"].removesuffix(".weight")
    scope, _, name = path.rpartition(".")
    old = module.get_submodule(path)
    if not isinstance(old, nn.Linear):
        kind = type(old).__name__
        raise CnnscopeError.of("E493", f"the head `{plan.head}` is a `{kind}`, which cannot be replaced in place")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        new = nn.Linear(old.in_features, plan.classes, bias=old.bias is not None)
    setattr(module.get_submodule(scope), name, new)
    return module


def _modules(module: nn.Module, graph: Graph) -> dict[str, nn.Module]:
    """The module that runs each node, if any; in an original module, a row's module runs all of its nodes."""
    if isinstance(module, Network):
        calls = zip(graph.nodes, module.calls, strict=True)
        return {node.name: call for node, call in calls if isinstance(call, nn.Module)}
    known = dict(module.named_modules())
    return {node.name: known[node.layer] for node in graph.nodes if node.layer in known}


def _tail(graph: Graph, head: str, modules: dict[str, nn.Module]) -> tuple[nn.Module, ...] | None:
    """The modules behind the head; one that runs several nodes (the original's) ends the search."""
    name, found = graph.outputs[0], list[nn.Module]()
    while name != head:
        node = graph.node(name) if name not in graph.inputs else None
        if node is None or len(node.inputs) != 1 or name not in modules or modules[name] in found:
            return None
        found.append(modules[name])
        (name,) = node.inputs
    return tuple(found[::-1])


HELD_OUT = 0.2
"""The share of each class that is held out if the data has no split of its own."""
LARGEST = 4 * 2**30
"""The largest number of bytes of pixels to keep in memory."""


@dataclass(frozen=True)
class Images:
    """Pixels (N, C, H, W) from 0 to 255 and classes (N,): those to train on, and those held out.

    ``split`` says in words how they were divided, ``skipped`` how many files gave no image.
    """

    pixels: Tensor
    labels: Tensor
    held_pixels: Tensor
    held_labels: Tensor
    split: str
    skipped: int
    sha256: str


def read_images(path: Path, preprocess: Preprocess, classes: int, seed: int, progress: Progress) -> Images:
    """The images at ``path`` for a network of ``classes`` classes.

    An archive that says which images are for training and which for testing is divided so; other sets are divided at
    random within each class, from ``seed``. `CnnscopeError`: E460, E461 for data that cannot be read, E495 for another
    number of classes, E496 for images without labels, classes with too few images, more than fits.
    """
    opened = open_images(path)
    own = _own_split(path)
    train = open_npz(path, split="train") if own else opened
    pixels, labels, skipped = _read(train, preprocess, progress)
    if not own:
        _check(path, opened.classes, labels, classes, least=2)
        rows = _held_out(labels, seed)
        mask = torch.zeros(len(labels), dtype=torch.bool)
        mask[rows] = True
        split = f"{len(rows):,} of {len(labels):,} images held out, {100 * HELD_OUT:.0f} % of each class, seed {seed}"
        return Images(
            pixels=pixels[~mask], labels=labels[~mask], held_pixels=pixels[mask], held_labels=labels[mask],
            split=split, skipped=skipped, sha256=opened.sha256,
        )  # fmt: skip
    held, held_labels, held_skipped = _read(opened, preprocess, progress)
    _check(path, opened.classes, labels, classes, least=1)
    _check(path, opened.classes, held_labels, classes, least=1)
    split = f"the data's own: {len(labels):,} images `train`, {len(held_labels):,} `test`"
    return Images(
        pixels=pixels, labels=labels, held_pixels=held, held_labels=held_labels, split=split,
        skipped=skipped + held_skipped, sha256=train.sha256,
    )  # fmt: skip


def _own_split(path: Path) -> bool:
    """Whether an archive says which images are for training and which for testing."""
    if path.suffix.lower() != ".npz":
        return False
    with np.load(path, allow_pickle=False) as archive:
        return "split" in archive.files and {"train", "test"} <= set(map(str, np.unique(archive["split"])))


def _read(images: ImageSet, preprocess: Preprocess, progress: Progress) -> tuple[Tensor, Tensor, int]:
    arrays: list[np.ndarray] = []
    labels: list[int] = []
    skipped = len(images.skipped)
    for sample in images:
        if isinstance(sample, Skipped):
            skipped += 1
            continue
        if sample.label is None:
            hint = "name a folder of one folder a class, or an archive with `labels`"
            raise CnnscopeError.of("E496", f"`{sample.name}` of `{images.path}` has no label", hint=hint)
        arrays.append(preprocess.pixels(sample.image))
        labels.append(sample.label)
        if len(arrays) * arrays[0].nbytes > LARGEST:
            hint = "train on fewer images, or at a smaller `--input`"
            raise CnnscopeError.of("E496", f"the images of `{images.path}` take more than 4 GiB", hint=hint)
        progress("reading images", len(arrays), None)
    if not arrays:
        raise CnnscopeError.of("E460", f"there are no readable images in `{images.path}`")
    return torch.from_numpy(np.stack(arrays)), torch.tensor(labels), skipped


def _check(path: Path, names: Sequence[str], labels: Tensor, classes: int, least: int) -> None:
    """E495 unless the labels are of ``classes`` classes, E496 unless each has ``least`` images."""
    counts = Counter(labels.tolist())
    found = max(len(names), max(counts) + 1)
    if found != classes:
        raise CnnscopeError.of("E495", f"`{path}` has {found} classes, not {classes}", hint=f"say `--classes {found}`")
    for label in range(classes):
        if counts[label] < least:
            name = names[label] if label < len(names) else str(label)
            have = f"{counts[label] or 'no'} image{'' if counts[label] == 1 else 's'}"
            raise CnnscopeError.of("E496", f"class `{name}` of `{path}` has {have}", hint=f"each needs {least} or more")


def _held_out(labels: Tensor, seed: int) -> Tensor:
    """The rows to hold out: a fifth of each class, at least one, drawn from ``seed``."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for label in sorted(set(labels.tolist())):
        own = torch.nonzero(labels == label).flatten()
        count = max(1, round(HELD_OUT * len(own)))
        rows.append(own[torch.randperm(len(own), generator=generator)[:count]])
    return torch.cat(rows)
