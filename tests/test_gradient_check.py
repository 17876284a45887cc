"""The gradient check passes what is right at every scale, and refuses each planted fault by its name."""

import math
import re
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional

from helpers.gradient_check import check_autograd, check_gradients, numerical_gradient, relative_error

SHAPE = (2, 3, 5, 7)
AXES = (0, 2, 3)
KINDS = pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])


def normalize(x, gamma, beta):
    """Batch norm of (N, C, H, W) in plain NumPy."""
    centered = x - x.mean(AXES, keepdims=True)
    inverse = 1 / np.sqrt((centered**2).mean(AXES, keepdims=True) + 1e-5)
    x_hat = centered * inverse
    return gamma[:, None, None] * x_hat + beta[:, None, None], (x_hat, inverse, gamma)


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


def square(x):
    return x * x, x


def square_backward(dout, x):
    return 2 * dout * x


def spoil(k, change):
    """normalize_backward with a change to its k-th gradient."""

    def backward(dout, cache):
        gradients = list(normalize_backward(dout, cache))
        gradients[k] = change(gradients[k])
        return tuple(gradients)

    return backward


def fault_of(report):
    """The one fault of a report."""
    assert not report
    assert len(report.faults) == 1, report
    return report.faults[0]


INFINITE = [([1.0, a], [1.0, b], np.inf) for a, b in ((np.nan, 0), (np.inf, np.inf), (0, -np.inf))]


@pytest.mark.parametrize(("a", "b", "expected"), [([1, 2, -4.0], [1, 3, -4.0], 0.2), ([], [], 0), *INFINITE])
def test_relative_error_is_the_largest_elementwise_one_and_infinite_if_a_value_is_not_finite(a, b, expected):
    assert relative_error(np.array(a), np.array(b)) == pytest.approx(expected, rel=1e-15)


def test_relative_error_refuses_shapes_that_would_broadcast():
    with pytest.raises(ValueError, match=re.escape("(3, 1) and (3,)")):
        relative_error(np.ones((3, 1)), np.ones(3))


TRUTHS = {
    "1/x": (lambda x: 1 / x, lambda x: -1 / x**2, np.array([1e-3, -0.01, 0.1, 1.0, 100.0])),
    "sqrt near 0.01": (np.sqrt, lambda x: 0.5 / np.sqrt(x), np.array([0.009, 0.01, 0.011, 4.0])),
    "x^3 at 1e4": (lambda x: x**3, lambda x: 3 * x**2, np.array([1e4, -2e4, 1.0])),
    "sin at 1e6": (np.sin, np.cos, np.array([224 * np.pi + 0.1, 1e6])),
    "tanh(20 x)": (lambda x: np.tanh(20 * x), lambda x: 20 / np.cosh(20 * x) ** 2, np.linspace(-0.3, 0.3, 7)),
    "log": (np.log, lambda x: 1 / x, np.array([1e-8, 1e-3, 1.0, 1e5])),
    "1 + x": (lambda x: 1 + x, np.ones_like, np.array([1e-9, -2e-9])),
    "exp(sin x)": (lambda x: np.exp(np.sin(x)), lambda x: np.exp(np.sin(x)) * np.cos(x), np.linspace(-2, 2, 30)),
}


@pytest.mark.parametrize("name", TRUTHS)
def test_numerical_gradient_agrees_with_the_truth_to_one_in_a_billion(name):
    f, slope, x = TRUTHS[name]
    alone = [numerical_gradient(f, np.array(value)) for value in x]
    np.testing.assert_allclose(numerical_gradient(f, x), slope(x), rtol=1e-9, atol=0)
    np.testing.assert_allclose(alone, slope(x), rtol=1e-9, atol=0)


def test_an_element_whose_square_overflows_does_not_hide_the_others():
    np.testing.assert_allclose(numerical_gradient(lambda x: x**1, np.array([0.1, 1e300, -2.0])), 1, rtol=1e-7)


def test_a_fixed_step_is_extrapolated_once():
    gradient = numerical_gradient(lambda x: x**3 + x**5, np.array([0.0]), step=0.1)
    np.testing.assert_allclose(gradient, -4 * 0.1**4 / 16, rtol=1e-9)  # h^2 is gone; -h^4 / 4 of x^5 is left.


@KINDS
@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (3, 4)])
def test_numerical_gradient_weighs_by_upstream_keeps_kind_and_shape_and_never_changes_x(kind, shape):
    values = np.linspace(1, 2, 2 * math.prod(shape))[::2].reshape(shape)
    x = kind(values.copy())
    upstream = np.asarray(np.cos(values))

    def f(array):
        array *= array
        return array

    gradient = numerical_gradient(f, x, kind(upstream))
    assert type(gradient) is type(x)
    np.testing.assert_allclose(gradient, 2 * values * upstream, rtol=1e-9)
    np.testing.assert_array_equal(x, values)


def test_the_gradient_is_nan_if_f_is_not_defined_on_both_sides():
    assert np.isnan(numerical_gradient(np.sqrt, np.array([0.0, 4.0]))).tolist() == [True, False]


@pytest.mark.parametrize("x", [np.ones(2, np.float32), np.ones(2, int), torch.ones(2), [1.0], None])
def test_numerical_gradient_refuses_x_that_is_not_a_float64_array(x):
    with pytest.raises(TypeError, match="x must be a float64 array"):
        numerical_gradient(lambda x: x, x)


@pytest.mark.parametrize("shape", [(1,), (3, 2)])
def test_numerical_gradient_refuses_an_upstream_that_does_not_fit(shape):
    with pytest.raises(ValueError, match=re.escape(f"{shape}, but f(x) has (2, 3)")):
        numerical_gradient(lambda x: x, np.ones((2, 3)), np.ones(shape))


RIGHT = {  # A function, its inputs' shapes, and the largest scale at which its slopes do not drown in rounding.
    "attention": (lambda q, k, v: torch.softmax(q @ k.T, dim=1) @ v, [(4, 3), (5, 3), (5, 2)], 1),
    "batch norm": (lambda x, w, b: functional.batch_norm(x, None, None, w, b, True), [(4, 3, 5), (3,), (3,)], 1e6),
    "convolution": (lambda x, k: functional.conv2d(x[None, None], k[None, None]), [(6, 7), (2, 3)], 1e6),
    "inverse": (torch.linalg.inv, [(4, 4)], 1e6),
    "linear": (functional.linear, [(5, 4), (3, 4), (3,)], 1e6),
    "log-determinant": (lambda x: torch.linalg.slogdet(x)[1], [(4, 4)], 1e6),
    "max pooling": (lambda x: functional.max_pool2d(x[None, None], 2), [(4, 6)], 1e6),
    "offset": (lambda x: 1e6 + torch.sin(x), [(4, 5)], 1e3),
    "softmax with cross-entropy": (lambda x: functional.cross_entropy(x, torch.arange(4)), [(4, 5)], 10),
    "tanh(20 x)": (lambda x: torch.tanh(20 * x), [(4, 5)], 0.3),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", RIGHT)
def test_right_gradients_pass_at_scales_from_1e_9_to_1e6(name, seed):
    function, shapes, largest = RIGHT[name]
    rng = np.random.default_rng(seed)
    for scale in (1e-9, 1e-6, 1e-3, 1.0, 1e3, 1e6):
        inputs = [torch.from_numpy(min(scale, largest) * rng.normal(size=shape)) for shape in shapes]
        report = check_autograd(function, inputs)
        assert report, report


@pytest.mark.parametrize(
    ("function", "x"),
    [
        (functional.gelu, [5.0, -5.0, 0.1]),
        (lambda x: functional.cross_entropy(x, torch.tensor([2])), [[0.0, 8, 16]]),
        (lambda x: torch.arccos(x[0] / x.norm()), [1.0, 1e-3]),
        (lambda x: functional.batch_norm(x + 1e6, None, None, training=True), [[1.0, -2], [-1.5, 0.1], [0.3, 0.7]]),
        (lambda x: (x + 1e6).var(), [0.13, -0.13, 0.64, 0.1, -0.54, 0.36]),
        (lambda x: torch.linalg.cholesky((x + x.T) / 2), [[1.0, 0, 0], [0, 0.5, 0], [0, 0, 1e-6]]),
    ],
)
def test_right_gradients_pass_where_outputs_round_in_steps_or_steps_leave_the_domain(function, x):
    report = check_autograd(function, [torch.tensor(x, dtype=torch.float64)])
    assert report, report


def test_a_passing_report_is_true_and_prints_no_rounding_error():
    report = check_gradients(normalize, normalize_backward, batch_norm_inputs())
    assert report
    expected = ["x: (2, 3, 5, 7)", "gamma: (3,)", "beta: (3,)"]
    assert str(report) == "\n".join(f"{line} agrees within 1e-07" for line in expected)


def test_a_failing_report_is_false_and_says_every_fault_and_what_agrees():
    report = check_gradients(normalize, spoil(1, np.negative), batch_norm_inputs())
    assert not report
    assert re.match(r"FAULT in gamma: .*opposite sign\nx: \(2, 3, 5, 7\) agrees within 1e-07", str(report))


@pytest.mark.parametrize("function", [torch.mul, lambda *arrays: arrays[0] * arrays[1]])
def test_inputs_that_forward_does_not_name_are_numbered(function):
    report = check_autograd(function, [torch.ones(2).double(), np.ones(2)])
    assert str(report) == "input 0: (2,) agrees within 1e-07\ninput 1: (2,) agrees within 1e-07"


SLIPS = {
    "missing mean": ({"mean": 0}, "the error is the same along axes (0, 2, 3): look at a mean"),
    "doubled mean": ({"mean": 2}, "the error is the same along axes (0, 2, 3): look at a mean"),
    "missing variance": ({"variance": 0}, "the error follows x along axes (0, 2, 3): look at a variance"),
    "variance of the wrong sign": ({"variance": -1}, "the error follows x along axes (0, 2, 3): look at a variance"),
    "m - 1 for m": ({"less": 1}, "the error follows x along axes (0, 2, 3): look at a variance"),
    "sums over (0, 2)": ({"over": (0, 2)}, "the error follows x along axes (0, 2)"),
    "sums over (2, 3)": ({"over": (2, 3)}, "the error follows x along axes (2, 3)"),
    "sums over all axes": ({"over": (0, 1, 2, 3)}, "the error follows x along axes (0, 2, 3)"),
    "forgotten gamma": ({"gammas": 0}, "it lacks a factor gamma"),
    "doubled gamma": ({"gammas": 2}, "it has one factor gamma too many"),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_in_batch_norm_is_refused_and_explained(slip):
    options, hint = SLIPS[slip]
    inputs = batch_norm_inputs()
    out, cache = normalize(*inputs)
    rng = np.random.default_rng(0)
    dout = rng.choice([-1.0, 1.0], out.shape) * rng.uniform(0.5, 1.5, out.shape)  # as check_gradients draws it
    wrong, _, _ = normalize_backward(dout, cache, **options)
    right, _, _ = normalize_backward(dout, cache)
    fault = fault_of(check_gradients(normalize, partial(normalize_backward, **options), inputs))
    found = re.match(r"x: at \((.*)\) backward gives (\S+), central differences give (\S+), a relative", fault)
    index = tuple(int(j) for j in found[1].split(","))
    printed = [float(found[2]), float(found[3])]
    np.testing.assert_allclose(printed, [wrong[index], right[index]], rtol=1e-7)  # Nine digits are printed.
    assert hint in fault


@pytest.mark.parametrize("k", range(3), ids=["x", "gamma", "beta"])
@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (np.negative, "it has the opposite sign"),
        (lambda g: 2 * g, "it is 2 times the right one"),
        (lambda g: g / 70, "it is 0.0142857 times the right one"),
        (lambda g: 1.00001 * g, "it is 1.00001 times the right one"),
        (np.zeros_like, "it is zero everywhere"),
        (np.ones_like, "it ignores dout or is not linear in it"),
    ],
)
def test_a_wrong_gradient_is_refused_and_explained(k, change, hint):
    fault = fault_of(check_gradients(normalize, spoil(k, change), batch_norm_inputs()))
    assert fault.startswith(f"{['x', 'gamma', 'beta'][k]}: at ")
    assert fault.endswith(hint)


def test_a_forgotten_factor_is_named_on_the_first_axis_too():
    inputs = [np.arange(1.0, 16).reshape(3, 5), np.arange(2.0, 5)]
    report = check_gradients(lambda x, w: (x * w[:, None], x), lambda dout, x: (dout, (dout * x).sum(1)), inputs)
    assert fault_of(report).endswith("it lacks a factor w")


def test_swapped_gradients_are_named():
    def swapped(dout, cache):
        return [normalize_backward(dout, cache)[k] for k in (0, 2, 1)]

    gamma, beta = check_gradients(normalize, swapped, batch_norm_inputs()).faults
    assert "it is the gradient of beta: are the two swapped?" in gamma
    assert "it is the gradient of gamma: are the two swapped?" in beta


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("factor", [1 + 1e-5, 1 - 1e-5, 0.0, np.nan, np.inf])
def test_one_wrong_element_is_found_at_any_place(seed, factor):
    place = tuple(int(np.random.default_rng(seed).integers(side)) for side in SHAPE)

    def change(dx):
        dx[place] *= factor
        return dx

    fault = fault_of(check_gradients(normalize, spoil(0, change), batch_norm_inputs(seed)))
    assert fault.startswith(f"x: at {place} backward gives ")
    assert fault.endswith("wrong in 1 of 210")


@pytest.mark.parametrize("scale", [1e-9, 1e-6, 1e-3, 1.0, 1e3, 1e6])
def test_elements_of_every_size_pass_and_a_fault_of_one_in_1e5_is_found_in_each(scale):
    x = scale * np.array([1.0, 1e-3, 1e-6, 1e-9])
    report = check_gradients(square, square_backward, [x])
    assert report, report
    for k in range(4):
        factor = 1 + 1e-5 * (np.arange(4) == k)
        report = check_gradients(square, lambda dout, x, factor=factor: 2 * x * dout * factor, [x])
        assert fault_of(report).startswith(f"x: at ({k},) ")


@pytest.mark.parametrize(
    ("change", "got"),
    [
        (lambda g: np.ones(7), "float64 ndarray of shape (7,)"),
        (np.float32, "float32 ndarray of shape (3,)"),
        (torch.from_numpy, "float64 Tensor of shape (3,)"),
        (lambda g: g + 0j, "complex128 ndarray of shape (3,)"),
        (np.ma.array, "MaskedArray"),
        (lambda g: None, "NoneType"),
    ],
)
def test_a_malformed_gradient_is_named(change, got):
    fault = fault_of(check_gradients(normalize, spoil(1, change), batch_norm_inputs()))
    assert fault == f"gamma: its gradient must be a float64 ndarray of shape (3,), got {got}"


@pytest.mark.parametrize(("change", "got"), [(lambda g: g[:2], 2), (lambda g: (*g, g[0]), 4), (lambda g: g[0], 1)])
def test_a_wrong_number_of_gradients_is_named(change, got):
    report = check_gradients(normalize, lambda d, c: change(normalize_backward(d, c)), batch_norm_inputs())
    assert fault_of(report) == f"backward: must return 3 gradients, got {got}"


@pytest.mark.parametrize(
    ("forward", "x", "fault"),
    [
        (square, np.ones(3, np.float32), "x: must be a float64 array, got float32 ndarray of shape (3,)"),
        (square, torch.ones(3, dtype=torch.int64), "x: must be a float64 array, got int64 Tensor of shape (3,)"),
        (square, [1.0, 1.0, 1.0], "x: must be a float64 array, got list"),
        (lambda x: (np.float32(x), x), np.ones(2), "out: must be a float64 array, got float32 ndarray of shape (2,)"),
        (lambda x: x, np.ones(3), "forward: must return the pair (out, cache), got float64 ndarray of shape (3,)"),
        (lambda x: (x, x, x), np.ones(3), "forward: must return the pair (out, cache), got tuple"),
    ],
)
def test_what_forward_takes_or_returns_amiss_is_named(forward, x, fault):
    assert fault_of(check_gradients(forward, square_backward, [x])) == fault


@pytest.mark.parametrize("x", [np.array([1.0, np.nan]), np.array([1.0, np.inf]), np.empty((0, 3))])
def test_an_input_that_is_empty_or_not_finite_never_passes(x):
    assert not check_gradients(square, square_backward, [x])


@pytest.mark.parametrize(
    "check", [partial(check_gradients, square, square_backward), partial(check_autograd, torch.sin)]
)
@pytest.mark.parametrize("inputs", [np.ones(3), torch.ones(3), {"x": np.ones(3)}, "x", None, []])
def test_inputs_that_are_no_list_of_arrays_raise(check, inputs):
    with pytest.raises(TypeError, match="inputs must be a list or tuple"):
        check(inputs)


@pytest.mark.parametrize("tolerance", [0, -1e-7, 1, np.nan, np.inf])
def test_a_tolerance_that_would_pass_all_or_nothing_raises(tolerance):
    with pytest.raises(ValueError, match="tolerance must lie between 0 and 1"):
        check_gradients(square, square_backward, [np.ones(3)], tolerance=tolerance)


def test_the_upstream_gradient_is_random_and_depends_on_the_seed():
    seen = []
    for seed in (0, 0, 1):
        check_gradients(square, lambda d, x: seen.append(d.copy()) or 2 * x * d, [np.ones((4, 5))], seed=seed)
    first, again, other = seen[::2]
    assert np.unique(np.abs(first)).size == 20
    assert set(np.sign(first).ravel()) == {-1, 1}
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()


@pytest.mark.parametrize(
    "bend",
    [np.abs, lambda d: np.clip(d, -2, 2), lambda d: d * (abs(d) > 2), lambda d: d + 1, lambda d: d / np.linalg.norm(d)],
    ids=["abs", "clip", "threshold", "shift", "normalize"],
)
def test_a_backward_that_is_not_linear_in_dout_is_named(bend):
    report = check_gradients(square, lambda dout, x: 2 * x * bend(dout), [np.array([1.0, 2.0, 3.0])])
    assert fault_of(report).endswith("it ignores dout or is not linear in it")


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


@KINDS
def test_a_forward_that_changes_its_input_is_named_and_the_caller_keeps_his(kind):
    def forward(x, w):
        w *= 2
        return x * w, (x, w)

    x, w = kind(np.arange(1.0, 4.0)), kind(np.arange(2.0, 5.0))
    report = check_gradients(forward, lambda d, c: (d * c[1], 2 * d * c[0]), [x, w])
    assert fault_of(report) == "forward: changes w"
    np.testing.assert_array_equal(w, np.arange(2.0, 5.0))


def test_a_forward_that_draws_random_numbers_is_named():
    rng = np.random.default_rng(11)
    report = check_gradients(lambda x: (x * rng.random(x.shape), x), square_backward, [np.arange(1.0, 21.0)])
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


@pytest.mark.parametrize("seed", range(6))
def test_a_bias_that_batch_norm_takes_out_again_proves_nothing(seed):
    rng = np.random.default_rng(seed)
    inputs = [torch.from_numpy(rng.normal(size=shape)) for shape in ((6, 3), (3,))]
    report = check_autograd(lambda x, b: functional.batch_norm(x + 30 * b, None, None, training=True), inputs)
    assert "b: forward ignores it (every slope is zero to rounding)" in fault_of(report)


def test_a_fault_that_gradcheck_lets_pass_is_refused():
    def square_wrongly(x):
        return x**2 + 1e-5 * (x**2 - x.detach() ** 2)  # adds nothing to the value, one in 1e5 to the derivative

    x = torch.linspace(0.5, 2, 12, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(square_wrongly, x)
    assert "it is 1.00001 times the right one" in fault_of(check_autograd(square_wrongly, [x]))
    assert x.grad is None


def test_an_input_that_autograd_does_not_reach_is_named():
    x = torch.arange(1.0, 4.0, dtype=torch.float64)
    fault = fault_of(check_autograd(lambda x, y: x**2 * y.detach(), [x, x]))
    assert fault == "y: its gradient must be a float64 Tensor of shape (3,), got NoneType"
