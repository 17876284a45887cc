"""The data of the coursework, checked against recorded checksums before use (see data/README.md)."""

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

FOLDER = Path(__file__).resolve().parent.parent / "data"
# Rows at which a new form begins: splits of the digits made there keep one person's handwriting on one side.
FORMS = (646, 1029, 1287)


def load_digits() -> tuple[np.ndarray, np.ndarray]:
    """The 1,797 handwritten digits: images (1797, 8, 8) float64 in [0, 1], labels (1797,) int64 from 0 to 9."""
    with np.load(verify_file("digits.npz"), allow_pickle=False) as file:
        return file["images"] / 16.0, file["labels"].astype(np.int64)


def load_photograph() -> np.ndarray:
    """The photograph: (300, 256, 3) float64, red, green and blue in [0, 1]."""
    with Image.open(verify_file("photograph.png")) as picture:
        return np.asarray(picture.convert("RGB")) / 255.0


def verify_file(name: str) -> Path:
    """The path of a data file; raise FileNotFoundError or, if its SHA-256 is not in data/SHA256SUMS, ValueError."""
    path = FOLDER / name
    if not path.is_file():
        raise FileNotFoundError(f"data/{name} is missing: restore it from the coursework's copy")
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    if f"{checksum}  {name}" not in (FOLDER / "SHA256SUMS").read_text(encoding="ascii").splitlines():
        raise ValueError(f"data/{name} was altered: restore it. data/SHA256SUMS does not list its SHA-256, {checksum}")
    return path
