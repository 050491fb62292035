"""Layer types. Importing this package registers every op; `REGISTRY` has them by tag."""

from cnnscope.ops import (
    activation,
    attention,
    composite,
    conv,
    generic,
    linear,
    merge,
    movement,
    norm,
    polyphase,
    pool,
    product,
    rearrange,
    regularization,
    resize,
    tokens,
)
from cnnscope.ops.base import CATEGORIES, REGISTRY, Case, Op

__all__ = [
    "CATEGORIES", "REGISTRY", "Case", "Op", "activation", "attention", "composite", "conv", "generic", "linear",
    "merge", "movement", "norm", "polyphase", "pool", "product", "rearrange", "regularization", "resize", "tokens",
]  # fmt: skip
