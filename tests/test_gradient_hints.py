"""What explains a wrong gradient, by hand: each slip is named, and nothing is named that explains less."""

import numpy as np
import pytest

from helpers.gradient_hints import explain

RNG = np.random.default_rng(0)
X, W, B, RIGHT = (RNG.uniform(0.5, 2, shape) for shape in ((4, 5), (4, 5), (5,), (4, 5)))
NUMERICAL = {"x": RIGHT, "w": RNG.uniform(0.5, 2, (4, 5)), "b": RNG.uniform(0.5, 2, 5), "k": np.ones(7)}
VALUES = {"x": X, "w": W, "b": B, "k": np.ones(7)}


def hint(analytic, right=RIGHT, **values):
    return explain("x", VALUES | values, {"x": analytic}, NUMERICAL | {"x": right})


@pytest.mark.parametrize(
    ("analytic", "slip"),
    [
        (0 * RIGHT, "the gradient is zero everywhere"),
        (-RIGHT, "it has the opposite sign"),
        (NUMERICAL["w"], "it is the gradient of w: are the two swapped?"),
        (RIGHT * W, "it has one factor w too many"),
        (RIGHT / W, "it lacks a factor w"),
        (RIGHT * B, "it has one factor b too many"),
        (RIGHT / B, "it lacks a factor b"),
        (RIGHT * X, "it has one factor x too many"),
        (RIGHT * 0.3, "it is 0.3 times the right one"),
        (RIGHT + 0.3, "the error is the same along axes (0, 1): look at a mean or a sum over them"),
        (RIGHT + W[:1], "the error is the same along axes (0,): look at a mean or a sum over them"),
        (RIGHT + W[:, :1], "the error is the same along axes (1,): look at a mean or a sum over them"),
        (RIGHT + 2 * X - 1, "the error follows x along axes (0, 1): look at a variance"),
        (RIGHT + W[:1] * X, "the error follows x along axes (0,): look at a variance"),
        (RIGHT + W[:, :1] * X - W[:, 1:2], "the error follows x along axes (1,): look at a variance"),
        (RNG.normal(size=(4, 5)), ""),
    ],
)
def test_a_slip_is_named(analytic, slip):
    assert hint(analytic) == slip


def test_a_vector_is_a_factor_along_the_axis_of_its_length():
    rows = np.arange(1.0, 5.0)
    assert hint(RIGHT * rows[:, None], rows=rows) == "it has one factor rows too many"


def test_nothing_explains_a_gradient_where_the_right_one_is_zero():
    assert hint(RIGHT, right=0 * RIGHT) == ""


@pytest.mark.parametrize(("unexplained", "named"), [(0.95e-3, True), (1.05e-3, False)])
def test_a_slip_accounts_for_all_but_a_thousandth_of_the_error(unexplained, named):
    rest = np.zeros_like(RIGHT)
    rest[0, :2] = RIGHT[0, 1], -RIGHT[0, 0]  # at a right angle to the right gradient
    rest *= 2 * np.linalg.norm(RIGHT) / np.linalg.norm(rest)  # as large as the error of the opposite sign
    assert hint(-RIGHT + unexplained * rest) == ("it has the opposite sign" if named else "")


@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_slips_are_named_at_every_scale(scale):
    assert hint(3 * scale * RIGHT, right=scale * RIGHT) == "it is 3 times the right one"


@pytest.mark.parametrize(("count", "named"), [(3, False), (4, True)])
def test_a_mean_is_named_where_four_elements_share_it(count, named):
    right = RIGHT[0, :count]
    assert bool(explain("x", {"x": X[0, :count]}, {"x": right + 0.3}, {"x": right})) == named
