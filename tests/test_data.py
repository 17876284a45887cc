"""The data: what the files hold, and that an altered file is refused."""

import re
import shutil

import numpy as np
import pytest

from helpers import data
from tools import make_data

LISTED = dict(reversed(line.split()) for line in (data.FOLDER / "SHA256SUMS").read_text("ascii").splitlines())
LOADERS = {"digits.npz": data.load_digits, "photograph.png": data.load_photograph}


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of the data folder that a test may spoil."""
    folder = shutil.copytree(data.FOLDER, tmp_path / "data")
    monkeypatch.setattr(data, "FOLDER", folder)
    monkeypatch.setattr(make_data, "DATA", folder)
    return folder


def test_the_digits_are_1797_images_from_0_to_1_with_their_labels():
    images, labels = data.load_digits()
    assert (images.shape, images.dtype, labels.shape, labels.dtype) == ((1797, 8, 8), "f8", (1797,), "i8")
    assert (images.min(), images.max()) == (0, 1)
    assert set(labels) == set(range(10))


@pytest.mark.parametrize("row", data.FORMS)
def test_a_form_begins_with_the_digits_in_their_order(row):
    _, labels = data.load_digits()
    np.testing.assert_array_equal(labels[row : row + 30], np.arange(30) % 10)
    assert (labels[row - 30 : row] != np.arange(30) % 10).any()


def test_the_photograph_is_in_color_from_0_to_1():
    photograph = data.load_photograph()
    assert (photograph.shape, photograph.dtype) == ((300, 256, 3), "f8")
    assert 0 <= photograph.min() < 0.05
    assert 0.95 < photograph.max() <= 1


def test_the_command_makes_the_same_data_again(copied):
    before = *data.load_digits(), data.load_photograph()
    for name in ("digits.npz", "photograph.png", "SHA256SUMS"):
        (copied / name).unlink()
    make_data.main()
    for made, stored in zip((*data.load_digits(), data.load_photograph()), before, strict=True):
        np.testing.assert_allclose(made, stored, rtol=0, atol=1.5 / 255)  # JPEG decoders differ by a level of 255


@pytest.mark.parametrize("name", LISTED)
@pytest.mark.parametrize("where", [0, 1000, -1])
def test_an_altered_file_is_refused(copied, name, where):
    content = bytearray((copied / name).read_bytes())
    content[where] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{re.escape(name)} was altered: .* does not list its SHA-256"):
        LOADERS[name]()
    (copied / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{re.escape(name)} is missing"):
        LOADERS[name]()


def test_every_file_is_listed_and_described_with_its_checksum():
    files = {path.name for path in data.FOLDER.iterdir()} - {"README.md", "SHA256SUMS"}
    assert files == set(LISTED)
    readme = (data.FOLDER / "README.md").read_text("utf-8")
    for name, checksum in LISTED.items():
        section = re.search(rf"(?ms)^## {re.escape(name)}\n(.*?)(?=^## |\Z)", readme)[1]
        assert all(item in section for item in ("- Source: ", "- License: ", "- Command: ", checksum))
