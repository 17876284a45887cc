"""What the notebook shows: figures with their text, source code, and the claims that were verified."""

import inspect
import io
import re
from collections import Counter

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Image, Markdown, display
from PIL import Image as PillowImage

# Okabe and Ito's color-blind-safe palette (jfly.uni-koeln.de/color), darkest first, without the yellow.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), "-")

_verified: dict[tuple[str, str], None] = {}  # An ordered set: a claim of a cell that is run twice counts once.


def use_style() -> None:
    """Give every figure one look: colors that color-blind readers tell apart, and a dash for each color."""
    plt.rcdefaults()
    plt.rc("axes", prop_cycle=plt.cycler(color=PALETTE, linestyle=_DASHES), grid=True, titlesize=11)
    plt.rc("axes.spines", top=False, right=False)
    plt.rc("grid", alpha=0.25)
    plt.rc("image", cmap="gray")
    plt.rc("legend", frameon=False)
    plt.rc("lines", linewidth=1.8)


def show(figure: plt.Figure, text: str) -> None:
    """Display a figure as a PNG, with a plain text as its alternative text and as its caption; close the figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=112)
    plt.close(figure)
    picture = PillowImage.open(buffer).convert("RGB").quantize(256)  # 256 colors take a third of the size.
    buffer = io.BytesIO()
    picture.save(buffer, "png", optimize=True)
    display(Image(buffer.getvalue(), format="png", width=round(figure.get_figwidth() * 100), alt=text))
    escaped = re.sub(r"([\\`*_$<\[\]~|])", r"\\\1", text)  # What Markdown would take for markup.
    display(Markdown("*Figure.* " + escaped))


def show_source(*functions) -> None:
    """Display the source of functions, compiled ones included, as one listing of highlighted code."""
    listing = "\n\n\n".join(inspect.getsource(inspect.unwrap(function)).rstrip() for function in functions)
    display(Markdown(f"```python\n{listing}\n```"))


def verify(section: str, claim: str, holds: bool) -> None:
    """Print a claim that holds and record it; raise AssertionError if it does not, TypeError if `holds` is no bool."""
    if not isinstance(holds, bool | np.bool_):
        raise TypeError(f"holds must be a bool, got {type(holds).__name__}")
    if not holds:
        raise AssertionError(f"({section}) does not hold: {claim}")
    _verified[section, claim] = None
    print(f"holds: {claim}")


def expect(section: str, claim: str, got, wanted, slip: str) -> None:
    """Verify that two arrays, of NumPy or torch, agree to 1e-3. If they do not, the error shows both and the slip."""
    if got is None:
        raise AssertionError(f"{claim}: got None. {slip}")
    got = torch.as_tensor(got.copy() if isinstance(got, np.ndarray) else got).detach().double()  # no negative strides
    wanted = torch.as_tensor(wanted).detach().double()
    values = f"got {got.round(decimals=4).tolist()}, expected {wanted.round(decimals=4).tolist()}"
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-3, msg=lambda found: f"{claim}: {values}. {slip} {found}")
    verify(section, claim, True)


def show_table_of_checks() -> None:
    """Display how many claims each section verified."""
    counts = Counter(section for section, _ in _verified)
    rows = [f"| {section} | {count} |" for section, count in counts.items()]
    display(Markdown("\n".join(["| section | claims verified |", "|:--|--:|", *rows])))
