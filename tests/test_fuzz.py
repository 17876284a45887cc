"""Every public function on arbitrary input: a right result or an error that names the fault, nothing changed.

The ordinary test run tries a few dozen examples a function, always the same; `make fuzz` 10,000 new ones.
Right is judged in extended precision. What is not judged is a result where that has no value: NaN, overflow.
"""

import faulthandler
import math
import warnings
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from helpers import autograd, batch_norm
from helpers.cross_correlation import cross_corr_2d
from helpers.gradient_check import check_autograd, check_gradients, numerical_gradient, relative_error
from helpers.warmup.learning_rates import label_learning_rates

NUMPY_DTYPES = [
    "?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16", ">f4", ">f8", ">i2",
    ">c16", "g", "G", "O", "U3", "M8[s]", [("a", "f4"), ("b", "i4")],
]  # fmt: skip
TORCH_DTYPES = [
    torch.bool, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32,
    torch.uint64, torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64,
    torch.complex128, torch.complex32, torch.float8_e4m3fn,
]  # fmt: skip
NUMPY_LAYOUTS = ["C", "F", "reversed", "strided", "read-only", "misaligned", "mask", "subclass", "matrix"]
TORCH_LAYOUTS = ["C", "T", "strided", "expanded", "grad", "conj", "sparse", "channels_last", "parameter"]
SPECIAL = [0.0, -0.0, 1.0, -1.5, 65504.0, 1e-30, 1e30, 1e300, math.nan, math.inf, -math.inf]
SCALES = [1, 1, 1, 10, 1e-20, 1e20]
ODDITIES = [None, 3, 2.5, True, "text", [], [[1.0]], {}, (), float, np.float64(2.0), b"", {1: 2}, 1j]
EPS = {torch.bfloat16: 2.0**-7, torch.float16: 2.0**-10, torch.float32: 2.0**-23, torch.complex64: 2.0**-23}
HANGS = 300  # seconds; the slowest example takes a fraction of one


@pytest.fixture(autouse=True, scope="module")
def _every_warning_of_torch_counts():
    """Not only the first of each kind."""
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(before)


@contextmanager
def quiet():
    """No warning from the test's own conversions: numbers that overflow, complex32 that is experimental."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# ---- arbitrary arguments ---------------------------------------------------------------------------------


class Subclass(np.ndarray):
    """An array subclass that adds nothing."""


def shapes(max_dims=5):
    side = st.one_of(st.integers(0, 4), st.sampled_from([1, 1, 2, 17, 60, 3000]))
    return st.lists(side, max_size=max_dims).map(tuple).filter(lambda shape: math.prod(shape) <= 4000)


@st.composite
def values(draw, shape):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale, offset = draw(st.sampled_from(SCALES)), draw(st.sampled_from([0, 0, 0, 1000]))
    array = np.asarray((rng.standard_normal(shape) + offset) * scale)
    if array.size and draw(st.integers(0, 2)) == 0:
        array.flat[rng.integers(array.size, size=2)] = draw(st.sampled_from(SPECIAL))
    return array


@st.composite
def numpy_arrays(draw, shape, dtype=None):
    dtype = np.dtype(draw(st.sampled_from(NUMPY_DTYPES)) if dtype is None else dtype)
    raw = draw(values(shape))
    with quiet():
        if dtype.kind == "V":
            array = np.zeros(shape, dtype)
        elif dtype.kind in "fcOU":
            array = np.asarray(raw + 0.5j * raw[..., ::-1] if dtype.kind == "c" and raw.ndim else raw).astype(dtype)
        else:
            array = np.asarray(np.nan_to_num(raw, posinf=0, neginf=0).clip(-99, 99).astype("i8").astype(dtype))
    layout = draw(st.sampled_from(NUMPY_LAYOUTS))
    if layout == "F":
        array = np.asfortranarray(array)
    elif layout == "reversed" and array.ndim:
        array = np.flip(np.flip(array).copy())
    elif layout == "strided" and array.ndim:
        array = np.repeat(array, 2, axis=-1)[..., ::2]
    elif layout == "read-only":
        array.flags.writeable = False
    elif layout == "misaligned" and dtype.kind in "iufc" and array.size:
        buffer = np.zeros(array.nbytes + 1, np.uint8)[1:]
        buffer[:] = np.frombuffer(array.tobytes(), np.uint8)
        array = buffer.view(dtype).reshape(shape)
    elif layout == "mask" and dtype.kind != "V":
        array = np.ma.masked_array(array, mask=np.zeros(shape, bool))
    elif layout == "subclass":
        array = array.view(Subclass)
    elif layout == "matrix" and array.ndim == 2 and dtype.kind in "iufc":
        array = array.view(np.matrix)
    return array


@st.composite
def tensors(draw, shape, dtype=None):
    dtype = draw(st.sampled_from(TORCH_DTYPES)) if dtype is None else dtype
    raw = torch.from_numpy(draw(values(shape)))
    if dtype.is_complex and raw.ndim:
        raw = torch.complex(raw, 0.5 * raw.flip(-1))
    elif not dtype.is_floating_point and not dtype.is_complex:
        raw = raw.nan_to_num(posinf=0, neginf=0).clip(0 if "uint" in str(dtype) else -99, 99)
    with quiet():
        tensor = raw.to(dtype)
        layout = draw(st.sampled_from(TORCH_LAYOUTS))
        real_or_complex = dtype.is_floating_point or dtype.is_complex
        if layout == "T" and tensor.ndim >= 2:
            tensor = tensor.transpose(0, 1).contiguous().transpose(0, 1)
        elif layout == "strided" and tensor.ndim:
            tensor = torch.stack([tensor, tensor], dim=-1)[..., 0]
        elif layout == "expanded" and tensor.ndim and tensor.shape[0]:
            tensor = tensor[:1].expand(tensor.shape)
        elif layout == "grad" and real_or_complex:
            tensor = tensor.requires_grad_()
        elif layout == "conj" and dtype.is_complex:
            tensor = tensor.conj()
        elif layout == "sparse" and dtype in (torch.float32, torch.float64) and tensor.ndim:
            tensor = tensor.to_sparse()
        elif layout == "channels_last" and tensor.ndim == 4:
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        elif layout == "parameter" and real_or_complex:
            tensor = torch.nn.Parameter(tensor)
    return tensor


def anything(max_dims=5):
    array = shapes(max_dims).flatmap(lambda shape: st.one_of(numpy_arrays(shape), tensors(shape)))
    return st.one_of(array, array, st.sampled_from(ODDITIES))


# ---- what every call must keep to ------------------------------------------------------------------------


@quiet()
def snapshot(argument):
    """What an argument holds, comparable with ==, whatever it is."""
    if isinstance(argument, torch.Tensor):
        dense = argument.detach()
        dense = dense if argument.layout == torch.strided else dense.to_dense()
        flat = dense.resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format).view(-1)
        layout = argument.stride() if dense.layout == argument.layout else None
        meta = argument.dtype, tuple(argument.shape), layout, argument.requires_grad, argument.is_conj()
        return (*meta, argument.grad is None, flat.view(torch.uint8).numpy().tobytes() if len(flat) else b"")
    if isinstance(argument, np.ndarray):
        content = str(argument.tolist()) if argument.dtype.kind == "O" else argument.tobytes()
        return (
            type(argument),
            argument.dtype,
            argument.shape,
            argument.strides,
            argument.flags.writeable,
            content,
        )
    if isinstance(argument, dict):
        return {key: snapshot(value) for key, value in argument.items()}
    if isinstance(argument, list | tuple):
        return [snapshot(item) for item in argument]
    return repr(argument)


def outcome(function, *arguments, may_change=(), **named):
    """The result, or None after an error that names the fault; fails when an argument was changed."""
    before = [snapshot(argument) for argument in arguments]
    result = caught = None
    faulthandler.dump_traceback_later(HANGS, exit=True)
    try:
        result = function(*arguments, **named)
    except (ValueError, TypeError) as error:
        caught = error
    finally:
        faulthandler.cancel_dump_traceback_later()
    for i, (argument, old) in enumerate(zip(arguments, before, strict=True)):
        assert i in may_change or snapshot(argument) == old, f"argument {i} was changed"
    if caught is not None:
        assert str(caught), "an error without a message"
        assert caught.__cause__ is None, "a second exception layer"
        assert caught.__context__ is None or caught.__suppress_context__, "a second exception layer"
    return result


# ---- right results, in extended precision ----------------------------------------------------------------


@quiet()
def wide(array):
    """The values in extended precision."""
    if isinstance(array, torch.Tensor):
        exact = torch.complex128 if array.is_complex() else torch.float64
        array = array.detach().to(exact).resolve_conj().resolve_neg().numpy()
    array = np.asarray(array)
    return array.astype(np.clongdouble if array.dtype.kind == "c" else np.longdouble)


def eps_of(array):
    dtype = array.dtype if isinstance(array, torch.Tensor) else torch.from_numpy(array).dtype
    return EPS.get(dtype, 2.0**-52)


def correlation(X, K, counted=None):
    """The cross-correlation, and the sum of |X| |K| that rounding is measured by; of what is counted, if not all."""
    terms = sliding_window_view(X, K.shape) * K
    if counted is not None:  # the zeros around it would make NaN of infinity
        terms = np.where(sliding_window_view(counted, K.shape), terms, 0)
    return terms.sum(axis=(2, 3)), np.abs(terms).sum(axis=(2, 3))


def assert_correlation(got, X, K, counted=None):
    """got is right wherever its window is finite and its sum does not overflow, and not finite elsewhere."""
    eps = eps_of(got)
    largest = {2.0**-10: 6e4}.get(eps, 1e38 if eps > 1e-15 else 1e300)
    smallest = {2.0**-10: 2.0**-24}.get(eps, 1e-37 if eps > 1e-15 else 1e-300)
    with np.errstate(all="ignore"):
        expected, scale = correlation(X, K, counted)
        tame = scale < largest / 4
        error = np.abs(wide(got) - expected)
        spoiled = ~np.isfinite(scale)
    assert (error[tame] <= 2 * eps * np.abs(expected)[tame] + 40 * eps * scale[tame] + K.size * smallest).all()
    assert not np.isfinite(np.abs(wide(got)[spoiled])).any()


def normalization(x, gamma, beta, bn_param, dout):
    """(out, dx, dgamma, dbeta, running_mean, running_var) by the textbook, and s = sqrt(var + eps)."""
    axes = tuple(axis for axis in range(x.ndim) if axis != 1)
    maps = (1, -1) + (1,) * (x.ndim - 2)
    momentum, eps = (np.longdouble(bn_param.get(key, by)) for key, by in (("momentum", 0.9), ("eps", 1e-5)))
    running = [wide(bn_param.get(key, np.zeros(x.shape[1]))) for key in ("running_mean", "running_var")]
    training = bn_param["mode"] == "train"
    mean, var = (x.mean(axes), x.var(axes)) if training else running
    s = np.sqrt(var + eps).reshape(maps)
    normalized = (x - mean.reshape(maps)) / s
    out = gamma.reshape(maps) * normalized + beta.reshape(maps)
    dbeta, dgamma = dout.sum(axes), (dout * normalized).sum(axes)
    dx = gamma.reshape(maps) / s * dout
    if training:
        level = (dbeta.reshape(maps) + normalized * dgamma.reshape(maps)) * x.shape[1] / x.size
        dx = gamma.reshape(maps) / s * (dout - level)
        running = [momentum * old + (1 - momentum) * new for old, new in zip(running, (mean, var), strict=True)]
    return (out, dx, dgamma, dbeta, *running), s


def assert_normalization(results, arrays, before, dout):
    """Each result is right to its own rounding, and that of a mean subtracted at s = sqrt(var + eps)."""
    own, compute = eps_of(results[0]), min(eps_of(results[0]), 2.0**-23)
    x, gamma, beta, dout = map(wide, (*arrays, dout))
    mean = wide(before.get("running_mean", np.zeros(1))) if before["mode"] == "test" else np.zeros(1)
    arrays = (
        x,
        gamma,
        beta,
        dout,
        *(wide(before[k]) for k in ("running_mean", "running_var") if k in before),
    )
    if not all(np.isfinite(a).all() and np.abs(a).max() < 1e3 / min(1, 2e3 * own) ** 0.2 for a in arrays):
        return
    expected, s = normalization(x, gamma, beta, before, dout)
    g, b, d, count = np.abs(gamma).max(), np.abs(beta).max(), np.abs(dout).max(), x.size / x.shape[1]
    z = (np.abs(x).max() + np.abs(mean).max()) / s.min()  # how many rounding errors a normalized value has
    blur = z * (1 + z) ** 2
    limits = (
        g * blur + b,
        g / s.min() * d * (1 + blur) ** 2,
        count * d * (1 + blur),
        count * d,
        np.abs(x).max() + np.abs(mean).max() + 1e-300,
        s.max() ** 2 * (1 + z) ** 2,
    )
    for name, got, right, limit in zip(
        ("out", "dx", "dgamma", "dbeta", "running_mean", "running_var"),
        results,
        expected,
        limits,
        strict=True,
    ):
        if np.abs(right).max() < 6e4 or own < 1e-4:
            least = 2.0**-24 if own > 1e-4 else 1e-32 if own > 1e-15 else 1e-300  # products may underflow
            error = np.abs(wide(got) - right)
            assert (error <= own * np.abs(right) + 64 * compute * limit + least).all(), name


# ---- the functions ---------------------------------------------------------------------------------------


@st.composite
def correlation_pairs(draw):
    if draw(st.integers(0, 3)) == 0:
        return draw(anything(3)), draw(anything(3))
    kernel = draw(st.one_of(*(st.tuples(st.integers(1, n), st.integers(1, m)) for n, m in [(5, 5), (1, 40), (12, 12)])))
    image = tuple(side + draw(st.integers(0, 30)) for side in kernel)
    kind = draw(st.sampled_from([numpy_arrays, tensors]))
    return draw(kind(image)), draw(kind(kernel))


@given(correlation_pairs(), st.sampled_from(["auto", "auto", "direct", "fft", "other", None, 3, []]))
def test_cross_corr_2d_is_right_or_names_the_fault(pair, method):
    Y = outcome(cross_corr_2d, *pair, method=method)
    if Y is None:
        return
    assert type(Y) is (torch.Tensor if isinstance(pair[0], torch.Tensor) else np.ndarray)
    X, K = map(wide, pair)
    assert tuple(Y.shape) == (X.shape[0] - K.shape[0] + 1, X.shape[1] - K.shape[1] + 1)
    dtype = torch.result_type(*(a if isinstance(a, torch.Tensor) else empty_like(a) for a in pair))
    result = Y if isinstance(Y, torch.Tensor) else torch.from_numpy(Y)
    assert result.dtype == dtype
    if not (dtype.is_floating_point or dtype.is_complex):
        exact = correlation(*(np.asarray(a).astype(np.int64) for a in pair))[0]  # modulo 2^64, as the result's size is
        np.testing.assert_array_equal(result.numpy(), exact.astype(result.numpy().dtype))
        return
    assert_correlation(result, X, K)
    if result.requires_grad and dtype in (torch.float32, torch.float64):
        assert_correlation_gradients(result, *pair)


def empty_like(array):
    return torch.from_numpy(np.zeros(array.shape, array.dtype.newbyteorder("=")))


def assert_correlation_gradients(Y, X, K):
    upstream = torch.from_numpy(np.random.default_rng(0).standard_normal(tuple(Y.shape))).to(Y.dtype)
    (h, w), (x, k, d) = K.shape, map(wide, (X, K, upstream))
    padded, counted = (np.pad(a, ((h - 1, h - 1), (w - 1, w - 1))) for a in (d, np.ones(d.shape, bool)))
    expected = {"X": (padded, k[::-1, ::-1], counted), "K": (x, d)}
    wanted = {name: leaf for name, leaf in (("X", X), ("K", K)) if leaf.requires_grad}
    for name, got in zip(wanted, torch.autograd.grad(Y, list(wanted.values()), upstream), strict=True):
        if wanted[name].dtype == Y.dtype:
            assert_correlation(got, *expected[name])


@st.composite
def batch_norm_calls(draw, dims, kinds=(numpy_arrays, tensors)):
    kind = draw(st.sampled_from(kinds))
    dtype = draw(st.sampled_from(["float64", "float32", "float16"]))
    dtype = dtype if kind is numpy_arrays else getattr(torch, draw(st.sampled_from([dtype, dtype, "bfloat16"])))
    shape = tuple(draw(st.integers(1, 6)) for _ in range(dims))
    x, dout, gamma, beta, mean, var = (draw(kind(s, dtype)) for s in (shape, shape, *[shape[1:2]] * 4))
    bn_param = {"mode": draw(st.sampled_from(["train", "test"]))}
    extra = {"running_mean": mean, "running_var": abs(var.detach() if kind is tensors else var)}
    extra |= {"momentum": draw(st.sampled_from([0, 0.5, 1])), "eps": draw(st.sampled_from([1e-8, 1e-3, 2]))}
    bn_param |= {key: value for key, value in extra.items() if draw(st.booleans())}
    if draw(st.integers(0, 2)) == 0:  # a wild one
        x, gamma, beta, dout = (draw(st.one_of(st.just(a), anything())) for a in (x, gamma, beta, dout))
        keys = st.sampled_from(["mode", *extra])
        odd = st.one_of(st.sampled_from(["train", "x", 0.0, -1.0, 2.0, math.nan, math.inf, "1"]), anything(2))
        wild = st.dictionaries(keys, odd).map(lambda new: bn_param | new)
        bn_param = draw(st.one_of(st.just(bn_param), wild, st.dictionaries(keys, odd), st.sampled_from(ODDITIES)))
    return x, gamma, beta, bn_param, dout


def check_batch_norm(forward, backward, call):
    x, gamma, beta, bn_param, dout = call
    before, seen = dict(bn_param) if isinstance(bn_param, dict) else bn_param, snapshot(bn_param)
    result = outcome(forward, x, gamma, beta, bn_param, may_change={3})
    if result is None or before["mode"] == "test":
        assert snapshot(bn_param) == seen, "bn_param was changed"
    if result is None:
        return
    assert snapshot({key: before[key] for key in before}) == seen, "an array in bn_param was changed"
    out, cache = result
    gradients = outcome(backward, dout, cache)
    if gradients is None:
        return
    running = (bn_param["running_mean"], bn_param["running_var"]) if before["mode"] == "train" else ()
    for array, like in zip((out, *gradients, *running), (x, x, gamma, beta, beta, beta), strict=False):
        assert type(array) is (torch.Tensor if isinstance(x, torch.Tensor) else np.ndarray)
        assert tuple(array.shape) == tuple(like.shape)
        assert array.dtype == (x.dtype if isinstance(x, torch.Tensor) else x.dtype.newbyteorder("="))
    running = running or [before.get(k, np.zeros(x.shape[1])) for k in ("running_mean", "running_var")]
    assert_normalization((out, *gradients, *running), (x, gamma, beta), before, dout)


@given(batch_norm_calls(4))
def test_spatial_batch_norm_is_right_or_names_the_fault(call):
    check_batch_norm(batch_norm.spatial_batchnorm_forward, batch_norm.spatial_batchnorm_backward, call)


@given(batch_norm_calls(2))
def test_batch_norm_is_right_or_names_the_fault(call):
    check_batch_norm(batch_norm.batchnorm_forward, batch_norm.batchnorm_backward, call)


@given(st.one_of(batch_norm_calls(2, [tensors]), batch_norm_calls(4, [tensors])))
def test_batch_norm_as_a_torch_operation_is_right_or_names_the_fault(call):
    *arguments, bn_param, dout = call
    leaves = [
        a.detach().requires_grad_() if isinstance(a, torch.Tensor) and a.is_floating_point() else a for a in arguments
    ]
    before = dict(bn_param) if isinstance(bn_param, dict) else bn_param
    out = outcome(autograd.batch_norm, *leaves, bn_param, may_change={3})
    if out is None or not isinstance(dout, torch.Tensor) or (dout.shape, dout.dtype) != (out.shape, out.dtype):
        return
    if dout.layout != torch.strided:
        return
    gradients = torch.autograd.grad(out, leaves, dout)
    after = (
        bn_param
        if before["mode"] == "train"
        else {k: torch.zeros(out.shape[1]) for k in ("running_mean", "running_var")} | bn_param
    )
    results = out, *gradients, after["running_mean"], after["running_var"]
    assert_normalization(results, arguments, before, dout)


@given(anything(), anything(), st.booleans())
def test_relative_error_is_right_or_names_the_fault(a, b, same):
    error = outcome(relative_error, a, a if same else b)
    if error is None:
        return
    assert type(error) is float
    a, b = wide(a), wide(a if same else b)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        assert error == math.inf
        return
    expected = np.max(np.abs(a - b) / np.maximum(1e-12, np.abs(a) + np.abs(b)), initial=0)
    assert error == pytest.approx(float(expected), rel=1e-9, abs=1e-15)


FUNCTIONS = [
    (lambda a: a * 3, lambda a: 0 * a + 3),
    (lambda a: a * a, lambda a: 2 * a),
    (lambda a: (a * a).sum(), lambda a: 2 * a),
    (lambda a: a * 0 + 1, lambda a: 0 * a),
]


@given(
    anything(3),
    st.sampled_from(FUNCTIONS),
    st.sampled_from([None, None, 1e-3, 0.0, -1.0, math.nan, math.inf, "small"]),
)
def test_numerical_gradient_is_right_or_names_the_fault(x, pair, step):
    function, derivative = pair
    gradient = outcome(numerical_gradient, function, x, step=step)
    if gradient is None:
        return
    assert tuple(gradient.shape) == tuple(x.shape)
    assert isinstance(gradient, torch.Tensor) == isinstance(x, torch.Tensor)
    finite = np.isfinite(wide(x))
    if step is None and finite.all() and np.abs(wide(x)).max(initial=0) < 1e100:
        expected = wide(derivative(x.detach() if isinstance(x, torch.Tensor) else np.asarray(x)))
        scale = np.abs(expected).max(initial=1e-300)
        np.testing.assert_allclose(wide(gradient), expected, rtol=1e-6, atol=float(1e-9 * scale))


@st.composite
def checked_inputs(draw):
    if draw(st.booleans()):
        return draw(st.one_of(st.lists(anything(2), max_size=3), anything(2)))
    kind, dtype = draw(st.sampled_from([(numpy_arrays, "f8"), (tensors, torch.float64)]))
    return [draw(kind((draw(st.integers(1, 3)), draw(st.integers(1, 4))), dtype))]


def usable(inputs, also=lambda x: True, scalars=()):
    """Whether the inputs are one finite dense float64 array, not empty, or one of the types of scalars."""
    if not isinstance(inputs, list | tuple) or len(inputs) != 1:
        return False
    (x,) = inputs
    if isinstance(x, torch.Tensor):
        dense = x.layout == torch.strided and x.dtype == torch.float64
    else:
        array = isinstance(x, (np.ndarray, *scalars))
        dense = array and not isinstance(x, np.ma.MaskedArray) and x.dtype == np.float64
    return dense and math.prod(x.shape) > 0 and bool(np.isfinite(wide(x)).all()) and also(x)


@given(
    checked_inputs(),
    st.sampled_from([1e-7, 1e-7, 1e-7, 0.0, -1.0, math.nan, "x", None]),
    st.sampled_from([0, 1e-5, 1]),
)
def test_check_gradients_tells_right_from_wrong_or_names_the_fault(inputs, tolerance, fault):
    def forward(*arrays):
        return arrays[0] * 2, None

    def backward(dout, cache):
        return (dout * (2 + fault),)

    report = outcome(check_gradients, forward, backward, inputs, tolerance=tolerance)
    if report is not None:
        assert bool(report) == (fault == 0 and usable(inputs, scalars=[np.float64])), str(report)


@given(checked_inputs(), st.sampled_from([1e-7, 0.0, "x"]))
def test_check_autograd_passes_what_torch_derives_or_names_the_fault(inputs, tolerance):
    report = outcome(check_autograd, lambda *arrays: arrays[0] * 2, inputs, tolerance=tolerance)
    if report is not None:
        assert bool(report) == usable(inputs), str(report)


@st.composite
def curve_sets(draw):
    if draw(st.integers(0, 3)) == 0:
        return draw(st.one_of(st.dictionaries(st.text(max_size=3), anything(2), max_size=5), anything(2)))
    names = draw(st.lists(st.text(max_size=3), min_size=4, max_size=4, unique=True))
    kind = draw(st.sampled_from([numpy_arrays, tensors]))
    dtype = draw(st.sampled_from(["float64", "float32"]))
    dtype = dtype if kind is numpy_arrays else getattr(torch, dtype)
    return {name: draw(kind((draw(st.integers(1, 40)),), dtype)) for name in names}


@given(curve_sets())
def test_label_learning_rates_labels_or_names_the_fault(curves):
    labels = outcome(label_learning_rates, curves)
    if labels is None:
        return
    assert list(labels) == list(curves)
    assert sorted(labels.values()) == ["high", "low", "optimal", "very high"]
