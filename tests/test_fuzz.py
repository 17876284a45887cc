"""Every public function on arbitrary arguments: a right result, or an error that names the fault; nothing changed.

Right is what a plain reference in extended precision gives, within some roundings. `make fuzz` tries 10,000 new
examples a test instead of the few that are the same in every run.
"""

import contextlib
import re
import traceback
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

import helpers
from helpers import batch_norm as bn
from helpers.cross_correlation import cross_corr_2d
from helpers.gradient_check import check_autograd, check_gradients, numerical_gradient, relative_error
from helpers.learning_rates import label_learning_rates

FLOATS = ["float16", "float32", "float64"]
DTYPES = {
    "numpy": [*FLOATS, "?", "i1", "i4", "i8", "u1", "u8", "F", "D", "g", "G", ">f4", ">f8", ">i2", "O", "U3", "M8[s]"],
    "torch": [*FLOATS, "bool", "int8", "int64", "uint8", "uint16", "uint64", "complex64", "complex128", "bfloat16"],
}
LAYOUTS = {
    "numpy": [np.copy, np.asfortranarray, np.flip],
    "torch": [torch.clone, torch.conj, torch.Tensor.requires_grad_, lambda a: a[:1].expand(a.shape)],
}
# Neither aligned nor writable. The bytes of objects are no objects.
LAYOUTS["numpy"].append(lambda a: a if a.dtype == "O" else np.ndarray(a.shape, a.dtype, b"-" + a.tobytes(), 1))
LAYOUTS["torch"].append(lambda a: (a * 1j).conj().imag)
RARE = {"numpy": [np.asmatrix, np.ma.array], "torch": [torch.Tensor.to_sparse, lambda a: a.to("meta")]}  # or refused
SPECIAL = [0.0, -0.0, 65504.0, 1e-30, 1e30, 1e300, np.nan, np.inf, -np.inf]
NEITHER = [None, 3, 2.5, True, "text", b"", [], [[1.0]], (), {}, {1: 2}, float, np.float64(2), 1j]
NUMBERS = st.sampled_from([0.0, -1.0, 1e-7, 1e-3, 2.0, np.nan, np.inf])
KINDS = st.sampled_from(["numpy", "torch"])
RUNNING = ["running_mean", "running_var"]


@st.composite
def arrays(draw, kind=None, dtype=None, shape=None):
    """An array of NumPy or torch in any memory layout, of any dtype and shape unless these are given."""
    kind = kind or draw(KINDS)
    dtype = dtype or draw(st.sampled_from(DTYPES[kind]))
    layouts = LAYOUTS[kind] + (RARE[kind] if shape is None else [])
    shape = draw(st.lists(st.sampled_from([0, 1, 2, 3]), max_size=5)) if shape is None else shape
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    offset, scale = draw(st.sampled_from([(0, 1), (0, 1), (1000, 1), (0, 1e20), (0, 40)]))
    values = np.array((rng.normal(size=shape) + offset) * scale)
    if values.size and draw(st.integers(0, 2)) == 0:
        values.flat[rng.integers(values.size, size=2)] = draw(st.sampled_from(SPECIAL))
    stored = np.dtype("float32" if dtype == "bfloat16" else dtype)
    with warnings.catch_warnings(), contextlib.suppress(RuntimeError, ValueError, IndexError):
        warnings.simplefilter("ignore")  # of overflow, and of layouts that do not suit the dtype or the shape
        integers = np.nan_to_num(values).clip(-1e18, 1e18).astype(int)
        array = np.array(values * (1 + 0.5j * (stored.kind == "c")) if stored.kind in "fc" else integers).astype(stored)
        array = array if kind == "numpy" else torch.from_numpy(array).to(getattr(torch, dtype))
        array = draw(st.sampled_from(layouts))(array)
    return array


ANYTHING = st.one_of(arrays(), arrays(), arrays(), st.sampled_from(NEITHER))


def snapshot(argument):
    """Return all that an argument holds, as something that == compares."""
    if isinstance(argument, dict):
        return {key: snapshot(value) for key, value in argument.items()}
    if isinstance(argument, list | tuple):
        return [snapshot(value) for value in argument]
    if isinstance(argument, torch.Tensor):
        values = [] if argument.is_meta else argument.detach().to_dense().tolist()
        return argument.dtype, argument.shape, argument.layout, argument.requires_grad, repr(values)
    return (argument.dtype, argument.strides, argument.tobytes()) if type(argument) is np.ndarray else repr(argument)


def attempt(names, function, *arguments, **settings):
    """Return the function's result, or None after an error of its own that names one of its arguments."""
    before = snapshot(arguments)
    result = error = None
    try:
        result = function(*arguments, **settings)
    except (ValueError, TypeError) as raised:
        error = raised
    assert snapshot(arguments) == before, "an argument was changed"
    if error:
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        assert Path(frame.f_code.co_filename).parent == Path(helpers.__file__).parent, f"a library's own {error!r}"
        assert error.__suppress_context__ or error.__context__ is None, f"behind {error!r} shows a library's error"
        assert re.search(rf"\b({names})\b", str(error)), f"{error!r} names no argument"
    return result


def widen(array):
    """Return the values in extended precision."""
    if isinstance(array, torch.Tensor):
        double = torch.complex128 if array.is_complex() else torch.float64
        array = array.detach().to(double).resolve_neg().resolve_conj().numpy()
    array = np.asarray(array)
    return array.astype(np.clongdouble if array.dtype.kind == "c" else np.longdouble)


def get_dtype(array):
    return array.dtype if isinstance(array, torch.Tensor) else torch.from_numpy(np.empty(0, array.dtype.type)).dtype


@np.errstate(all="ignore")
def assert_right(got, like, dtype, values, size, unit):
    """Assert kind, dtype and values, to the dtype's precision and some units of the size, unless that overflows."""
    assert type(got) is (torch.Tensor if isinstance(like, torch.Tensor) else np.ndarray)
    assert get_dtype(got) == dtype
    error = np.abs(widen(got).reshape(values.shape) - values)
    allowed = torch.finfo(dtype).eps * np.abs(values) + unit * size + torch.finfo(dtype).tiny
    assert np.logical_or(error <= allowed, np.logical_not(size < torch.finfo(dtype).max / 4)).all()


@given(st.data(), st.sampled_from(["auto", "auto", "direct", "fft", "other", None, []]))
def test_cross_corr_2d_is_right_or_names_the_fault(data, method):
    kind, dtype = data.draw(KINDS), data.draw(st.sampled_from([None, "complex64", *FLOATS]))
    h, w = data.draw(st.sampled_from([(1, 1), (2, 3), (5, 3), (1, 40), (40, 1), (12, 11)]))
    H, W = h + data.draw(st.integers(0, 20)), w + data.draw(st.integers(0, 20))
    pair = st.tuples(arrays(kind, dtype, (H, W)), arrays(kind, dtype, (h, w)))
    X, K = data.draw(st.one_of(pair, pair, pair, st.tuples(ANYTHING, ANYTHING)))
    Y = attempt("X|K|method", cross_corr_2d, X, K, method=method)
    if Y is None or getattr(Y, "is_meta", False):
        return
    dtype = torch.promote_types(get_dtype(X), get_dtype(K))
    exact = not (dtype.is_floating_point or dtype.is_complex)
    x, k = (np.asarray(a).astype(np.int64) if exact else widen(a) for a in (X, K))  # modulo 2^n, sums of 64 bits do
    with np.errstate(all="ignore"):
        products = sliding_window_view(x, k.shape) * k
        values, size = products.sum((2, 3)), np.abs(products).sum((2, 3))
    assert Y.shape == values.shape
    if exact:
        assert get_dtype(Y) == dtype
        assert (np.asarray(Y) == values.astype(np.asarray(Y).dtype)).all()
        return
    assert not np.isfinite(widen(Y)[~np.isfinite(size)]).any(), "a window lost its NaN or infinity"
    unit = 32 * torch.finfo(torch.promote_types(dtype, torch.float32)).eps
    with np.errstate(invalid="ignore"):  # 0 times infinity
        spectral = 2.0**-50 / unit * np.linalg.norm(x) * np.linalg.norm(k)  # spectra are of double precision
    assert_right(Y, X, dtype, values, size if method == "direct" else size + spectral, unit)


@st.composite
def batch_norm_calls(draw, dimensions):
    kind = draw(KINDS)
    dtype = draw(st.sampled_from([*FLOATS, "float32" if kind == "numpy" else "bfloat16"]))
    shape = draw(st.lists(st.integers(1, 6), min_size=dimensions, max_size=dimensions))
    x, dout, gamma, beta, mean, var = (draw(arrays(kind, dtype, s)) for s in [shape] * 2 + [shape[1:2]] * 4)
    extra = {"running_mean": mean, "running_var": var, "momentum": draw(st.sampled_from([0, 0.5, 1])), "eps": 1e-3}
    bn_param = {key: value for key, value in extra.items() if draw(st.booleans())}
    bn_param["mode"] = draw(st.sampled_from(["train", "test"]))
    if draw(st.integers(0, 2)) == 0:
        x, gamma, beta, dout = (draw(st.just(array) | ANYTHING) for array in (x, gamma, beta, dout))
        bn_param |= draw(st.dictionaries(st.sampled_from(["mode", *extra]), NUMBERS | ANYTHING, max_size=2))
        bn_param = draw(st.just(bn_param) | st.sampled_from(NEITHER))
    return x, gamma, beta, bn_param, dout


@np.errstate(all="ignore")
def normalize(x, dout, gamma, beta, mean, var, bn_param):
    """Return out, dx, dgamma, dbeta and the new running statistics, and the sizes of what is summed for each."""
    momentum, eps = np.longdouble(bn_param.get("momentum", 0.9)), np.longdouble(bn_param.get("eps", 1e-5))
    training = bn_param["mode"] == "train"
    over = {"axis": (0, 2, 3)[: x.ndim - 1], "keepdims": True}
    M, V = (x.mean(**over), x.var(**over)) if training else (mean, var)
    s = np.sqrt(V + eps)
    x_hat = (x - M) / s
    dbeta, dgamma = dout.sum(**over), (dout * x_hat).sum(**over)
    dx = gamma / s * (dout - training * (dbeta + x_hat * dgamma) * x.shape[1] / x.size)
    running = momentum * mean + (1 - momentum) * M, momentum * var + (1 - momentum) * V
    peak, total = np.abs(x).max(**over), np.abs(dout).sum(**over)
    most = np.abs(x_hat).max(**over) + 2.0**-50 * peak / s  # a mean is rounded
    sizes = [np.abs(gamma) * most + np.abs(beta), np.abs(gamma) / s * total * (1 + most**2), total * (1 + most), total]
    sizes += [peak + np.abs(mean), (most * s) ** 2 + np.abs(var)]
    promised = (peak < 1e9 * s) & (peak + total < 1e100)  # a mean of fewer than 10^9 deviations, and no overflow
    return (gamma * x_hat + beta, dx, dgamma, dbeta, *running), [np.where(promised, size, np.inf) for size in sizes]


def operate(x, gamma, beta, bn_param):
    """Have batch_norm return what a forward function does."""
    leaves = [a.detach().requires_grad_() if getattr(a, "is_floating_point", bool)() else a for a in (x, gamma, beta)]
    out = bn.batch_norm(*leaves, bn_param)
    return out, (out, leaves)


def derive(dout, cache):
    return torch.autograd.grad(*cache, dout) if snapshot(dout)[:3] == snapshot(cache[0])[:3] and dout.is_cpu else None


VECTORS = 2, bn.batchnorm_forward, bn.batchnorm_backward
MAPS = 4, bn.spatial_batchnorm_forward, bn.spatial_batchnorm_backward


@pytest.mark.parametrize("functions", [VECTORS, MAPS, (2, operate, derive), (4, operate, derive)])
@given(data=st.data())
def test_batch_norm_is_right_or_names_the_fault(functions, data):
    dimensions, forward, backward = functions
    x, gamma, beta, bn_param, dout = data.draw(batch_norm_calls(dimensions))
    names = "x|gamma|beta|bn_param|running_mean|running_var|dout"
    before = snapshot(bn_param)
    changed = dict(bn_param) if isinstance(bn_param, dict) else bn_param
    out, cache = attempt(names, lambda *three: forward(*three, changed), x, gamma, beta) or (None, None)
    written = [changed.pop(name) for name in RUNNING] if out is not None and changed["mode"] == "train" else []
    assert snapshot(bn_param) == before
    assert snapshot(changed) == ({k: v for k, v in before.items() if k not in RUNNING} if written else before)
    gradients = None if out is None else attempt(names, backward, dout, cache)
    if gradients is None:
        return
    running = [bn_param.get(name, np.zeros(x.shape[1])) for name in RUNNING]
    columns = [widen(a).reshape(1, -1, *[1] * (dimensions - 2)) for a in (gamma, beta, *running)]
    expected = normalize(widen(x), widen(dout), *columns, bn_param)
    for got, like, values, size in zip([out, *gradients, *written], [x, x, *[gamma] * 4], *expected, strict=False):
        assert got.shape == like.shape
        unit = 2.0**-45 if get_dtype(x) is torch.float64 else 2.0**-20  # some roundings of float64 or float32
        assert_right(got, x, get_dtype(x), values, size, unit)


@given(ANYTHING, ANYTHING, st.booleans())
def test_relative_error_is_right_or_names_the_fault(a, b, same):
    error = attempt("a|b", relative_error, a, a if same else b)
    if error is None:
        return
    a, b = widen(a), widen(a if same else b)
    finite = np.isfinite(a).all() and np.isfinite(b).all()
    expected = np.max(np.abs(a - b) / np.maximum(1e-12, np.abs(a) + np.abs(b)), initial=0) if finite else np.inf
    assert type(error) is float
    assert error == pytest.approx(float(expected), rel=1e-9, abs=1e-15)  # some roundings of float64


@given(arrays(dtype="float64", shape=(2, 3)) | ANYTHING, st.none() | NUMBERS, st.sampled_from([1, 2, 3]))
def test_numerical_gradient_is_right_or_names_the_fault(x, step, power):
    gradient = attempt("x|step", numerical_gradient, lambda x: x**power, x, step=step)
    if gradient is None:
        return
    assert gradient.shape == x.shape
    expected = power * widen(x) ** (power - 1)
    with np.errstate(over="ignore"):
        judged = step is None and np.isfinite(np.float64(widen(x)) ** power).all()  # a given step decides it
    size = np.abs(expected).max(initial=0) if judged else np.inf
    assert_right(gradient, x, torch.float64, expected, size, 1e-7)


@given(st.lists(arrays(dtype="float64", shape=(2, 3)) | ANYTHING, max_size=2) | ANYTHING, NUMBERS)
def test_gradient_checks_report_or_name_the_fault(inputs, tolerance):
    def square(*xs):
        return xs[0] * xs[0], xs[0]

    names = "inputs|tolerance"
    attempt(names, check_gradients, square, lambda dout, x: 2 * x * dout, inputs, tolerance=tolerance)
    attempt(names, check_autograd, lambda *xs: square(*xs)[0], inputs, tolerance=tolerance)


@given(st.data(), st.sampled_from([*FLOATS, "int8", "uint8", "int64"]))
def test_label_learning_rates_gives_each_label_once_or_names_the_fault(data, dtype):
    curve = st.integers(1, 30).flatmap(lambda length: arrays(dtype=dtype, shape=(length,)))
    curve |= arrays(shape=(9,)) | st.lists(st.floats() | st.integers(), min_size=1)
    sets = st.fixed_dictionaries(dict.fromkeys("abcd", curve))
    curves = data.draw(st.one_of(sets, sets, sets, st.dictionaries(st.text(), ANYTHING, max_size=5), ANYTHING))
    labels = attempt("curves?", label_learning_rates, curves)
    if labels is not None:
        assert list(labels) == list(curves)
        assert sorted(labels.values()) == ["high", "low", "optimal", "very high"]
