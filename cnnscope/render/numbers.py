"""How numbers, sizes and shapes are written for people, and the conventions behind the figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from cnnscope.ir.graph import DTYPE_BYTES, PACKED

UNKNOWN = "?"
"""Shown where a figure is not known; a 0 is always a known 0."""
ABSENT = "-"
"""Shown where a figure does not apply."""


def count(n: int | None) -> str:
    """``1,234,567``; ``?`` if unknown."""
    return UNKNOWN if n is None else f"{n:,}"


def binary(n: int | None) -> str:
    """Bytes with a binary prefix, two decimals from KiB up: ``241.04 KiB``, ``5.39 MiB``."""
    if n is None:
        return UNKNOWN
    size, units = float(n), ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    return f"{n} B" if units[0] == "B" else f"{size:,.2f} {units[0]}"


def short(n: int | None) -> str:
    """Three significant digits with a decimal prefix: ``4.09 G``, ``25.6 M``; whole below a thousand."""
    if n is None:
        return UNKNOWN
    size, units = float(n), ["", "k", "M", "G", "T", "P", "E"]
    while size >= 999.5 and len(units) > 1:
        size /= 1000
        units.pop(0)
    if not units[0]:
        return str(n)
    return f"{size:.{2 if size < 9.995 else 1 if size < 99.95 else 0}f} {units[0]}"


def figure(value: float | None, form: str) -> str:
    """A number in a format such as ``.2f``; ``-`` where there is none."""
    return ABSENT if value is None else format(value, form)


def stored(types: Mapping[str, int]) -> str:
    """How many numbers of each type are stored, with the bytes of each: ``int8 296, int32 18x4, int4 60/2``."""
    return ", ".join(f"{kind} {n:,}{_each(kind)}" for kind, n in types.items())


def _each(kind: str) -> str:
    if kind in PACKED:
        return f"/{8 // PACKED[kind]}"
    return "" if DTYPE_BYTES[kind] == 1 else f"x{DTYPE_BYTES[kind]}"


def share(part: int | None, whole: int | None) -> str:
    """A part of the whole in percent: ``12.3 %``; empty where either is unknown or there is no whole."""
    return f"{100 * part / whole:.1f} %" if part is not None and whole else ""


def shape(extents: Sequence[int]) -> str:
    """``3x224x224``; ``scalar`` where there are no axes."""
    return "x".join(map(str, extents)) or "scalar"


def printable(text: str) -> str:
    """Text from a file, safe to send to a terminal: control characters are written out."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def titled(name: str, source: str) -> str:
    """The name of a network and where it was read from: ``LeNet-5 (lenet5)``."""
    return f"{printable(name)} ({printable(source)})"


MAC = "one multiply-accumulate of conv, linear, matmul; bias excluded; per image"
FLOPS = "2 * macs + elementwise"
PIXEL_ORIGIN = "centre of pixel 0"

_WORK = {"macs", "macs_share"}
_FLOPS = {"flops"}
_SHAPES = {"input_shapes", "output_shape", "input"}
_WEIGHTS = {"param_bytes"}
_ACTIVATIONS = {"activation_bytes", "live_bytes", "peak_activation_bytes"}
_FIELDS = {"rf", "rf_stride", "rf_padding", "rf_centre", "rf_via", "receptive_field"}


def conventions(columns: Iterable[str], layout: str = "CHW", dtype: str = "float32", batch: int = 1) -> str:
    """The conventions behind these columns, in one line."""
    shown = set(columns)
    parts = [
        (_WORK | _FLOPS, f"MAC = {MAC}".replace(";", ",")),
        (_FLOPS, "FLOPs = 2 x MACs + elementwise"),
        (_SHAPES, f"shapes {layout} without batch"),
        (_WEIGHTS | _ACTIVATIONS, f"bytes at {dtype}"),
        (_ACTIVATIONS, f"activations of batch {batch} at inference, nothing reused in place"),
        (_FIELDS, "RF = theoretical receptive field in input pixels, padding counted; image = the whole image"),
        ({"rf_centre"}, "pixel 0 has its centre at 0"),
        ({"rf_exact"}, "exact = smallest and largest at this input size, inside the image"),
    ]
    return "; ".join(text for keys, text in parts if shown & keys)
