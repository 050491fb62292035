"""Writes the ONNX fixtures beside this file: torchvision models by both exporters of torch. The tests never run it.

    python make_onnx.py        # torch 2.13.0, torchvision 0.29.2, onnx 1.23.2, onnxscript 0.7.2

Weights are left out, as external data that is not there. Every weight is random first: the exporters store equal
tensors once. `exports.json` has what torch itself counts: parameters, statistics of batch normalisation, MACs by
`FlopCounterMode`, and parameters with each batch norm folded into the convolution before it, which leaves its bias.
"""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
from pathlib import Path

import onnx
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

LIBRARY = torch.library.Library("torchvision", "DEF")
LIBRARY.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
LIBRARY.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
import torchvision  # noqa: E402  # its operators must be declared first

HERE = Path(__file__).parent / "exports"
MODELS = {"resnet18": ("dynamo", "folded"), "mobilenet_v2": ("script", "folded"), "densenet121": ("script", "plain"),
          "shufflenet_v2_x1_0": ("dynamo", "folded"), "swin_t": ("script", "plain"), "vit_b_16": ("dynamo", "plain"),
          "mobilenet_v3_small": ("script", "plain"), "convnext_tiny": ("dynamo", "plain")}  # fmt: skip


def counts(model: nn.Module) -> dict[str, int]:
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    params = sum(p.numel() for p in model.parameters())
    with torch.device("meta"):
        image = torch.zeros(1, 3, 224, 224)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.to("meta")(image)
    return {
        "params": params,
        "folded": params - sum(m.num_features for m in norms),
        "statistics": sum(2 * m.num_features for m in norms),
        "macs": counter.get_total_flops() // 2,
    }


def main() -> None:
    HERE.mkdir(exist_ok=True)
    table = {}
    for name, (exporter, norms) in MODELS.items():
        torch.manual_seed(0)
        model = getattr(torchvision.models, name)(weights=None).eval()
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.is_floating_point():
                tensor.data.uniform_(0.1, 1)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "m.onnx"
            image = torch.zeros(1, 3, 224, 224)
            if exporter == "dynamo":
                torch.onnx.export(model, (image,), path, dynamo=True, external_data=True, verbose=False)
            else:
                keep = torch.onnx.TrainingMode.PRESERVE if norms == "plain" else torch.onnx.TrainingMode.EVAL
                torch.onnx.export(model, (image,), path, dynamo=False, training=keep, opset_version=17,
                                  do_constant_folding=norms == "folded", input_names=["image"],
                                  dynamic_axes={"image": {0: "batch"}})  # fmt: skip
                whole = onnx.load(path)
                onnx.save_model(whole, path, save_as_external_data=True, location="m.data", size_threshold=256)
            (HERE / f"{name}_{exporter}.onnx.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
        table[f"{name}_{exporter}"] = {"norms": norms, **counts(model)}
        print(name, file=sys.stderr)
    (HERE / "exports.json").write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
