"""Make data/digits.npz and data/photograph.png from the copies that scikit-learn and matplotlib ship.

python -m tools.make_data
"""

import hashlib
import io

import matplotlib.cbook
import matplotlib.image
import numpy as np
from sklearn.datasets import load_digits

from helpers.data import FOLDER as DATA
from tools.files import write_atomically


def main() -> None:
    write_data("digits.npz", digits())
    write_data("photograph.png", photograph())


def digits() -> bytes:
    images, labels = load_digits(return_X_y=True)
    images, labels = images.reshape(-1, 8, 8).astype(np.uint8), labels.astype(np.uint8)
    content = io.BytesIO()
    np.savez_compressed(content, images=images, labels=labels)
    return content.getvalue()


def photograph() -> bytes:
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        pixels = matplotlib.image.imread(file, format="jpg")
    height, width, channels = pixels.shape
    halved = pixels.reshape(height // 2, 2, width // 2, 2, channels).mean(axis=(1, 3))
    content = io.BytesIO()
    matplotlib.image.imsave(content, np.rint(halved).astype(np.uint8), format="png", metadata={"Software": None})
    return content.getvalue()


def write_data(name: str, content: bytes) -> None:
    """Replace a data file, then its line in data/SHA256SUMS; between the two, the file is refused as altered."""
    write_atomically(DATA / name, content)
    sums = DATA / "SHA256SUMS"
    known = dict(reversed(line.split()) for line in sums.read_text("ascii").splitlines()) if sums.exists() else {}
    known[name] = hashlib.sha256(content).hexdigest()
    write_atomically(sums, "".join(f"{known[file]}  {file}\n" for file in sorted(known)).encode())


if __name__ == "__main__":
    main()
