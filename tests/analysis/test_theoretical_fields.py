"""Theoretical receptive fields against the exact engine, far from every border."""

from __future__ import annotations

from hypothesis import event, given, settings
from hypothesis import strategies as st
from rf_random import OPS, network, networks

from cnnscope.analysis.receptive_field import theoretical
from cnnscope.analysis.receptive_field.exact import exact
from cnnscope.ir import Graph

Box = tuple[tuple[int, int], ...]
WRAPPING = ("roll", "blurpool")  # read pixels of the image where the plane goes on
CHANNELWISE = ("slice", "shuffle", "pixelshuffle")  # tell channels apart, as the theoretical field does not


def borders(graph: Graph) -> bool:
    """Whether a layer reads other pixels where it would read padding."""
    return any(getattr(node.op, "pad_mode", "zeros") != "zeros" for node in graph.nodes)


@given(networks(most=7, ops=tuple(tag for tag in OPS if tag not in WRAPPING)))
@settings(max_examples=150)
def test_exact_fields_lie_within(graph: Graph) -> None:
    """Clipping and holes take pixels away, nothing adds any."""
    fields, answers = theoretical(graph), exact(graph)
    for node in graph.nodes:
        if borders(graph) or fields[node.name].size is None:
            continue
        for position in corners(node.output.spatial):
            box, whole = answers.box(node.name, position, local=True), fields[node.name].box(position)
            assert box is None or within(box, whole)


def within(box: Box, whole: Box | None) -> bool:
    return whole is not None and all(lo <= a and b <= hi for (a, b), (lo, hi) in zip(box, whole, strict=True))


def corners(extents: tuple[int, ...]) -> set[tuple[int, ...]]:
    return {tuple(0 for _ in extents), tuple(n // 2 for n in extents), tuple(n - 1 for n in extents)}


PLAIN = tuple(tag for tag in OPS if tag not in ("roll", "crop", "adaptiveavgpool", "globalavgpool", *CHANNELWISE))


@given(st.integers(0, 2**32), st.integers(1, 7))
@settings(max_examples=150)
def test_equals_the_exact_field_inside_a_large_image(seed: int, most: int) -> None:
    graph = network(seed, most, ops=PLAIN, size=600, largest=20_000)
    fields, answers = theoretical(graph), exact(graph)
    compared = 0
    for node in graph.nodes:
        (n,) = node.output.spatial
        for o in range(n // 2, min(n // 2 + 24, n)):
            box = fields[node.name].box((o,))
            if box and 150 < box[0][0] <= box[0][1] < 450:
                assert answers.box(node.name, (o,), local=True) == box, (node.name, o)
                compared += 1
    event(f"positions compared: {'some' if compared else 'none'}")
