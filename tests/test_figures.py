"""The stored pictures show what the notebook draws now. nbval skips pictures, so they are compared here."""

import io
import re
from importlib.metadata import version
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from PIL import Image

from tools.pictures import TOLERANCE, measure_difference, same_picture

ROOT = Path(__file__).resolve().parent.parent
STORED = nbformat.read(ROOT / "coursework1.ipynb", as_version=4)
DRAWN_WITH = re.search(r"^matplotlib==(\d+\.\d+\.)", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE)[1]


def figures_of(notebook) -> dict[str, str]:
    """The pictures of a notebook in base64, by cell and place."""
    return {
        f"{cell.id}-{place}": output.data["image/png"]
        for cell in notebook.cells
        for place, output in enumerate(cell.get("outputs", []))
        if "image/png" in output.get("data", {})
    }


def test_as_many_figures_are_drawn_as_are_stored(executed):
    assert list(figures_of(executed)) == list(figures_of(STORED))


@pytest.mark.skipif(
    not version("matplotlib").startswith(DRAWN_WITH),
    reason="another minor version of matplotlib sets ticks, legends and letters elsewhere",
)
@pytest.mark.parametrize("name", figures_of(STORED))
def test_a_stored_figure_is_what_the_notebook_draws(executed, name):
    assert same_picture(figures_of(STORED)[name], figures_of(executed)[name])


# The comparison itself: it overlooks what another machine changes, and notices what a reader would.


def draw_sample(change=lambda curves, bars, image: None, noise: float = 0.0) -> Image.Image:
    x = np.linspace(0, 10, 60)
    jitter = 1 + noise * np.random.default_rng(1).standard_normal(60)
    figure, axes = plt.subplots(1, 3, figsize=(9, 3.3), layout="constrained")
    curves, bars, image = axes
    for label, y in {"SGD": np.exp(-x / 3), "momentum": np.exp(-x / 5), "Adam": 0.3 + 0.2 * np.sin(x)}.items():
        curves.plot(x, y * jitter, label=label)
    curves.set(title="Training loss at rate 0.1", xlabel="step", ylabel="loss (nats)")
    curves.legend()
    bars.bar(range(5), [1, 3, 2, 5, 4])
    bars.set(title=r"Errors $1/\sigma^3$", xlabel="class", ylabel="count")
    image.imshow(np.random.default_rng(3).random((12, 12)))
    change(curves, bars, image)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=128)
    plt.close(figure)
    return Image.open(buffer).convert("RGB")


HARMLESS = {
    "drawn again": lambda sample: draw_sample(),
    "256 colors": lambda sample: sample.quantize(256, dither=Image.Dither.NONE),
    "moved by a pixel": lambda sample: Image.fromarray(np.roll(sample, (1, 1), axis=(0, 1))),
    "values off by a thousandth": lambda sample: draw_sample(noise=1e-3),
}
FAULTS = {
    "a slower curve": lambda curves, bars, image: curves.lines[1].set_ydata(np.exp(-np.linspace(0, 10, 60) / 5.5)),
    "a shorter curve": lambda curves, bars, image: curves.lines[2].set_data([0, 5], [0.3, 0.3]),
    "a curve is missing": lambda curves, bars, image: curves.lines[2].remove(),
    "a curve has another's color": lambda curves, bars, image: curves.lines[0].set_color("C1"),
    "two legend entries are swapped": lambda curves, bars, image: curves.legend(["momentum", "SGD", "Adam"]),
    "another digit in the title": lambda curves, bars, image: curves.set_title("Training loss at rate 0.2"),
    "another exponent": lambda curves, bars, image: bars.set_title(r"Errors $1/\sigma^2$"),
    "another word on an axis": lambda curves, bars, image: curves.set_xlabel("epoch"),
    "other limits": lambda curves, bars, image: curves.set_xlim(0, 10),
    "a logarithmic axis": lambda curves, bars, image: bars.set_yscale("log"),
    "a bar is 5 % too high": lambda curves, bars, image: bars.patches[1].set_height(3.15),
    "letters for numbers at the ticks": lambda curves, bars, image: bars.set_xticks(range(5), list("abcde")),
    "the picture is transposed": lambda curves, bars, image: image.images[0].set_data(image.images[0].get_array().T),
}


@pytest.fixture(scope="module")
def sample():
    return draw_sample()


@pytest.mark.parametrize("name", HARMLESS)
def test_a_harmless_change_is_overlooked(sample, name):
    assert measure_difference(sample, HARMLESS[name](sample)) < TOLERANCE


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_noticed(sample, name):
    assert measure_difference(sample, draw_sample(FAULTS[name])) > TOLERANCE
