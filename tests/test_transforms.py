"""Tiles cover the image, sides transform fast, and what a transform cannot resolve is summed directly."""

import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d

from helpers.cross_correlation import correlate_directly
from helpers.transforms import TILE, correlate_tiles, count_pixels, plan_tiles


@pytest.mark.parametrize("taps", [1, 2, 15, 63, 160, 200, 700])
@pytest.mark.parametrize("length", [700, 701, 1000, 4099, 26_081])
def test_tiles_cover_every_output_with_little_waste(length, taps):
    side, outputs = plan_tiles(length, taps)
    assert side >= outputs + taps - 1
    assert side <= 1.07 * max(TILE, 2 * taps)  # the next product of powers of 2, 3 and 5
    tiles = -(-(length - taps + 1) // outputs)
    assert count_pixels(length, taps) == tiles * side
    assert (tiles - 1) * (max(TILE, 2 * taps) - taps + 1) < length - taps + 1 <= tiles * outputs  # no fewer would do


@pytest.fixture
def spy():
    def correlate(x, k):
        correlate.rows.append(x.copy())
        return correlate_directly(x, k)

    correlate.rows = []
    return correlate


def draw(dtype, shape, seed):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def correlate_by_torch(x, k):
    return conv2d(torch.from_numpy(x)[None, None], torch.from_numpy(k)[None, None])[0, 0].numpy()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(
    "shapes", [((40, 53), (5, 7)), ((300, 40), (3, 33)), ((530, 541), (9, 31)), ((330, 600), (290, 20))]
)
def test_tiles_agree_with_direct_sums(shapes, dtype, threads, spy, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    x, k = draw(dtype, shapes[0], 1), draw(dtype, shapes[1], 2)
    expected = correlate_by_torch(x.astype("f8"), k.astype("f8"))
    size = correlate_by_torch(abs(x).astype("f8"), abs(k).astype("f8"))
    error = abs(correlate_tiles(x, k, spy) - expected)
    if dtype == "f4":  # little more than the rounding of the result
        assert np.all(error <= 2e-7 * size)
    else:
        assert error.max() <= 1e-15 * np.linalg.norm(x) * np.linalg.norm(k)
    assert len(spy.rows) <= 2  # a sum that is small by chance


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_rows_that_are_not_finite_are_summed_directly(value, spy):
    x, k = draw("f8", (300, 310), 1), draw("f8", (5, 7), 2)
    x[100, 120] = value
    y = correlate_tiles(x, k, spy)
    assert not np.isfinite(y[96:101, 114:121]).any()
    assert np.isfinite(y).sum() == y.size - 35
    assert spy.rows


def test_single_precision_is_exact_beside_large_numbers(spy):
    x, k = draw("f4", (90, 80), 1), draw("f4", (15, 13), 2)
    x[:20] *= 1e12
    expected = correlate_by_torch(x.astype("f8"), k.astype("f8"))
    size = correlate_by_torch(abs(x).astype("f8"), abs(k).astype("f8"))
    # Direct float32 sums of 195 products: some roundings. The transform's own errors would be larger than the sums.
    assert np.all(abs(correlate_tiles(x, k, spy) - expected) <= 1e-6 * size)


def test_an_image_of_zeros_needs_no_direct_sum(spy):
    assert not correlate_tiles(np.zeros((40, 50), np.float32), draw("f4", (5, 7), 2), spy).any()
    assert not spy.rows


@pytest.mark.parametrize(("image", "kernel"), [(1e304, 1e2), (1e-300, 1e302), (1e-318, 1e9)])
def test_a_transform_that_overflows_or_underflows_is_summed_directly(image, kernel, spy):
    x, k = image * abs(draw("f8", (40, 50), 1)), kernel * abs(draw("f8", (5, 7), 2))
    np.testing.assert_allclose(correlate_tiles(x, k, spy), correlate_directly(x, k), rtol=1e-14)
    assert spy.rows
