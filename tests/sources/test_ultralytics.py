"""Networks of Ultralytics, written here from their published lists, against the parameters that Ultralytics prints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import cnnscope
from cnnscope.errors import CnnscopeError

UP = '  - [-1, 1, nn.Upsample, [None, 2, "nearest"]]\n'


def line(module: str, *args: object, times: int = 1, origin: object = -1) -> str:
    return f"  - [{origin}, {times}, {module}, [{', '.join(map(str, args))}]]\n"


def scales(**rows: object) -> str:
    return "nc: 80\nscales:\n" + "".join(f"  {name}: {row}\n" for name, row in rows.items())


def pyramid(block: str, first: int, extra: tuple[tuple[object, ...], ...] = ((), (), ())) -> str:
    """The head of YOLOv8 and YOLO11, whose backbone has ``first`` lines."""

    def body(out: int, more: tuple[object, ...]) -> str:
        return line(block, out, *more, times=3 if block == "C2f" else 2)

    text = UP + line("Concat", 1, origin="[-1, 6]") + body(512, extra[0])
    text += UP + line("Concat", 1, origin="[-1, 4]") + body(256, extra[0]) + line("Conv", 256, 3, 2)
    text += line("Concat", 1, origin=f"[-1, {first + 2}]") + body(512, extra[1]) + line("Conv", 512, 3, 2)
    text += line("Concat", 1, origin=f"[-1, {first - 1}]") + body(1024, extra[2])
    return text + line("Detect", "nc", origin=[first + 5, first + 8, first + 11])


def yolov8() -> str:
    text = scales(n=[0.33, 0.25, 1024], s=[0.33, 0.5, 1024], m=[0.67, 0.75, 768], l=[1.0, 1.0, 512], x=[1.0, 1.25, 512])
    text += "backbone:\n" + line("Conv", 64, 3, 2)
    for out, times in ((128, 3), (256, 6), (512, 6), (1024, 3)):
        text += line("Conv", out, 3, 2) + line("C2f", out, True, times=times)
    return text + line("SPPF", 1024, 5) + "head:\n" + pyramid("C2f", 10)


def yolo11() -> str:
    text = scales(n=[0.5, 0.25, 1024], s=[0.5, 0.5, 1024], m=[0.5, 1.0, 512], l=[1.0, 1.0, 512], x=[1.0, 1.5, 512])
    text += "backbone:\n" + line("Conv", 64, 3, 2)
    blocks = ((128, 256, (False, 0.25)), (256, 512, (False, 0.25)), (512, 512, (True,)), (1024, 1024, (True,)))
    for out, wide, more in blocks:
        text += line("Conv", out, 3, 2) + line("C3k2", wide, *more, times=2)
    text += line("SPPF", 1024, 5) + line("C2PSA", 1024, times=2)
    return text + "head:\n" + pyramid("C3k2", 11, ((False,), (False,), (True,)))


def yolov5(head: str = "nc") -> str:
    text = "backbone:\n" + line("Conv", 64, 6, 2, 2)
    for out, times in ((128, 3), (256, 6), (512, 9), (1024, 3)):
        text += line("Conv", out, 3, 2) + line("C3", out, times=times)
    text += line("SPPF", 1024, 5) + "head:\n"
    for out, skip in ((512, 6), (256, 4)):
        text += line("Conv", out, 1, 1) + UP + line("Concat", 1, origin=[-1, skip]) + line("C3", out, False, times=3)
    for out, skip in ((256, 14), (512, 10)):
        text += line("Conv", out, 3, 2) + line("Concat", 1, origin=[-1, skip]) + line("C3", 2 * out, False, times=3)
    return text + line("Detect", head, origin=[17, 20, 23])


V5 = scales(n=[0.33, 0.25, 1024], s=[0.33, 0.5, 1024], m=[0.67, 0.75, 1024], l=[1.0, 1.0, 1024], x=[1.33, 1.25, 1024])
PUBLISHED = [
    (yolov8(), {"n": (3_157_200, 8.7), "s": (11_166_560, 28.6), "m": (25_902_640, 78.9), "x": (68_229_648, 257.8)}),
    (yolo11(), {"n": (2_624_080, 6.5), "s": (9_458_752, 21.6), "m": (20_114_688, 68.1), "x": (56_966_176, 195.3)}),
    (V5 + yolov5(), {"n": (2_654_816, 7.7), "s": (9_153_152, 24.0), "m": (25_111_456, 64.2), "l": (53_225_024, 135.0)}),
]
"""Parameters and billions of operations (two a MAC) at 640x640."""


@pytest.mark.parametrize(("text", "published"), PUBLISHED, ids=["yolov8", "yolo11", "yolov5"])
def test_parameters(text: str, published: dict[str, tuple[int, float]], tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(text)
    for scale, (params, operations) in published.items():
        totals = cnnscope.load(str(path), set={"scale": scale}).summary().to_dict()["totals"]
        assert totals["params"] == params
        assert round(2 * totals["macs"] / 1e9, 1) == operations


def test_a_head_with_anchors(tmp_path: Path) -> None:
    """YOLOv5 6.0: 7,235,389 parameters, as its own repository prints."""
    path = tmp_path / "yolov5s.yaml"
    anchors = "anchors:\n  - [10,13, 16,30, 33,23]\n  - [30,61, 62,45, 59,119]\n  - [116,90, 156,198, 373,326]\n"
    path.write_text(f"nc: 80\ndepth_multiple: 0.33\nwidth_multiple: 0.50\n{anchors}" + yolov5("nc, anchors"))
    model = cnnscope.load(str(path))
    assert model.summary().to_dict()["totals"]["params"] == 7_235_389
    assert [model.graph.value(name).shape[1] for name in model.graph.outputs] == [255, 255, 255]


def test_attention_is_that_of_torch(tmp_path: Path) -> None:
    """`C2PSA` of YOLO11, computed once more as its source does."""
    path = tmp_path / "net.yaml"
    path.write_text("nc: 3\nbackbone:\n" + line("Conv", 256, 3, 2) + line("C2PSA", 256) + "head:\n" + line("Conv", 8))
    model = cnnscope.load(str(path), input="3x8x8")
    network = model.weighted().module.double()
    weights = {key: value.double() for key, value in network.state_dict().items()}

    def conv(x: torch.Tensor, name: str, act: bool = True, groups: int = 1) -> torch.Tensor:
        kernel = weights[f"{name}.conv.weight"]
        x = torch.conv2d(x, kernel, None, 2 if name == "model.0" else 1, kernel.shape[-1] // 2, 1, groups)
        of = [weights[f"{name}.bn.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        x = torch.nn.functional.batch_norm(x, *of, eps=1e-3)
        return torch.nn.functional.silu(x) if act else x

    image = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    a, b = conv(conv(image, "model.0"), "model.1.cv1").split(128, 1)
    at = "model.1.m.0"
    q, k, v = conv(b, f"{at}.attn.qkv", False).view(2, 2, 128, 16).split([32, 32, 64], 2)
    mixed = (v @ (q.transpose(2, 3) @ k * 32**-0.5).softmax(-1).transpose(2, 3)).view(2, 128, 4, 4)
    mixed = mixed + conv(v.reshape(2, 128, 4, 4), f"{at}.attn.pe", False, 128)
    b = b + conv(mixed, f"{at}.attn.proj", False)
    b = b + conv(conv(b, f"{at}.ffn.0"), f"{at}.ffn.1", False)
    wanted = conv(conv(torch.cat([a, b], 1), "model.1.cv2"), "model.2")
    torch.testing.assert_close(network(image), wanted)


def test_scales_and_classes(tmp_path: Path) -> None:
    path = tmp_path / "yolov8s.yaml"
    path.write_text(yolov8())
    model = cnnscope.load(str(path), set={"nc": 3}, input="3x64x64")
    assert model.graph.nodes[0].output.shape[1] == 32  # the scale in the name of the file
    assert model.graph.value(model.graph.outputs[0]).shape == (1, 67, 8, 8)
    assert any("decoding boxes" in note for note in model.notes)


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("backbone:\n  - [-1, 1, Cnv, [8]]\nhead: []\n", "E444", "the module `Cnv` of line 0 is not read"),
        ("backbone:\n  - [-1, 1, Conv, []]\nhead: []\n", "E441", "line 0 `Conv` has wrong arguments"),
        ("backbone:\n  - [-3, 1, Conv, [8]]\nhead: []\n", "E441", "line 0 reads line -3, which is not before it"),
        ("backbone:\n  - [-1, 1, Conv]\nhead: []\n", "E441", "is no line of a network"),
        ("nc: many\nbackbone: []\nhead: []\n", "E441", "`nc` is no number"),
        ("scales: {n: 3}\nbackbone: []\nhead: []\n", "E441", "the scale `n` is not three numbers"),
        ("backbone: []\nhead: []\n", "E441", "it has no layers"),
    ],
)
def test_what_is_refused(text: str, code: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(text)
    with pytest.raises(CnnscopeError) as caught:
        cnnscope.load(str(path))
    assert caught.value.diagnostics[-1].code == code
    assert said in caught.value.diagnostics[-1].message
