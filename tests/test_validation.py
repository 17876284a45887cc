"""The validation set chooses well, its score is optimistic after the choice, and the figures show both."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from helpers.warmup import validation


@pytest.fixture(scope="module")
def selection():
    return validation.select_penalty()


def test_the_choice_has_the_least_validation_error(selection):
    assert selection.validation[selection.chosen] == selection.validation.min()


def test_the_choice_is_not_at_the_edge_of_the_grid(selection):
    assert 0 < selection.chosen < len(validation.PENALTIES) - 1


def test_error_rates_are_multiples_of_one_sample_of_their_own_set(selection):
    for errors, size in ((selection.train, 150), (selection.validation, 383), (selection.test, 768)):
        np.testing.assert_allclose(errors * size, np.round(errors * size), atol=1e-9)  # rounding of a quotient


def test_digits_of_one_form_on_every_side_hide_a_part_of_the_error():
    runs = [[validation.select_penalty(apart, seed) for seed in range(10)] for apart in (True, False)]
    apart, mixed = (np.mean([run.test[run.chosen] for run in some]) for some in runs)
    assert 0.11 < apart < 0.15
    assert 0.07 < mixed < 0.11


def test_a_zero_training_error_goes_with_good_and_with_useless_models(selection):
    fits_all = selection.train == 0
    assert selection.test[fits_all].min() < 0.15
    assert selection.test[fits_all].max() > 0.6


def test_too_large_a_penalty_underfits_on_all_three_sets(selection):
    for errors in (selection.train, selection.validation, selection.test):
        assert errors[-1] > errors[selection.chosen] + 0.15


@pytest.mark.parametrize(("classifiers", "points", "expected"), [(1, 7, 1 / 2), (2, 1, 3 / 4), (3, 2, 50 / 64)])
def test_the_expected_best_is_the_one_counted_by_hand(classifiers, points, expected):
    # three flippers on two points: P(best = 0) = 1/64, P(best <= 1) = 27/64, so (0 + 26/2 + 37) / 64 = 50/64
    assert validation.expected_best(classifiers, points) == pytest.approx(expected, rel=1e-12)


def test_the_best_of_100_coin_flips_on_100_points_is_expected_at_62_and_a_half_percent():
    assert validation.expected_best() == pytest.approx(0.625, abs=5e-4)


def test_the_simulation_agrees_with_the_expectation_and_fresh_points_with_chance():
    chosen, fresh = validation.choose_among_coin_flips()
    # standard errors over 2000 repeats: 0.0005 where chosen, 0.0011 afresh
    assert chosen.mean() == pytest.approx(validation.expected_best(), abs=0.002)
    assert fresh.mean() == pytest.approx(0.5, abs=0.005)


def test_the_selection_figure_carries_the_three_errors_and_the_choice(selection):
    axes = Figure().subplots()
    validation.draw_selection(axes, selection)
    lines = {line.get_label(): line for line in axes.lines}
    for name in ("train", "validation", "test"):
        np.testing.assert_array_equal(lines[name].get_ydata(), 100 * getattr(selection, name))
        np.testing.assert_array_equal(lines[name].get_xdata(), validation.PENALTIES)
    assert axes.lines[3].get_xdata()[0] == validation.PENALTIES[selection.chosen]
    assert axes.get_title() == "Validation chooses 1"
    assert axes.xaxis_inverted()


def test_the_optimism_figure_counts_every_repeat_and_names_the_means():
    axes = Figure().subplots()
    scores = np.array([[0.6, 0.62, 0.64], [0.5, 0.4, 0.48]])
    validation.draw_optimism(axes, scores)
    for bars, values in zip(axes.containers, scores, strict=True):
        filled = [bar.get_x() + bar.get_width() / 2 for bar in bars if bar.get_height()]
        np.testing.assert_allclose(filled, sorted(100 * values))  # a bar a percent, at its middle
        assert sum(bar.get_height() for bar in bars) == len(values)
    assert axes.lines[0].get_xdata()[0] == 50
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts == ["where chosen: mean 62.0 %", "fresh: mean 46.0 %"]
