"""What the notebook shows: figures with their text, sources, and the record of what was verified."""

import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

from helpers import notebook

TEXT = "A line that rises from one to three."


@pytest.fixture
def shown(monkeypatch) -> list:
    """What a cell would display."""
    objects = []
    monkeypatch.setattr(notebook, "display", objects.append)
    monkeypatch.setattr(notebook, "_verified", {})
    return objects


def draw(width: float = 4.0) -> plt.Figure:
    figure, axes = plt.subplots(figsize=(width, 2))
    axes.plot([1, 2, 3])
    return figure


def test_a_figure_is_closed_and_a_sharp_png_with_its_text_as_alternative_text_and_as_caption(shown):
    figure = draw(width=5)
    notebook.show(figure, TEXT)
    picture, caption = shown
    data, metadata = picture._repr_mimebundle_()
    assert set(data) == {"image/png"}
    assert metadata["image/png"] == {"alt": TEXT, "width": 500}
    assert caption.data.endswith(TEXT)
    width, height = Image.open(io.BytesIO(picture.data)).size
    assert width > 500  # the width on the page
    assert width / height == 5 / 2
    assert not plt.fignum_exists(figure.number)


def test_markup_in_a_text_is_shown_as_it_is(shown):
    notebook.show(draw(), "A price of $5 and a_b_c below *two* and three")
    assert r"\$5 and a\_b\_c below \*two\*" in shown[1].data


def test_the_same_figure_gives_the_same_bytes(shown):
    notebook.show(draw(), TEXT)
    notebook.show(draw(), TEXT)
    assert shown[0].data == shown[2].data


def test_every_color_has_a_dash_of_its_own_but_black():
    with plt.rc_context():
        notebook.use_style()
        styles = plt.rcParams["axes.prop_cycle"].by_key()
    assert styles["color"] == list(notebook.PALETTE)
    assert len(set(styles["linestyle"])) >= len(notebook.PALETTE) - 1


def test_the_style_does_not_depend_on_earlier_settings():
    with plt.rc_context({"font.size": 31, "axes.facecolor": "yellow"}):
        notebook.use_style()
        assert (plt.rcParams["font.size"], plt.rcParams["axes.facecolor"]) == (10, "white")


def test_sources_are_shown_as_one_listing(shown):
    notebook.show_source(notebook.verify, notebook.use_style)
    listing = shown[0].data
    assert listing.startswith("```python\ndef verify(")
    assert "\n\n\ndef use_style(" in listing
    assert listing.endswith("\n```")


def test_a_claim_that_holds_is_printed(shown, capsys):
    notebook.verify("a", "two is even", np.bool_(True))
    assert capsys.readouterr().out == "holds: two is even\n"


def test_a_claim_that_does_not_hold_stops_with_its_words(shown, capsys):
    with pytest.raises(AssertionError, match=r"\(a\) does not hold: two is odd"):
        notebook.verify("a", "two is odd", False)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("got", [[1.0, 2.0005], np.array([1, 2]), torch.tensor([1.0, 2.0], requires_grad=True)])
def test_an_expected_array_of_either_kind_is_a_claim_that_holds(shown, capsys, got):
    notebook.expect("2", "the values are 1 and 2", got, [1, 2], "Count again.")
    assert capsys.readouterr().out == "holds: the values are 1 and 2\n"


@pytest.mark.parametrize(
    ("got", "found"),
    [([1, 2.5], r"got \[1.0, 2.5\], expected \[1.0, 2.0\]"), ([1], r"'shape' do not match"), (None, "got None")],
)
def test_an_array_that_was_not_expected_is_told_with_what_was_found(shown, got, found):
    with pytest.raises(AssertionError, match=f"the values are 1 and 2: .*{found}"):
        notebook.expect("2", "the values are 1 and 2", got, [1, 2], "Count again.")


@pytest.mark.parametrize("vacuous", [[0], "no", 1, None, np.ones(1, dtype=bool)])
def test_only_a_boolean_verifies_a_claim(shown, vacuous):
    with pytest.raises(TypeError, match="holds must be a bool"):
        notebook.verify("a", "something is true", vacuous)


def test_the_table_counts_the_claims_of_each_section_once(shown):
    for section, claim in [("a", "first"), ("a", "second"), ("2", "third"), ("a", "first")]:
        notebook.verify(section, claim, True)
    with pytest.raises(AssertionError):
        notebook.verify("2", "a false one", False)
    notebook.show_table_of_checks()
    assert shown[0].data.splitlines()[2:] == ["| a | 2 |", "| 2 | 1 |"]
