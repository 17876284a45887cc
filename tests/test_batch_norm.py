"""Batch normalization: against an 80-bit reference, published values, torch; layouts, errors, memory."""

import math
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.nn.functional import batch_norm

from helpers import channel_arithmetic as arithmetic
from helpers.autograd import batch_norm as batch_norm_operation
from helpers.batch_norm import (
    batchnorm_backward,
    batchnorm_forward,
    spatial_batchnorm_backward,
    spatial_batchnorm_forward,
)

SHAPE = (2, 3, 5, 7)
KINDS = {"numpy": np.asarray, "torch": torch.from_numpy}
EDGES = [SHAPE, (3, 2, 1, 1), (1, 3, 5, 7), (5, 1, 3, 2), (11, 5, 33, 31)]
# Of the largest entry. 4e-14 is some hundred roundings of float64; 1e-5 as many of float32.
TOLERANCE = {np.float64: 4e-14, np.float32: 1e-5}


def problem(shape=SHAPE, dtype=np.float64, mean=0.0, scale=1.0, seed=7):
    """x, gamma, beta and an upstream gradient, all random; the channels' scales and means differ."""
    rng = np.random.default_rng(seed)
    channels = shape[1]
    spread = np.linspace(0.5, 2, channels).reshape(-1, *(1,) * (len(shape) - 2))
    x = (rng.standard_normal(shape) + mean) * spread * scale
    gamma, beta, dout = (rng.standard_normal(size) for size in (channels, channels, shape))
    return [array.astype(dtype) for array in (x, gamma, beta, dout)]


def exact(x, gamma, beta, dout, statistics=None):
    """out, dx, dgamma and dbeta by the definition, in 80-bit arithmetic where the machine has it."""
    x, gamma, beta, dout = (array.astype(np.longdouble) for array in (x, gamma, beta, dout))
    axes, m = (0, *range(2, x.ndim)), x.size // x.shape[1]
    each = (slice(None), *(None,) * (x.ndim - 2))
    mean, var = statistics or (x.mean(axes), ((x - x.mean(axes)[each]) ** 2).mean(axes))
    inverse_std = 1 / np.sqrt(var + np.longdouble(1e-5))
    x_hat = (x - mean[each]) * inverse_std[each]
    dbeta, dgamma = dout.sum(axes), (dout * x_hat).sum(axes)
    inner = dout if statistics else dout - (dbeta / m)[each] - x_hat * (dgamma / m)[each]
    return gamma[each] * x_hat + beta[each], (gamma * inverse_std)[each] * inner, dgamma, dbeta


def error(actual, expected):
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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", [*EDGES, (7, 3), (5, 1)])
def test_train_mode_agrees_with_the_80_bit_definition(shape, dtype, kind):
    arrays = problem(shape, dtype)
    results = run(*map(KINDS[kind], arrays))
    for actual, expected in zip(results, exact(*arrays), strict=True):
        assert error(actual, expected) <= TOLERANCE[dtype]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", [*EDGES, (7, 3)])
def test_test_mode_takes_the_running_statistics_as_constants(shape, dtype, kind):
    arrays = problem(shape, dtype, mean=1)
    running_mean = np.linspace(-1, 2, shape[1]).astype(dtype)
    running_var = np.linspace(0.3, 4, shape[1]).astype(dtype)
    param = {
        "mode": "test",
        "running_mean": KINDS[kind](running_mean),
        "running_var": KINDS[kind](running_var),
    }
    results = run(*map(KINDS[kind], arrays), param)
    statistics = running_mean.astype(np.longdouble), running_var.astype(np.longdouble)
    for actual, expected in zip(results, exact(*arrays, statistics=statistics), strict=True):
        assert error(actual, expected) <= TOLERANCE[dtype]


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e30])
@pytest.mark.parametrize(("dtype", "mean"), [(np.float64, 1e6), (np.float32, 1e3), (np.float64, 30)])
def test_a_distant_mean_costs_no_accuracy(dtype, mean, scale):
    arrays = problem((3, 5, 11, 7), dtype, mean, scale)
    bounds = [TOLERANCE[dtype]] * 4
    # x itself is rounded to ulp(mean): the sum for dgamma then cancels, whatever the order; 10 more roundings
    bounds[2] *= 10
    for actual, expected, bound in zip(run(*arrays), exact(*arrays), bounds, strict=True):
        assert error(actual, expected) <= bound


@pytest.mark.parametrize("scale", [1, 1e30])  # 1e30: squares overflow
@pytest.mark.parametrize("mean", [30, 1000])
def test_the_mean_of_a_distant_channel_is_rounded_once(mean, scale):
    x, gamma, beta, _ = problem((5, 50, 9, 11), np.float32, mean, scale)
    param = {"mode": "train", "momentum": 0}
    spatial_batchnorm_forward(x, gamma, beta, param)
    error = abs(param["running_mean"] - x.astype(np.longdouble).mean((0, 2, 3)))
    assert (error <= 0.55 * np.spacing(param["running_mean"])).all()


@pytest.fixture
def passes(monkeypatch):
    """A function that counts how often x is gone through for its statistics."""

    def count(x):
        seen = []
        monkeypatch.setattr(arithmetic, "_sum_of_squares", lambda *arguments: seen.append(x) or squares(*arguments))
        arithmetic._statistics(x, torch.empty_like(x))
        return len(seen)

    squares = arithmetic._sum_of_squares
    return count


@pytest.mark.parametrize(
    ("channel", "expected"),
    [
        ([1.25, -0.75], 1),  # a mean of a quarter of the standard deviation
        ([1.255, -0.745], 2),
        ([3e200, 1e200], 4),  # squares overflow
        ([1.0, math.nan], 6),
    ],
)
def test_x_is_gone_through_as_often_as_its_mean_requires(passes, channel, expected):
    assert passes(torch.tensor(channel, dtype=torch.float64)[:, None]) == expected


def test_the_mean_of_a_constant_channel_is_found_in_three_passes(passes):
    assert passes(torch.linspace(0.1, 1.7, 50).expand(40, 50)) == 3  # the first mean of some is rounded


def test_an_outlier_in_the_first_place_costs_no_accuracy():
    arrays = problem((3, 2, 37, 41), mean=1e3)
    arrays[0][0, :, 0, 0] += 1e5
    for actual, expected in zip(run(*arrays), exact(*arrays), strict=True):
        assert error(actual, expected) <= TOLERANCE[np.float64]


@pytest.mark.parametrize("mean", [0.0, 0.2, 0.3, 1.0, 4.0])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_near_mean_costs_no_accuracy(dtype, mean):
    arrays = problem((13, 3, 17, 19), dtype, mean)
    for actual, expected in zip(run(*arrays), exact(*arrays), strict=True):
        assert error(actual, expected) <= TOLERANCE[dtype] / 2


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_scale_of_1e30_overflows_nowhere_but_in_the_float32_running_variance(dtype):
    arrays = problem(dtype=dtype, scale=1e30)
    param = {"mode": "train"}
    results = run(*arrays, param)
    for actual, expected in zip(results, exact(*arrays), strict=True):
        assert error(actual, expected) <= TOLERANCE[dtype]
    assert np.isinf(param["running_var"]).all() == (dtype == np.float32)


@pytest.mark.parametrize("value", [0.0, 0.1, -3e5, 1e30])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_constant_channel_gives_exactly_beta_and_finite_gradients(dtype, value):
    x, gamma, beta, dout = problem((3, 2, 11, 7), dtype)
    x[:, 1] = value
    out, *gradients = run(x, gamma, beta, dout)
    assert (out[:, 1] == beta[1]).all()
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("shape", [(8, 14, 1, 5), (4, 3, 2, 12), (91, 5)])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_constant_channel_whose_rounded_mean_is_far_off_has_the_gradients_of_any_constant(dtype, shape):
    arrays = problem(shape, dtype)
    arrays[0][:, 1] = 1e30  # differences from the rounded mean, 1e23, have squares that overflow in float32
    for actual, expected in zip(run(*arrays), exact(*arrays), strict=True):
        assert error(actual, expected) <= TOLERANCE[dtype]


@pytest.mark.parametrize(("dtype", "upstream_mean"), [(np.float32, 1), (np.float32, 10), (np.float64, 1)])
@pytest.mark.parametrize("mean", [0.0, 0.2, 2.0])
@pytest.mark.parametrize("shape", [(16, 2, 64, 61), (32, 71, 7, 17)])
def test_an_upstream_gradient_with_a_mean_costs_no_accuracy(shape, mean, dtype, upstream_mean):
    arrays = problem(shape, dtype, mean)
    arrays[3] += dtype(upstream_mean)
    # in the first shape a mean of 10 and one of 0.2 would make a sum of 1e5 products, of which dgamma leaves 2e2
    for actual, expected in zip(run(*arrays), exact(*arrays), strict=True):
        assert error(actual, expected) <= TOLERANCE[dtype]


@pytest.mark.parametrize("shape", [(4096, 2, 3, 5), (60_000, 2, 1, 2), (4096, 2, 4, 4)])
def test_many_tiny_images_that_are_alike_cost_no_accuracy(shape):
    x, gamma, beta, dout = problem(shape, np.float32)
    alike = np.broadcast_to(problem((1, 1, *shape[2:]), np.float32, mean=3)[0], shape)  # roundings of one sign add up
    for arrays in ((x, gamma, beta, alike), (x, gamma, beta, alike.copy()), (alike.copy(), gamma, beta, dout)):
        for actual, expected in zip(run(*arrays), exact(*arrays), strict=True):
            assert error(actual, expected) <= TOLERANCE[np.float32]


@pytest.mark.parametrize(("values", "taken_out"), [(512, False), (513, True)])
def test_the_mean_of_an_upstream_gradient_is_taken_out_where_float32_sums_are_long(values, taken_out):
    x, gamma, beta, _ = problem((values, 40), np.float32)
    dgamma = run(x, gamma, beta, np.full_like(x, 3))[2]
    assert (abs(dgamma).max() < 1e-9) == taken_out  # else what rounding leaves of 0, 1e-5


def test_a_single_value_a_channel_gives_beta_and_no_gradient():
    x, gamma, beta, dout = problem((1, 3, 1, 1))
    out, dx, dgamma, dbeta = run(x, gamma, beta, dout)
    assert np.array_equal(out[0, :, 0, 0], beta)
    assert not dx.any()
    assert not dgamma.any()
    assert np.array_equal(dbeta, dout[0, :, 0, 0])


@pytest.mark.parametrize("spoiler", [math.nan, math.inf])
def test_a_non_finite_value_spoils_its_channel_only(spoiler):
    arrays = problem()
    clean = run(*arrays)
    arrays[0][1, 2, 3, 4] = spoiler
    spoiled = run(*arrays)
    assert np.isnan(spoiled[0][:, 2]).all()
    for before, after in zip(clean[:2], spoiled[:2], strict=True):
        np.testing.assert_allclose(after[:, :2], before[:, :2], rtol=0, atol=1e-13)  # another order of sums


def test_published_channel_statistics_of_cs231n():
    x = 4 * np.random.RandomState(231).randn(2, 3, 4, 5) + 10
    plain, _ = spatial_batchnorm_forward(x, np.ones(3), np.zeros(3), {"mode": "train"})
    gamma, beta = np.array([3.0, 4, 5]), np.array([6.0, 7, 8])
    scaled, _ = spatial_batchnorm_forward(x, gamma, beta, {"mode": "train"})
    axes = (0, 2, 3)
    np.testing.assert_allclose(x.mean(axes), [9.33463814, 8.90909116, 9.11056338], atol=5e-9)
    np.testing.assert_allclose(x.std(axes), [3.61447857, 3.19347686, 3.5168142], atol=5e-9)
    np.testing.assert_allclose(plain.mean(axes), 0, atol=1e-14)
    np.testing.assert_allclose(plain.std(axes), [0.99999962, 0.99999951, 0.9999996], atol=5e-9)
    np.testing.assert_allclose(scaled.mean(axes), [6, 7, 8], atol=1e-14)
    np.testing.assert_allclose(scaled.std(axes), [2.99999885, 3.99999804, 4.99999798], atol=5e-9)


@pytest.mark.parametrize("training", [True, False])
def test_agrees_with_torch_forward_and_autograd(training):
    x, gamma, beta, dout = map(torch.from_numpy, problem(mean=2))
    mean, var = torch.tensor([0.1, -1, 2]).double(), torch.tensor([0.5, 1, 3]).double()
    param = {"mode": "train" if training else "test", "running_mean": mean, "running_var": var}
    results = run(x, gamma, beta, dout, param)
    leaves = [tensor.clone().requires_grad_() for tensor in (x, gamma, beta)]
    out = batch_norm(leaves[0], mean.clone(), var.clone(), *leaves[1:], training)
    for actual, expected in zip(results, (out, *torch.autograd.grad(out, leaves, dout)), strict=True):
        torch.testing.assert_close(actual, expected.detach(), rtol=1e-12, atol=1e-13)  # two orders of sums


@pytest.mark.parametrize("block", [1, 200])
@pytest.mark.parametrize("mean", [0.0, 30.0])
@pytest.mark.parametrize("mode", ["train", "test"])
def test_blocks_of_channels_change_nothing(monkeypatch, block, mean, mode):
    arrays = problem((3, 11, 5, 7), mean=mean)
    running = {"running_mean": np.linspace(-1, 1, 11), "running_var": np.linspace(0.5, 2, 11)}
    whole, parts = ({"mode": mode, **running} for _ in range(2))
    expected = run(*arrays, whole)
    monkeypatch.setattr(arithmetic, "_BLOCK", block)
    monkeypatch.setattr(arithmetic, "_SMALL", 0)
    for one, other in zip(run(*arrays, parts), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-13)  # sums may be split differently
    for name in running:
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("offset", [1, 30])
@pytest.mark.parametrize("momentum", [0, 0.3, 0.9, 1])
def test_running_statistics_are_exponential_averages_with_the_biased_variance(momentum, offset, kind):
    mean, var = np.array([1.0, -2, 3]), np.array([0.5, 1, 2])
    param = {"mode": "train", "momentum": momentum}
    param |= {"running_mean": KINDS[kind](mean.copy()), "running_var": KINDS[kind](var.copy())}
    for seed in range(2):
        x, gamma, beta, _ = problem(mean=offset, seed=seed)
        spatial_batchnorm_forward(KINDS[kind](x), KINDS[kind](gamma), KINDS[kind](beta), param)
        mean = momentum * mean + (1 - momentum) * x.mean((0, 2, 3))
        var = momentum * var + (1 - momentum) * x.var((0, 2, 3))
    for name, expected in (("running_mean", mean), ("running_var", var)):
        assert type(param[name]) is type(KINDS[kind](x))
        np.testing.assert_allclose(np.asarray(param[name]), expected, rtol=1e-13)


def test_absent_running_statistics_are_zeros():
    x, gamma, beta, _ = problem(mean=1)
    param = {"mode": "train"}
    spatial_batchnorm_forward(x, gamma, beta, param)
    np.testing.assert_allclose(param["running_mean"], 0.1 * x.mean((0, 2, 3)), rtol=1e-13)
    np.testing.assert_allclose(param["running_var"], 0.1 * x.var((0, 2, 3)), rtol=1e-13)
    out, _ = spatial_batchnorm_forward(x, gamma, beta, {"mode": "test", "eps": 0.25})
    each = (slice(None), None, None)
    np.testing.assert_allclose(out, x * 2 * gamma[each] + beta[each], rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize(("momentum", "expected"), [(0, "batch"), (1, "old")])
def test_momentum_0_and_1_ignore_the_other_side_even_where_it_is_not_finite(momentum, expected):
    x, gamma, beta, _ = problem()
    old = np.full(3, np.inf if momentum == 0 else 2.0)
    if momentum == 1:
        x[:] = np.nan
    param = {"mode": "train", "momentum": momentum, "running_mean": old, "running_var": old.copy()}
    spatial_batchnorm_forward(x, gamma, beta, param)
    wanted = x.mean((0, 2, 3)) if expected == "batch" else old
    np.testing.assert_allclose(param["running_mean"], wanted, rtol=1e-12)


def test_new_running_statistics_replace_the_callers_and_belong_to_nobody_else():
    x, gamma, beta, dout = problem()
    old = np.zeros(3)
    param = {"mode": "train", "running_mean": old, "running_var": old, "momentum": 0}
    _, cache = spatial_batchnorm_forward(x, gamma, beta, param)
    before = spatial_batchnorm_backward(dout, cache)
    param["running_mean"] += 5
    param["running_var"] += 5
    assert not old.any()
    for one, other in zip(spatial_batchnorm_backward(dout, cache), before, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("eps", [1e-60, 1e60])
@pytest.mark.parametrize("mode", ["train", "test"])
def test_an_eps_outside_float32_is_taken_as_the_nearest_inside(mode, eps):
    x, gamma, beta, dout = problem(dtype=np.float32)
    x[:, 1] = 0
    results = run(x, gamma, beta, dout, {"mode": mode, "eps": eps})
    nearest = np.clip(eps, np.finfo(np.float32).tiny, np.finfo(np.float32).max).item()
    for one, other in zip(results, run(x, gamma, beta, dout, {"mode": mode, "eps": nearest}), strict=True):
        np.testing.assert_array_equal(one, other)
    assert np.isfinite(results[0]).all()


def test_test_mode_writes_nothing_to_bn_param():
    x, gamma, beta, _ = problem()
    param = {"mode": "test"}
    spatial_batchnorm_forward(x, gamma, beta, param)
    assert param == {"mode": "test"}


def strided(array):
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


LAYOUTS = {
    "channels last": lambda a: np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
    "transposed": lambda a: np.ascontiguousarray(a.T).T,
    "strided": strided,
    "reversed": lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
    "foreign byte order": lambda a: a.astype(a.dtype.newbyteorder()),
}


@pytest.mark.parametrize("mean", [0.0, 30.0])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_memory_layout_gives_the_same_result_and_read_only_inputs_stay_as_they_were(layout, mean):
    arrays = problem(mean=mean)
    x, dout = (LAYOUTS[layout](arrays[i]) for i in (0, 3))
    inputs = [x, arrays[1].copy(), arrays[2].copy(), dout]
    for array in inputs:
        array.flags.writeable = False
    for one, other in zip(run(*inputs), run(*arrays), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-13)  # sums in another order
    for array, original in zip(inputs, arrays, strict=True):
        np.testing.assert_array_equal(array, original)


def test_channels_last_tensors_stay_channels_last():
    x, gamma, beta, dout = map(torch.from_numpy, problem())
    nhwc = x.contiguous(memory_format=torch.channels_last)
    out, dx, dgamma, _ = run(nhwc, gamma, beta, dout)
    expected = run(x, gamma, beta, dout)
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert dx.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close((out, dx, dgamma), expected[:3], rtol=0, atol=1e-13)


def test_an_expanded_input_is_read_and_not_written():
    x, gamma, beta, dout = map(torch.from_numpy, problem((1, 3, 5, 7)))
    many = x.expand(4, 3, 5, 7)
    out, *_ = run(many, gamma, beta, dout.expand(4, 3, 5, 7))
    torch.testing.assert_close(out, run(many.clone(), gamma, beta, dout.repeat(4, 1, 1, 1))[0])


@pytest.mark.parametrize(("half", "ulp"), [(torch.float16, 2**-11), (torch.bfloat16, 2**-8)])
def test_half_precision_computes_in_float32(half, ulp):
    arrays = [torch.from_numpy(array).to(half) for array in problem((3, 2, 67, 71), np.float32, mean=5)]
    results = run(*arrays)
    for actual, expected in zip(results, exact(*(tensor.double().numpy() for tensor in arrays)), strict=True):
        assert actual.dtype == half
        assert error(actual.float(), expected) <= 1.01 * ulp  # one rounding, at the end


@pytest.mark.parametrize("kind", KINDS)
def test_results_have_the_kind_shape_and_dtype_of_the_inputs(kind):
    arrays = [KINDS[kind](array) for array in problem(dtype=np.float32)]
    out, dx, dgamma, dbeta = run(*arrays)
    for result, like in ((out, arrays[0]), (dx, arrays[0]), (dgamma, arrays[1]), (dbeta, arrays[1])):
        assert type(result) is type(like)
        assert result.dtype == like.dtype
        assert result.shape == like.shape


def test_tensors_that_require_gradients_are_accepted_and_nothing_is_recorded():
    arrays = [torch.from_numpy(array).requires_grad_() for array in problem()]
    param = {"mode": "train"}
    results = (*run(*arrays, param), param["running_mean"], param["running_var"])
    assert not any(result.requires_grad for result in results)


def test_the_cache_refers_to_the_input_and_holds_three_numbers_a_channel():
    x, gamma, beta, _ = problem((5, 3, 17, 19))
    _, cache = spatial_batchnorm_forward(x, gamma, beta, {"mode": "train"})
    assert cache.x is x
    numbers = [tensor for tensor in cache.statistics if tensor is not None]
    assert sum(tensor.untyped_storage().nbytes() for tensor in numbers) <= 3 * 3 * 8


@pytest.mark.parametrize("mean", [0.0, 30.0])
@pytest.mark.parametrize("shape", [(8, 16, 97, 89), (16, 32, 137, 131), (3000, 700)])
def test_nothing_but_out_and_dx_is_allocated_at_the_size_of_x(shape, mean):
    arrays = problem(shape, np.float32, mean)
    run(*arrays)
    tracemalloc.start()
    run(*arrays)
    in_numpy = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        run(*arrays)
    in_torch = sum(max(0, event.self_cpu_memory_usage) for event in profile.events())  # freed or not
    beyond = in_numpy + in_torch - 2 * arrays[0].nbytes
    assert 0 <= beyond <= 2**18 + arrays[0].nbytes / 64  # Python's own objects, and a number for every row


def changed(**changes):
    x, gamma, beta, dout = problem()
    return {"x": x, "gamma": gamma, "beta": beta, "dout": dout, "bn_param": {"mode": "train"}} | changes


def with_param(**entries):
    return changed(bn_param={"mode": "train", **entries})


VALUE_ERRORS = {
    "mode": [with_param(mode=None), changed(bn_param={}), with_param(mode="eval")],
    "x must have shape": [changed(x=np.ones((2, 3))), changed(x=np.ones((2, 3, 5, 7, 1)))],
    "empty batch": [changed(x=np.ones((0, 3, 5, 7))), changed(x=np.ones((2, 3, 0, 7)))],
    "gamma": [changed(gamma=np.ones(4)), changed(gamma=np.ones((3, 1)))],
    "beta": [changed(beta=np.ones(1))],
    "running_mean": [with_param(running_mean=np.ones(2))],
    "running_var": [
        with_param(running_var=np.ones((1, 3))),
        with_param(mode="test", running_var=np.array([1, -0.1, 1])),
    ],
    "eps": [with_param(eps=value) for value in (0, -1e-5, math.nan, math.inf)],
    "momentum": [with_param(momentum=value) for value in (-0.1, 1.1, math.nan)],
    "dout": [changed(dout=np.ones((2, 3, 7, 5))), changed(dout=np.ones((2, 3)))],
}
X, GAMMA, *_ = problem()
TYPE_ERRORS = {
    "x must be float": [
        changed(x=X.astype(np.int64)),
        changed(x=X.astype(np.complex128)),
        changed(x=X > 0),
    ],
    "gamma": [
        changed(gamma=GAMMA.astype(np.float32)),
        changed(gamma=torch.ones(3)),
        changed(gamma=[1.0, 1, 1]),
    ],
    "beta": [changed(beta=np.ones(3, np.int32))],
    "running_mean": [with_param(running_mean=np.ones(3, np.float32)), with_param(running_mean=None)],
    "running_var": [with_param(running_var=torch.ones(3).double())],
    "dictionary": [changed(bn_param=None), changed(bn_param=[("mode", "train")])],
    "eps": [with_param(eps="1e-5"), with_param(eps=None), with_param(eps=1j), with_param(eps=np.ones(1))],
    "momentum": [with_param(momentum="0.9"), with_param(momentum=True)],
    "dout": [changed(dout=np.ones((2, 3, 5, 7), np.float32)), changed(dout=torch.ones(2, 3, 5, 7).double())],
}


@pytest.mark.parametrize(
    ("expected", "named", "arguments"),
    [(ValueError, named, a) for named, all_ in VALUE_ERRORS.items() for a in all_]
    + [(TypeError, named, a) for named, all_ in TYPE_ERRORS.items() for a in all_],
)
def test_bad_input_gets_an_error_that_names_it_and_a_failed_call_leaves_bn_param(expected, named, arguments):
    param = arguments["bn_param"]
    before = dict(param) if isinstance(param, dict) else param
    with pytest.raises(expected, match=named):
        spatial_batchnorm_backward(
            arguments["dout"],
            spatial_batchnorm_forward(arguments["x"], arguments["gamma"], arguments["beta"], param)[1],
        )
    if named != "dout":
        assert param == before


def test_float8_is_refused():
    x = torch.ones(2, 3, 5, 7).to(torch.float8_e4m3fn)
    with pytest.raises(TypeError, match="x must be float"):
        spatial_batchnorm_forward(x, torch.ones(3), torch.ones(3), {"mode": "train"})


def test_feature_vectors_are_refused_where_maps_are_expected_and_the_other_way_round():
    x, gamma, beta, _ = problem()
    with pytest.raises(ValueError, match=r"\(N, C, H, W\)"):
        spatial_batchnorm_forward(x[:, :, 0, 0], gamma, beta, {"mode": "train"})
    with pytest.raises(ValueError, match=r"\(N, D\)"):
        batchnorm_forward(x, gamma, beta, {"mode": "train"})


@pytest.mark.parametrize(("dtype", "scale"), [(np.float32, 1e30), (np.float64, 1e200)])
@pytest.mark.parametrize("mean", [0.1, 2.0])
def test_a_mean_is_kept_where_squares_overflow(dtype, scale, mean):
    rng = np.random.default_rng(7)
    x = ((rng.standard_normal((5, 2, 13, 11)) + mean) * [[[[scale]], [[1.0]]]]).astype(dtype)
    param = {"mode": "train", "momentum": 0}
    out, _ = spatial_batchnorm_forward(x, np.ones(2, dtype), np.zeros(2, dtype), param)
    expected = x.astype(np.longdouble).mean((0, 2, 3))
    assert (abs(param["running_mean"] - expected) <= 100 * np.finfo(dtype).eps * abs(x).max((0, 2, 3))).all()
    assert np.allclose(out.std((0, 2, 3)), 1, atol=1e-4)


def by_blocks(maps, *arrays):
    """What by_blocks gives to a function, block by block, and what it makes of that function's results."""
    given = []

    def function(block, setting):
        given.append(block)
        place, maps, *_ = block
        channels = torch.arange(maps.shape[-1])
        result = maps.clone() if place is None else place.copy_(maps)
        return result, channels, channels + 7, f"{setting} {len(given)}"

    return given, arithmetic.by_blocks(function, (maps, *arrays), "block")


@pytest.mark.parametrize(
    ("size", "blocks"), [(50, [1] * 5), (200, [2, 2, 1]), (300, [3, 2]), (479, [3, 2]), (480, [5]), (2000, [5])]
)
def test_blocks_are_whole_channels_of_at_most_so_many_bytes(monkeypatch, size, blocks):
    monkeypatch.setattr(arithmetic, "_SMALL", 119)
    monkeypatch.setattr(arithmetic, "_BLOCK", size)
    maps, scale = torch.arange(120.0).view(2, 3, 4, 5), torch.arange(5)
    own = list(blocks) if len(blocks) > 1 else blocks[0]
    for order in ((0, 3, 1, 2), (0, 3, 2, 1), (3, 1, 2, 0)):  # of memory, the last axis in steps of one number
        inverse = [order.index(axis) for axis in range(4)]
        x = maps.permute(order).contiguous().permute(inverse)
        given, (result, first, second, rest) = by_blocks(x, own, scale)
        assert [block.shape[-1] for _, block, _, _ in given] == [size for _, _, size, _ in given] == blocks
        assert torch.equal(torch.cat([part for *_, part in given]), scale)
        assert torch.equal(result, x.transpose(1, -1))
        assert first.tolist() == [channel for size in blocks for channel in range(size)]
        assert torch.equal(second, first + 7)
        assert rest == ([f"block {i + 1}" for i in range(len(blocks))] if len(blocks) > 1 else "block 1")
    assert len(by_blocks(maps.contiguous(), 5, scale)[0]) == 1  # the channels interleave


@pytest.mark.parametrize("interleaved", [False, True])
def test_a_small_result_gets_no_memory_beforehand(interleaved):
    for numbers, prepared in ((32_768, False), (32_770, True)):
        maps = torch.zeros(numbers // 2, 2) if interleaved else torch.zeros(2, numbers // 2).T
        ((place, _),), _ = by_blocks(maps)
        assert (place is not None) == prepared


@pytest.mark.parametrize("interleaved_first", [False, True])
def test_x_may_change_its_memory_order_before_the_backward_pass(monkeypatch, interleaved_first):
    monkeypatch.setattr(arithmetic, "_SMALL", 0)
    monkeypatch.setattr(arithmetic, "_BLOCK", 1000)
    x, gamma, beta, dout = problem((3, 7, 5, 4))
    orders = [x, LAYOUTS["channels last"](x)][:: -1 if interleaved_first else 1]
    _, cache = spatial_batchnorm_forward(orders[0], gamma, beta, {"mode": "train"})
    assert isinstance(cache.statistics, list) != interleaved_first
    gradients = spatial_batchnorm_backward(dout, cache._replace(x=orders[1]))
    for actual, expected in zip(gradients, exact(x, gamma, beta, dout)[1:], strict=True):
        assert error(actual, expected) <= TOLERANCE[np.float64]


@pytest.mark.parametrize(("size", "blocks"), [(2**23, 1), (2**23 + 1, 2)])
def test_a_block_has_8_mebibytes(size, blocks):
    channels = blocks + 1  # into so many each of the two sizes can be divided
    maps = torch.empty(channels, size // channels, dtype=torch.uint8).T
    assert maps.nbytes == size
    assert len(by_blocks(maps)[0]) == blocks


@pytest.mark.parametrize(
    ("shape", "chosen"),
    [
        ((8, 4, 32, 32), False),  # 32,768 numbers
        ((1, 3, 33, 331), True),  # one more
        ((9, 7, 4, 4), False),
        ((9, 7, 3, 5), True),  # tiny
        ((9, 7, 1, 2), True),
        ((9, 7, 1, 1), False),
        ((999, 99, 1, 1), False),
        ((999, 99), False),
    ],
)
def test_each_image_is_summed_by_itself_where_it_is_tiny_or_x_is_large(shape, chosen):
    assert arithmetic._by_image(torch.empty(shape).transpose(1, -1)) == chosen


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((8, 3, 128, 32), [(1, 2)]),  # 4,096 numbers
        ((8, 3, 63, 66), [1]),
        ((8, 3, 65, 64), [1]),
        ((8, 3, 67, 63), []),
        ((2, 3, 20, 4096), [1]),
        ((2, 3, 20, 4097), []),
    ],
)
def test_no_norm_is_of_more_squares_than_float32_bears(monkeypatch, shape, axes):
    used, norm = [], torch.linalg.vector_norm
    monkeypatch.setattr(torch.linalg, "vector_norm", lambda x, dim: used.append(dim) or norm(x, dim=dim))
    maps = torch.from_numpy(problem(shape, np.float32)[0]).transpose(1, -1)
    squares = arithmetic._sum_of_squares(maps, torch.empty_like(maps))
    assert used == axes
    torch.testing.assert_close(squares.double(), maps.double().square().sum((0, 1, 2)), rtol=1e-6, atol=0)


def test_interleaved_channels_are_summed_together():
    maps = torch.empty(40, 32, 32, 4)
    assert not arithmetic._by_image(maps)
    assert arithmetic._by_image(maps[..., ::2])


def test_a_large_result_has_the_memory_order_of_x():
    x = torch.empty(1, 3, 1700, 1700)
    assert x.nbytes > 2**25
    for same in (x, x.contiguous(memory_format=torch.channels_last)):
        assert arithmetic.like(same).stride() == same.stride()


def test_a_large_result_is_in_numpys_memory():
    x = torch.empty(2**25, dtype=torch.uint8)
    tracemalloc.start()
    result = arithmetic.like(x)
    in_numpy, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert in_numpy >= result.nbytes == x.nbytes


@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (8, 16, 128, 129), (300_000, 8), (8, 16, 256, 257)])
def test_what_is_trained_through_can_be_changed_in_place(shape):  # torch refuses where a result is a view
    x, gamma = torch.ones(shape, requires_grad=True), torch.ones(shape[1], requires_grad=True)
    out = batch_norm_operation(x, gamma, -gamma, {"mode": "train"})
    assert (out == -1).all()  # a constant channel gives beta
    assert (out.relu_() == 0).all()


@pytest.mark.parametrize("shape", [(1, 2, 1024, 1024), (1, 1, 1448, 63), (2, 1, 3, 200_000), (1, 1, 182, 182)])
def test_large_images_cost_no_accuracy(shape):
    x, gamma, beta, _ = problem(shape, np.float32)
    param = {"mode": "train", "momentum": 0}
    spatial_batchnorm_forward(x, gamma, beta, param)
    assert (abs(param["running_var"] / x.astype(np.float64).var((0, 2, 3)) - 1) <= 3 * 2**-23).all()


def test_a_wrong_shape_is_named_beside_the_right_one():
    with pytest.raises(ValueError, match=r"gamma must have shape \(3,\), got \(4,\)"):
        spatial_batchnorm_forward(np.ones((2, 3, 5, 7)), np.ones(4), np.ones(3), {"mode": "train"})


def test_a_negative_running_variance_is_named_with_its_value():
    param = {"mode": "test", "running_mean": np.array([-7.0, 1, 2]), "running_var": np.array([1.0, -0.5, 2])}
    with pytest.raises(ValueError, match=r"running_var.*not be negative, got -0\.5"):
        spatial_batchnorm_forward(np.ones((2, 3, 5, 7)), np.ones(3), np.zeros(3), param)


def test_a_variance_beyond_the_dtype_is_infinite_whatever_the_momentum():
    x = problem((8, 3), np.float32, scale=1e30)[0]
    for momentum in (0.1, 0.5, 0.9, 1 - 1e-9):
        param = {"mode": "train", "momentum": momentum}
        for batch in (x, x, x / 1e30):  # no later one brings it back
            batchnorm_forward(batch, np.ones(3, "f4"), np.zeros(3, "f4"), param)
            assert param["running_var"].tolist() == [math.inf] * 3


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_an_eps_of_numpys_is_a_number_like_any_other(kind):
    x, gamma, beta, _ = problem((8, 3))
    one, other = (batchnorm_forward(x, gamma, beta, {"mode": "train", "eps": eps})[0] for eps in (kind(0.25), 0.25))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("eps", [10**400, Fraction(10**400), 1e308])
def test_an_eps_beyond_any_float_is_held_within_the_range(eps):
    x = problem((8, 3))[0]
    out, _ = batchnorm_forward(x, np.ones(3), np.full(3, 2.0), {"mode": "train", "eps": eps})
    np.testing.assert_allclose(out, 2)


@pytest.mark.parametrize(
    ("mode", "shown"),
    [(None, "NoneType"), ("", "''"), (["train"], "list"), (np.array(["train", "test"]), "ndarray")],
)
def test_a_mode_that_is_neither_is_refused_by_its_name_or_type(mode, shown):
    with pytest.raises(ValueError, match=rf"bn_param\['mode'\] must be 'train' or 'test', got {shown}$"):
        batchnorm_forward(np.ones((4, 3)), np.ones(3), np.ones(3), {"mode": mode})


def test_a_call_under_a_mode_of_torch_leaves_nothing_to_later_calls():
    x, gamma, beta, _ = map(torch.from_numpy, problem((8, 3)))
    eps = 0.03125  # of no other test

    def forward(x):
        return batchnorm_forward(x, gamma, beta, {"mode": "train", "eps": eps})[0]

    within = torch.func.functionalize(forward)(x)
    torch.testing.assert_close(forward(x), within)


def test_a_number_is_made_once_but_never_kept_from_a_mode_of_torch():
    number = arithmetic.number(0.28125, torch.float32)  # of no other test
    assert arithmetic.number(0.28125, torch.float32) is number
    with FakeTensorMode():
        within = arithmetic.number(0.21875, torch.float32)
    assert isinstance(within, FakeTensor)
    assert not isinstance(arithmetic.number(0.21875, torch.float32), FakeTensor)
