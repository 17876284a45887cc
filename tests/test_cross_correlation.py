"""cross_corr_2d: its values, errors, accuracy, derivatives and working memory."""

import tracemalloc
import warnings
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.nn.functional import conv2d
from torch.utils._python_dispatch import TorchDispatchMode

import helpers.correlation_ways as ways
import helpers.cross_correlation as module
from helpers import direct_sums, small_sums
from helpers.cross_correlation import METHODS, cross_corr_2d

# torch's own forward mode compiles its decompositions with what torch itself has deprecated
torch_deprecates_itself = pytest.mark.filterwarnings(  # in other words from Python 3.14 on
    "ignore:`torch.jit.script` is (deprecated|not supported in Python 3.14):DeprecationWarning"
)
INTEGERS = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i4", ">u2"]
FLOATS = ["f2", "f4", "f8", "c8", "c16", ">f8"]
# float, half and double sums of up to 60 products of numbers below 4, in units of the largest such sum
ROUNDING = {"f2": 2e-3, "f4": 1e-5, "c8": 1e-5, "f8": 1e-13, "c16": 1e-13, ">f8": 1e-13}


def double_loop(X, K):
    """The definition, in the dtype of X and K."""
    (H, W), (h, w) = X.shape, K.shape
    Y = np.zeros((H - h + 1, W - w + 1), np.result_type(X, K))
    for i in range(Y.shape[0]):
        for j in range(Y.shape[1]):
            for u in range(h):
                for v in range(w):
                    Y[i, j] += X[i + u, j + v] * K[u, v]
    return Y


def random(shape, dtype="f8", seed=0):
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind in "iu":
        return rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, dtype.newbyteorder("=")).astype(dtype)
    values = rng.standard_normal(shape)
    return (values + 1j * rng.standard_normal(shape) if dtype.kind == "c" else values).astype(dtype)


def tensor(shape, dtype=torch.float64, seed=0):
    return torch.from_numpy(random(shape, seed=seed)).to(dtype)


@st.composite
def layouts(draw, shape, dtype):
    """A random array of this shape whose memory is reversed, transposed, spread, offset or read-only."""
    spread = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    start = draw(st.integers(0, 3))
    big = random((start + shape[0] * spread[0], start + shape[1] * spread[1]), dtype, draw(st.integers(0, 99)))
    if draw(st.booleans()):
        big = np.asfortranarray(big)
    array = big[start :: spread[0], start :: spread[1]][: shape[0], : shape[1]]
    array = array[:: draw(st.sampled_from([1, -1])), :: draw(st.sampled_from([1, -1]))]
    array.flags.writeable = draw(st.booleans())
    return array


@st.composite
def pairs(draw, dtypes):
    dtype = draw(st.sampled_from(dtypes))
    h, w, R, C = (draw(st.integers(1, top)) for top in (6, 7, 9, 8))
    return draw(layouts((h + R - 1, w + C - 1), dtype)), draw(layouts((h, w), dtype))


@given(pairs(INTEGERS), st.sampled_from(METHODS))
def test_integers_equal_the_double_loop_and_wrap(pair, method):
    X, K = pair
    with np.errstate(over="ignore"):
        expected = double_loop(X, K)
    Y = cross_corr_2d(X, K, method=method)
    assert Y.dtype == X.dtype.newbyteorder("=")
    np.testing.assert_array_equal(Y, expected)


@given(pairs(FLOATS), st.sampled_from(METHODS))
def test_floats_agree_with_the_double_loop(pair, method):
    X, K = pair
    before = X.copy(), K.copy()
    wider = "c16" if X.dtype.kind == "c" else "f8"
    Y = cross_corr_2d(X, K, method=method)
    assert isinstance(Y, np.ndarray)
    assert Y.dtype == X.dtype.newbyteorder("=")
    sums = double_loop(abs(X.astype(wider)), abs(K.astype(wider)))
    assert np.all(abs(Y - double_loop(X.astype(wider), K.astype(wider))) <= ROUNDING[X.dtype.str.lstrip("<|")] * sums)
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(K, before[1])


WAYS = [
    ("window_products", "columns"),
    ("window_products", "lines"),
    ("banded_products", ("columns", 3)),
    ("banded_products", ("lines", 4)),
    ("tap_products", None),
    ("line_sums", 3),
    ("line_sums", 98),
    ("row_products", (1, 3)),
    ("row_products", (2, 4)),
    ("row_products", (2, 98)),
    ("row_bags", (3, 10, 1)),
    ("row_bags", (98, 98, 1)),
    ("row_bags", (3, 10, None)),
    ("row_bags", (98, 10, None)),
    ("row_bags", (98, 98, None)),
    ("dot_products", 2),
    ("shifted_sums", 3),
    ("tile_spectra", (64, 128)),
    ("tile_spectra", (512, 512)),
]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "shape", [(40, 53, 5, 7), (10, 70, 9, 3), (12, 30, 3, 4), (31, 20, 2, 18), (50, 41, 47, 39), (8, 80, 1, 31)]
)
def test_every_way_to_the_values_agrees_with_torch(way, shape, turned):
    H, W, h, w = shape
    storage = tensor((H + 3, W), seed=1)
    X, K = storage[3:], tensor((h, w), seed=2)  # an offset into the storage
    if way[0] == "row_bags" and not way[1][-1]:
        way = "row_bags", (*way[1][:-1], h if turned else w)
    function, parameter = ways._prepared(*(("turned", way) if turned else way), X.shape, K.shape, 8)
    Y = function(X, K, parameter)
    sums = conv2d(X.abs()[None, None], K.abs()[None, None])[0, 0]
    error = (Y - conv2d(X[None, None], K[None, None])[0, 0]).abs() / sums
    assert error.max() < 1e-14  # some dozens of roundings of 1e-16 on either side
    assert Y.is_contiguous()
    assert Y._base is None  # torch refuses to change a view in place behind an autograd function


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "i2", "u4"])
def test_a_single_output_is_the_sum_of_all_products(dtype):
    X, K = random((5, 7), dtype), random((5, 7), dtype, seed=1)
    with np.errstate(over="ignore"):
        expected = np.sum(X * K, dtype=dtype).reshape(1, 1)
    Y = cross_corr_2d(X, K)
    np.testing.assert_allclose(Y, expected, rtol=1e-5)
    assert Y.shape == (1, 1)
    X[2, 3] = 0 if X.dtype.kind in "iu" else np.nan
    assert np.isnan(cross_corr_2d(X, K)[0, 0]) == (X.dtype.kind not in "iu")


def test_a_long_sum_of_products_stays_below_eight_roundings():
    X = torch.full((1, 2103), 1 / 3)  # in a row, as a dot product adds: 27 roundings
    assert error_over_window_sums(cross_corr_2d(X, X), X, X) < 8 * 2**-24


def test_numbers_that_are_only_marked_as_zero_are_read():
    X, K = torch._efficientzerotensor((12, 13)), tensor((4, 5), torch.float32)
    assert torch.equal(cross_corr_2d(X, K), torch.zeros(9, 9))


@pytest.mark.parametrize(
    ("image", "kernel"), [((5, 7), (5, 7)), ((30, 170), (30, 11)), ((3, 59), (3, 26)), ((4096, 2050), (1, 3))]
)
def test_a_result_can_be_changed_in_place(image, kernel):
    X, K = torch.ones(image, requires_grad=True), torch.ones(kernel)
    assert (cross_corr_2d(X, K).mul_(2) == 2 * K.numel()).all()


def test_many_row_numbers_are_not_kept():
    direct_sums._bags.cache_clear()
    for rows, kernel, kept in ((256, (8, 16), 1), (331, (9, 11), 1), (3, (9, 11), 2)):  # 32,768 numbers, and one more
        X, K = tensor((rows + kernel[0] - 1, 80), torch.float32), tensor(kernel, torch.float32, seed=1)
        direct_sums.row_bags(X, K, (rows, 80 - kernel[1] + 1, 1))
        assert direct_sums._bags.cache_info().currsize == kept


@pytest.mark.parametrize(("side", "fresh"), [(2048, 1), (2047, 0)])
def test_a_large_multiple_lies_where_the_system_hands_out_large_pages(monkeypatch, side, fresh):
    shapes, empty = [], ways.empty
    monkeypatch.setattr(ways, "empty", lambda shape, like: shapes.append(shape) or empty(shape, like))
    X = torch.ones(2048, side)  # 2^24 bytes, or one row less
    assert (cross_corr_2d(X, torch.full((1, 1), 3.0)) == 3).all()
    assert len(shapes) == fresh


@pytest.mark.parametrize(
    ("R", "block", "rows", "bands"),
    [
        (6, 1, 6, [(0, 6, None)]),
        (6, 2, 6, [(0, 3, None)]),
        (6, 1, 5, [(0, 5, 5), (5, 1, 5)]),
        (6, 2, 4, [(0, 2, 2), (4, 1, 2)]),
        (7, 2, 8, [(0, 3, 4), (5, 1, 4)]),
        (7, 2, 4, [(0, 2, 2), (4, 1, 2), (5, 1, 2)]),
    ],
)
def test_rows_are_worked_on_in_bands_with_one_buffer(monkeypatch, R, block, rows, bands):
    seen, row_band = [], direct_sums._row_band

    def watched_band(x, columns, r, products, out):
        room = products if products is None else products.untyped_storage().nbytes() // (8 * block * 3 * 11)
        seen.append((r, len(out), room))
        return row_band(x, columns, r, products, out)

    monkeypatch.setattr(direct_sums, "_row_band", watched_band)
    X, K = tensor((R + 4, 11)), tensor((5, 3), seed=1)
    torch.testing.assert_close(direct_sums.row_products(X, K, (block, rows)), cross_corr_2d(X, K, method="fft"))
    assert seen == bands


def test_published_values():
    X = np.array([[0, 5, 8], [2, -1, 4], [4, 3, 7]])
    assert cross_corr_2d(X, np.array([[5, -1], [3, 1]])).tolist() == [[0, 18], [26, 7]]
    assert cross_corr_2d(np.arange(9).reshape(3, 3), np.array([[0, 1], [2, 3]])).tolist() == [
        [19, 25],
        [37, 43],
    ]


@pytest.mark.parametrize("dtypes", [("i4", "f4"), ("u1", "i1"), ("f4", "c16"), ("f2", "f8"), ("u1", "f2")])
def test_result_has_the_dtype_that_torch_promotes_to(dtypes):
    X, K = np.ones((4, 5), dtypes[0]), np.ones((2, 3), dtypes[1])
    expected = torch.result_type(torch.from_numpy(X), torch.from_numpy(K))
    assert torch.from_numpy(cross_corr_2d(X, K)).dtype == expected


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_integers_beside_half_precision_are_not_rounded_to_it_first(half):
    X, K = torch.tensor([[2, 65534, 65500, 65501]]), torch.tensor([[0.125, -0.125]], dtype=half)
    Y = cross_corr_2d(X, K)
    assert Y.dtype == half
    assert Y.tolist() == [[-8192, 4.25, -0.125]]  # 65534 is infinite in float16, 65500 and 65501 are one in both


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_accumulates_in_single(dtype):
    X, K = torch.ones(70, 81, dtype=dtype), torch.ones(61, 67, dtype=dtype)
    X[0, 0] = 64  # in half precision a running sum of ones stops at 2048, in bfloat16 at 256
    assert cross_corr_2d(X, K).dtype == dtype
    for method in METHODS:
        assert cross_corr_2d(X, K, method=method)[1, 1] == torch.tensor(61 * 67).to(dtype)


def test_autocast_does_not_lower_the_precision():
    X, K = tensor((17, 19), torch.float32), tensor((3, 3), torch.float32, seed=1)
    expected = cross_corr_2d(X, K)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(cross_corr_2d(X, K), expected)


def test_views_of_torch_are_read_as_they_stand():
    Z, K = (
        torch.complex(tensor((7, 9)), tensor((7, 9), seed=1)),
        torch.complex(tensor((2, 3)), tensor((2, 3), seed=2)),
    )
    row, kernel = tensor((1, 9)).expand(6, 9), K.real.contiguous()
    flagged = Z.conj().imag, K.conj().imag  # as negative
    dense = flagged[0].as_strided((5, 8), (8, 1))
    assert dense.is_neg()
    assert dense.is_contiguous()
    for image, taps in [
        *((Z.conj(), K), (Z, K.conj()), (Z.conj(), K.conj())),
        *((row, kernel), (row, K.real), (tensor((6, 9)), K.real)),
        *((flagged[0], kernel), (tensor((6, 9)), flagged[1]), flagged),
        *((flagged[0][:1, :1], kernel[:1, :1]), (Z.imag, flagged[1][:1, :1]), (flagged[0][:1], flagged[1][:1])),
        *((dense, kernel), (dense, flagged[1]), (dense, K.real[:1]), (dense, dense[:2])),
    ]:
        expected = double_loop(image.resolve_conj().resolve_neg().numpy(), taps.resolve_conj().resolve_neg().numpy())
        np.testing.assert_allclose(cross_corr_2d(image, taps), expected, atol=1e-13)


ONE = np.ones((2, 3))


@pytest.mark.parametrize(
    ("X", "K", "options", "error", "words"),
    [
        (np.ones(3), ONE, {}, ValueError, r"X must be 2-D.*\(3,\)"),
        (ONE, np.ones((1, 1, 1)), {}, ValueError, r"K must be 2-D.*\(1, 1, 1\)"),
        (np.ones((0, 3)), ONE, {}, ValueError, r"X .*not empty.*\(0, 3\)"),
        (ONE, np.ones((2, 0)), {}, ValueError, r"K .*not empty.*\(2, 0\)"),
        (ONE, np.ones((3, 1)), {}, ValueError, r"\(3, 1\) is larger than X of shape \(2, 3\)"),
        (ONE, np.ones((1, 4)), {}, ValueError, r"\(1, 4\) is larger than X of shape \(2, 3\)"),
        (ONE, ONE, {"method": "fast"}, ValueError, "method must be one of auto, direct, fft, got 'fast'"),
        (ONE, ONE, {"method": None}, ValueError, "got NoneType"),
        (ONE, ONE, {"method": ["fft"]}, ValueError, "got list"),
        (ONE, ONE, {"method": np.array(["fft", "auto"])}, ValueError, "got ndarray"),
        (torch.ones(2, 3, requires_grad=True), torch.ones(2, 4), {}, ValueError, r"\(2, 4\) is larger than X"),
        (torch.ones(2, 3, requires_grad=True), torch.ones(3), {}, ValueError, r"K must be 2-D.*\(3,\)"),
        ([[1.0]], ONE, {}, TypeError, "X must be a NumPy array or a torch tensor, got list"),
        (ONE, torch.ones(2, 3), {}, TypeError, "one kind"),
        (ONE > 0, ONE, {}, TypeError, "X has dtype torch.bool"),
        (ONE, ONE > 0, {}, TypeError, "K has dtype torch.bool"),
        (ONE.astype(np.longdouble), ONE, {}, TypeError, "X has dtype"),
        (ONE.astype(object), ONE, {}, TypeError, "X has dtype object"),
        (
            ONE.astype("u2"),
            ONE.astype("i8"),
            {},
            TypeError,
            "no common dtype for X of torch.uint16 and K of torch.int64",
        ),
        (torch.ones(2, 3, dtype=torch.float8_e5m2), torch.ones(2, 3), {}, TypeError, "torch.float8_e5m2"),
        (torch.ones(2, 3, device="meta"), torch.ones(2, 3), {}, TypeError, "X is on the meta device"),
        (torch.ones(2, 3).to_sparse(), torch.ones(2, 3), {}, TypeError, "X must be a dense tensor"),
    ],
)
def test_bad_arguments_get_an_error_that_names_them(X, K, options, error, words):
    with pytest.raises(error, match=words) as raised:
        cross_corr_2d(X, K, **options)
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None or raised.value.__suppress_context__


def plan(image, kernel, dtype=torch.float32, elsewhere=None):
    return ways._plan((torch.Size(image), torch.Size(kernel)), dtype, "auto", 1, elsewhere)


def test_two_devices_are_both_named():
    with pytest.raises(ValueError, match="must be on one device, got cpu and cuda:0"):
        plan((5, 7), (2, 3), elsewhere=(torch.device("cpu"), torch.device("cuda:0")))
    seen = {"shape": torch.Size((5, 7)), "dtype": torch.float32}
    cpu, cuda = (SimpleNamespace(is_cpu=name == "cpu", device=torch.device(name), **seen) for name in ("cpu", "cuda:0"))
    for pair in ((cpu, cuda), (cuda, cpu)):
        with pytest.raises(ValueError, match="on one device"):
            ways.planned(*pair, "auto")
    assert plan((5, 7), (2, 3), elsewhere=(cuda.device,) * 2)[0] is direct_sums.row_products


def test_one_tap_or_one_output_or_another_working_dtype_needs_no_estimate():
    assert plan((5, 7), (1, 1)) == (ways._scaled, None)
    assert plan((5, 7), (5, 7)) == (ways._sum_of_products, None)
    assert plan((5, 7), (2, 3), torch.float16) == (ways._in_working_dtype, "auto")
    assert plan((1, 2), (2, 1)[::-1])[0] is ways._sum_of_products
    for kernel, copies, shape in (((5, 6), "lines", (16, 6, 11)), ((11, 10), "columns", (7, 16, 10))):
        views = small_sums.window_views((16, 16), kernel, 4, copies)
        assert views[0][0] == shape
        assert plan((16, 16), kernel) == (small_sums.in_numpy, (small_sums.window_products, views))


def error_over_window_sums(Y, X, K):
    wide = np.result_type(X.numpy().dtype, np.longdouble)
    windows = np.lib.stride_tricks.sliding_window_view(X.numpy().astype(wide), K.shape)
    weights = K.numpy().astype(wide)
    exact = np.einsum("ijuv,uv->ij", windows, weights)
    return float((abs(Y.numpy() - exact) / np.einsum("ijuv,uv->ij", abs(windows), abs(weights))).max())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kernel", [3, 15, 31])
@pytest.mark.parametrize("image", ["noise", "positive", "half a million times brighter", "smooth"])
def test_error_is_at_most_four_times_that_of_conv2d(dtype, kernel, image):
    X, K = tensor((73, 90), seed=kernel), tensor((kernel, kernel), seed=1)
    if image == "positive":
        X, K = X.abs(), K.abs()
    if image == "half a million times brighter":
        X[:, 45:] *= 1e6
        K *= 1e6
    if image == "smooth":
        X, K = (
            1 + torch.linspace(0, 1, 73, dtype=X.dtype)[:, None] * torch.linspace(2, 3, 90, dtype=X.dtype),
            K.abs(),
        )
    X, K = X.to(dtype), K.to(dtype)
    bound = 4 * error_over_window_sums(conv2d(X[None, None], K[None, None])[0, 0], X, K)
    for method in METHODS:
        assert error_over_window_sums(cross_corr_2d(X, K, method=method), X, K) <= bound


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
@pytest.mark.parametrize("power", range(20, 37, 2))
@pytest.mark.parametrize(("image", "kernel"), [((21, 2), (21, 1)), ((3, 4), (2, 2)), ((64, 64), (9, 9))])
def test_a_transform_is_as_good_as_single_precision_however_bright_a_part_is(image, kernel, power, dtype):
    X, K = (tensor(shape, dtype, seed).abs().to(dtype) for seed, shape in enumerate((image, kernel)))
    K = K * (1 + 1j) if dtype.is_complex else K
    X[:, : image[1] // 2] *= 2.0**power
    direct, transformed = (error_over_window_sums(cross_corr_2d(X, K, method=way), X, K) for way in METHODS[1:])
    assert transformed <= max(1.5 * 2**-24, direct)  # the latter where a tile is summed directly


def test_a_steep_ramp_under_second_differences_is_not_left_to_the_transform():
    # All outputs are small, so that only the comparison with the noise of the tile tells.
    X = torch.linspace(0, 13, 400, dtype=torch.float64).exp()[:, None] * (1 + tensor((1, 90), seed=2).abs())
    K = torch.tensor([1.0, -2, 1] * 5, dtype=torch.float64)[:, None] * (0.1 + tensor((1, 15)).abs())
    bound = 4 * error_over_window_sums(conv2d(X[None, None], K[None, None])[0, 0], X, K)
    assert error_over_window_sums(cross_corr_2d(X, K, method="fft"), X, K) <= bound


@pytest.mark.parametrize(
    ("image", "kernel", "dtype", "method"),
    [
        ((73, 90), (15, 15), torch.float64, "fft"),
        ((73, 90), (31, 31), torch.float64, "fft"),
        ((26, 3723), (7, 6), torch.float32, "auto"),
        ((5, 4532), (2, 352), torch.float32, "auto"),
    ],
)
def test_constant_image_stays_below_eight_roundings(image, kernel, dtype, method):
    # All windows are one sum, which conv2d may get right by chance: four times its error can be missed here.
    X, K = torch.full(image, 0.1, dtype=dtype), tensor(kernel, dtype, seed=1).abs()
    assert error_over_window_sums(cross_corr_2d(X, K, method=method), X, K) < 8 * torch.finfo(dtype).eps / 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_sums_of_integers_come_out_of_a_transform_exactly(dtype):
    X, K = ((tensor(shape, dtype, seed) * 2).real.round().to(dtype) for seed, shape in enumerate([(300, 70), (31, 30)]))
    X, K = (X * (1 + 1j), K * (1 - 2j)) if dtype.is_complex else (X, K)
    wide = torch.promote_types(dtype, torch.float64)
    direct = cross_corr_2d(X.to(wide), K.to(wide), method="direct").to(dtype)
    assert torch.equal(cross_corr_2d(X, K, method="fft"), direct)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_transform_is_not_trusted_where_what_it_is_compared_with_overflows(dtype):
    X, K = torch.full((256, 256), 1.3e31, dtype=dtype), torch.ones(31, 31, dtype=dtype)
    X[:, 128:] *= 1e-20
    torch.testing.assert_close(cross_corr_2d(X, K), cross_corr_2d(X, K, method="direct"))


def test_windows_of_zeros_stay_zero_in_a_transform():
    X = tensor((90, 81), torch.float32)
    X[20:70, 20:70] = 0
    assert torch.all(cross_corr_2d(X, tensor((15, 15), torch.float32), method="fft")[20:56, 20:56] == 0)


def watched(monkeypatch, X, K, tile):
    """How many groups of tiles a transform made and looked at again, and how many tiles were summed directly."""
    expected = cross_corr_2d(X, K, method="direct")
    calls, times, values = [], ways._convolved, ways.values
    monkeypatch.setattr(ways, "_convolved", lambda tiles, *rest: calls.append(tiles.dtype) or times(tiles, *rest))
    monkeypatch.setattr(ways, "values", lambda x, k, method: calls.append(method) or values(x, k, method))
    torch.testing.assert_close(ways._tile_spectra(X, K, tile), expected)
    return sum(call == torch.float64 for call in calls), calls.count(torch.float32), calls.count("direct")


def test_the_direct_sums_of_a_single_tile_are_the_result_themselves(monkeypatch):
    X, made, values = tensor((40, 50)), [], ways.values
    X[5, 5] = torch.nan
    monkeypatch.setattr(ways, "values", lambda *given: made.append(values(*given)) or made[-1])
    assert ways._tile_spectra(X, tensor((6, 7), seed=1), (40, 60)) is made[0]
    assert len(made) == 1
    assert ways._tile_spectra(X, tensor((6, 7), seed=1), (40, 30)).shape == (35, 44)
    assert len(made) == 2


ONES, DIFFERENCE = torch.ones(3, 3, dtype=torch.float64), torch.tensor([[1.0, -1.0]])


def constant(shape, bright=1.0, dtype=torch.float64):
    X = torch.ones(shape, dtype=dtype)
    X[shape[0] // 2, shape[1] // 2] = bright
    return X


def steps(flat):
    """Rows that rise to the right, all but for some pairs of pixels."""
    X = torch.arange(30.0).repeat(20, 1)
    X[: flat // 2, 10:] -= 1
    X[: flat - flat // 2, 20:] -= 1
    return X


@pytest.mark.parametrize(
    ("X", "K", "counts"),
    [
        # double: windows of 9 against a 48th of the norms' product, then against a quarter of the largest sum
        (constant((142, 143)), ONES, (1, 1, 0)),
        (constant((145, 146)), ONES, (1, 1, 1)),
        (constant((20, 21), 27), ONES, (1, 1, 0)),
        (constant((20, 21), 29), ONES, (1, 1, 1)),
        # single: sums of 0 are looked at again, and windows of 2 compared with the norms' product times 2^-16
        (constant((20, 21), 92_000, torch.float32), DIFFERENCE, (1, 1, 0)),
        (constant((20, 21), 93_500, torch.float32), DIFFERENCE, (1, 1, 1)),
        # single: sums of 2^-13, or half of it, against the norms' product, 2^12.5, times 2^-26
        (torch.full((32, 32), 128.0), torch.tensor([[1, -1, 2.0**-20]]), (1, 0, 0)),
        (torch.full((32, 32), 128.0), torch.tensor([[1, -1, 2.0**-21]]), (1, 1, 0)),
        # single: 8 sums of 0, which are done again, or 9
        (steps(8), DIFFERENCE, (1, 0, 0)),
        (steps(9), DIFFERENCE, (1, 1, 0)),
    ],
)
def test_a_tile_is_trusted_just_to_the_bound(monkeypatch, X, K, counts):
    assert watched(monkeypatch, X, K.to(X.dtype), (256, 256)) == counts


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_the_few_small_sums_of_a_tile_are_done_again_exactly(dtype):
    X, K = steps(8).to(dtype), DIFFERENCE.to(dtype)
    Y = cross_corr_2d(X, K, method="fft")
    assert torch.equal(Y, cross_corr_2d(X, K, method="direct"))
    assert (Y == 0).sum() == 8


@pytest.mark.parametrize(("tile", "groups"), [((400, 250), 2), ((163, 409), 2), ((512, 512), 3)])
def test_as_many_tiles_are_transformed_together_as_stay_in_cache(monkeypatch, tile, groups):
    X = tensor((tile[0], 2 * tile[1] + 5), torch.float32)
    assert watched(monkeypatch, X, torch.ones(3, 3), tile)[0] == groups


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kernel", [(1, 1), (3, 2), (15, 13), (40, 37)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nan_and_infinity_reach_only_the_windows_that_hold_them(method, kernel, dtype):
    X, K = tensor((77, 64), dtype), tensor(kernel, dtype, seed=1)
    X[50, 41], X[3, 5], X[76, 63] = torch.nan, torch.inf, -torch.inf
    expected = conv2d(X[None, None], K[None, None])[0, 0]
    Y = cross_corr_2d(X, K, method=method)
    assert torch.equal(Y.isnan(), expected.isnan())
    assert torch.equal(Y.isposinf(), expected.isposinf())
    assert torch.equal(Y.isneginf(), expected.isneginf())


@torch_deprecates_itself
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_derivatives_of_first_and_second_order(method, dtype):
    X, K = tensor((5, 7), dtype), tensor((2, 3), dtype, seed=1)
    if dtype.is_complex:
        X, K = X * (1 + 0.5j), K * (1 - 2j)
    inputs = X.requires_grad_(), K.requires_grad_()

    def f(X, K):
        return cross_corr_2d(X, K, method=method)

    assert gradcheck(f, inputs, check_forward_ad=True)
    assert gradgradcheck(f, inputs)


def conv2d_gradients(X, K, upstream):
    leaves = X.detach().clone().requires_grad_(), K.detach().clone().requires_grad_()
    return torch.autograd.grad(conv2d(leaves[0][None, None], leaves[1][None, None])[0, 0], leaves, upstream)


@pytest.mark.parametrize("layout", ["contiguous", "transposed", "expanded", "marked as negative"])
@pytest.mark.parametrize(
    ("image", "kernel"),
    [
        *(((13, 12), kernel) for kernel in ((1, 1), (1, 2), (3, 2), (5, 4), (6, 11), (9, 3), (11, 12), (12, 9))),
        ((11, 11), (4, 8)),  # as many taps as outputs, which are (8, 4)
    ],
)
def test_small_gradients_agree_with_conv2d(image, kernel, layout):
    outputs = tuple(n - m + 1 for n, m in zip(image, kernel, strict=True))
    X, K, upstream = tensor(image), tensor(kernel, seed=1), tensor(outputs, seed=2)
    if layout == "transposed":
        X, K, upstream = (array.T.contiguous().T for array in (X, K, upstream))
    if layout == "expanded":
        upstream = torch.tensor(0.75, dtype=torch.float64).expand(outputs)
    if layout == "marked as negative":
        upstream = torch.complex(upstream, upstream).conj().imag
        assert upstream.is_neg()
    kept = X.clone(), K.clone(), upstream.clone()
    expected = conv2d_gradients(X, K, upstream.resolve_neg())
    X.requires_grad_(), K.requires_grad_()
    gradients = torch.autograd.grad(cross_corr_2d(X, K), (X, K), upstream)
    torch.testing.assert_close(gradients, expected)
    assert all(torch.equal(*pair) for pair in zip((X, K, upstream), kept, strict=True))
    recorded = torch.autograd.grad(cross_corr_2d(X, K), (X, K), upstream, create_graph=True)
    assert all(gradient.requires_grad for gradient in recorded)
    torch.testing.assert_close(recorded, expected)


def test_both_gradients_of_small_images_are_taken_at_once(monkeypatch):
    at_once, gradients = [], small_sums.gradients_in_numpy
    monkeypatch.setattr(small_sums, "gradients_in_numpy", lambda *given: at_once.append(1) or gradients(*given))

    def taken(image, kernel, *, method="auto", dtype=torch.float64, kernel_too=True, **options):
        at_once.clear()
        X, K = tensor(image, dtype).requires_grad_(), tensor(kernel, dtype, seed=1)
        inputs = (X, K.requires_grad_(kernel_too))[: 1 + kernel_too]
        torch.autograd.grad(cross_corr_2d(X, K, method=method).abs().sum(), inputs, **options)
        return bool(at_once)

    assert taken((12, 13), (4, 5))
    assert taken((12, 13), (11, 12), dtype=torch.float32)
    assert not taken((12, 13), (4, 5), create_graph=True)
    assert not taken((12, 13), (4, 5), kernel_too=False)
    assert not taken((12, 13), (4, 5), method="fft")
    assert not taken((12, 13), (4, 5), dtype=torch.complex64)
    assert not taken((100, 130), (40, 40))
    assert not taken((128, 128), (9, 9), dtype=torch.float32)  # NumPy is the way to the kernel's gradient only


@torch_deprecates_itself
def test_small_gradients_keep_the_tangents_of_forward_mode():
    X, K = tensor((12, 13)).requires_grad_(), tensor((4, 5), seed=1).requires_grad_()
    tangent, upstream = tensor((12, 13), seed=2), tensor((9, 9), seed=3)
    with forward_ad.dual_level():
        Y = cross_corr_2d(forward_ad.make_dual(X, tangent), K)
        dX, dK = map(forward_ad.unpack_dual, torch.autograd.grad(Y, (X, K), upstream))
    assert dX.tangent is None
    torch.testing.assert_close(dK.tangent, cross_corr_2d(tangent, upstream))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("which", ["image", "kernel", "upstream"])
@pytest.mark.parametrize(("image", "kernel"), [((12, 13), (4, 5)), ((12, 13), (10, 12)), ((140, 150), (3, 5))])
def test_what_is_not_finite_reaches_only_its_own_gradients(image, kernel, which, value):
    outputs = tuple(n - m + 1 for n, m in zip(image, kernel, strict=True))
    X, K, upstream = tensor(image), tensor(kernel, seed=1), tensor(outputs, seed=2)
    {"image": X, "kernel": K, "upstream": upstream}[which][1, 1] = value
    expected = conv2d_gradients(X, K, upstream)
    Y = cross_corr_2d(X.requires_grad_(), K.requires_grad_())
    for create_graph in (False, True):
        found = torch.autograd.grad(Y, (X, K), upstream, create_graph=create_graph, retain_graph=True)
        torch.testing.assert_close(found, expected, equal_nan=True)
    only_for_x = torch.autograd.grad(cross_corr_2d(X, K.detach()), X, upstream)[0]
    torch.testing.assert_close(only_for_x, expected[0], equal_nan=True)
    if which != "upstream":
        by_functions = torch.func.grad(lambda x: (cross_corr_2d(x, K.detach()) * upstream).sum())(X.detach())
        torch.testing.assert_close(by_functions, expected[0], equal_nan=True)


def test_gradients_of_halves_are_summed_in_single_precision_where_one_upstream_is_infinite():
    X, K = (torch.ones(side, side, dtype=torch.float16) for side in (109, 60))
    upstream = torch.ones(50, 50, dtype=torch.float16)
    upstream[0, 0] = torch.inf
    dX = torch.autograd.grad(cross_corr_2d(X.requires_grad_(), K), X, upstream)[0]
    assert dX.dtype is torch.float16
    assert dX.isinf().sum() == 60 * 60
    assert dX[60, 59] == 49 * 50  # halves would stay at 2048


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e308])
def test_small_gradients_are_quiet_about_what_is_not_finite(value):
    X, K, upstream = tensor((12, 13)), tensor((4, 5), seed=1), 1e3 * tensor((9, 9), seed=2)
    X[3, 4] = value
    expected = conv2d_gradients(X, K, upstream)
    with np.errstate(all="raise"):
        gradients = torch.autograd.grad(cross_corr_2d(X.requires_grad_(), K.requires_grad_()), (X, K), upstream)
    torch.testing.assert_close(gradients, expected, equal_nan=True)


def test_gradient_of_a_real_image_under_a_complex_kernel_is_real():
    X, K = tensor((5, 7)).requires_grad_(), (tensor((2, 3), seed=1) * (1 + 2j)).requires_grad_()
    assert gradcheck(cross_corr_2d, (X, K))


@pytest.mark.parametrize(
    ("image", "kernel", "dtype", "method", "vain"),
    [
        ((168, 168), (41, 41), torch.float64, "auto", True),
        ((2280, 168), (41, 41), torch.float64, "auto", True),  # 8 tiles on top of one another
        ((168, 2280), (41, 41), torch.float64, "auto", True),
        ((1700, 2000), (41, 41), torch.float64, "auto", True),  # 22 of 6 times 7 tiles lie at the edge
        ((1700, 2280), (41, 41), torch.float64, "auto", False),  # 24 of 6 times 8
        ((168, 168), (41, 41), torch.float64, "fft", False),
        ((168, 168), (41, 41), torch.float64, "direct", False),
        ((168, 168), (41, 41), torch.float32, "auto", False),
        ((20, 20), (3, 3), torch.float64, "auto", False),
    ],
)
def test_a_transform_of_a_padded_image_is_in_vain_where_most_tiles_lie_at_its_edge(image, kernel, dtype, method, vain):
    assert ways.transformed_in_vain(torch.empty(image, dtype=dtype), torch.empty(kernel, dtype=dtype), method) == vain


def test_the_gradient_of_an_image_makes_no_transform_in_vain(monkeypatch):
    X, K = tensor((128, 128)).requires_grad_(), tensor((41, 41), seed=1)
    Y, calls, convolved = cross_corr_2d(X, K), [], ways._convolved
    monkeypatch.setattr(ways, "_convolved", lambda *given: calls.append(1) or convolved(*given))
    (dX,) = torch.autograd.grad(Y, X, torch.ones_like(Y))
    assert not calls
    torch.testing.assert_close(dX[60, 60], K.sum())


def test_only_the_gradients_asked_for_are_computed(monkeypatch):
    X, K = tensor((5, 7)), tensor((2, 3)).requires_grad_()
    Y = cross_corr_2d(X, K)
    shapes = []
    values = module.values
    monkeypatch.setattr(module, "values", lambda x, k, method: shapes.append(k.shape) or values(x, k, method))
    Y.sum().backward()
    assert shapes == [(4, 5)]  # the upstream gradient as kernel; nothing for X


def test_nothing_is_recorded_without_need():
    X, K = tensor((5, 7)), tensor((2, 3))
    assert cross_corr_2d(X, K).grad_fn is None
    with torch.no_grad():
        assert not cross_corr_2d(X.requires_grad_(), K).requires_grad


@torch_deprecates_itself
def test_function_transforms_agree_with_conv2d():
    def library(X, K):
        return conv2d(X[None, None], K[None, None])[0, 0]

    X, K = tensor((5, 7)), tensor((2, 3), seed=1)
    for transform in (torch.func.jacrev, torch.func.hessian):
        ours, theirs = (
            transform(lambda X, K, f=f: f(X, K).square().sum(0), argnums=(0, 1))(X, K) for f in (cross_corr_2d, library)
        )
        torch.testing.assert_close(ours, theirs)
    _, ours = torch.func.jvp(cross_corr_2d, (X, K), (K.new_ones(5, 7), K.sin()))
    torch.testing.assert_close(ours, library(torch.ones_like(X), K) + library(X, K.sin()))


@torch_deprecates_itself
def test_second_derivatives_forward_over_forward():
    X, K = tensor((4, 5)), tensor((2, 3), seed=1)
    for i, j in ((0, 1), (1, 0), (0, 0)):
        forward = torch.func.jacfwd(torch.func.jacfwd(cross_corr_2d, i), j)(X, K)
        torch.testing.assert_close(forward, torch.func.jacrev(torch.func.jacrev(cross_corr_2d, i), j)(X, K))
    with pytest.raises(ValueError, match="K of shape"):
        torch.func.jacfwd(torch.func.jacfwd(cross_corr_2d))(K, X)
    half = torch.full((40, 60), 1.0, dtype=torch.float16), torch.full((39, 59), 1.0, dtype=torch.float16)
    one = (torch.ones((), dtype=torch.float16),)

    def slope(t):
        return torch.func.jvp(lambda s: cross_corr_2d(half[0] * s * t, half[1]), one, one)[1]

    slopes = torch.func.jvp(slope, one, one)[1]
    assert slopes.tolist() == [[2300.0, 2300.0], [2300.0, 2300.0]]  # 39 * 59 = 2301, where halves are even


def test_vmap_over_either_argument_and_nested():
    Xs, Ks = tensor((4, 5, 7)), tensor((2, 3, 6), seed=1)
    over_both = torch.vmap(torch.vmap(cross_corr_2d, (None, 2)), (0, None))(Xs, Ks)
    for n, X in enumerate(Xs):
        for m, K in enumerate(Ks.unbind(2)):
            assert torch.equal(over_both[n, m], cross_corr_2d(X, K))


class Allocations(TorchDispatchMode):
    """The most bytes that tensors made inside held at once."""

    def __init__(self):
        super().__init__()
        self.living, self.most = [], 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for made in result if isinstance(result, tuple | list) else [result]:
            if isinstance(made, torch.Tensor):
                self.living.append(weakref.ref(made))
        self.living = [reference for reference in self.living if reference() is not None]
        storages = [reference().untyped_storage() for reference in self.living]
        held = {storage.data_ptr(): storage.nbytes() for storage in storages}
        self.most = max(self.most, sum(held.values()))
        return result


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [16, 64, 256])
@pytest.mark.parametrize("kernel", [1, 3, 5, 7, 11, 15, 31, 63])
def test_working_memory_is_at_most_eight_times_inputs_and_output(dtype, size, kernel):
    if kernel > size:
        kernel = size // 2
    most_is_in_bounds(tensor((size, size), dtype), tensor((kernel, kernel), dtype, seed=1))


@pytest.mark.parametrize(
    ("image", "kernel"),
    [((1, 1407), (1, 21)), ((1407, 1), (21, 1)), ((2689, 8), (6, 7)), ((6, 2038), (2, 108)), ((898, 12), (190, 11))],
)
def test_working_memory_is_as_little_for_narrow_images(image, kernel):
    most_is_in_bounds(tensor(image, torch.float32), tensor(kernel, torch.float32, seed=1))


@pytest.mark.parametrize("value", [1e12, torch.nan])
@pytest.mark.parametrize(
    ("image", "kernel", "dtype", "method"),
    [
        ((42, 311), (30, 58), torch.float64, "auto"),
        ((100, 100), (31, 31), torch.float64, "direct"),
        ((128, 128), (31, 31), torch.float64, "auto"),
        ((128, 128), (41, 41), torch.float32, "auto"),
        ((110, 179), (60, 50), torch.complex64, "auto"),
        ((110, 179), (60, 50), torch.float64, "fft"),
        ((373, 48), (33, 37), torch.complex64, "auto"),
        ((233, 156), (20, 9), torch.float32, "fft"),
    ],
)
def test_working_memory_is_as_little_where_sums_are_done_again(image, kernel, dtype, method, value):
    X, K = tensor(image, dtype), tensor(kernel, dtype, seed=1)
    most_is_in_bounds(X, K, method)
    X[image[0] // 2, image[1] // 2] = value
    most_is_in_bounds(X, K, method)


def most_is_in_bounds(X, K, method="auto"):
    with Allocations() as allocations:
        Y = cross_corr_2d(X, K, method=method)
    inputs_and_output = sum(array.untyped_storage().nbytes() for array in (X, K, Y))
    given = X.untyped_storage().nbytes() + K.untyped_storage().nbytes()
    assert allocations.most <= 8 * inputs_and_output + given + Y.untyped_storage().nbytes()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("size", "kernel"), [(16, 3), (16, 5), (16, 11), (16, 15), (64, 3), (64, 7), (64, 31), (64, 40), (64, 62)]
)
def test_working_memory_in_numpy_is_at_most_eight_times_inputs_and_output(dtype, size, kernel):
    X, K = tensor((size, size), dtype), tensor((kernel, kernel), dtype, seed=1)
    Y = cross_corr_2d(X, K)
    tracemalloc.start()
    cross_corr_2d(X, K)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most <= 8 * (X.nbytes + K.nbytes + Y.nbytes) + Y.nbytes + 2048  # the last for Python's own objects


@pytest.mark.parametrize("rows", [8, 98])
def test_blocks_of_two_rows_keep_nan_and_infinity_to_their_windows(rows):
    X, K = tensor((41, 30)), tensor((4, 5), seed=1)
    X[20, 10], X[5, 5], X[40, 29] = torch.nan, torch.inf, -torch.inf
    expected = conv2d(X[None, None], K[None, None])[0, 0]
    torch.testing.assert_close(direct_sums.row_products(X, K, (2, rows)), expected, equal_nan=True)


@pytest.mark.parametrize("plan", [(98, 98, 1), (7, 30, 1), (38, 5, 1), (98, 98, 5), (7, 30, 5), (38, 5, 5)])
def test_bags_of_rows_keep_nan_and_infinity_to_their_windows(plan):
    X, K = tensor((41, 30), torch.float32), tensor((4, 5), torch.float32, seed=1)
    X[20, 10], X[5, 5], X[40, 29] = torch.nan, torch.inf, -torch.inf
    expected = conv2d(X[None, None], K[None, None])[0, 0]
    torch.testing.assert_close(direct_sums.row_bags(X, K, plan), expected, equal_nan=True)


@pytest.mark.parametrize("kernel", [(3, 3), (5, 7), (8, 9)])
def test_small_images_are_served_whatever_numpy_is_set_to(kernel):
    X, K = np.full((12, 13), 1e38, np.float32), np.full(kernel, -1e30, np.float32)
    X[4, 4], X[8, 8] = np.inf, np.nan
    with np.errstate(all="raise"):
        Y = cross_corr_2d(X, K)
    expected = conv2d(torch.from_numpy(X)[None, None], torch.from_numpy(K)[None, None])[0, 0]
    np.testing.assert_array_equal(Y, expected)


@pytest.mark.parametrize("kernel", [(3, 3), (5, 7), (8, 9)])
def test_small_images_that_require_gradients_are_read_without_recording(kernel):
    X, K = tensor((12, 13)).requires_grad_(), tensor(kernel, seed=1).requires_grad_()
    with torch.no_grad():
        Y = cross_corr_2d(X, K)
    assert not Y.requires_grad
    assert torch.equal(Y, cross_corr_2d(X.detach(), K.detach()))


def test_a_quantized_tensor_is_refused_by_its_dtype():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch is about to drop them
        quantized = torch.quantize_per_tensor(torch.ones(3, 4), 0.1, 0, torch.qint8)
    for X, K, name in [(quantized, quantized, "X"), (torch.ones(5, 5), quantized, "K")]:
        with pytest.raises(TypeError, match=f"{name} has dtype torch.qint8"):
            cross_corr_2d(X, K)


def test_the_arguments_have_the_names_that_are_documented():
    X, K = np.arange(6.0).reshape(2, 3), np.ones((1, 2))
    np.testing.assert_array_equal(cross_corr_2d(X=X, K=K, method="fft"), cross_corr_2d(X, K))
    with pytest.raises(TypeError, match="positional"):
        cross_corr_2d(X, K, "fft")
