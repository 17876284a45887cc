"""Batch normalization: against an 80-bit reference, published values and torch; errors, memory, threads."""

import math
import tracemalloc

import numpy as np
import pytest
import torch

from helpers import loops
from helpers.batch_norm import (
    batch_norm,
    batchnorm_backward,
    batchnorm_forward,
    spatial_batchnorm_backward,
    spatial_batchnorm_forward,
)

SHAPE = (2, 3, 5, 7)
SHAPES = [SHAPE, (3, 2, 1, 1), (1, 3, 5, 7), (5, 1, 3, 2), (11, 5, 33, 31), (7, 3), (5, 1), (41, 67)]
KINDS = {"numpy": np.asarray, "torch": torch.from_numpy}
# Of the largest entry: 4e-14 is some hundred roundings of float64, 1e-5 as many of float32.
TOLERANCE = {np.float64: 4e-14, np.float32: 1e-5}
LOOPS_ONLY = pytest.mark.parametrize("computed", ["loops"], indirect=True)


@pytest.fixture(params=["loops", "torch"], autouse=True)
def computed(request, monkeypatch):
    """Let the loops compute, or the definition in torch, as without Numba."""
    if request.param == "torch":
        monkeypatch.setattr(loops, "numba", None)
    elif loops.numba is None:
        pytest.skip("Numba is not installed")


def make_problem(shape=SHAPE, dtype=np.float64, mean=0.0, scale=1.0, seed=7):
    """x, gamma, beta and an upstream gradient, all random; the channels' scales and means differ."""
    rng = np.random.default_rng(seed)
    channels = shape[1]
    spread = np.linspace(0.5, 2, channels).reshape(-1, *(1,) * (len(shape) - 2))
    x = (rng.standard_normal(shape) + mean) * spread * scale
    gamma, beta, dout = (rng.standard_normal(size) for size in (channels, channels, shape))
    return [array.astype(dtype) for array in (x, gamma, beta, dout)]


def compute_exactly(x, gamma, beta, dout, statistics=None):
    """out, dx, dgamma and dbeta by the definition, in 80-bit arithmetic where the machine has it."""
    x, gamma, beta, dout = (array.astype(np.longdouble) for array in (x, gamma, beta, dout))
    axes, m = (0, *range(2, x.ndim)), x.size // x.shape[1]
    each = (slice(None), *(None,) * (x.ndim - 2))
    if statistics is not None:
        mean, var = statistics
        d = x - mean[each]
    else:
        d = x - x.mean(axes)[each]
        d -= d.mean(axes)[each]  # 80 bits round a mean of 1e6 deviations off by 5e-14 of them
        var = (d**2).mean(axes)
    inverse_std = 1 / np.sqrt(var + np.longdouble(1e-5))
    x_hat = d * inverse_std[each]
    dbeta, dgamma = dout.sum(axes), (dout * x_hat).sum(axes)
    inner = dout if statistics is not None else dout - (dbeta / m)[each] - x_hat * (dgamma / m)[each]
    return gamma[each] * x_hat + beta[each], (gamma * inverse_std)[each] * inner, dgamma, dbeta


def measure_error(actual, expected):
    """The largest difference, relative to the largest entry expected."""
    difference = np.abs(np.asarray(actual).astype(np.longdouble) - expected).max()
    return float(difference / np.abs(expected).max())


def run(x, gamma, beta, dout, bn_param=None):
    """Forward and backward through the functions for x's dimensions."""
    spatial = x.ndim == 4
    forward = spatial_batchnorm_forward if spatial else batchnorm_forward
    backward = spatial_batchnorm_backward if spatial else batchnorm_backward
    out, cache = forward(x, gamma, beta, {"mode": "train"} if bn_param is None else bn_param)
    return out, *backward(dout, cache)


def assert_exact(results, expected, tolerance):
    for name, actual, exact in zip(("out", "dx", "dgamma", "dbeta"), results, expected, strict=True):
        assert measure_error(actual, exact) <= tolerance, name


@pytest.mark.parametrize("mode", ["train", "test"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", SHAPES)
def test_both_modes_agree_with_the_80_bit_definition_and_test_mode_leaves_bn_param(shape, dtype, kind, mode):
    arrays = make_problem(shape, dtype, mean=1)
    statistics = np.linspace((-1, 0.3), (2, 4), shape[1], axis=1, dtype=dtype)
    mean, var = map(KINDS[kind], statistics)
    param = {"mode": mode, "running_mean": mean, "running_var": var}
    results = run(*map(KINDS[kind], arrays), param)
    constants = statistics.astype(np.longdouble) if mode == "test" else None
    assert_exact(results, compute_exactly(*arrays, constants), TOLERANCE[dtype])
    if mode == "test":
        assert param == {"mode": "test", "running_mean": mean, "running_var": var}  # the very same arrays


@pytest.mark.parametrize("shape", [(3, 5, 11, 7), (9, 2, 5, 7), (231, 5), (7, 5), (9, 5)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e30])
@pytest.mark.parametrize(("dtype", "mean"), [(np.float64, 1e6), (np.float32, 1e3), (np.float64, 30)])
def test_a_distant_mean_costs_no_accuracy(dtype, mean, scale, shape):
    arrays = make_problem(shape, dtype, mean, scale)
    assert_exact(run(*arrays), compute_exactly(*arrays), TOLERANCE[dtype])


@pytest.mark.parametrize("shape", [(16, 2, 64, 61), (60_000, 3)])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_long_sums_and_an_upstream_gradient_with_a_mean_cost_no_accuracy(dtype, shape):
    arrays = make_problem(shape, dtype, mean=0.2)
    arrays[3] += dtype(1)
    assert_exact(run(*arrays), compute_exactly(*arrays), TOLERANCE[dtype])
    arrays[3][:] = 1  # dbeta counts the values
    np.testing.assert_array_equal(run(*arrays)[3], arrays[0].size / shape[1])


@pytest.mark.parametrize("value", [0.0, 0.1, -3e5])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_constant_channel_gives_beta_and_finite_gradients(dtype, value):
    x, gamma, beta, dout = make_problem((3, 2, 11, 7), dtype)
    x[:, 1] = value
    out, *gradients = run(x, gamma, beta, dout)
    # The mean is off by a rounding of the value, which 1 / sqrt(eps) = 316 and gamma, below 2, make larger.
    assert abs(out[:, 1] - beta[1]).max() <= 1000 * np.finfo(np.float64).eps * abs(value) + np.finfo(dtype).eps
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_a_single_value_a_channel_gives_beta_and_no_gradient():
    x, gamma, beta, dout = make_problem((1, 3, 1, 1))
    out, dx, dgamma, dbeta = run(x, gamma, beta, dout)
    np.testing.assert_array_equal(out[0, :, 0, 0], beta)
    assert not dx.any()
    assert not dgamma.any()
    np.testing.assert_array_equal(dbeta, dout[0, :, 0, 0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spoiler", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("shape", [SHAPE, (9, 3)])
def test_a_value_that_is_not_finite_spoils_its_channel_only(shape, spoiler, kind):
    arrays = make_problem(shape)
    clean = run(*map(KINDS[kind], arrays))
    arrays[0].flat[-1] = spoiler
    spoiled = run(*map(KINDS[kind], arrays))
    for before, after in zip(clean[:2], spoiled[:2], strict=True):
        assert np.isnan(np.asarray(after)[:, 2]).all()
        np.testing.assert_allclose(after[:, :2], before[:, :2], rtol=1e-12)
    tested = run(*map(KINDS[kind], arrays), {"mode": "test"})
    assert np.isfinite(np.asarray(tested[1])).all()  # there dx depends on dout only


@pytest.mark.parametrize("shape", [SHAPE, (9, 3)])
def test_squares_that_overflow_float64_give_beta_as_an_infinite_variance_does(shape):
    x, _, beta, dout = make_problem(shape, scale=1e200)
    param = {"mode": "train"}
    out, dx, dgamma, _ = run(x, np.ones(3), beta, dout, param)
    np.testing.assert_array_equal(np.moveaxis(out, 1, -1) - beta, 0)
    assert not dx.any()
    assert not dgamma.any()
    assert np.isinf(param["running_var"]).all()


def test_published_channel_statistics_of_cs231n():
    x = 4 * np.random.RandomState(231).randn(2, 3, 4, 5) + 10
    gamma, beta = np.array([3.0, 4, 5]), np.array([6.0, 7, 8])
    out, _ = spatial_batchnorm_forward(x, gamma, beta, {"mode": "train"})
    np.testing.assert_allclose(out.mean((0, 2, 3)), [6, 7, 8], atol=1e-14)
    np.testing.assert_allclose(out.std((0, 2, 3)), [2.99999885, 3.99999804, 4.99999798], atol=5e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [SHAPE, (70, 3)])
@pytest.mark.parametrize("momentum", [0, 0.3, 0.8, 1])
def test_running_statistics_are_exponential_averages_with_the_biased_variance(momentum, shape, kind):
    mean, var = np.array([1.0, -2, 3]), np.array([0.5, 1, 2])
    param = {"mode": "train", "momentum": momentum}
    param |= {"running_mean": KINDS[kind](mean), "running_var": KINDS[kind](var)}
    old = param["running_mean"]
    for seed in range(2):
        arrays = make_problem(shape, mean=3, seed=seed)
        x = arrays[0].reshape(*shape[:2], -1)
        run(*map(KINDS[kind], arrays), param)
        mean = momentum * mean + (1 - momentum) * x.mean((0, 2))
        var = momentum * var + (1 - momentum) * x.var((0, 2))
    for name, expected in (("running_mean", mean), ("running_var", var)):
        assert type(param[name]) is type(KINDS[kind](x))
        np.testing.assert_allclose(np.asarray(param[name]), expected, rtol=1e-13)
    np.testing.assert_array_equal(old, [1, -2, 3])  # the caller's array is replaced, not written to


@pytest.mark.parametrize("shape", [SHAPE, (55, 3)])
def test_a_constant_channel_becomes_beta_and_batch_norm_may_be_followed_by_a_change_in_place(shape):
    x, gamma, beta, _ = map(torch.from_numpy, make_problem(shape))
    x[:, 0] = 1e21 / 3  # in 55 rows, the mean of the first seven is rounded
    out = batch_norm(x.requires_grad_(), gamma, beta, param := {"mode": "train"}).relu_()
    torch.testing.assert_close(out[:, 0], beta[0].clamp(min=0).expand_as(out[:, 0]))
    assert param["running_var"][0] >= 0


def test_absent_running_statistics_are_zeros():
    x, gamma, beta, _ = make_problem(mean=1)
    param = {"mode": "train"}
    spatial_batchnorm_forward(x, gamma, beta, param)
    np.testing.assert_allclose(param["running_mean"], 0.1 * x.mean((0, 2, 3)), rtol=1e-13)
    np.testing.assert_allclose(param["running_var"], 0.1 * x.var((0, 2, 3)), rtol=1e-13)
    out, _ = spatial_batchnorm_forward(x, gamma, beta, {"mode": "test", "eps": 0.25})
    each = (slice(None), None, None)
    np.testing.assert_allclose(out, x * 2 * gamma[each] + beta[each], rtol=1e-13, atol=1e-14)


def test_the_cache_keeps_the_callers_arrays_and_no_running_statistics():
    x, gamma, beta, dout = make_problem()
    param = {"mode": "train", "momentum": 0}
    _, cache = spatial_batchnorm_forward(x, gamma, beta, param)
    before = spatial_batchnorm_backward(dout, cache)
    assert cache[0] is x
    assert cache[1] is gamma
    param["running_mean"] += 5  # belongs to nobody else
    param["running_var"] += 5
    for one, other in zip(spatial_batchnorm_backward(dout, cache), before, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("half", "ulp"), [(torch.float16, 2**-11), (torch.bfloat16, 2**-8)])
def test_half_precision_is_rounded_once_at_the_end(half, ulp):
    arrays = [torch.from_numpy(array).to(half) for array in make_problem((3, 2, 67, 71), np.float32, mean=5)]
    results = run(*arrays)
    for actual, expected in zip(results, compute_exactly(*(a.double().numpy() for a in arrays)), strict=True):
        assert actual.dtype == half
        assert measure_error(actual.float(), expected) <= 1.01 * ulp


def test_nothing_is_recorded_of_the_four_functions_nor_of_running_statistics():
    arrays = [torch.from_numpy(array).requires_grad_() for array in make_problem()]
    param = {"mode": "train"}
    results = [*run(*arrays, param), *param.values()]
    batch_norm(*arrays[:3], param)
    results += param.values()
    assert not any(result.requires_grad for result in results if isinstance(result, torch.Tensor))


@LOOPS_ONLY  # the definition in torch keeps arrays of the size of x
@pytest.mark.parametrize("shape", [(8, 16, 97, 89), (3000, 700)])
@pytest.mark.parametrize("mode", ["train", "test"])
def test_memory_beyond_the_results_is_a_few_numbers_a_channel(mode, shape):
    arrays = make_problem(shape, np.float32)
    run(*arrays)
    tracemalloc.start()
    results = run(*arrays, {"mode": mode})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    beyond = peak - sum(result.nbytes for result in results)
    assert beyond <= 20 * 8 * shape[1] + 2**16  # and Python's own objects


@pytest.mark.parametrize("shape", [(8, 7, 95, 97), (1700, 301), (5, 1, 300, 301)])
def test_results_do_not_depend_on_the_number_of_threads(shape):
    arrays = make_problem(shape, np.float32, mean=3)
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(run(*arrays))
    torch.set_num_threads(before)
    for other in results[1:]:
        for one, result in zip(results[0], other, strict=True):
            np.testing.assert_allclose(result, one, rtol=1e-7)  # at most the last bit of float32


ONES = np.ones(3, np.float32)
REFUSED = [
    (ValueError, "mode", r"\['mode'\] must be", (None, "eval", ["train"])),
    (ValueError, "x", r"x must have shape \(N, C, H, W\)", (np.ones((2, 3)), np.ones((2, 3, 5, 7, 1)))),
    (ValueError, "x", "not empty", (np.ones((0, 3, 5, 7)), np.ones((2, 3, 0, 7)))),
    (ValueError, "gamma", r"gamma must have shape \(3,\)", (np.ones(4), np.ones((3, 1)))),
    (ValueError, "beta", "beta must have", [np.ones(1)]),
    (ValueError, "running_mean", "running_mean must have", [np.ones(2)]),
    (ValueError, "running_var", "running_var must have", [np.ones((1, 3))]),
    (ValueError, "eps", "eps", (0, -1e-5, math.nan, math.inf)),
    (ValueError, "momentum", "momentum", (-0.1, 1.1, math.nan)),
    (ValueError, "dout", "dout", (np.ones((2, 3, 7, 5)), np.ones((2, 3)))),
    (TypeError, "x", "x must be float", [np.ones(SHAPE, dtype) for dtype in (int, complex, bool, np.longdouble)]),
    (TypeError, "gamma", "gamma", (ONES, torch.ones(3), [1.0, 1, 1])),
    (TypeError, "beta", "beta", [np.ones(3, np.int32)]),
    (TypeError, "running_mean", "running_mean", (ONES, None)),
    (TypeError, "running_var", "running_var", [torch.ones(3).double()]),
    (TypeError, "bn_param", "dictionary", (None, [("mode", "train")])),
    (TypeError, "eps", "needs numbers: eps is", ("1e-5", None, 1j, ONES)),
    (TypeError, "dout", "dout", (np.ones(SHAPE, "f4"), torch.ones(SHAPE).double())),
]


@pytest.mark.parametrize(
    ("error", "name", "words", "value"),
    [(error, name, words, value) for error, name, words, values in REFUSED for value in values],
)
def test_bad_input_gets_an_error_that_names_it_and_a_failed_call_leaves_bn_param(error, name, words, value):
    arguments = dict(zip(("x", "gamma", "beta", "dout"), make_problem(), strict=True), bn_param={"mode": "train"})
    target = arguments if name in arguments else arguments["bn_param"]
    target[name] = value
    param = arguments["bn_param"]
    before = dict(param) if isinstance(param, dict) else param
    dout = arguments.pop("dout")
    with pytest.raises(error, match=words):
        spatial_batchnorm_backward(dout, spatial_batchnorm_forward(**arguments)[1])
    if name != "dout":  # then the forward pass has succeeded
        assert param == before


def make_leaves(shape):
    x, gamma, beta, dout = (torch.from_numpy(array) for array in make_problem(shape, mean=1))
    return [x.requires_grad_(), gamma.requires_grad_(), beta.requires_grad_()], dout


def make_operation(mode, channels=3):
    mean, var = torch.linspace(-1, 1, channels).double(), torch.linspace(1, 2, channels).double()
    return lambda *inputs: batch_norm(*inputs, {"mode": mode, "running_mean": mean, "running_var": var})


@pytest.mark.parametrize("shape", [(5, 3), (3, 2, 2, 1)])
@pytest.mark.parametrize("mode", ["train", "test"])
def test_the_operation_is_torchs_and_its_first_and_second_derivatives_pass_torchs_check(shape, mode):
    inputs, _ = make_leaves(shape)
    operation = make_operation(mode, shape[1])
    statistics = [torch.linspace(low, high, shape[1]).double() for low, high in ((-1, 1), (1, 2))]
    expected = torch.nn.functional.batch_norm(inputs[0], *statistics, *inputs[1:], mode == "train")
    torch.testing.assert_close(operation(*inputs), expected, rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(operation, inputs)
    assert torch.autograd.gradgradcheck(operation, inputs)


@pytest.mark.parametrize("mode", ["train", "test"])
def test_torch_func_differentiates_and_batches_the_operation(mode):
    (x, gamma, beta), dout = make_leaves((4, 3))
    operation = make_operation(mode)

    def loss(x):
        return (operation(x, gamma, beta) * dout).sum()

    (expected,) = torch.autograd.grad(loss(x), x)
    plain = x.detach()
    torch.testing.assert_close(torch.func.grad(loss)(plain), expected, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(torch.func.jacrev(loss)(plain), expected, rtol=1e-12, atol=1e-13)
    many = torch.stack([plain, 2 * plain])
    batched = torch.vmap(lambda x: batch_norm(x, gamma, beta, {"mode": "train"}))(many)
    each = [batchnorm_forward(x, gamma, beta, {"mode": "train"})[0] for x in many]
    torch.testing.assert_close(batched, torch.stack(each), rtol=1e-12, atol=1e-13)


@LOOPS_ONLY  # torch keeps no x that could be overwritten
def test_an_input_overwritten_before_the_backward_pass_is_noticed():
    (x, gamma, beta), dout = make_leaves((5, 3))
    hidden = 2 * x
    out = batch_norm(hidden, gamma, beta, {"mode": "train"})
    hidden.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.backward(dout)


def test_maps_for_vectors_and_what_the_operation_cannot_read_are_refused_before_anything_changes():
    param = {"mode": "train"}
    with pytest.raises(ValueError, match=r"x must have shape \(N, D\), not empty, got \(2, 3, 5, 7\)"):
        batchnorm_forward(*make_problem()[:3], param)
    with pytest.raises(TypeError, match="x must be a torch tensor, got ndarray"):
        batch_norm(np.ones((5, 3)), np.ones(3), np.ones(3), param)
    with pytest.raises(ValueError, match=r"x must have shape .* got \(2, 3, 4\)"):
        batch_norm(torch.zeros(2, 3, 4), torch.ones(3), torch.zeros(3), param)
    assert param == {"mode": "train"}
