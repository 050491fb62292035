"""Writes the bundle of real digits that comes with cnnscope: `python examples/bundle_digits.py` (needs scikit-learn).

The images are scikit-learn's `load_digits`: 1,797 scans of handwritten digits, 8 x 8 pixels of 17 grey levels, which
are the test split of UCI's optdigits (Alpaydin and Kaynak, 1998). One in five, the same share of each digit, is kept
apart as `test`; what is in `train` is for training alone.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

TARGET = Path(__file__).resolve().parents[1] / "specs" / "digits" / "digits.npz"
LEVELS = 16
TEST = 360


def bundle() -> dict[str, np.ndarray]:
    """`images` (1797, 8, 8) of 8 bits, `labels`, `split` (train or test) and `classes`."""
    digits = load_digits()
    images = np.rint(digits.images * (255 / LEVELS)).astype(np.uint8)
    _, test = train_test_split(np.arange(len(images)), test_size=TEST, stratify=digits.target, random_state=0)
    split = np.full(len(images), "train")
    split[test] = "test"
    labels, classes = digits.target.astype(np.uint8), np.arange(10).astype("U1")
    return {"images": images, "labels": labels, "split": split, "classes": classes}


def write(arrays: dict[str, np.ndarray], target: Path) -> None:
    """As `numpy.savez_compressed`, but without the time of day in it."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.save(content, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), content.getvalue(), zipfile.ZIP_DEFLATED, 9)


if __name__ == "__main__":
    write(bundle(), TARGET)
    print(f"wrote {TARGET}, {TARGET.stat().st_size:,} bytes")
