"""Make the files of data/ from the copies that scikit-learn and matplotlib ship: python -m tools.make_data"""

import hashlib

import matplotlib.cbook
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from helpers.data import FOLDER as DATA


def main() -> None:
    digits = load_digits()
    np.savez_compressed(DATA / "digits.npz", images=digits.images.astype("u1"), labels=digits.target.astype("u1"))
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        pixels = np.asarray(Image.open(file))
    height, width, channels = pixels.shape
    halved = pixels.reshape(height // 2, 2, width // 2, 2, channels).mean(axis=(1, 3))
    Image.fromarray(np.rint(halved).astype("u1")).save(DATA / "photograph.png")
    sums = ""
    for name in ("digits.npz", "photograph.png"):
        sums += f"{hashlib.sha256((DATA / name).read_bytes()).hexdigest()}  {name}\n"
    (DATA / "SHA256SUMS").write_bytes(sums.encode())


if __name__ == "__main__":
    main()
