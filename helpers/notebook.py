"""What the notebook shows: figures with their description, source code, and what was verified."""

import inspect
import io
from collections import Counter
from types import ModuleType

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from IPython.display import Image as DisplayedImage
from IPython.display import Markdown, display
from matplotlib.figure import Figure
from PIL import Image

# Okabe and Ito's color-blind-safe palette (jfly.uni-koeln.de/color), darkest first, yellow left out.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), "-")
_DPI = 128

_POINTS = dict.fromkeys("abcdefghij", 2.5) | {"2": 15, "3": 25}
_verified: dict[tuple[str, str], None] = {}  # an ordered set: a cell run twice counts once


def use_style() -> None:
    """Give every figure one look: a palette that color-blind readers tell apart, a dash for each color."""
    plt.rcParams.update(plt.rcParamsDefault)
    plt.rcParams.update(
        {
            "axes.prop_cycle": cycler(color=PALETTE) + cycler(linestyle=_DASHES),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 11,
            "axes.labelsize": 10,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "font.size": 10,
            "legend.frameon": False,
            "lines.linewidth": 1.8,
            "image.cmap": "gray",
        }
    )


def show(figure: Figure, description: str) -> None:
    """Display a figure as a PNG with the description as alternative text in its metadata, and close it.

    Raises ValueError when the description is too short to describe anything.
    """
    if len(description.split()) < 5:
        raise ValueError(f"a figure needs a description of five words or more, got {description!r}")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    plt.close(figure)
    with Image.open(buffer) as picture:  # 256 colors: a third of the size
        buffer = io.BytesIO()
        picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(buffer, "png", optimize=True)
    width = round(figure.get_figwidth() * 100)
    display(DisplayedImage(data=buffer.getvalue(), format="png", width=width, alt=description))


def show_source(*objects) -> None:
    """Display the source of functions or modules as highlighted code."""
    for thing in objects:
        title = f"{thing.__name__.replace('.', '/')}.py" if isinstance(thing, ModuleType) else thing.__name__
        display(Markdown(f"**`{title}`**\n\n```python\n{inspect.getsource(thing).rstrip()}\n```"))


def verify(section: str, claim: str, holds: bool) -> None:
    """Assert that a claim holds, say so, and record it for the table of checks.

    Raises AssertionError, with the claim, when it does not hold; TypeError when `holds` is not a boolean,
    since the truth of anything else (a non-empty list, say) would prove nothing.
    """
    if not isinstance(holds, bool | np.bool_):
        raise TypeError(f"holds must be a bool, got {type(holds).__name__}")
    if not holds:
        raise AssertionError(f"({section}) does not hold: {claim}")
    _verified[section, claim] = None
    print(f"holds: {claim}")


def table_of_checks() -> None:
    """Display how many claims each section verified, and the points of its questions."""
    claims = Counter(section for section, _ in _verified)
    rows = [f"| {section} | {count} | {_POINTS.get(section, '')} |" for section, count in claims.items()]
    points = sum(_POINTS.get(section, 0) for section in claims)
    total = f"| **all** | **{claims.total()}** | **{points:g}** |"
    display(Markdown("\n".join(["| section | claims verified | points |", "|:--|--:|--:|", *rows, total])))
