"""cross_corr_2d: values, accuracy, errors, derivatives, and where it and the loops of batch norm run."""

import os
import shutil
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.functional import conv2d

from helpers import cross_correlation as module
from helpers.cross_correlation import METHODS, cross_corr_2d

# torch's forward mode and gradcheck use what torch itself has deprecated: jit.script, and in 2.6 vmap's former place.
torch_deprecates_itself = pytest.mark.filterwarnings(
    "ignore:`torch.jit.script` is (deprecated|not supported in Python 3.14)", "ignore:Please use `torch.vmap` instead"
)
REPOSITORY = Path(__file__).parents[1]
INTEGERS = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i4"]
FLOATS = ["f2", "f4", "f8", "c8", "c16", ">f8"]
# Image and kernel whose sides all differ: few and many taps, wide and tall, outputs longer and shorter than kernels.
SHAPES = [
    ((7, 9), (1, 1)),
    ((7, 9), (3, 2)),
    ((12, 30), (3, 5)),
    ((10, 23), (9, 4)),
    ((31, 20), (2, 18)),
    ((8, 50), (1, 31)),
    ((50, 8), (31, 1)),
    ((24, 21), (22, 17)),
    ((6, 5), (6, 5)),
]


def draw(shape, dtype="f8", seed=0):
    rng = np.random.default_rng([seed, *shape])
    dtype = np.dtype(dtype)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, shape, dtype.newbyteorder("="), endpoint=True).astype(dtype)
    values = rng.standard_normal(shape)
    return (values + 1j * rng.standard_normal(shape) if dtype.kind == "c" else values).astype(dtype)


def draw_tensor(shape, dtype=torch.float64, seed=0):
    return torch.from_numpy(draw(shape, "c16" if dtype.is_complex else "f8", seed)).to(dtype)


def sum_windows(X, K, dtype):
    """The definition, window by window in the given dtype, and the sums of the products' magnitudes."""
    windows = sliding_window_view(X.astype(dtype), K.shape)
    products = windows * K.astype(dtype)
    return products.sum((2, 3), dtype=dtype), abs(products).sum((2, 3))


def conv(X, K):
    return conv2d(X[None, None], K[None, None])[0, 0]


@pytest.mark.parametrize("kind", ["numpy", "torch"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("shapes", SHAPES)
def test_integers_are_exact_and_wrap(shapes, dtype, method, kind):
    X, K = draw(shapes[0], dtype), draw(shapes[1], dtype, seed=1)
    expected, _ = sum_windows(X, K, X.dtype.newbyteorder("="))
    if kind == "torch":
        X, K = (torch.from_numpy(array.astype(array.dtype.newbyteorder("="))) for array in (X, K))
    Y = cross_corr_2d(X, K, method=method)
    assert isinstance(Y, type(X))
    assert Y.dtype == (X.dtype if kind == "torch" else X.dtype.newbyteorder("="))
    np.testing.assert_array_equal(np.asarray(Y), expected)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shapes", SHAPES)
def test_floats_agree_with_an_80_bit_sum(shapes, dtype, method):
    X, K = draw(shapes[0], dtype), draw(shapes[1], dtype, seed=1)
    before = X.copy(), K.copy()
    wide = np.clongdouble if X.dtype.kind == "c" else np.longdouble
    expected, magnitudes = sum_windows(X, K, wide)
    Y = cross_corr_2d(X, K, method=method)
    assert Y.dtype == X.dtype.newbyteorder("=")
    # Up to 400 products: some roundings of the sum, and half a unit for the result, which a float16 shows alone.
    tolerance = 8 * np.finfo(Y.dtype).eps
    norms = np.linalg.norm(X.astype("c16")) * np.linalg.norm(K.astype("c16")) if method == "fft" else 0.0
    assert np.all(abs(Y - expected) <= tolerance * magnitudes + 1e-15 * norms)
    by_tensors = cross_corr_2d(*(torch.from_numpy(array.astype(Y.dtype)) for array in (X, K)), method=method)
    assert np.all(abs(by_tensors.numpy() - expected) <= tolerance * magnitudes + 1e-15 * norms)
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(K, before[1])


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("method", ["direct", "fft"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("shapes", [((40, 53), (5, 7)), ((70, 66), (15, 13)), ((80, 90), (61, 33))])
def test_errors_are_those_of_conv2d_at_most(shapes, dtype, method, positive):
    X, K = draw(shapes[0], dtype), draw(shapes[1], dtype, seed=1)
    if positive:
        X, K = abs(X), abs(K)
    expected, magnitudes = sum_windows(X, K, np.longdouble)
    error = abs(cross_corr_2d(X, K, method=method) - expected)
    theirs = abs(conv(torch.from_numpy(X), torch.from_numpy(K)).numpy() - expected)
    bound = max(4 * (theirs / magnitudes).max(), 2e-7 if dtype == "f4" else 4e-16) * magnitudes
    if dtype == "f8" and method == "fft":
        bound = 1e-15 * np.linalg.norm(X) * np.linalg.norm(K)
    assert np.all(error <= bound)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves_are_summed_in_single_precision(dtype, method):
    X, K = draw_tensor((40, 53), dtype), draw_tensor((17, 19), dtype, seed=1)
    expected = conv(X.double(), K.double())
    Y = cross_corr_2d(X, K, method=method)
    assert Y.dtype is dtype
    # One rounding of the result; sums of half precision would be wrong by several.
    assert ((Y.double() - expected).abs() <= 0.51 * torch.finfo(dtype).eps * expected.abs() + 1e-3).all()


@pytest.mark.parametrize(
    ("x", "k", "result"),
    [
        ("float32", "float64", "float64"),
        ("int64", "float32", "float32"),
        ("uint8", "int8", "int16"),
        ("float64", "complex64", "complex128"),
        ("uint16", "float32", "float32"),
    ],
)
def test_two_dtypes_meet_in_torchs_common_one(x, k, result):
    X, K = np.arange(63).reshape(7, 9).astype(x), np.arange(6).reshape(3, 2).astype(k)
    expected, _ = sum_windows(X, K, np.complex128)
    for Y in (cross_corr_2d(X, K), cross_corr_2d(torch.from_numpy(X), torch.from_numpy(K)).numpy()):
        assert Y.dtype == result
        np.testing.assert_array_equal(Y, expected)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex128])
def test_memory_layouts_do_not_matter(dtype, method):
    X, K = draw_tensor((40, 46), dtype)[3:33:2, 4:40:3], draw_tensor((9, 7), dtype, seed=1).t()[:5, :3]
    expected = cross_corr_2d(X.clone(), K.clone(), method=method)
    torch.testing.assert_close(cross_corr_2d(X, K, method=method), expected, rtol=0, atol=0)
    x, k = X.numpy(), K.numpy()
    x.flags.writeable = False
    flipped = np.flip(np.flip(x).copy())  # negative strides
    for array in (x, flipped, x.astype(x.dtype.newbyteorder(">")), np.asfortranarray(x)):
        np.testing.assert_array_equal(cross_corr_2d(array, k, method=method), expected.numpy())
    conjugated = cross_corr_2d(X.conj(), K.conj(), method=method)
    torch.testing.assert_close(conjugated, expected.conj().resolve_conj(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shapes", [((20, 31), (3, 5)), ((60, 71), (31, 33))])
def test_what_is_not_finite_reaches_exactly_the_windows_that_hold_it(shapes, value, method, dtype):
    X, K = draw(shapes[0], dtype), draw(shapes[1], dtype, seed=1)
    X[15, 9] = value
    expected, _ = sum_windows(X, K, X.dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Y = cross_corr_2d(X, K, method=method)
    np.testing.assert_array_equal(np.isfinite(Y), np.isfinite(expected))
    if dtype != "c8":
        np.testing.assert_array_equal(np.isnan(Y), np.isnan(expected))


@pytest.mark.parametrize("make", [np.zeros, torch.zeros])
@pytest.mark.parametrize(
    ("image", "kernel", "words"),
    [
        ((3, 4, 5), (2, 2), r"X must be 2-D and not empty, got shape \(3, 4, 5\)"),
        ((3, 4), (2,), r"K must be 2-D and not empty, got shape \(2,\)"),
        ((3, 4), (0, 2), r"K must be 2-D and not empty, got shape \(0, 2\)"),
        ((3, 4), (2, 5), r"K of shape \(2, 5\) is larger than X of shape \(3, 4\)"),
    ],
)
def test_a_wrong_shape_is_named(image, kernel, words, make):
    with pytest.raises(ValueError, match=words):
        cross_corr_2d(make(image), make(kernel))


@pytest.mark.parametrize("method", ["fast", None, 3, np.ones(2), ["auto"]])
def test_an_unknown_method_is_refused(method):
    with pytest.raises(ValueError, match="method must be one of auto, direct, fft, got "):
        cross_corr_2d(np.ones((3, 4)), np.ones((2, 2)), method=method)


@pytest.mark.parametrize(
    ("X", "K", "words"),
    [
        ([[1.0]], np.ones((1, 1)), "X must be a plain NumPy array or a torch tensor, got list"),
        (np.ones((2, 3), bool), np.ones((1, 2), bool), "X has dtype bool"),
        (torch.ones(2, 3).bool(), torch.ones(1, 2).bool(), "X has dtype torch.bool"),
        (torch.ones(2, 3).to(torch.float8_e5m2), torch.ones(1, 1).to(torch.float8_e5m2), "X has dtype torch.float8"),
        (np.ones((2, 3)), np.ones((1, 2), np.longdouble), "K has dtype (float128|longdouble), which torch does not"),
        (torch.ones(2, 3).to(torch.uint16), torch.ones(1, 2).to(torch.int16), "no common dtype"),
    ],
)
def test_a_wrong_type_is_named(X, K, words):
    with pytest.raises(TypeError, match=words):
        cross_corr_2d(X, K)


@torch_deprecates_itself
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("shapes", [((4, 5), (3, 2)), ((4, 3), (3, 2)), ((2, 3), (1, 3)), ((2, 3), (1, 1))])
def test_derivatives_of_both_orders_agree_with_differences(shapes, dtype, method):
    X, K = (draw_tensor(shape, dtype).requires_grad_() for shape in shapes)

    def correlate(X, K):
        return cross_corr_2d(X, K, method=method)

    assert gradcheck(correlate, (X, K), check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(correlate, (X, K), check_batched_grad=True)


@pytest.mark.parametrize("needed", [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("shapes", [((30, 41), (5, 7)), ((30, 41), (28, 30)), ((90, 99), (33, 31))])
def test_gradients_agree_with_conv2ds(shapes, needed):
    leaves = [draw_tensor(shape).requires_grad_(wanted) for shape, wanted in zip(shapes, needed, strict=True)]
    wanted = [leaf for leaf in leaves if leaf.requires_grad]
    upstream = torch.randn(conv(*leaves).shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ours = torch.autograd.grad(cross_corr_2d(*leaves), wanted, upstream)
    theirs = torch.autograd.grad(conv(*leaves), wanted, upstream)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-11, atol=1e-11)  # sums of up to 4,000 products near 1


def test_no_graph_is_kept_where_none_is_wanted():
    X, K = draw_tensor((5, 7)).requires_grad_(), draw_tensor((3, 2)).requires_grad_()
    with torch.no_grad():
        assert not cross_corr_2d(X, K).requires_grad
    assert not cross_corr_2d(X.detach(), K.detach()).requires_grad


@torch_deprecates_itself
@pytest.mark.parametrize(
    "transform",
    [
        lambda f, X, K: torch.func.grad(f, argnums=(0, 1))(X, K),
        lambda f, X, K: torch.func.vmap(f, in_dims=(0, None))(torch.stack([X, X.flip(0), -X]), K),
        lambda f, X, K: torch.func.vmap(torch.func.grad(f, argnums=1), in_dims=(0, None))(torch.stack([X, -X]), K),
        lambda f, X, K: torch.func.jacrev(torch.func.grad(f))(X, K),
        lambda f, X, K: torch.func.jvp(f, (X, K), (K.sum() * X, K)),
    ],
)
def test_torch_func_sees_through(transform):
    X, K = draw_tensor((7, 9)), draw_tensor((3, 2))
    ours = transform(lambda X, K: (cross_corr_2d(X, K) ** 2).sum(), X, K)
    torch.testing.assert_close(ours, transform(lambda X, K: (conv(X, K) ** 2).sum(), X, K))


def test_autocast_changes_nothing():
    X, K = draw_tensor((7, 9), torch.float32), draw_tensor((3, 2), torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        Y = cross_corr_2d(X, K)
    torch.testing.assert_close(Y, cross_corr_2d(X, K), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "i1", "u2", "f2"])
@pytest.mark.parametrize("shapes", SHAPES)
def test_the_definition_in_torch_gives_the_same(shapes, dtype, monkeypatch):
    X, K = draw(shapes[0], dtype), draw(shapes[1], dtype, seed=1)
    by_loops = cross_corr_2d(X, K, method="direct")
    monkeypatch.setattr(module.loops, "numba", None)
    in_torch = cross_corr_2d(X, K, method="direct")
    assert in_torch.dtype == by_loops.dtype
    if by_loops.dtype.kind in "iu":
        np.testing.assert_array_equal(in_torch, by_loops)
    else:  # a few roundings of each sum
        _, magnitudes = sum_windows(X, K, "c16")
        assert np.all(abs(in_torch - by_loops) <= 8 * np.finfo(dtype).eps * magnitudes)


@pytest.fixture
def two_threads(monkeypatch):
    """Two threads, however little there is to do."""
    monkeypatch.setattr(module, "THREAD_BYTES", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "i2"])
@pytest.mark.parametrize("shapes", SHAPES)
def test_the_number_of_threads_does_not_change_direct_sums(shapes, dtype):
    X, K = draw(shapes[0], dtype), draw(shapes[1], dtype, seed=1)
    with_two = cross_corr_2d(X, K, method="direct")
    torch.set_num_threads(1)
    np.testing.assert_array_equal(cross_corr_2d(X, K, method="direct"), with_two)


@pytest.mark.usefixtures("two_threads")
def test_sixteen_threads_may_call_at_once():
    X, K = draw((40, 51)), draw((5, 7), seed=1)
    expected = cross_corr_2d(X, K, method="direct")
    with ThreadPoolExecutor(16) as pool:
        for Y in pool.map(lambda _: cross_corr_2d(X, K, method="direct"), range(64)):
            np.testing.assert_array_equal(Y, expected)


def run_python(code, folder=REPOSITORY, **environment):
    """Run code in a fresh process, in which warnings are errors; return what it printed."""
    settings = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "NUMBA_DISABLE_JIT": "0"}
    settings |= environment
    command = [sys.executable, "-W", "error", "-c", code]
    finished = subprocess.run(command, env=settings, cwd=folder, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


def copy_helpers(folder):
    shutil.copytree(REPOSITORY / "helpers", folder / "helpers", ignore=shutil.ignore_patterns("__pycache__"))


VALUES = """
import helpers, numpy as np, torch
from helpers import cross_corr_2d
X = np.arange(600.0).reshape(20, 30) % 7
for K in (np.arange(6.0).reshape(3, 2), np.arange(330.0).reshape(15, 22) % 5):
    for dtype in ("f4", "f8", "c8", "i1", "u2"):
        for method in ("auto", "direct", "fft"):
            Y = cross_corr_2d(X.astype(dtype), K.astype(dtype), method=method)
            assert Y.dtype == dtype
            print(abs(np.asarray(Y, "c16")).sum().round(1))
leaf = torch.from_numpy(X).requires_grad_()
cross_corr_2d(leaf, torch.from_numpy(K)).sum().backward()
print(leaf.grad.sum().item())
x = X.reshape(5, 4, 5, 6) ** 2
for forward, backward, x in (
    (helpers.spatial_batchnorm_forward, helpers.spatial_batchnorm_backward, x),
    (helpers.batchnorm_forward, helpers.batchnorm_backward, x[:, :, 0, 0]),
):
    out, cache = forward(x, np.arange(4.0), np.ones(4), {"mode": "train"})
    for result in (out, *backward(x, cache)):
        print((result**2).sum().round(6))
"""
WITHOUT_NUMBA = "import sys; sys.modules['numba'] = None\n"


def test_without_numba_or_its_compiler_the_results_are_the_same():
    compiled = run_python(VALUES)
    assert len(compiled.splitlines()) == 39
    assert run_python(WITHOUT_NUMBA + VALUES) == compiled
    assert run_python(VALUES, NUMBA_DISABLE_JIT="1") == compiled


def test_a_checkout_and_a_home_that_cannot_be_written_to_do_no_harm(tmp_path):
    folder = tmp_path / "checkout"
    copy_helpers(folder)
    # As root everything can be written to. So each place that Numba would try is a file and can hold no folder.
    (folder / "helpers" / "__pycache__").touch()
    nowhere = tmp_path / "nowhere"
    nowhere.touch()
    places = dict.fromkeys(["HOME", "XDG_CACHE_HOME", "IPYTHONDIR", "USERPROFILE", "LOCALAPPDATA"], str(nowhere))
    # Numba raises RuntimeError on import of a loop that it is told to keep and cannot.
    assert run_python(VALUES, folder, PYTHONDONTWRITEBYTECODE="1", **places) == run_python(VALUES)


def test_a_forked_child_computes_in_threads_of_its_own():
    code = """
import os, warnings
import numpy as np, torch
from helpers import cross_corr_2d
warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of any fork of a process with threads
torch.set_num_threads(2)
X, K = np.ones((200, 300)), np.ones((9, 7))
assert (cross_corr_2d(X, K, method="direct") == 63).all()
child = os.fork()
if child == 0:
    os._exit(0 if (cross_corr_2d(X, K, method="direct") == 63).all() else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    if not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    assert run_python(code) == "0"


def test_a_syntax_error_in_one_module_leaves_the_others(tmp_path):
    copy_helpers(tmp_path)
    (tmp_path / "helpers" / "batch_norm.py").write_text("def batchnorm_forward(:\n")
    assert run_python("from helpers import cross_corr_2d\nprint(cross_corr_2d.__name__)", tmp_path) == "cross_corr_2d"


def test_importing_helpers_compiles_nothing():
    code = "import sys, helpers\nassert 'numba' not in sys.modules and 'torch' not in sys.modules\n"
    code += "from helpers import cross_corr_2d, loops\nprint(loops.correlate_rows.signatures)"
    assert run_python(code) == "[]"
