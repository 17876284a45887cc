"""What the notebook shows: figures with descriptions, sources, and the record of what was verified."""

import io

import matplotlib.image
import matplotlib.pyplot as plt
import numpy as np
import pytest

from helpers import notebook

DESCRIPTION = "A line that rises from one to three"


@pytest.fixture
def shown(monkeypatch) -> list:
    """What a cell would display."""
    objects = []
    monkeypatch.setattr(notebook, "display", objects.append)
    monkeypatch.setattr(notebook, "_verified", {})
    return objects


def figure(width: float = 4.0) -> plt.Figure:
    drawn, axes = plt.subplots(figsize=(width, 2))
    axes.plot([1, 2, 3])
    return drawn


def test_a_figure_is_shown_as_a_png_with_its_description_and_width(shown):
    notebook.show(figure(width=5), DESCRIPTION)
    data, metadata = shown[0]._repr_mimebundle_()
    assert set(data) == {"image/png"}
    assert metadata["image/png"] == {"alt": DESCRIPTION, "width": 500}


def test_the_png_is_sharper_than_its_width_on_the_page(shown):
    notebook.show(figure(width=5), DESCRIPTION)
    assert matplotlib.image.imread(io.BytesIO(shown[0].data)).shape[:2] == (256, 640)


def test_a_figure_that_was_shown_is_closed(shown):
    drawn = figure()
    notebook.show(drawn, DESCRIPTION)
    assert not plt.fignum_exists(drawn.number)


def test_the_same_figure_gives_the_same_bytes(shown):
    notebook.show(figure(), DESCRIPTION)
    notebook.show(figure(), DESCRIPTION)
    assert shown[0].data == shown[1].data


def test_a_figure_without_a_description_is_refused(shown):
    with pytest.raises(ValueError, match="description of five words or more, got 'A line'"):
        notebook.show(figure(), "A line")
    plt.close("all")


def test_every_color_of_the_palette_has_a_dash_of_its_own():
    with plt.rc_context():
        notebook.use_style()
        styles = plt.rcParams["axes.prop_cycle"].by_key()
    assert styles["color"] == list(notebook.PALETTE)
    assert len(set(styles["linestyle"])) >= len(notebook.PALETTE) - 1  # black is told apart by its color


def test_the_style_does_not_depend_on_earlier_settings():
    with plt.rc_context():
        plt.rcParams["font.size"] = 31
        plt.rcParams["axes.facecolor"] = "yellow"
        notebook.use_style()
        assert (plt.rcParams["font.size"], plt.rcParams["axes.facecolor"]) == (10, "white")


def test_the_source_of_a_function_is_shown_under_its_name(shown):
    notebook.show_source(notebook.verify)
    assert shown[0].data.startswith("**`verify`**\n\n```python\ndef verify(")
    assert shown[0].data.endswith('print(f"holds: {claim}")\n```')


def test_the_source_of_a_module_is_shown_under_its_path(shown):
    notebook.show_source(notebook)
    assert shown[0].data.startswith("**`helpers/notebook.py`**\n\n```python\n")
    assert "def verify(" in shown[0].data


def test_a_claim_that_holds_is_printed(shown, capsys):
    notebook.verify("a", "two is even", np.bool_(True))
    assert capsys.readouterr().out == "holds: two is even\n"


def test_a_claim_that_does_not_hold_stops_with_its_words(shown, capsys):
    with pytest.raises(AssertionError, match=r"\(a\) does not hold: two is odd"):
        notebook.verify("a", "two is odd", False)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("vacuous", [[0], "no", 1, None, np.ones(1, dtype=bool)])
def test_only_a_boolean_verifies_a_claim(shown, vacuous):
    with pytest.raises(TypeError, match="holds must be a bool"):
        notebook.verify("a", "something is true", vacuous)


def rows_of_the_table(shown) -> list[list[str]]:
    notebook.table_of_checks()
    lines = shown[0].data.splitlines()
    return [[entry.strip(" *") for entry in line.strip("|").split("|")] for line in lines]


def test_the_table_counts_the_claims_of_each_section_and_its_points(shown):
    for section, claim in [("a", "first"), ("a", "second"), ("2", "third"), ("4", "fourth")]:
        notebook.verify(section, claim, True)
    head, _, *rows = rows_of_the_table(shown)
    assert head == ["section", "claims verified", "points"]
    assert rows == [["a", "2", "2.5"], ["2", "1", "15"], ["4", "1", ""], ["all", "4", "17.5"]]


def test_all_sections_together_carry_65_points(shown):
    for section in "abcdefghij23":
        notebook.verify(section, "something is true", True)
    assert rows_of_the_table(shown)[-1] == ["all", "12", "65"]


def test_a_cell_that_runs_twice_counts_once(shown):
    for _ in range(2):
        notebook.verify("a", "two is even", True)
    assert rows_of_the_table(shown)[2] == ["a", "1", "2.5"]


def test_a_claim_that_failed_is_not_counted(shown):
    notebook.verify("a", "two is even", True)
    with pytest.raises(AssertionError):
        notebook.verify("a", "two is odd", False)
    assert rows_of_the_table(shown)[-1] == ["all", "1", "2.5"]
