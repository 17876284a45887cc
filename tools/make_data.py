"""Make data/digits.npz and data/photograph.png from the copies that scikit-learn and matplotlib ship."""

import hashlib
from pathlib import Path

import matplotlib.cbook
import matplotlib.image
import numpy as np
from sklearn.datasets import load_digits

DATA = Path(__file__).resolve().parent.parent / "data"


def main() -> None:
    images, labels = load_digits(return_X_y=True)
    images, labels = images.reshape(-1, 8, 8).astype(np.uint8), labels.astype(np.uint8)
    np.savez_compressed(DATA / "digits.npz", images=images, labels=labels)
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        photograph = matplotlib.image.imread(file, format="jpg")
    height, width, channels = photograph.shape
    halved = photograph.reshape(height // 2, 2, width // 2, 2, channels).mean(axis=(1, 3))
    pixels = np.rint(halved).astype(np.uint8)
    matplotlib.image.imsave(DATA / "photograph.png", pixels, metadata={"Software": None})
    record_checksums()


def record_checksums() -> None:
    """Write data/SHA256SUMS anew, in the format of `sha256sum`, for every data file."""
    files = sorted(path for path in DATA.iterdir() if path.suffix in {".npz", ".png", ".json"})
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (DATA / "SHA256SUMS").write_text("".join(lines), encoding="ascii")


if __name__ == "__main__":
    main()
