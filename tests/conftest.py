"""Shared by all tests."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

import pytest
from hypothesis import settings

# A shared or busy machine is not a failure; correctness is what these tests are about.
settings.register_profile("cnnscope", deadline=None)
settings.load_profile("cnnscope")


@pytest.fixture(scope="session")
def torchvision() -> ModuleType:
    """torchvision beside whichever torch is installed."""
    from cnnscope.sources.torch.user_code import import_with_operators

    return import_with_operators(lambda: import_module("torchvision"))
