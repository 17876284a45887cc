"""The coursework's data, checked against its recorded checksum before anything is computed from it."""

import hashlib
import json
from pathlib import Path

import matplotlib.image
import numpy as np

FOLDER = Path(__file__).resolve().parent.parent / "data"
FORMS = (646, 1029, 1287)  # digits stand in the order of the 14 forms they were written into; rows where one begins


def load_digits() -> tuple[np.ndarray, np.ndarray]:
    """The 1,797 handwritten digits: images (1797, 8, 8) float64 in [0, 1], labels (1797,) int64 from 0 to 9."""
    with np.load(verified("digits.npz"), allow_pickle=False) as file:
        return file["images"] / 16.0, file["labels"].astype(np.int64)


def load_photograph() -> np.ndarray:
    """The photograph: (height, width, 3) float64, red, green and blue in [0, 1]."""
    return matplotlib.image.imread(verified("photograph.png"))[..., :3].astype(np.float64)


def load_json(name: str) -> dict:
    """The recorded measurements in a JSON file of the data folder."""
    return json.loads(verified(name).read_text(encoding="utf-8"))


def verified(name: str) -> Path:
    """The path of a data file whose SHA-256 is the one in data/SHA256SUMS.

    Raises FileNotFoundError when the file is missing, ValueError when it is not listed or was altered.
    """
    path = FOLDER / name
    if not path.is_file():
        raise FileNotFoundError(f"data file {path} is missing; restore it from the coursework's copy")
    lines = (FOLDER / "SHA256SUMS").read_text(encoding="ascii", errors="replace").splitlines()
    expected = {entry: digest for digest, entry in (line.split(maxsplit=1) for line in lines)}.get(name)
    if expected is None:
        raise ValueError(f"data file {name} is not listed in {FOLDER / 'SHA256SUMS'}")
    actual = hashlib.sha256(path.read_bytes()).hexdigest()
    if actual != expected:
        raise ValueError(f"data file {path} was altered: its SHA-256 is {actual}, expected {expected}")
    return path
