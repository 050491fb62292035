"""Layer types, a file each family. Importing this package imports every file in it, so `REGISTRY` has all of them."""

from importlib import import_module
from pkgutil import iter_modules

from cnnscope.ops.base import CATEGORIES, REGISTRY, Case, Op

for _file in sorted(module.name for module in iter_modules(__path__)):
    import_module(f"{__name__}.{_file}")

__all__ = ["CATEGORIES", "REGISTRY", "Case", "Op"]
