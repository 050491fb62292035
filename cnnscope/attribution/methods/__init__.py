"""The methods of attribution, a file each: it is named as on the command line, with ``_`` for ``-``.

Each file has a ``METHOD``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnscope.registry import Registry, files_of

if TYPE_CHECKING:
    from cnnscope.attribution.contract import Method

METHODS: Registry[Method] = Registry(
    "cnnscope.attributions", "method of attribution", files_of(__name__, "METHOD"),
    form="cnnscope.attribution.contract:Method", code="E481",
)  # fmt: skip
