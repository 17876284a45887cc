"""The data: what it holds, and that an altered file is refused."""

import ast
import hashlib
import io
import json
import os
import re
import shutil

import numpy as np
import pytest

from helpers import data
from tools import make_data

LISTED = dict(reversed(line.split()) for line in (data.FOLDER / "SHA256SUMS").read_text().splitlines())
ROOT = data.FOLDER.parent
README = (data.FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of the data folder that a test may spoil."""
    folder = shutil.copytree(data.FOLDER, tmp_path / "data")
    monkeypatch.setattr(data, "FOLDER", folder)
    return folder


def test_the_digits_are_1797_images_of_8_by_8_pixels_with_their_labels():
    images, labels = data.load_digits()
    assert (images.shape, images.dtype, labels.shape, labels.dtype) == ((1797, 8, 8), "f8", (1797,), "i8")


def test_a_form_begins_with_the_digits_in_their_order():
    labels = data.load_digits()[1]
    for row in data.FORMS:
        np.testing.assert_array_equal(labels[row : row + 30], np.arange(30) % 10)
        assert (labels[row - 30 : row] != np.arange(30) % 10).any()


def test_digit_pixels_run_from_0_to_1():
    images, _ = data.load_digits()
    assert (images.min(), images.max()) == (0.0, 1.0)


def test_the_digits_are_those_that_scikit_learn_ships():
    expected = make_data.load_digits()
    images, labels = data.load_digits()
    np.testing.assert_array_equal(images * 16, expected.images)
    np.testing.assert_array_equal(labels, expected.target)


def test_the_photograph_is_in_color_from_0_to_1():
    photograph = data.load_photograph()
    assert (photograph.shape, photograph.dtype) == ((300, 256, 3), "f8")
    assert 0 <= photograph.min() < 0.05
    assert 0.95 < photograph.max() <= 1


def test_the_command_makes_the_same_data_again(copied, monkeypatch):
    stored = [*data.load_digits(), data.load_photograph()]
    for name in ("digits.npz", "photograph.png", "SHA256SUMS"):
        (copied / name).unlink()
    monkeypatch.setattr(make_data, "DATA", copied)
    make_data.main()
    for old, new in zip(stored, [*data.load_digits(), data.load_photograph()], strict=True):
        np.testing.assert_array_equal(old, new)


LOADERS = {
    "digits.npz": data.load_digits,
    "photograph.png": data.load_photograph,
    "learning_rate_curves.json": lambda: data.load_json("learning_rate_curves.json"),
    "cross_corr_cost.json": lambda: data.load_json("cross_corr_cost.json"),
}


@pytest.mark.parametrize("name", LISTED)
@pytest.mark.parametrize("where", [0, 1000, -1])
def test_an_altered_file_is_refused_with_its_expected_checksum(copied, name, where):
    content = bytearray((copied / name).read_bytes())
    content[where] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{re.escape(name)} was altered: .* expected {LISTED[name]}$"):
        LOADERS[name]()


@pytest.mark.parametrize("name", LISTED)
def test_a_checksum_that_is_no_text_any_more_refuses_its_own_file_alone(copied, name):
    content = (copied / "SHA256SUMS").read_bytes()
    (copied / "SHA256SUMS").write_bytes(content.replace(LISTED[name].encode(), b"\xff" * 64))
    for other in set(LISTED) - {name}:
        LOADERS[other]()
    with pytest.raises(ValueError, match=rf"{re.escape(name)} was altered"):
        LOADERS[name]()


@pytest.mark.parametrize("name", LISTED)
def test_nothing_is_decoded_of_an_altered_file(copied, monkeypatch, name):
    (copied / name).write_bytes(b"altered")
    for module, function in ((np, "load"), (data.matplotlib.image, "imread"), (data.json, "loads")):
        monkeypatch.setattr(module, function, lambda *_, **__: pytest.fail("it was decoded"))
    with pytest.raises(ValueError, match="was altered"):
        LOADERS[name]()


def test_a_pickle_is_not_loaded_even_where_its_checksum_is_right(copied, monkeypatch):
    monkeypatch.setattr(make_data, "DATA", copied)
    content = io.BytesIO()
    np.savez(content, images=np.array([object()]), labels=np.zeros(1))
    make_data.write_data("digits.npz", content.getvalue())
    with pytest.raises(ValueError, match="allow_pickle=False"):
        data.load_digits()


def test_an_altered_file_keeps_its_checksum_when_another_is_written(copied, monkeypatch):
    monkeypatch.setattr(make_data, "DATA", copied)
    (copied / "photograph.png").write_bytes(b"altered")
    make_data.write_data("digits.npz", make_data.digits())
    with pytest.raises(ValueError, match="was altered"):
        data.load_photograph()


def test_making_the_data_never_leaves_half_a_file(copied, monkeypatch):
    monkeypatch.setattr(make_data, "DATA", copied)
    before = {path.name: path.read_bytes() for path in copied.iterdir()}

    def interrupted(*paths):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_data.write_data("digits.npz", b"new")
    assert {path.name: path.read_bytes() for path in copied.iterdir()} == before


def test_a_missing_file_is_named(copied):
    (copied / "photograph.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"photograph\.png is missing"):
        data.load_photograph()


def test_a_file_without_a_checksum_is_refused(copied):
    (copied / "other.json").write_text("{}")
    with pytest.raises(ValueError, match=r"other\.json is not listed"):
        data.load_json("other.json")


def test_every_file_of_the_folder_is_listed():
    files = {path.name for path in data.FOLDER.iterdir()} - {"README.md", "SHA256SUMS"}
    assert files == set(LISTED)


@pytest.mark.parametrize("name", LISTED)
def test_the_readme_gives_source_licence_checksum_and_command(name):
    section = re.search(rf"(?ms)^## {re.escape(name)}\n(.*?)(?=^## |\Z)", README)[1]
    digest = hashlib.sha256((data.FOLDER / name).read_bytes()).hexdigest()
    assert LISTED[name] == digest
    assert digest in section
    assert all(f"- {item}: " in section for item in ("Source", "Licence", "Command"))


# --- Code comes from the checkout alone

SOURCES = {
    **{str(path): path.read_text("utf-8") for path in sorted((ROOT / "helpers").rglob("*.py"))},
    "coursework1.ipynb": "\n".join(
        "".join(cell["source"])
        for cell in json.loads((ROOT / "coursework1.ipynb").read_text("utf-8"))["cells"]
        if cell["cell_type"] == "code"
    ),
}
OUTSIDE = {"pickle", "dill", "joblib", "shelve", "marshal", "urllib", "requests", "http", "socket", "ssl", "ftplib"}


def imported(node: ast.AST) -> set[str]:
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    names += [node.module] if isinstance(node, ast.ImportFrom) else []
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_is_unpickled_evaluated_or_fetched(name):
    for node in ast.walk(ast.parse(SOURCES[name])):
        assert not imported(node) & OUTSIDE
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"eval", "exec", "compile", "__import__", "torch.load", "torch.hub.load"}
            assert called != "np.load" or "allow_pickle=False" in ast.unparse(node)
            assert not called.split(".")[-1].startswith("fetch_")  # the data sets that scikit-learn downloads
