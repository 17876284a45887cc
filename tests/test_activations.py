"""Leaky ReLU, its look-alikes and the units that ReLU loses are as the answer says."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from helpers.warmup import activations
from helpers.warmup.activations import LEAK, LOOK_ALIKES, value_and_slope

X = np.linspace(-4, 4, 801)
RIGHT, LEFT = X > 1e-9, X < -1e-9


@pytest.fixture(scope="module")
def silent():
    return {leak: activations.follow_silent_units(leak) for leak in (0.0, LEAK)}


@pytest.mark.parametrize(("name", "slope"), [("Leaky ReLU, 0.01", 0.01), ("PReLU, 0.25 at first", 0.25)])
def test_the_leaky_functions_are_two_straight_lines(name, slope):
    values, slopes = value_and_slope(LOOK_ALIKES[name], X)
    np.testing.assert_allclose(values, np.where(X > 0, X, slope * X), rtol=1e-15, atol=1e-15)  # one product
    np.testing.assert_array_equal(slopes[RIGHT], 1)
    np.testing.assert_array_equal(slopes[LEFT], slope)


def test_elu_saturates_at_minus_one_without_a_kink():
    values, slopes = value_and_slope(LOOK_ALIKES["ELU"], X)
    np.testing.assert_allclose(values[LEFT], np.expm1(X[LEFT]), rtol=1e-14)
    np.testing.assert_allclose(slopes[LEFT], np.exp(X[LEFT]), rtol=1e-14)


@pytest.mark.parametrize(("name", "lowest"), [("GELU", -0.170), ("SiLU", -0.278)])
def test_the_dips_are_as_deep_as_the_table_says(name, lowest):
    values, slopes = value_and_slope(LOOK_ALIKES[name], X)
    assert values.min() == pytest.approx(lowest, abs=5e-4)  # three digits are given
    assert (slopes < 0).any()  # not monotone


def test_softplus_is_positive_and_ln_2_at_zero():
    assert value_and_slope(LOOK_ALIKES["softplus"], X)[0].min() > 0
    assert value_and_slope(LOOK_ALIKES["softplus"], np.zeros(1))[0] == pytest.approx(np.log(2), rel=1e-15)


def test_a_unit_at_minus_ten_learns_only_through_the_leak():
    assert value_and_slope(torch.relu, np.array([-10.0]))[1] == 0
    assert value_and_slope(LOOK_ALIKES["Leaky ReLU, 0.01"], np.array([-10.0]))[1] == LEAK


def test_relu_loses_units_for_good(silent):
    relu = silent[0.0]
    assert relu.silenced > 90
    assert relu.moved == 0
    np.testing.assert_array_equal(relu.change, np.zeros(1 + activations.STEPS[1]))


def test_with_the_leak_about_as_many_fall_silent_and_all_of_them_go_on_learning(silent):
    leaky = silent[LEAK]
    assert 0.75 < leaky.silenced / silent[0.0].silenced < 1.25
    assert leaky.moved == leaky.silenced
    assert leaky.change[0] == 0
    assert (np.diff(leaky.change[::20]) > 0).all()
    assert 0.002 < leaky.change[-1] < 0.02  # gradients a hundred times smaller than an active unit's


def test_the_value_and_derivative_figure_carries_both_functions():
    left, right = Figure().subplots(1, 2)
    activations.draw_value_and_slope(left, right, leak=0.3)
    labels = [text.get_text() for text in left.get_legend().get_texts()]
    assert labels == ["ReLU", "Leaky ReLU, 0.3"]
    for axes, expected in ((left, [0, 0.3 * -4]), (right, [0, 0.3])):
        assert [line.get_ydata()[0] for line in axes.lines] == pytest.approx(expected)
        assert [line.get_label() for line in axes.lines] == labels
    names = [(axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) for axes in (left, right)]
    assert names == [("Value", "x", "f(x)"), ("Derivative", "x", "f'(x)")]


def test_each_look_alike_is_drawn_under_its_own_name():
    grid = Figure().subplots(2, 3)
    activations.draw_look_alikes(grid)
    for axes in grid.flat:
        relu, curve = axes.lines
        np.testing.assert_array_equal(relu.get_ydata(), np.maximum(relu.get_xdata(), 0))
        expected = value_and_slope(LOOK_ALIKES[axes.get_title()], curve.get_xdata())[0]
        np.testing.assert_array_equal(curve.get_ydata(), expected)
    assert [axes.get_title() for axes in grid.flat] == list(LOOK_ALIKES)


def test_the_figure_of_silent_units_carries_their_changes(silent):
    axes = Figure().subplots()
    activations.draw_silent_units(axes, ReLU=silent[0.0], Leaky_ReLU=silent[LEAK])
    for line, leak, name in zip(axes.lines, (0.0, LEAK), ("ReLU", "Leaky ReLU"), strict=True):
        np.testing.assert_allclose(line.get_ydata(), 100 * silent[leak].change)
        assert len(line.get_ydata()) == 1 + activations.STEPS[1]
        assert line.get_label() == f"{name}, {silent[leak].silenced} units"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("SGD step after the rate fell", "change of their weights (%)")
