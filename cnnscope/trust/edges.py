"""The control that knows nothing of any network: how strong an image's edges are."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from cnnscope.learned.filters.kernels import sobel_x


def edges(x: Tensor) -> NDArray[np.float64]:
    """(H, W) magnitude of Sobel's gradient of the mean channel of an image (1, C, H, W), its borders repeated."""
    kernel = torch.as_tensor(sobel_x(3, 3), dtype=torch.float64)
    kernels = torch.stack([kernel, kernel.T])[:, None]
    grey = x.detach().cpu().double().mean(1, keepdim=True)
    found = functional.conv2d(functional.pad(grey, (1, 1, 1, 1), mode="replicate"), kernels)[0]
    result: NDArray[np.float64] = found.square().sum(0).sqrt().numpy()
    return result
