"""Preprocessing: a picture is resized, cropped to 8 bits per channel, and normalised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import torch
from torch import Tensor

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Shape
from cnnscope.spec.metadata import BORDERS

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

FILTERS = ("bicubic", "bilinear", "nearest", "lanczos", "box", "hamming")
KEYS = ("resize", "crop", "mean", "std", "interpolation", "border")


@dataclass(frozen=True, slots=True)
class Preprocess:
    """``size`` is the input's (C, H, W), with 1 channel (grey) or 3 (RGB).

    ``resize`` is the picture's shorter side, or (height, width), before a crop of (H, W) from its centre; without it
    the picture is scaled to cover the input. ``mean`` and ``std`` are of pixels from 0 to 1, a number a channel.
    ``border`` is what lies beyond a picture that is moved, of `cnnscope.spec.metadata.BORDERS`; None leaves it open.
    """

    size: Shape
    resize: int | tuple[int, int] | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    interpolation: str = "bicubic"
    border: str | None = None

    @classmethod
    def of(cls, size: Shape, options: Mapping[str, Any]) -> Preprocess:
        """Preprocessing from the settings of a spec, a library or the command line.

        `CnnscopeError` E454 where that does not fit an input of ``size`` (C, H, W).
        """
        channels, *extents = size
        if channels not in (1, 3):
            raise _refused(f"an input of {channels} channels is no image", "1 channel is grey, 3 are RGB")
        for key in options:
            if key not in KEYS:
                raise _refused(f"there is no setting `{key}`", f"there are {', '.join(KEYS)}")
        resize = None if options.get("resize") is None else _sides(options["resize"])
        if options.get("crop") is not None and resize is not None:
            # the input has another size than the weights were made for, so the picture is scaled with it
            resize = _scaled(resize, extents[0] / _sides(options["crop"], pair=True)[0])
        mean, std = (_channels(key, options.get(key, least), channels) for key, least in (("mean", 0.0), ("std", 1.0)))
        if min(std) <= 0:
            raise _refused("`std` is not positive", None)
        if resize is not None and any(side < extent for side, extent in zip(_both(resize), extents, strict=True)):
            text = "x".join(map(str, extents))
            raise _refused(f"`resize` to {resize} leaves less than the input, {text}", "resize to more")
        border = options.get("border")
        if border is not None and border not in BORDERS:
            raise _refused(f"there is no border `{border}`", f"there are {', '.join(BORDERS)}")
        interpolation = str(options.get("interpolation") or "bicubic")
        if interpolation not in FILTERS:
            raise _refused(f"there is no interpolation `{interpolation}`", f"there are {', '.join(FILTERS)}")
        return cls(size, resize, mean, std, interpolation, border)

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values, for the record."""
        return asdict(self)

    def pixels(self, picture: Image, *, margin: int = 0) -> NDArray[np.uint8]:
        """(C, H + 2 margin, W + 2 margin) pixels from the centre of a picture; `room` is the largest margin it has.

        The picture is upright, of any mode; see `cnnscope.trained.images`. Raises E454 where there is no such margin.
        """
        return self.cropped(self.resized(picture), margin)

    def resized(self, picture: Image) -> Image:
        """The picture in grey or RGB, resized to the size from which it is cropped."""
        from PIL import Image

        channels, height, width = self.size
        picture = picture.convert("L" if channels == 1 else "RGB")
        if isinstance(self.resize, tuple):
            target = self.resize[1], self.resize[0]
        else:
            short = self.resize
            scale = max(height / picture.height, width / picture.width)
            if short is not None:
                scale = short / min(picture.width, picture.height)
            target = max(width, int(picture.width * scale)), max(height, int(picture.height * scale))
        if picture.size == target:
            return picture
        return picture.resize(target, Image.Resampling[self.interpolation.upper()])

    def room(self, resized: Image) -> int:
        """The number of pixels that a resized picture has beyond the input on each side: the largest margin of
        `cropped`."""
        _, height, width = self.size
        return min((resized.height - height) // 2, (resized.width - width) // 2)

    def cropped(self, resized: Image, margin: int = 0) -> NDArray[np.uint8]:
        """(C, H + 2 margin, W + 2 margin) from the centre of a resized picture."""
        channels, height, width = self.size
        top, left = round((resized.height - height) / 2) - margin, round((resized.width - width) / 2) - margin
        if margin > self.room(resized):
            raise _refused(f"the resized picture has no margin of {margin} pixels", "resize to more, or take no margin")
        box = (left, top, left + width + 2 * margin, top + height + 2 * margin)
        array = np.array(resized.crop(box), dtype=np.uint8)
        return array[None] if channels == 1 else np.ascontiguousarray(array.transpose(2, 0, 1))

    def normalise(self, pixels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """(N, C, H, W) pixels from 0 to 255 as the network's input: (pixels / 255 - mean) / std."""
        mean, std = (torch.tensor(v, device=pixels.device).view(-1, 1, 1) for v in (self.mean, self.std))
        return ((pixels.to(torch.float32) / 255 - mean) / std).to(dtype)

    def shown(self, x: Tensor) -> Tensor:
        """The inverse of `normalise`: (N, C, H, W) as pixels from 0 to 1, clipped."""
        mean, std = (torch.tensor(v, device=x.device).view(-1, 1, 1) for v in (self.mean, self.std))
        return (x.to(torch.float32) * std + mean).clamp(0, 1)


@overload
def _sides(value: Any) -> int | tuple[int, int]: ...
@overload
def _sides(value: Any, *, pair: Literal[True]) -> tuple[int, int]: ...
def _sides(value: Any, *, pair: bool = False) -> int | tuple[int, int]:
    """One number, or (height, width)."""
    numbers = tuple(map(int, value)) if isinstance(value, Sequence) else (int(value),)
    return numbers[0] if len(numbers) == 1 and not pair else (numbers[0], numbers[-1])


def _both(resize: int | tuple[int, int]) -> tuple[int, int]:
    return (resize, resize) if isinstance(resize, int) else resize


def _scaled(resize: int | tuple[int, int], factor: float) -> int | tuple[int, int]:
    if isinstance(resize, int):
        return round(resize * factor)
    return round(resize[0] * factor), round(resize[1] * factor)


def _channels(key: str, value: Any, channels: int) -> tuple[float, ...]:
    values = tuple(map(float, value)) if isinstance(value, Sequence) else (float(value),)
    if len(values) == 1:
        values *= channels
    if len(values) != channels or not all(np.isfinite(values)):
        raise _refused(f"`{key}` has {len(values)} values for {channels} channels", "give one, or one a channel")
    return values


def _refused(message: str, hint: str | None) -> CnnscopeError:
    return CnnscopeError.of("E454", f"preprocessing: {message}", hint=hint)
