"""The gallery shows what its script draws, and stays small."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

import cnnscope

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "docs" / "pictures" / "gallery"
MOST = 3_000_000
"""Bytes of all pictures."""


@pytest.fixture(scope="module")
def gallery() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gallery", ROOT / "examples" / "gallery.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_picture_is_shown_and_there(gallery: ModuleType) -> None:
    text = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    shown = re.findall(r"\(pictures/gallery/([^)]+)\)", text)
    assert sorted(shown) == sorted(path.name for path in PICTURES.iterdir())
    assert sorted(shown) == sorted(f"{name}-{view}.svg" for name in gallery.NETWORKS for view in ("ladder", "sheet"))
    assert sum(path.stat().st_size for path in PICTURES.iterdir()) < MOST


@pytest.mark.parametrize("name", ["unet", "lenet5"])
def test_pictures_are_those_of_today(name: str, tmp_path: Path) -> None:
    for view in ("ladder", "sheet"):
        cnnscope.load(name).diagram(view=view).write(tmp_path / "new.svg")
        old = (PICTURES / f"{name}-{view}.svg").read_bytes()
        assert (tmp_path / "new.svg").read_bytes() == old, "run `make gallery`"
