"""The gradient check passes what is right at every scale, and refuses each planted fault by its name."""

import copy
import re
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import helpers.agreement as judging
from helpers import gradient_check
from helpers.batch_norm import spatial_batchnorm_backward, spatial_batchnorm_forward
from helpers.central_differences import EPSILON, Slopes, nudged, to_numpy
from helpers.cross_correlation import cross_corr_2d
from helpers.gradient_check import (
    check_autograd,
    check_gradients,
    numerical_gradient,
    relative_error,
)

SHAPE = (2, 3, 5, 7)
AXES = (0, 2, 3)
KINDS = pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])


# ---- reference pairs ---------------------------------------------------------------------------------------


def normalize(x, gamma, beta):
    centered = x - x.mean(AXES, keepdims=True)
    inverse = 1 / np.sqrt((centered**2).mean(AXES, keepdims=True) + 1e-5)
    x_hat = centered * inverse
    column = (slice(None), None, None)
    return gamma[column] * x_hat + beta[column], (x_hat, inverse, gamma)


def normalize_backward(dout, cache, *, mean=1.0, variance=1.0, less=0, gammas=1, over=AXES):
    """The right gradients; each option plants a slip."""
    x_hat, inverse, gamma = cache
    m = dout.size / dout.shape[1] - less
    dx = dout - mean * dout.sum(over, keepdims=True) / m
    dx = dx - variance * x_hat * (dout * x_hat).sum(over, keepdims=True) / m
    return gamma[:, None, None] ** gammas * inverse * dx, (dout * x_hat).sum(AXES), dout.sum(AXES)


def batch_norm_inputs(seed=1):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=SHAPE), rng.normal(size=3), rng.normal(size=3)]


def small_batch_norm_inputs():
    x, gamma, beta = batch_norm_inputs()
    return x[:, :, :4, :1], gamma, beta


def affine(x, w, b):
    return x @ w.T + b, (x, w)


def affine_backward(dout, cache):
    x, w = cache
    return dout @ w, dout.T @ x, dout.sum(0)


def affine_inputs(seed=2):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(5, 4)), rng.normal(size=(3, 4)), rng.normal(size=3)]


def softmax(x):
    y = np.exp(x - x.max(1, keepdims=True))
    y /= y.sum(1, keepdims=True)
    return y, y


def softmax_backward(dout, y):
    return y * (dout - (dout * y).sum(1, keepdims=True))


def elementwise(f, slope):
    return lambda x: (f(x), x), lambda dout, x: dout * slope(x)


square, square_backward = elementwise(np.square, lambda x: 2 * x)


def spoiled(k, spoil):
    """normalize_backward with a change to its k-th gradient."""

    def backward(dout, cache):
        gradients = list(normalize_backward(dout, cache))
        gradients[k] = spoil(gradients[k])
        return tuple(gradients)

    return backward


def fault_of(report):
    """The one fault of a report."""
    assert not report
    assert len(report.faults) == 1, report
    return report.faults[0]


def assert_names(report, name, index, analytic, numerical):
    """The report names the input, its worst element and both values there."""
    fault = fault_of(report)
    assert fault.startswith(f"{name}: at {index} "), fault
    printed = re.search(r"backward gives (\S+), central differences give ([^\s,:;]+)", fault)
    np.testing.assert_allclose([float(v) for v in printed.groups()], [analytic, numerical], rtol=5e-6)  # six digits


# ---- relative_error ----------------------------------------------------------------------------------------


def test_relative_error_is_the_largest_elementwise_one():
    assert relative_error(np.array([1.0, 2.0, -4.0]), np.array([1.0, 3.0, -4.0])) == pytest.approx(0.2, rel=1e-15)


def test_relative_error_measures_values_below_the_floor_against_the_floor():
    assert relative_error(np.array([1e-15]), np.array([0.0])) == pytest.approx(1e-3, rel=1e-12)
    assert relative_error(np.array([1e-9]), np.array([1.1e-9])) == pytest.approx(0.1 / 2.1, rel=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("other", [0.0, np.nan, np.inf])
def test_relative_error_is_infinite_where_a_value_is_not_finite(bad, other):
    assert relative_error(np.array([1.0, bad]), np.array([1.0, other])) == np.inf
    assert relative_error(np.array([1.0, other]), np.array([1.0, bad])) == np.inf


def test_relative_error_of_the_largest_floats_does_not_overflow():
    assert relative_error(np.array([1.7e308]), np.array([-1.7e308])) == 1.0


def test_relative_error_of_nothing_is_zero():
    assert relative_error(np.empty((0, 3)), np.empty((0, 3))) == 0.0


def test_relative_error_takes_numpy_torch_integers_and_complex_numbers():
    assert relative_error(np.array([1, 3]), torch.tensor([1.0, 1.0], dtype=torch.bfloat16)) == 0.5
    assert relative_error(np.array(1 + 1j), torch.tensor(1 - 1j)) == pytest.approx(1 / np.sqrt(2), rel=1e-12)
    assert relative_error(np.array(1 - 1j), torch.tensor(1 + 1j, dtype=torch.complex128).conj()) == 0


def test_relative_error_refuses_shapes_that_would_broadcast():
    with pytest.raises(ValueError, match=re.escape("(3, 1) and (3,)")):
        relative_error(np.ones((3, 1)), np.ones(3))


# ---- numerical_gradient ------------------------------------------------------------------------------------

TRUTHS = {
    "exp": (np.exp, np.exp, np.linspace(-3, 5, 9)),
    "1/x": (lambda x: 1 / x, lambda x: -1 / x**2, np.array([1e-3, -0.01, 0.1, 1.0, 100.0])),
    "sqrt near 0.01": (np.sqrt, lambda x: 0.5 / np.sqrt(x), np.array([0.009, 0.01, 0.011, 4.0])),
    "x^3 at 1e4": (lambda x: x**3, lambda x: 3 * x**2, np.array([1e4, -2e4, 1.0])),
    "sin at 1e-4": (np.sin, np.cos, np.array([1e-4, -2e-4, 1.0])),
    "sin far out": (
        np.sin,
        np.cos,
        np.array([224 * np.pi + 0.1, 1e6]),
    ),  # steps of whole periods would mislead
    "tanh(20 x)": (
        lambda x: np.tanh(20 * x),
        lambda x: 20 / np.cosh(20 * x) ** 2,
        np.array([-0.3, -0.1, 0.0, 1e-3, 0.05, 0.2, 0.3]),
    ),
    "log": (np.log, lambda x: 1 / x, np.array([1e-8, 1e-3, 1.0, 1e5])),
    "exp near overflow": (np.exp, np.exp, np.array([-300.0, 0.0, 700.0])),
    "1 + x": (lambda x: 1 + x, np.ones_like, np.array([1e-9, -2e-9])),
}


@pytest.mark.parametrize("name", TRUTHS)
def test_numerical_gradient_agrees_with_the_truth_to_one_in_a_billion(name):
    f, slope, x = TRUTHS[name]
    np.testing.assert_allclose(numerical_gradient(f, x), slope(x), rtol=1e-9, atol=0)


@pytest.mark.parametrize("name", TRUTHS)
def test_each_element_alone_agrees_as_well(name):
    f, slope, x = TRUTHS[name]
    alone = [numerical_gradient(f, np.array(value)) for value in x]
    np.testing.assert_allclose(alone, slope(x), rtol=1e-9, atol=0)


def test_estimated_errors_cover_the_true_ones():
    for f, slope, x in TRUTHS.values():
        with np.errstate(all="ignore"):
            slopes = Slopes(f, x, None)
            found = np.array([slopes.search(i)[:2] for i in range(x.size)])
        assert np.all(np.abs(found[:, 0] - slope(x)) <= 3 * found[:, 1])


def test_upstream_weighs_the_outputs():
    x, w = np.random.default_rng(3).normal(size=(2, 4))
    np.testing.assert_allclose(numerical_gradient(np.sin, x, w), np.cos(x) * w, rtol=1e-9)


def test_a_fixed_step_is_extrapolated_once():
    gradient = numerical_gradient(lambda x: x**3 + x**5, np.array([0.0]), step=0.1)
    np.testing.assert_allclose(gradient, -4 * 0.1**4 / 16, rtol=1e-9)  # h^2 is gone, -h^4 / 4 of x^5 is left


@KINDS
def test_numerical_gradient_keeps_kind_and_shape_and_never_changes_x(kind):
    x = kind(np.arange(1.0, 13.0).reshape(3, 4))[:, ::2]
    before = copy.deepcopy(x)

    def mutating(array):
        array *= array
        return array.sum()

    gradient = numerical_gradient(mutating, x)
    assert type(gradient) is type(x)
    np.testing.assert_allclose(gradient, 2 * before, rtol=1e-12)
    assert np.array_equal(x, before)


def test_every_evaluation_gets_memory_of_its_own():
    seen = []
    numerical_gradient(lambda x: seen.append(x) or x.sum(), np.ones(3))
    assert len({array.ctypes.data for array in seen}) == len(seen)


def test_f_may_return_the_same_memory_each_time():
    out = np.empty(3)
    np.testing.assert_allclose(numerical_gradient(lambda x: np.exp(x, out=out), np.zeros(3)), 1, rtol=1e-12)


@KINDS
@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (1,)])
def test_numerical_gradient_takes_scalars_and_empty_arrays(kind, shape):
    gradient = numerical_gradient(lambda x: (x**2).sum(), kind(np.ones(shape)))
    np.testing.assert_allclose(gradient, np.full(shape, 2.0), rtol=1e-12)


def test_a_function_that_refuses_to_leave_its_domain_can_still_be_differentiated():
    def strict(x):
        if (x <= 0).any():
            raise ValueError("x must be positive")
        return np.log(x)

    np.testing.assert_allclose(numerical_gradient(strict, np.array([1e-3, 5.0])), [1e3, 0.2], rtol=1e-9)


def test_the_gradient_is_nan_where_f_is_not_defined():
    assert np.isnan(numerical_gradient(np.sqrt, np.array([0.0, 4.0]))).tolist() == [True, False]


@pytest.mark.parametrize("x", [np.ones(2, np.float32), np.ones(2, int), torch.ones(2), [1.0], 1.0, None])
def test_numerical_gradient_refuses_x_that_is_not_a_float64_array(x):
    with pytest.raises(TypeError, match="x must be a float64 array"):
        numerical_gradient(lambda x: x, x)


def test_numerical_gradient_refuses_an_upstream_that_does_not_fit():
    with pytest.raises(ValueError, match=re.escape("(1,), but f(x) has (2,)")):
        numerical_gradient(lambda x: x, np.ones(2), np.ones(1))


def test_numerical_gradient_refuses_complex_results():
    with pytest.raises(TypeError, match="complex"):
        numerical_gradient(lambda x: x + 1j, np.ones(2))


def test_the_step_has_to_be_named():
    with pytest.raises(TypeError, match="positional"):
        numerical_gradient(np.sin, np.ones(2), None, 1e-3)


def test_f_gets_tensors_that_require_gradients_where_x_does():
    seen = set()
    x = torch.ones(2, dtype=torch.float64, requires_grad=True)
    gradient = numerical_gradient(lambda t: seen.add(t.requires_grad) or t.sin(), x)
    assert seen == {True}
    assert not gradient.requires_grad


def test_float64_values_are_read_where_they_are():
    x = np.ones(3)
    assert np.shares_memory(to_numpy(x), x)


def test_a_nudge_moves_every_element_up_or_down_by_one_rounding():
    assert set(nudged(np.ones(99), seed=0)) == {1 - EPSILON, 1 + EPSILON}


# ---- scales and steps --------------------------------------------------------------------------------------


def test_scales_are_the_size_of_an_element_and_how_far_all_are_spread():
    slopes = Slopes(np.sin, np.array([3, -1.1, 0.1, 2, 0]), None)
    spread = (2.2 + 1.9 + 0.7 + 1.2 + 0.8) / 5  # around their mean, 0.8
    np.testing.assert_allclose(slopes.largest, [3, spread, spread, 2, spread])
    np.testing.assert_allclose(slopes.smallest, [spread, 1.1, 0.1, spread, spread])
    np.testing.assert_allclose(slopes.usual, [spread, 1.1, spread / 10, spread, spread])


@pytest.mark.parametrize(("value", "scale"), [(3.0, 3.0), (-2.0, 2.0), (0.0, 1.0)])
def test_an_element_alone_has_its_own_size_as_scale_and_zero_has_one(value, scale):
    slopes = Slopes(np.sin, np.array([value]), None)
    assert (slopes.largest, slopes.smallest, slopes.usual) == (scale, scale, scale)


def test_nothing_has_no_scales_and_gives_no_warning():
    assert Slopes(np.sin, np.ones((0, 2)), None).largest.shape == (0,)


def test_rounding_is_how_far_outputs_stray_from_a_smooth_curve():
    calls, x = [], np.linspace(0.5, 2, 6)
    slopes = Slopes(lambda x: calls.append(x) or np.append(x**3, [(1e6 + x.sum()) - 1e6, 7.0]), x, None)
    calls.clear()
    rounding = slopes.rounding
    assert len(calls) == 9
    assert np.all(rounding[:6] < 4 * np.spacing(8.0))
    assert np.spacing(1e6) / 9 < rounding[6] < np.spacing(1e6)  # though one rounding of x moves it by none
    assert rounding[7] == 7 * EPSILON


def test_rounding_is_the_standard_deviation_about_a_curve_of_degree_4():
    points, outputs, x = [], np.random.default_rng(1).normal(size=10), np.array([2.0, 1e-9])
    slopes = Slopes(lambda x: points.append(x.copy()) or outputs[[len(points) - 1]], x, None)
    (rounding,) = slopes.rounding
    moves = np.array(points[1:]) - x
    length = np.maximum(2.0**-24 * slopes.smallest, 16 * EPSILON * x)
    assert np.all(np.abs(moves) <= length)
    assert np.all(np.abs(moves).max(0) > 0.2 * length)
    assert np.all((moves.min(0) < 0) & (moves.max(0) > 0))
    place = moves[:, 0] / length[0]
    strays = outputs[1:] - np.polyval(np.polyfit(place, outputs[1:], 4), place)
    assert rounding == pytest.approx(np.sqrt((strays**2).sum() / 4), rel=1e-6)  # nine points less five coefficients


@pytest.mark.parametrize("beyond", [np.nan, np.inf])
def test_outputs_that_are_not_finite_near_x_have_the_rounding_of_one_operation(beyond):
    slopes = Slopes(lambda x: np.where(x == 3.0, 5.0, beyond), np.array([3.0]), None)
    with np.errstate(all="ignore"):
        assert slopes.rounding == 5 * EPSILON


def scripted(results):
    """Slopes at x = 2, with a spread of 0, whose tables give these results; and how each was asked for."""
    slopes, asked = Slopes(np.sin, np.array([2.0]), None), []
    slopes.largest, slopes.smallest = np.array([2.0]), np.array([0.5])
    results = iter(results)
    slopes._table = lambda *arguments: asked.append(arguments) or next(results)
    return slopes, asked


FIRST = (0, 0.2357 * 2, 1e-9 * 0.5)


@pytest.mark.parametrize("slope", [1.0, -1.0])
def test_a_slope_that_is_known_to_eight_digits_is_not_refined(slope):
    slopes, asked = scripted([(slope, 1e-8, 1e-9)])
    assert slopes.search(0) == (slope, 1e-8, 1e-9)
    assert asked == [FIRST]


def test_what_steps_of_the_elements_size_do_not_settle_is_tried_with_ever_larger_ones():
    slopes, asked = scripted([(1.0, 1.1e-8, 1e-9)] * 4)
    assert slopes.search(0) == (1.0, 1.1e-8, 1e-9)
    starts = [growth * (0.2357 * 2) for growth in (2**10, 2**20, 2**30)]
    assert asked == [FIRST, *((0, pytest.approx(start), pytest.approx(start / 2**14)) for start in starts)]


@pytest.mark.parametrize(
    ("second", "taken"),
    [
        ((1e6, 0.9, 0.5), True),
        ((1e6, 1.0, 0.5), False),  # not under a third of the error before
        ((1e6 + 0.9, 0.1, 0.5), True),
        ((1e6 + 1.1, 0.1, 0.5), False),  # another slope
    ],
)
def test_larger_steps_are_believed_when_they_only_sharpen_what_was_found(second, taken):
    slopes, _ = scripted([(1e6, 3.0, 0.4), second, *[(1e6, 9.0, 9.0)] * 2])
    slope, error, noise = slopes.search(0)
    assert (slope, noise) == (second[0] if taken else 1e6, 0.4)
    assert error == pytest.approx(max(second[1], second[0] - 1e6) if taken else 3.0)


@pytest.mark.parametrize(("error", "taken"), [(0.9e-3, True), (1.1e-3, False)])
def test_larger_steps_are_believed_when_they_give_three_digits(error, taken):
    slopes, _ = scripted([(-1.0, 3.0, 2.0), (-1.0, error, 0.5), *[(-1.0, 9.0, 9.0)] * 2])
    assert slopes.search(0) == ((-1.0, error, error) if taken else (-1.0, 3.0, 2.0))


def stepping(slope, rounding=0.0):
    """Slopes at x = 2 whose central difference at a step h is slope(h), and the steps that were taken."""
    slopes, taken = Slopes(np.sin, np.array([2.0]), None), []
    slopes.rounding = np.array([rounding])
    slopes.ends = lambda i, h: taken.append(h) or (np.array([slope(h) * 2 * h]), np.zeros(1), 2 * h)
    return slopes, taken


def test_steps_are_halved_down_to_the_last_while_nothing_settles():
    draws = iter(np.random.default_rng(0).uniform(1, 2, 99))
    slopes, taken = stepping(lambda h: next(draws))
    slopes._table(0, 1.0, 0.125)
    assert taken == [2e-8, 1.0, 0.5, 0.25]


def test_each_halving_removes_one_more_even_power_and_steps_end_when_nothing_is_left():
    slopes, taken = stepping(lambda h: 7 + h**2 - 3 * h**4)
    slope, error, noise = slopes._table(0, 1.0, 1e-9)
    assert slope == pytest.approx(7, rel=1e-15)
    assert taken == [2e-8, 1.0, 0.5, 0.25, 0.125]
    assert noise <= error < 1e-14


def test_the_estimated_error_is_how_far_the_last_two_orders_and_the_last_two_steps_disagree():
    slopes, _ = stepping(lambda h: {1.0: 8.0, 0.5: 7.25, 2e-8: 7.0}[h])
    slope, error, _ = slopes._table(0, 1.0, 0.3)
    assert slope == pytest.approx(7)  # 7 + h**2
    assert error == pytest.approx(1)  # 8, one step before


def test_steps_that_see_another_slope_than_a_tiny_one_go_on_until_they_agree():
    slopes, _ = stepping(lambda h: 7.0 if h > 1e-3 else 8.0)
    assert slopes._table(0, 1.0, 1e-9)[0] == 8


@pytest.mark.parametrize(("rounding", "slope"), [(4.0e-9, 7), (3.8e-9, 8)])
def test_a_tiny_step_may_differ_by_ten_times_its_own_rounding(rounding, slope):
    slopes, _ = stepping(lambda h: 7.0 if h > 1e-3 else 8.0, rounding)  # a step of 2e-8: 10 * 4e-9 / 4e-8 is 1
    assert slopes._table(0, 1.0, 1e-9)[0] == pytest.approx(slope, rel=1e-5)


R = 1e-3  # the rounding of the output below: that of a central difference is R / 2h


@pytest.mark.parametrize(
    ("wide", "narrow", "found"),
    [
        ((7, 7), (7 + 52 * R, 7 + 52 * R), 7 + 52 * R),  # over ten times the errors, 4 R now and R before
        ((7, 7), (7 + 48 * R, 7 + 48 * R), 7),
        ((7, 7 + 0.75 * R), (7 + 56 * R, 7 + 56 * R), 7 + R),  # 2 R before, of which R are rounding
        ((7, 7), (7.059125, 7.059875), 7.060125),  # 10 * (5 R + 1e-3) is 0.06
    ],
)
def test_another_slope_at_small_steps_has_to_lie_beyond_ten_times_both_errors(wide, narrow, found):
    by_step = dict(zip((1.0, 0.5, 0.25, 0.125), (*wide, *narrow), strict=True))
    slopes, _ = stepping(lambda h: by_step.get(h, 1e9), R)
    assert slopes._table(0, 1.0, 0.1)[0] == pytest.approx(found, rel=1e-12)


@pytest.mark.parametrize(("rounding", "found"), [(2.25e-4, 1001), (2.6e-4, 7)])
def test_another_slope_at_small_steps_has_to_be_known_to_a_thousandth(rounding, found):
    by_step = {1.0: 7, 0.5: 7, 0.25: 1000, 0.125: 1000.75}  # 1001, and its error 1 and four roundings
    slopes, _ = stepping(lambda h: by_step.get(h, 1e9), rounding)
    assert slopes._table(0, 1.0, 0.1)[0] == pytest.approx(found, rel=1e-12)


def test_a_step_to_infinity_does_not_end_the_search():
    by_step = {1.0: 7.0, 0.5: 7.001, 0.25: np.inf}
    slopes, _ = stepping(lambda h: by_step.get(h, 7.0))
    with np.errstate(all="ignore"):
        assert slopes._table(0, 1.0, 1e-9)[1] < 1e-12


def test_outputs_that_no_step_moves_add_no_rounding():
    slopes = Slopes(np.sin, np.array([2.0, 5.0]), None)
    slopes.rounding = np.array([0.0, 1e6])
    slopes.ends = lambda i, h: (np.array([14 * h, 3.0]), np.array([0.0, 3.0]), 2 * h)
    assert slopes._table(0, 1.0, 1e-9)[2] < 1e-14


def test_an_output_that_does_not_move_is_known_to_its_rounding():
    slopes, _ = stepping(lambda h: 0.0, rounding=6.0)
    assert slopes._table(0, 1.0, 0.7)[1:] == (np.inf, np.inf)  # one step tells nothing
    assert slopes._table(0, 1.0, 0.3) == (0.0, 6.0, 6.0)  # 6 / (2 * 0.5)


def test_rounding_errors_of_the_outputs_are_independent():
    slopes = Slopes(lambda x: x, np.ones(2), np.array([3.0, -4.0]))
    assert slopes.noise(np.ones(2), 0.5) == 5


def sided(*sides):
    """Slopes at x = 2 with these slopes to the right and to the left at two steps, and the steps."""
    slopes, taken = Slopes(np.sin, np.array([2.0]), None), []
    slopes.base, sides = np.array([5.0]), iter(sides)

    def ends(i, h):
        taken.append(h)
        right, left = next(sides)
        return 5 + np.array([right * h]), 5 - np.array([left * h]), 2 * h

    slopes.ends = ends
    return slopes, taken


@pytest.mark.parametrize(
    ("sides", "kink"),
    [
        ([(1, -1), (1, -1)], True),
        ([(1, 1), (1, 1)], False),
        ([(1.19, -1), (1, -1)], True),  # moved by less than a tenth of the jump
        ([(1.21, -1), (1, -1)], False),
        ([(0.89, -0.89), (1, -1)], False),  # both sides together
        ([(1, 0.9988), (1, 0.9988)], True),  # by more than a thousandth
        ([(1, 0.9992), (1, 0.9992)], False),
        ([(100, 99.92), (100, 99.92)], False),
    ],
)
def test_a_kink_is_a_jump_of_the_slope_that_stays(sides, kink):
    assert sided(*sides)[0].has_kink(0) is kink


def test_a_kink_is_looked_for_at_two_steps_a_hundredfold_apart():
    slopes, taken = sided((1, 1), (1, 1))
    slopes.has_kink(0)
    assert taken == [1e-4 * 2, 1e-6 * 2]


# ---- right pairs -------------------------------------------------------------------------------------------

SCALES = [1e-9, 1e-6, 1e-3, 1.0, 1e3, 1e6]


@pytest.mark.parametrize("scale", SCALES)
def test_right_batch_norm_passes_at_every_scale(scale):
    x, gamma, beta = batch_norm_inputs()
    for inputs in (
        [scale * x, gamma, beta],
        [x + scale, gamma, beta],
        [scale * x, scale * gamma, scale * beta],
    ):
        check_gradients(normalize, normalize_backward, inputs).raise_if_failed()


@pytest.mark.parametrize("scale", SCALES)
def test_right_batch_norm_passes_whatever_the_size_of_gamma_or_beta(scale):
    x, gamma, beta = small_batch_norm_inputs()
    check_gradients(normalize, normalize_backward, [x, scale * gamma, beta]).raise_if_failed()
    check_gradients(normalize, normalize_backward, [x, gamma, scale * beta]).raise_if_failed()


@pytest.mark.parametrize("scale", SCALES)
def test_right_affine_layer_passes_at_every_scale(scale):
    x, w, b = affine_inputs()
    for inputs in (
        [scale * x, w, b],
        [x, scale * w, b],
        [x, w, scale * b],
        [scale * x, scale * w, scale * b],
    ):
        check_gradients(affine, affine_backward, inputs).raise_if_failed()


@pytest.mark.parametrize("scale", [1e-9, 1e-6, 1e-3, 1.0])
def test_right_softmax_passes_at_small_scales(scale):
    x = scale * np.random.default_rng(4).normal(size=(3, 5))
    check_gradients(softmax, softmax_backward, [x]).raise_if_failed()


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", ["square", "reciprocal", "sqrt", "log", "sin", "relu", "offset"])
def test_right_elementwise_functions_pass_at_every_scale(name, scale):
    x = scale * np.random.default_rng(5).uniform(0.01, 2, size=(4, 5))
    signed = x * np.where(np.arange(20).reshape(4, 5) % 2, 1, -1)
    f, slope, x = {
        "square": (np.square, lambda x: 2 * x, signed),
        "reciprocal": (lambda x: 1 / x, lambda x: -1 / x**2, signed),
        "sqrt": (np.sqrt, lambda x: 0.5 / np.sqrt(x), x),
        "log": (np.log, lambda x: 1 / x, x),
        "sin": (np.sin, np.cos, signed),
        "relu": (lambda x: np.maximum(x, 0), lambda x: 1.0 * (x > 0), signed),
        "offset": (lambda x: scale + np.sin(x), np.cos, signed / scale),
    }[name]
    check_gradients(*elementwise(f, slope), [x]).raise_if_failed()


def test_elements_of_every_size_pass_in_one_array():
    rng = np.random.default_rng(6)
    x = 10.0 ** rng.uniform(-9, 6, size=30) * rng.choice([-1, 1], size=30)
    check_gradients(square, square_backward, [x]).raise_if_failed()


def test_zeros_pass_among_the_inputs():
    x, w, b = affine_inputs()
    check_gradients(affine, affine_backward, [x * (x > 0), w, 0 * b]).raise_if_failed()


@KINDS
@pytest.mark.parametrize("mode", ["train", "test"])
def test_the_project_batch_norm_passes(kind, mode):
    parameters = {"mode": mode, "running_mean": kind(np.full(3, 0.1)), "running_var": kind(np.full(3, 0.7))}

    def forward(x, gamma, beta):
        return spatial_batchnorm_forward(x, gamma, beta, parameters)

    inputs = [kind(array) for array in batch_norm_inputs()]
    check_gradients(forward, spatial_batchnorm_backward, inputs).raise_if_failed()


@pytest.mark.parametrize("seed", range(5))
def test_every_seed_passes(seed):
    check_gradients(normalize, normalize_backward, batch_norm_inputs(), seed=seed).raise_if_failed()


def test_the_same_array_may_be_given_twice():
    x = np.arange(1.0, 5.0)
    check_gradients(lambda a, b: (a * b, (a, b)), lambda d, c: (d * c[1], d * c[0]), [x, x]).raise_if_failed()


@KINDS
def test_scalar_inputs_and_outputs_pass(kind):
    pair = (lambda x: (x**3, x)), (lambda dout, x: dout * 3 * x**2)
    check_gradients(*pair, [kind(np.array(0.7))]).raise_if_failed()


def test_inputs_need_not_be_contiguous():
    x, w, b = affine_inputs()
    check_gradients(affine, affine_backward, [np.asfortranarray(x)[::-1], w[::-1], b[::-1]]).raise_if_failed()


# ---- the report --------------------------------------------------------------------------------------------


def test_a_passing_report_is_true_and_prints_no_rounding_error():
    report = check_gradients(normalize, normalize_backward, batch_norm_inputs())
    assert report
    expected = [
        "x: (2, 3, 5, 7) agrees within 1e-07",
        "gamma: (3,) agrees within 1e-07",
        "beta: (3,) agrees within 1e-07",
    ]
    assert str(report) == repr(report) == "\n".join(expected)


def test_a_report_gives_the_largest_error_of_each_input_and_where_it_is():
    report = check_gradients(normalize, normalize_backward, batch_norm_inputs())
    assert [agreement.name for agreement in report.agreements] == ["x", "gamma", "beta"]
    for agreement in report.agreements:
        assert 0 <= agreement.error <= 1e-7
        assert len(agreement.index) == len(agreement.shape)
        assert agreement.analytic == pytest.approx(agreement.numerical, rel=1e-6)


def test_a_report_cannot_be_changed():
    report = check_gradients(affine, affine_backward, affine_inputs())
    for part, name in ((report, "tolerance"), (report.agreements[0], "error")):
        with pytest.raises(AttributeError):
            setattr(part, name, 1.0)


def test_a_failing_report_is_false_and_raises_with_every_fault():
    report = check_gradients(normalize, spoiled(1, np.negative), batch_norm_inputs())
    assert not report
    with pytest.raises(AssertionError, match=r"FAULT in gamma: .*opposite sign"):
        report.raise_if_failed()


def test_the_report_of_a_failing_input_keeps_those_that_agree():
    printed = str(check_gradients(normalize, spoiled(1, np.negative), batch_norm_inputs()))
    assert "\nx: (2, 3, 5, 7) agrees within 1e-07\nbeta: (3,) agrees" in printed


def test_inputs_that_forward_does_not_name_are_numbered():
    def forward(*arrays):
        return affine(*arrays)

    report = check_gradients(forward, affine_backward, affine_inputs())
    assert str(report).startswith("input 0: (5, 4) agrees")


# ---- wrong values ------------------------------------------------------------------------------------------

SLIPS = {
    "missing mean": ({"mean": 0}, "the same along axes (0, 2, 3): look at a mean"),
    "doubled mean": ({"mean": 2}, "the same along axes (0, 2, 3): look at a mean"),
    "missing variance": ({"variance": 0}, "follows x along axes (0, 2, 3): look at a variance"),
    "variance of the wrong sign": ({"variance": -1}, "follows x along axes (0, 2, 3): look at a variance"),
    "m - 1 for m": ({"less": 1}, "follows x along axes (0, 2, 3): look at a variance"),
    "sums over (0, 2)": ({"over": (0, 2)}, ""),
    "sums over (2, 3)": ({"over": (2, 3)}, ""),
    "sums over all axes": ({"over": (0, 1, 2, 3)}, ""),
    "forgotten gamma": ({"gammas": 0}, "it lacks a factor gamma"),
    "doubled gamma": ({"gammas": 2}, "one factor gamma too many"),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_in_batch_norm_is_refused_and_explained(slip):
    options, hint = SLIPS[slip]
    report = check_gradients(normalize, partial(normalize_backward, **options), batch_norm_inputs())
    worst = report.agreements[0]
    assert_names(report, "x", worst.index, worst.analytic, worst.numerical)
    assert hint in fault_of(report)


def test_the_worst_element_and_both_values_are_named():
    inputs = batch_norm_inputs()
    offset = np.zeros(SHAPE)
    offset[1, 2, 3, 4] = 0.5

    def spoil(dx):
        return dx + offset

    report = check_gradients(normalize, spoiled(0, spoil), inputs)
    worst = report.agreements[0]
    assert worst.analytic - worst.numerical == pytest.approx(0.5, rel=1e-6)
    assert_names(report, "x", (1, 2, 3, 4), worst.analytic, worst.numerical)
    assert "wrong in 1 of 210" in fault_of(report)


@pytest.mark.parametrize("k", range(3), ids=["x", "gamma", "beta"])
@pytest.mark.parametrize(
    ("spoil", "hint"),
    [
        (np.negative, "opposite sign"),
        (lambda g: 2 * g, "it is 2 times the right one"),
        (lambda g: g / 70, "it is 0.0142857 times the right one"),
        (lambda g: 1.00001 * g, "it is 1.00001 times the right one"),
        (np.zeros_like, "zero everywhere"),
    ],
    ids=["sign", "double", "mean for sum", "one in 1e5", "zero"],
)
def test_a_factor_is_refused_and_named(k, spoil, hint):
    fault = fault_of(check_gradients(normalize, spoiled(k, spoil), batch_norm_inputs()))
    assert fault.startswith(f"{['x', 'gamma', 'beta'][k]}: at ")
    assert hint in fault


def test_swapped_gradients_are_named():
    def swapped(dout, cache):
        dx, dgamma, dbeta = normalize_backward(dout, cache)
        return dx, dbeta, dgamma

    gamma, beta = check_gradients(normalize, swapped, batch_norm_inputs()).faults
    assert "it is the gradient of beta: are the two swapped?" in gamma
    assert "it is the gradient of gamma: are the two swapped?" in beta


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("factor", [1 + 1e-5, 1 - 1e-5, 1 + 1e-3, 0.0])
def test_one_wrong_element_is_found_at_any_place(seed, factor):
    inputs, place = batch_norm_inputs(seed), int(np.random.default_rng(seed).integers(210))

    def spoil(dx):
        dx.flat[place] *= factor
        return dx

    fault = fault_of(check_gradients(normalize, spoiled(0, spoil), inputs))
    assert f"x: at {tuple(map(int, np.unravel_index(place, SHAPE)))} " in fault
    assert fault.endswith("wrong in 1 of 210")


@pytest.mark.parametrize("scale", SCALES)
def test_a_relative_fault_of_one_in_1e5_is_found_among_thousands_at_every_scale(scale):
    x = scale * np.random.default_rng(7).uniform(0.5, 2, size=(40, 60))

    def backward(dout, x):
        gradient = 2 * dout * x
        gradient[17, 23] *= 1 + 1e-5
        return gradient

    assert "x: at (17, 23) " in fault_of(check_gradients(square, backward, [x]))


@pytest.mark.parametrize("scale", SCALES)
def test_a_small_fault_hides_in_no_rounding(scale):
    x, w, b = affine_inputs()

    def backward(dout, cache):
        dx, dw, db = affine_backward(dout, cache)
        return dx, dw, db * np.array([1, 1 + 1e-5, 1])

    for inputs in ([scale * x, w, b], [x, w, scale * b], [scale * x, w, scale * b]):
        assert "b: at (1,) " in fault_of(check_gradients(affine, backward, inputs))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_gradient_that_is_not_finite_is_named(wrong):
    def spoil(dx):
        dx[1, 0, 2, 3] = wrong
        return dx

    fault = fault_of(check_gradients(normalize, spoiled(0, spoil), batch_norm_inputs()))
    assert fault.startswith(f"x: at (1, 0, 2, 3) backward gives {wrong:g}, ")
    assert "the gradient is not finite" in fault


@pytest.mark.parametrize("k", [0, 1])
def test_a_transposed_product_is_refused(k):
    rng = np.random.default_rng(8)
    inputs = [rng.normal(size=(4, 4)), rng.normal(size=(4, 4))]

    def backward(dout, cache):
        gradients = [dout @ cache[1].T, cache[0].T @ dout]
        gradients[k] = gradients[k].T
        return tuple(gradients)

    report = check_gradients(lambda a, b: (a @ b, (a, b)), backward, inputs)
    assert fault_of(report).startswith(f"{'ab'[k]}: at ")


@pytest.mark.parametrize("seed", range(4))
def test_a_backward_that_is_nan_one_rounding_further_is_refused_all_the_same(seed):
    sine = elementwise(np.sin, lambda x: np.sqrt(1 - x**2))
    assert "backward gives" in fault_of(check_gradients(*sine, [np.ones(1)], seed=seed))


def test_a_right_backward_may_be_nan_one_rounding_further():
    offset = elementwise(lambda x: 1e6 + x, lambda x: np.where(x == 1, 1, np.nan))
    check_gradients(*offset, [np.ones(3)]).raise_if_failed()


def test_a_softmax_without_its_coupling_is_refused():
    x = np.random.default_rng(9).normal(size=(3, 5))
    assert fault_of(check_gradients(softmax, lambda dout, y: dout * y * (1 - y), [x])).startswith("x: at ")


def test_a_kink_is_named():
    relu = elementwise(lambda x: np.maximum(x, 0), lambda x: 1.0 * (x > 0))
    assert "forward has a kink here" in fault_of(check_gradients(*relu, [np.array([1.0, 0.0, -1.0])]))


def test_a_bend_is_no_kink():
    fault = fault_of(check_gradients(square, lambda dout, x: dout * (2 * x + 1e-3), [np.array([1.0, 0.0, -1.0])]))
    assert "kink" not in fault


def test_an_edge_of_the_domain_is_named():
    pair = elementwise(np.sqrt, np.ones_like)
    assert "forward is not finite around this point" in fault_of(check_gradients(*pair, [np.array([0.0, 4.0])]))


def test_a_forward_in_single_precision_is_named():
    def forward(x):
        return np.exp(x.astype(np.float32)).astype(np.float64), x

    x = np.random.default_rng(10).normal(size=(4, 5))
    fault = fault_of(check_gradients(forward, lambda dout, x: dout * np.exp(x), [x]))
    assert "do they compute in float64 throughout?" in fault


# ---- how a verdict is reached ------------------------------------------------------------------------------


def judged(analytic, plain, searched, *, noise=0.0, rounding=0.0, tolerance=1e-7):
    """The verdict on gradients, their central differences at one step, and what a search finds; and its course."""
    analytic, plain, course = np.array(analytic), np.array(plain), SimpleNamespace(steps=[], searched=[])

    def at(i, step):
        course.steps.append(step)
        return plain[i]

    def search(i):
        course.searched.append(int(i))
        return searched[i]

    slopes = SimpleNamespace(usual=np.full(len(plain), 2.0), base=np.array([0.1]), rounding=None, at=at, search=search)
    slopes.noise = lambda *_: np.full(len(plain), noise)
    slopes.has_kink = lambda i: False
    with np.errstate(all="ignore"):  # as check_gradients sets it
        found, numerical = judging.judge("x", slopes, analytic, np.full(len(plain), rounding), tolerance)
    return found, numerical, course


def test_what_a_plain_difference_settles_is_not_searched():
    found, numerical, course = judged([1.0, 3.0], [1.0, 3.0 + 5e-7], None, noise=0.95e-6)
    assert not found.fault
    assert numerical.tolist() == [1.0, 3.0 + 5e-7]
    assert course.steps == [2e-5, 2e-5]
    assert course.searched == []


def test_a_slope_of_zero_is_settled_where_rounding_is_below_a_millionth_of_the_largest():
    for noise, searched in ((judging.EXCUSE * 1000, []), (1.01 * judging.EXCUSE * 1000, [0, 1])):
        found, _, course = judged([1e3, 0.0], [1e3, 0.0], [(1e3, 0.0, 0.0), (0.0, 0.0, 0.0)], noise=noise)
        assert not found.fault
        assert course.searched == searched


@pytest.mark.parametrize(
    ("plain", "noise"),
    [(1 + 2.1e-7, 0.0), (1.0, 1.05e-6)],  # it disagrees, or its rounding is over ten times the tolerance
)
def test_what_a_plain_difference_leaves_open_is_searched(plain, noise):
    found, numerical, course = judged([1.0, 3.0], [plain, 3.0], [(1.0, 0.0, 0.0)], noise=noise)
    assert not found.fault
    assert numerical.tolist() == [1.0, 3.0]
    assert course.searched == [0]


@pytest.mark.parametrize(
    ("measured", "excused"),  # the error of the search, the part that is rounding, and the rounding of backward
    [
        ((1e-5, 1e-5, 0.0), 3e-5),  # three times the rounding of the numerical side,
        ((0.0, 0.0, 1e-5), 3e-5),  # of backward,
        ((1e-5, 0.5e-5, 0.5e-5), 3e-5),  # and of both
        ((1e-3, 1e-3, 0.0), 1e-4),  # but no more than this of the largest slope,
        ((1e-3, 0.0, 0.0), 1e-6),  # nor, of an error that is no rounding, than that
        ((1e-7, 1e-3, 0.0), 3e-7),  # and never more than was measured
    ],
)
@pytest.mark.parametrize(("share", "passes"), [(0.9, True), (1.1, False)])
def test_a_difference_is_excused_as_far_as_rounding_explains_it(measured, excused, share, passes):
    slope = 0.02
    error, least, rounding = slope * np.array(measured)
    off = slope * (share * excused + 1e-7)  # the tolerance is of the sum of both
    analytic = slope + off + (0 if passes else slope * 2e-7)
    found, _, _ = judged([analytic], [slope], [(slope, error, least)], rounding=rounding)
    assert (not found.fault) is passes
    assert found.index == (0,)


def test_what_is_just_within_the_tolerance_is_right():
    found, _, course = judged([5.0], [3.0], None, noise=7.5, tolerance=0.25)  # 2 of 8, and ten times 0.25 of 3
    assert not found.fault
    assert course.searched == []
    assert not judged([5.0], [3.0], [(3.0, 0.0, 0.0)], noise=8.0, tolerance=0.25)[0].fault


def test_where_wide_steps_leave_the_domain_a_finer_search_decides():
    searched = [(2.0, 1e-9, 1e-9), (2.0, 1e-9, 1e-9)]
    assert not judged([2.0, 2.0], [np.nan, np.inf], searched)[0].fault
    assert judged([2.0, 2.1], [np.nan, np.inf], searched)[0].fault


def test_an_agreement_tells_the_largest_error_that_passed():
    found, _, _ = judged([1.0, 1 + 1e-7, 1 + 2e-8], [1.0, 1.0, 1.0], None)
    assert (found.index, found.error) == ((1,), pytest.approx(5e-8))


def test_a_search_leaves_no_error_where_rounding_explains_more_than_there_is():
    assert judged([2.0 + 1e-6], [2.0], [(2.0, 1e-5, 1e-5)])[0].error == 0


def test_the_worst_element_is_judged_first_and_ends_the_search():
    found, _, course = judged([1.1, 2.0, 1.3], [1.0, 2.0, 1.0], [(1.0, 0.0, 0.0)] * 3)
    assert course.searched == [2]
    assert (found.index, found.analytic, found.numerical) == ((2,), 1.3, 1.0)
    assert found.fault.startswith("x: at (2,) backward gives 1.3, central differences give 1")
    assert found.fault.endswith("; wrong in 2 of 3 by plain differences")


def test_an_element_that_only_the_search_finds_wrong_counts_as_one():
    found, _, _ = judged([1.0, 1.0], [1.0, 1.0], [(1.0, 0.0, 0.0), (2.0, 0.0, 0.0)], noise=1.0)
    assert found.fault.endswith("; wrong in 1 of 2")


def test_what_is_not_settled_is_searched_though_a_worse_element_is_settled():
    found, _, course = judged([1 + 1e-7, 1e-9], [1.0, 1e-9], [None, (1.0, 0.0, 0.0)], noise=1e-7)
    assert course.searched == [1]
    assert found.index == (1,)


def test_what_a_millionth_of_the_largest_slope_excuses_is_not_counted_as_wrong():
    analytic = [1e6, 5.0, 5.1, 9.0]  # the 5 is off by the 1 that is excused and 1 of 8, which is the tolerance
    found, _, _ = judged(analytic, [1e6, 3.0, 3.0, 3.0], [(3.0, 0.0, 0.0)] * 4, tolerance=0.125)
    assert found.fault.endswith("; wrong in 2 of 4 by plain differences")


def test_a_slope_of_zero_that_is_searched_and_found_exact_is_zero():
    found, _, course = judged([0.0], [0.0], [(0.0, 0.0, 0.0)], noise=1.0)
    assert course.searched == [0]
    assert "forward ignores it" in found.fault


def test_where_every_slope_is_zero_forward_ignores_the_input():
    assert "forward ignores it" in judged([0.0, 0.0], [0.0, 0.0], None)[0].fault


def test_errors_are_ordered_to_two_digits_of_their_logarithm():
    with np.errstate(divide="ignore"):
        order = judging._worst_first(np.array([1e-9, 1e-3, 1.002e-3, 1.05e-3, 0, np.inf]))
    assert order.tolist() == [5, 3, 1, 2, 0, 4]


def test_a_relative_error_is_of_the_sum_of_both_sizes():
    a, n = np.array([3.0, 0.0, np.inf, 1.0]), np.array([-1.0, 0.0, 1.0, np.nan])
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(judging._relative(a, n), [1, 0, np.inf, np.inf])
        np.testing.assert_array_equal(judging._relative(a, n, 2.0), [0.5, 0, np.inf, np.inf])


@pytest.mark.parametrize(
    ("a", "n", "said"),
    [
        (1.5, 1.0, "backward gives 1.5, central differences give 1, a relative error of 0.2"),
        (1.23456789, 1.0, "backward gives 1.23457, central differences give 1, a relative error of 0.1"),
        (1.00001, 1.0, "backward gives 1.00001, central differences give 1, a relative error of 5e-06"),
        (1.0000001, 1.0, "backward gives 1.0000001, central differences give 1, a relative error of 5e-08"),
        (1 + 2e-15, 1.0, "backward gives 1.000000000000002, central differences give 1, a relative error of 1e-15"),
        (
            0.7 + 2e-16,
            0.7,
            "backward gives 0.7000000000000002, central differences give 0.7, a relative error of 1.6e-16",
        ),
        (
            1 + EPSILON,
            1.0,
            "backward gives 1.0000000000000002, central differences give 1, a relative error of 1.1e-16",
        ),
    ],
)
def test_both_values_are_given_to_the_digit_that_tells_them_apart(a, n, said):
    slopes = SimpleNamespace(base=np.array([0.1]), has_kink=lambda i: False)
    assert judging._wrong_value(slopes, 0, a, n, 0.0) == said


@pytest.mark.parametrize(
    ("base", "analytic", "known", "doubted"),
    [
        (0.5, 1.04, 0.0, True),  # 0.5 fits into float32
        (0.5, 1.06, 0.0, False),
        (0.1, 1.04, 0.0, False),
        (0.1, 1.06, 0.07, True),
        (0.1, 1.06, 0.05, False),
        (0.1, 1.5, 0.5, True),
    ],
)
def test_single_precision_or_rounding_is_suspected_behind_a_small_error(base, analytic, known, doubted):
    slopes = SimpleNamespace(base=np.array([base]), has_kink=lambda i: False)
    said = judging._wrong_value(slopes, 0, analytic, 1.0, known)
    assert ("do they compute in float64 throughout?" in said) is doubted


@pytest.mark.parametrize(
    ("scaled", "said"),
    [
        ([1.0, 2.0], "it ignores dout"),
        ([-(2.0**20), -(2.0**21)], ""),
        ([-(2.0**20) * (1 + 1.9e-6), -(2.0**21)], ""),  # within a millionth of the largest
        (
            [-(2.0**20) * 1.5, -(2.0**21)],
            "it is not linear in dout: at (0,) backward gives 1 for dout, but 1.5 times c for c dout, with c = -1048",
        ),
        ([-(2.0**20) * (1 + 2.1e-6), -(2.0**21)], "it is not linear in dout: at (0,)"),
    ],
)
def test_a_backward_is_linear_when_a_dout_a_million_times_as_large_gives_as_much_more(scaled, said):
    bent = gradient_check._bent(np.array([1.0, 2.0]), np.array(scaled))
    assert bent.startswith(said)
    assert bool(bent) == bool(said)


def test_a_gradient_that_overflows_for_the_larger_dout_is_linear_if_its_sign_agrees():
    gradient, scale = np.array([1e303, -1e303, 1.0]), -(2.0**20)
    with np.errstate(over="ignore"):
        assert gradient_check._bent(gradient, np.array([-np.inf, np.inf, scale])) == ""
        assert "at (1,) backward gives" in gradient_check._bent(gradient, np.array([-np.inf, -np.inf, scale]))
        assert "at (2,) backward gives" in gradient_check._bent(
            gradient[2:].repeat(3), np.array([scale, scale, np.inf])
        )


def test_gradients_next_to_the_largest_number_pass():
    report = check_gradients(lambda x: (1e303 * x, None), lambda dout, _: 1e303 * dout, [np.array([1e-300, 2e-300])])
    assert report, report


def test_the_upstream_gradient_lies_between_a_half_and_one_and_a_half_with_either_sign():
    dout = gradient_check._random(np.ones(9999), seed=0)
    assert np.abs(dout).min() == pytest.approx(0.5, abs=1e-3)
    assert np.abs(dout).max() == pytest.approx(1.5, abs=1e-3)
    assert np.mean(dout > 0) == pytest.approx(0.5, abs=0.05)


def test_tolerance_and_seed_have_to_be_named():
    with pytest.raises(TypeError, match="positional"):
        check_gradients(affine, affine_backward, affine_inputs(), 1e-7)


def test_the_seed_is_0_unless_another_is_given():
    reports = [check_gradients(affine, affine_backward, affine_inputs(), **seed) for seed in ({}, {"seed": 0})]
    assert reports[0] == reports[1]


# ---- wrong form --------------------------------------------------------------------------------------------

MALFORMED = {
    "shape": (lambda g: g[None], "gamma: its gradient must have shape (3,), got (1, 3)"),
    "sum over a wrong axis": (lambda g: np.ones(7), "gamma: its gradient must have shape (3,), got (7,)"),
    "None": (lambda g: None, "gamma: its gradient is missing (None)"),
    "dtype": (np.float32, "gamma: its gradient must be a float64 NumPy array, got float32 NumPy array"),
    "kind": (torch.from_numpy, "gamma: its gradient must be a float64 NumPy array, got float64 torch tensor"),
    "list": (list, "gamma: its gradient must be a float64 NumPy array, got list"),
    "complex": (lambda g: g + 0j, "got complex128 NumPy array"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_gradient_is_named(name):
    spoil, message = MALFORMED[name]
    assert message in fault_of(check_gradients(normalize, spoiled(1, spoil), batch_norm_inputs()))


@pytest.mark.parametrize(
    ("change", "got"),
    [
        (lambda g: g[:2], "got 2 gradients"),
        (lambda g: (*g, g[0]), "got 4 gradients"),
        (lambda g: None, "got NoneType"),
        (lambda g: g[0], "got float64 NumPy array"),
        (lambda g: dict(enumerate(g)), "got dict"),
    ],
)
def test_a_wrong_number_of_gradients_is_named(change, got):
    report = check_gradients(normalize, lambda d, c: change(normalize_backward(d, c)), batch_norm_inputs())
    assert fault_of(report) == f"backward: must return 3 gradients (x, gamma, beta), {got}"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.ones(3, np.float32), "gamma: must be a float64 array, got float32 NumPy array"),
        (np.ones(3, int), "gamma: must be a float64 array, got int64 NumPy array"),
        (torch.ones(3), "gamma: must be a float64 array, got float32 torch tensor"),
        ([1.0, 1.0, 1.0], "gamma: must be a float64 array, got list"),
        (np.ma.ones(3), "gamma: must be a float64 array, got MaskedArray"),
        (np.array([1.0, np.nan, 1.0]), "gamma: is not finite at (1,): nan"),
        (np.empty(0), "gamma: is empty, so the check would prove nothing"),
    ],
)
def test_an_unusable_input_is_named(bad, message):
    x, _, beta = batch_norm_inputs()
    assert fault_of(check_gradients(normalize, normalize_backward, [x, bad, beta])) == message


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (lambda x: (x.astype(np.float32), x), "out: must be a float64 array, got float32 NumPy array"),
        (lambda x: (x * np.inf, x), "out: is not finite at (0,): inf"),
        (lambda x: x, "forward: must return the pair (out, cache), got float64 NumPy array"),
        (lambda x: ((x, x), x), "out: must be a float64 array, got tuple"),
        (lambda x: (x, x, x), "forward: must return the pair (out, cache), got tuple"),
    ],
)
def test_an_unusable_output_is_named(out, message):
    assert fault_of(check_gradients(out, lambda dout, cache: dout, [np.ones(2)])) == message


def test_no_inputs_prove_nothing():
    assert "prove nothing" in fault_of(check_gradients(lambda: (np.ones(1), None), lambda d, c: (), []))


@pytest.mark.parametrize("inputs", [np.ones(3), torch.ones(3), {"x": np.ones(3)}, "x", None])
def test_inputs_that_are_no_sequence_raise(inputs):
    with pytest.raises(TypeError, match="inputs must be a list or tuple"):
        check_gradients(square, square_backward, inputs)


@pytest.mark.parametrize("tolerance", [0, -1e-7, 1, np.nan, np.inf])
def test_a_tolerance_that_would_pass_all_or_nothing_raises(tolerance):
    with pytest.raises(ValueError, match="tolerance must lie between 0 and 1"):
        check_gradients(square, square_backward, [np.ones(3)], tolerance=tolerance)


# ---- wrong behavior ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", range(3), ids=["x", "gamma", "beta"])
def test_a_backward_that_ignores_dout_is_named(k):
    def backward(dout, cache):
        gradients = list(normalize_backward(dout, cache))
        gradients[k] = normalize_backward(np.arange(210.0).reshape(SHAPE), cache)[k]
        return gradients

    fault = fault_of(check_gradients(normalize, backward, batch_norm_inputs()))
    assert fault.startswith(f"{['x', 'gamma', 'beta'][k]}: at ")
    assert fault.endswith("; it ignores dout")


def test_the_upstream_gradient_is_random_and_never_ones():
    seen = []
    check_gradients(square, lambda dout, x: seen.append(dout.copy()) or 2 * x * dout, [np.ones((4, 5))])
    assert np.unique(np.abs(seen[0])).size == 20
    assert set(np.sign(seen[0]).ravel()) == {-1, 1}


@pytest.mark.parametrize(
    "bent",
    [
        np.abs,
        lambda d: np.clip(d, -2, 2),
        lambda d: d * np.abs(d),
        lambda d: d + 1,
        lambda d: d / np.linalg.norm(d),
    ],
    ids=["abs", "clip", "square", "shift", "normalize"],
)
def test_a_backward_that_is_not_linear_in_dout_is_named(bent):
    report = check_gradients(square, lambda dout, x: 2 * x * bent(dout), [np.array([1.0, 2.0, 3.0])])
    assert "it is not linear in dout" in fault_of(report)


def test_a_scalar_loss_that_ignores_dout_is_named():
    report = check_gradients(lambda x: ((x**2).sum(), x), lambda dout, x: 2 * x, [np.array([1.0, 2.0])])
    assert fault_of(report).endswith("; it ignores dout")


@KINDS
@pytest.mark.parametrize("name", ["dout", "x", "out"])
def test_a_backward_that_changes_what_it_was_given_is_named(kind, name):
    def forward(x):
        out = x * x
        return out, {"x": x, "out": out}

    def backward(dout, cache):
        gradient = 2 * cache["x"] * dout
        array = dout if name == "dout" else cache[name]
        array *= 2
        return gradient

    fault = fault_of(check_gradients(forward, backward, [kind(np.array([1.0, 2.0, 3.0]))]))
    assert fault == f"backward: changes {name}"


@pytest.mark.parametrize(
    "use", [lambda c: c.pop(), lambda c: c.insert(0, 3 * c[0]) or c[1]], ids=["consumes", "scales"]
)
def test_a_backward_that_changes_its_cache_is_named(use):
    report = check_gradients(lambda x: (x**2, [x]), lambda dout, c: 2 * dout * use(c), [np.array([1.0, 2.0])])
    assert "backward changes its cache" in fault_of(report) or "backward: changes its cache" in fault_of(report)


@KINDS
def test_a_forward_that_changes_its_input_is_named_and_the_caller_keeps_his(kind):
    def forward(x, w):
        w *= 2
        return x * w, (x, w)

    x, w = kind(np.arange(1.0, 4.0)), kind(np.arange(2.0, 5.0))
    report = check_gradients(forward, lambda d, c: (d * c[1], 2 * d * c[0]), [x, w])
    assert fault_of(report) == "forward: changes w"
    assert np.array_equal(w, kind(np.arange(2.0, 5.0)))


def test_a_forward_that_draws_random_numbers_is_named():
    rng = np.random.default_rng(11)

    def dropout(x):
        mask = rng.random(x.shape) < 0.5
        return x * mask, mask

    report = check_gradients(dropout, lambda dout, mask: dout * mask, [np.arange(1.0, 21.0)])
    assert fault_of(report).startswith("forward: is not deterministic")


def test_a_forward_that_drifts_from_call_to_call_is_named():
    calls = []

    def forward(x):
        calls.append(0)
        return x**2 + (len(calls) > 4), x

    report = check_gradients(forward, lambda dout, x: 2 * dout * x, [np.arange(1.0, 4.0)])
    assert fault_of(report).startswith("forward: is not deterministic")


@pytest.mark.parametrize("gradient", [np.zeros(3), np.ones(3)], ids=["zero", "not zero"])
def test_a_forward_that_ignores_an_input_is_named(gradient):
    report = check_gradients(
        lambda x, gamma: (x**2 + 0 * gamma, x),
        lambda dout, x: (2 * dout * x, dout * gradient),
        [np.arange(1.0, 4.0), np.ones(3)],
    )
    assert "gamma: forward ignores it" in fault_of(report)
    assert "prove nothing" in fault_of(report)


# ---- state and inputs --------------------------------------------------------------------------------------


@KINDS
def test_inputs_are_never_changed(kind):
    inputs = [kind(array) for array in batch_norm_inputs()]
    before = copy.deepcopy(inputs)
    check_gradients(*elementwise(lambda x: x * 2, lambda x: 2 + 0 * x), inputs[:1]).raise_if_failed()
    for now, then in zip(inputs, before, strict=True):
        assert np.array_equal(now, then)


@KINDS
@pytest.mark.parametrize("present", [True, False])
def test_running_statistics_are_put_back(kind, present):
    statistics = {"running_mean": kind(np.arange(3.0)), "running_var": kind(np.ones(3))} if present else {}
    parameters = {"mode": "train", **statistics}
    before = copy.deepcopy(parameters)

    def forward(x, gamma, beta):
        return spatial_batchnorm_forward(x, gamma, beta, parameters)

    inputs = [kind(array) for array in batch_norm_inputs()]
    check_gradients(forward, spatial_batchnorm_backward, inputs).raise_if_failed()
    assert parameters.keys() == before.keys()
    for key, array in statistics.items():
        assert parameters[key] is array
        assert np.array_equal(parameters[key], before[key])


def test_a_module_keeps_its_buffers():
    module = torch.nn.BatchNorm2d(3).double()
    before = copy.deepcopy(module.state_dict())
    check_autograd(module, [torch.from_numpy(small_batch_norm_inputs()[0])]).raise_if_failed()
    for key, buffer in module.state_dict().items():
        assert torch.equal(buffer, before[key]), key


def test_an_object_keeps_its_arrays():
    class Layer:
        def __init__(self):
            self.total = np.zeros(3)

        def forward(self, x):
            self.total += x
            self.cache = x
            return x**2, x

    layer = Layer()
    check_gradients(layer.forward, lambda dout, x: 2 * dout * x, [np.ones(3)]).raise_if_failed()
    assert vars(layer).keys() == {"total"}
    assert not layer.total.any()


def test_state_is_put_back_when_forward_raises():
    parameters = {"mode": "train", "running_mean": np.zeros(3)}

    def forward(x):
        parameters["running_mean"] = x
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        check_gradients(forward, lambda dout, cache: dout, [np.ones(3)])
    assert not parameters["running_mean"].any()


# ---- autograd ----------------------------------------------------------------------------------------------


def test_forward_may_record_what_backward_differentiates():
    x = torch.arange(1.0, 4.0, dtype=torch.float64, requires_grad=True)
    report = check_gradients(
        lambda x: ((out := x**2), (out, x)),
        lambda dout, cache: torch.autograd.grad(*cache, dout, retain_graph=True),
        [x],
    )
    report.raise_if_failed()


def test_cross_correlation_passes_through_autograd():
    rng = np.random.default_rng(12)
    inputs = [torch.from_numpy(rng.normal(size=(6, 7))), torch.from_numpy(rng.normal(size=(2, 3)))]
    report = check_autograd(cross_corr_2d, inputs)
    assert str(report) == "X: (6, 7) agrees within 1e-07\nK: (2, 3) agrees within 1e-07"


class WrongSquare(torch.autograd.Function):
    """x^2 with a derivative that is wrong by one part in 1e5."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    def backward(ctx, dout):
        return 2 * (1 + 1e-5) * ctx.saved_tensors[0] * dout


def test_a_fault_that_gradcheck_lets_pass_is_refused():
    x = torch.linspace(0.5, 2, 12, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(WrongSquare.apply, x)
    assert "it is 1.00001 times the right one" in fault_of(check_autograd(WrongSquare.apply, [x]))


def test_leaves_keep_their_gradients():
    x = torch.ones(3, dtype=torch.float64, requires_grad=True)
    check_autograd(lambda x: x**2, [x]).raise_if_failed()
    assert x.grad is None


def test_an_input_that_autograd_does_not_reach_is_named():
    x = torch.arange(1.0, 4.0, dtype=torch.float64)
    fault = fault_of(check_autograd(lambda x, y: x**2 * y.detach(), [x, x]))
    assert fault == "y: its gradient is missing (None)"
    assert fault_of(check_autograd(lambda x: x.detach() ** 2, [x])) == "x: its gradient is missing (None)"


@pytest.mark.parametrize("inputs", [torch.ones(3), [np.ones(3)], None])
def test_check_autograd_refuses_what_is_not_a_sequence_of_tensors(inputs):
    with pytest.raises(TypeError, match="list or tuple of torch tensors"):
        check_autograd(torch.sin, inputs)


def test_a_function_may_keep_arrays_of_any_dtype():
    kept = {"names": np.array(["a", "b"]), "counts": np.array([2**62 + 1]), "nan": np.array([np.nan])}
    kept["nan"].flags.writeable = False
    before = copy.deepcopy(kept)

    def forward(x):
        kept["counts"][0] += 1
        return x**2, kept and x

    check_gradients(forward, lambda dout, x: 2 * dout * x, [np.ones(3)]).raise_if_failed()
    for key, array in kept.items():
        np.testing.assert_array_equal(array, before[key])


def test_check_autograd_draws_with_seed_0_unless_another_is_named():
    inputs = [torch.arange(1.0, 7.0, dtype=torch.float64)]
    reports = [check_autograd(torch.sin, inputs, **seed) for seed in ({}, {"seed": 0})]
    assert reports[0] == reports[1]
    with pytest.raises(TypeError, match="positional"):
        check_autograd(torch.sin, inputs, 1e-7)


@pytest.mark.parametrize(
    ("function", "x"),
    [
        (torch.nn.functional.gelu, [5.0, -5.0, 0.1]),
        (lambda x: torch.nn.functional.cross_entropy(x, torch.tensor([2])), [[0.0, 8, 16]]),
        (lambda x: torch.arccos(x[0] / x.norm()), [1.0, 1e-3]),
        (lambda x: (x + 1e6).var(), [0.13, -0.13, 0.64, 0.1, -0.54, 0.36]),
        (lambda x: torch.linalg.cholesky((x + x.T) / 2), [[1.0, 0, 0], [0, 0.5, 0], [0, 0, 1e-6]]),
    ],
    ids=["gelu", "cross entropy", "angle", "variance", "cholesky"],
)
def test_right_gradients_pass_where_rounding_comes_in_stairs_or_steps_leave_the_domain(function, x):
    check_autograd(function, [torch.tensor(x, dtype=torch.float64)]).raise_if_failed()


@pytest.mark.parametrize("seed", range(6))
def test_a_bias_that_batch_norm_takes_out_again_proves_nothing(seed):
    rng = np.random.default_rng(seed)
    inputs = [torch.from_numpy(rng.normal(size=shape)) for shape in ((6, 5), (5, 3), (3,))]

    def forward(x, w, b):
        return torch.nn.functional.batch_norm(x @ w + 30 * b, None, None, training=True)

    assert "b: forward ignores it (every slope is zero to rounding)" in fault_of(check_autograd(forward, inputs))


def test_a_missing_gradient_hides_in_no_step_that_is_too_small():
    x, y = 1e-12 * np.array([0.3, -1.1, 0.7, 0.2]), np.array([1.0, 2.0, -1.5, 1e-13])
    right, wrong = np.ones(4), np.array([1.0, 0, 1, 1])
    for factor, passes in ((right, True), (wrong, False)):
        report = check_gradients(lambda x, y: (x + y, None), lambda d, c, f=factor: (d * f, d), [x, y])
        assert bool(report) is passes, report


def test_a_cache_that_is_never_renewed_is_refused():
    kept = {}

    def forward(x):
        return np.maximum(x, 0), kept.setdefault(x.shape, x > 0)

    fault_of(check_gradients(forward, lambda dout, mask: dout * mask, [np.array([1.0, -2.0, 3.0, -4.0, 5.0, 6.0])]))


def test_a_backward_in_single_precision_is_named():
    x = torch.linspace(0.3, 2, 7, dtype=torch.float64)
    report = check_gradients(lambda x: (x**2, x), lambda d, x: (2 * x.float() * d.float()).double(), [x])
    assert "backward does not compute in float64" in fault_of(report)


def test_a_backward_that_is_not_finite_for_zeros_is_named():
    report = check_gradients(square, lambda d, x: 2 * x * d * d / d, [np.ones(3)])
    assert "where dout is zero everywhere, it is not" in fault_of(report)


def test_the_order_of_an_input_in_memory_is_kept():
    def backward(dout, x):
        return (2 * x.ravel("K") * dout.ravel("K")).reshape(x.shape)

    fault_of(check_gradients(square, backward, [np.asfortranarray(np.arange(1.0, 13).reshape(3, 4))]))


def test_a_sparse_gradient_is_named():
    rows = torch.tensor([0, 1, 1])
    weights = torch.linspace(1, 2, 6, dtype=torch.float64).view(3, 2)
    report = check_autograd(lambda w: torch.nn.functional.embedding(rows, w, sparse=True), [weights])
    assert fault_of(report) == "w: its gradient must be a float64 torch tensor, got sparse float64 torch tensor"


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_autograd_is_checked_where_it_is_switched_off(mode):
    with mode():
        check_autograd(torch.sin, [torch.ones(3, dtype=torch.float64)]).raise_if_failed()


def test_one_gradient_given_twice_is_only_asked_about():
    a, b = np.array([1.0, 2.0, 3.0]), np.array([0.3, 0.1, 0.7])
    report = check_gradients(lambda a, b: (a * b, (a, b)), lambda d, c: (d * c[0], d * c[0]), [a, b])
    assert fault_of(report).endswith("it is the gradient of b: are the two swapped?")


def test_numbers_whose_sum_overflows_end():
    assert np.isnan(numerical_gradient(lambda x: x * 1e-308, np.full(3, 1.7e308))).all()


def test_any_seed_of_numpy_serves():
    check_gradients(square, square_backward, [np.ones(3)], seed=np.random.default_rng(0)).raise_if_failed()


def test_statistics_in_lists_and_objects_of_objects_are_put_back():
    class Net:
        def __init__(self):
            self.bn_params = [{"mode": "train", "running_mean": np.zeros(3)}]
            self.norm = torch.nn.BatchNorm1d(3).double()

        def forward(self, x):
            self.bn_params[0]["running_mean"] = self.bn_params[0]["running_mean"] + x.detach().numpy().mean(0)
            return self.norm(x)

    net = Net()
    check_autograd(net.forward, [torch.linspace(1, 2, 12, dtype=torch.float64).view(4, 3).sin()])
    assert not net.bn_params[0]["running_mean"].any()
    assert not net.norm.running_mean.any()


def test_a_module_keeps_more_than_buffers():
    class Layer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = torch.nn.BatchNorm1d(3).double()
            self.inner.bn_param = {"running_mean": np.zeros(3)}
            self.seen = np.zeros(3)

        def forward(self, x):
            mean = x.detach().numpy().mean(0)
            self.seen += mean
            self.inner.bn_param["running_mean"] = self.inner.bn_param["running_mean"] + mean
            return self.inner(x)

    layer = Layer()
    check_autograd(layer, [torch.linspace(1, 2, 12, dtype=torch.float64).view(4, 3).sin()])
    assert not layer.seen.any()
    assert not layer.inner.bn_param["running_mean"].any()
    assert not layer.inner.running_mean.any()


def test_state_at_the_end_of_a_long_chain_is_put_back():
    last = chain = {"mean": np.zeros(3)}
    for _ in range(3000):
        chain = {"next": [chain]}

    def forward(x):
        last["mean"] = last["mean"] + x
        return x**2, (x, chain)

    check_gradients(forward, lambda dout, cache: 2 * cache[0] * dout, [np.ones(3)]).raise_if_failed()
    assert not last["mean"].any()
