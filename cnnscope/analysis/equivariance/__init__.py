"""Which shifts, flips and quarter turns an architecture commutes with, where in its maps, and why not.

Nothing is run: the answer follows from what each op reads (`cnnscope.ir.steps`), so every op with `reads` is covered::

    from cnnscope.analysis.equivariance import Flip, Shift, Turn, equivariance

    found = equivariance(graph)                       # once per graph
    found.predict(Shift((32, 0))).output              # Verdict(claim="exact", cause=None): circular, 32 px down
    found.predict(Flip((1,))).output.claim            # "geometry_only": left-right, the weights decide
    found.predict(Turn(1)).output.cause               # Cause(layer="conv1", reason="its stride of 2 leaves ...")
    here = found.predict(Shift((8, 0), wrap=False)).maps["layer1"]
    here.shift, here.interior, float(here.fraction)   # (2, 0), ((11, 46), (9, 46)), 0.45

``Shift(by, wrap=True)`` is ``torch.roll(x, by, image axes)``. ``wrap=False`` stands for shifts that bring in other
pixels (a crop from a larger canvas, zeros, reflection): then the map of the shifted image equals that of the unshifted
one moved by ``shift`` positions inside ``interior``, bounds inclusive, in positions of the map, for every image and
every weights: ``f(T x)[o] == f(x)[o - shift]``. ``shift`` is None where the pixels are no multiple of the layer's
stride, ``interior`` where nothing can be promised.

A `Verdict` is ``exact``, ``geometry_only`` or ``not_guaranteed`` with a `Cause`: the first layer that prevents a
stronger claim. ``exact`` means up to rounding, at inference, without ties of a maximum. For an output without positions
(`Motion.invariant`) the claim is that it does not change; for a map, that it moves as the image does. Flips and turns
act on the map as on the image (`torch.flip`, `torch.rot90` over `Motion.axes`).
"""

from __future__ import annotations

from cnnscope.analysis.equivariance import propagate
from cnnscope.analysis.equivariance.along import Along
from cnnscope.analysis.equivariance.events import Cause, Claim, Flip, Shift, Transform, Turn, Verdict, worst
from cnnscope.analysis.equivariance.result import Box, Equivariance, MapPrediction, Motion, Prediction
from cnnscope.analysis.receptive_field.walk import FIRST, extents, images
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph, Value

__all__ = [
    "Along", "Box", "Cause", "Claim", "Equivariance", "Flip", "MapPrediction", "Motion", "Prediction", "Shift",
    "Transform", "Turn", "Verdict", "equivariance", "worst",
]  # fmt: skip


def equivariance(graph: Graph) -> Equivariance:
    """The analysis of a whole network with respect to its images; several inputs of one rank move together.

    E308 for a network without an image.
    """
    ranks = images(graph)
    if not ranks:
        raise CnnscopeError.of("E308", f"`{graph.name}` takes no image, so there is nothing to shift, flip or turn")
    rank = max(ranks)
    sizes = [extents(graph, name) for name in ranks[rank]]
    found = dict(propagate.motions(graph, ranks[rank]))
    rows = {row: members[-1].name for row, members in graph.layers() if not members[-1].training_only}
    skipped = {node.name for node in graph.nodes if node.training_only}
    layers = [_motion(row, graph.value(name), found[name], sizes[0]) for row, name in rows.items() if name in found]
    names = [name for name in graph.outputs if name in found and name not in skipped]
    outputs = [_motion(name, graph.value(name), found[name], sizes[0]) for name in names]
    return Equivariance(sizes[0], tuple(layers), tuple(outputs))


def _motion(name: str, value: Value, found: propagate.ValueMotion | Cause, image: tuple[int, ...]) -> Motion:
    if isinstance(found, Cause):
        return Motion(
            name=name, shape=value.features, along=(), axes=None, quarter=Verdict("not_guaranteed", found),
            unknown=found,
        )  # fmt: skip
    united = propagate.channels_united(found, value, name)
    quarter = worst([united.exchange, *(a.mirror for a in united.along[-2:])])
    return Motion(name, value.features, united.along, _axes(found, value), quarter)


def _axes(found: propagate.ValueMotion, value: Value) -> tuple[int, ...] | None:
    """The tensor axes that hold the image axes, in order; empty if no positions are left; None if they are merged."""
    held = [[i for i, axis in enumerate(found.layout) if any(image in d.images and d.moves for d in axis.digits)]
            for image in range(len(found.along))]  # fmt: skip
    if not any(held):
        return ()
    axes = tuple(range(FIRST, FIRST + len(held)))
    plain = len(value.shape) == FIRST + len(held) and all(
        found.layout[axis].images in ((), (image,)) for image, axis in enumerate(axes)
    )
    return axes if plain and all(set(places) <= {1, axes[image]} for image, places in enumerate(held)) else None
