"""Layer types. Importing this package registers every op; `REGISTRY` has them by tag."""

from cnnscope.ops import (
    conv,
    linear,
    pool,
)
from cnnscope.ops.base import CATEGORIES, REGISTRY, Case, Op

__all__ = ["CATEGORIES", "REGISTRY", "Case", "Op", "conv", "linear", "pool"]
