"""What the figures mean; every output states it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

MAC = "one multiply-accumulate of conv, linear, matmul; bias excluded; per image"
FLOPS = "2 * macs + elementwise"
PIXEL_ORIGIN = "centre of pixel 0"

_WORK = {"macs", "macs_share"}
_FLOPS = {"flops"}
_SHAPES = {"input_shapes", "output_shape", "input"}
_WEIGHTS = {"param_bytes"}
_ACTIVATIONS = {"activation_bytes", "live_bytes", "peak_activation_bytes"}
_FIELDS = {"rf", "rf_stride", "rf_padding", "rf_centre", "rf_via", "receptive_field"}


def document(dtype: str = "float32", batch: int = 1) -> dict[str, Any]:
    """The conventions as every JSON document states them."""
    return {"mac": MAC, "flops": FLOPS, "layout": "CHW", "dtype": dtype, "batch": batch, "pixel_origin": PIXEL_ORIGIN}


def line(columns: Iterable[str], layout: str = "CHW", dtype: str = "float32", batch: int = 1) -> str:
    """The conventions behind these columns, in one line."""
    shown = set(columns)
    parts = [
        (_WORK | _FLOPS, f"MAC = {MAC}".replace(";", ",")),
        (_FLOPS, "FLOPs = 2 x MACs + elementwise"),
        (_SHAPES, f"shapes {layout} without batch"),
        (_WEIGHTS | _ACTIVATIONS, f"bytes at {dtype}"),
        (_ACTIVATIONS, f"activations of batch {batch} at inference, nothing reused in place"),
        (_FIELDS, "RF = theoretical receptive field in input pixels, padding counted; image = all of it"),
        ({"rf_centre"}, "pixel 0 has its centre at 0"),
        ({"rf_exact"}, "exact = smallest and largest at this input size, inside the image"),
    ]
    return "; ".join(text for keys, text in parts if shown & keys)
