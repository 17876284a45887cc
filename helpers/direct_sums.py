"""Direct sums of a cross-correlation of contiguous x and k, each the fastest for some shapes.

Each adds exactly the products of every window, in an order of its own. The last argument is what helpers.cost_model
chose: how many rows, or which strips, to work on at a time, so that they stay in cache.
"""

from functools import lru_cache

import numpy as np
import torch
from torch.nn.functional import embedding_bag

from helpers.interop import empty

# Freed at once: from here on glibc keeps freed blocks of up to this size, its most, whose pages need not be made anew.
torch.empty(2**25 - 2**14, dtype=torch.uint8, device="cpu")

_KEPT = 32_768  # row numbers of bags, that are kept for the next call

_quietly = np.errstate(all="ignore")  # an overflow or NaN in the image is the caller's own


def _arrays(x, k):
    try:
        return x.numpy(), k.numpy()
    except RuntimeError:  # numbers that are only marked, as zero or negative (the imaginary part of a conjugate)
        return x.clone().numpy(), k.clone().numpy()


@_quietly
def in_numpy(x, k, plan):
    """One of the next three sums, which are NumPy's, for small images: there its calls cost less."""
    way, parameter = plan
    image, taps = _arrays(x, k)
    return torch.from_numpy(way(image, taps, parameter))


@_quietly
def gradients_in_numpy(x, k, upstream, plans):
    """Both gradients; for that of X, the larger of upstream gradient and kernel is padded, the other turned round."""
    (way_to_x, x_parameter), (way_to_k, k_parameter) = plans
    (image, taps), (grads, _) = _arrays(x, k), _arrays(upstream, k)
    large, small = (taps, grads) if taps.size > grads.size else (grads, taps)
    (H, W), (h, w) = large.shape, small.shape
    padded = np.zeros((H + 2 * h - 2, W + 2 * w - 2), image.dtype)
    padded[h - 1 : h - 1 + H, w - 1 : w - 1 + W] = large
    dx = way_to_x(padded, small[::-1, ::-1], x_parameter)
    return torch.from_numpy(dx), torch.from_numpy(way_to_k(image, grads, k_parameter))


def window_products(image, taps, views):
    """Copy the columns of the windows, of which each row of outputs multiplies a part: for few outputs."""
    (shape, strides), (windows, window_strides) = views
    columns = np.ndarray(shape, image.dtype, image, 0, strides).copy()
    return np.matmul(np.ndarray(windows, image.dtype, columns, 0, window_strides), taps.ravel())


def window_views(image, kernel, itemsize):
    """Shapes and strides of what is multiplied, known before a call: here of columns and windows."""
    (H, W), (h, w) = image, kernel
    R, C, column = H - h + 1, W - w + 1, H * w * itemsize
    columns = (C, H, w), (itemsize, W * itemsize, itemsize)
    return columns, ((R, C, h * w), (w * itemsize, column, itemsize))


def tap_products(image, taps, views):
    """Copy what every tap meets and multiply once."""
    (shape, strides), (outputs, output_strides) = views
    met = np.ndarray(shape, image.dtype, image, 0, strides).reshape(taps.size, shape[2])
    sums = taps.reshape(1, taps.size).dot(met)
    return np.ndarray(outputs, sums.dtype, sums, 0, output_strides).copy()


def tap_views(image, kernel, itemsize):
    """Of what the taps meet, in whole rows, whose last w - 1 sums are no outputs, and of the outputs."""
    (H, W), (h, w) = image, kernel
    R, C, step = H - h + 1, W - w + 1, (W * itemsize, itemsize)
    return ((h, w, (R - 1) * W + C), (*step, itemsize)), ((R, C), step)


def small_products(image, taps, views):
    """Multiply the image, shifted by rows, with the kernel's columns, then add the w products."""
    (rows, row_strides), (diagonals, diagonal_strides) = views
    products = taps.T.dot(np.ndarray(rows, image.dtype, image, 0, row_strides).copy())
    shifted = np.ndarray(diagonals, products.dtype, products, 0, diagonal_strides)
    return np.add.reduce(shifted, 0, products.dtype)


def small_views(image, kernel, itemsize):
    """Of the image shifted by rows, and of the products shifted by columns."""
    (H, W), (h, w) = image, kernel
    R, C, row = H - h + 1, W - w + 1, W * itemsize
    return ((h, R * W), (row, itemsize)), ((w, R, C), (R * row + itemsize, row, itemsize))


def column_sums(x, k, rows):
    """Add, for each column of the kernel, its products with the image rows under it, in bands of output rows."""
    (H, W), (h, w) = x.shape, k.shape
    R, C = H - h + 1, W - w + 1
    y, columns, start = empty((R, C), x), k.t().contiguous(), x.storage_offset()
    for r in range(0, R, rows):
        band = y[r : r + rows].unsqueeze(1)
        for v, column in enumerate(columns):
            factors = column.expand(len(band), 1, h), x.as_strided((len(band), h, C), (W, W, 1), start + r * W + v)
            torch.baddbmm(band, *factors, beta=min(v, 1), out=band)
    return y


def row_products(x, k, plan):
    """Multiply blocks of image rows with all the kernel's columns, then add the w products, each shifted by its column.

    A block holds what one row of outputs needs, or two: then the kernel is filled up with zeros, by which NaN and
    infinity reach outputs that are not theirs, and all is done again with one.
    """
    block, rows = plan
    y = _row_bands(x, k, block, rows)
    if block == 1 or y.sum().isfinite():
        return y
    del y  # before the next is made
    return _row_bands(x, k, 1, rows)


def _row_bands(x, k, block, rows):
    (H, W), (h, w) = x.shape, k.shape
    R, C = H - h + 1, W - w + 1
    columns = k.t() if block == 1 else _two_rows(k)
    if rows >= R and R % block == 0:
        return _row_band(x, columns, 0, (R // block, block, C), (None, None)).view(R, C)
    y, products = empty((R, C), x), x.new_empty(rows // block, block * w, W)
    bands = [(r, min(rows, R - r) // block) for r in range(0, R - block + 1, rows)]
    bands += [(R - block, 1)] if R % block else []
    for r, m in bands:
        _row_band(x, columns, r, (m, block, C), (products[:m], y[r : r + m * block].view(m, block, C)))
    return y


def _row_band(x, columns, r, shape, buffers):
    W, (m, block, C), (products, out) = x.shape[1], shape, buffers
    images = x.as_strided((m, columns.shape[1], W), (block * W, W, 1), x.storage_offset() + r * W)
    products = torch.bmm(columns.expand(m, *columns.shape), images, out=products)
    w = len(columns) // block
    return _added(products.as_strided((w, m, block, C), (block * W + 1, w * block * W, W, 1)), out)


def _added(parts, out):
    """Their sum over the first axis; where they are two or three, one by one takes less."""
    if not 1 < len(parts) < 4:
        return torch.sum(parts, 0, out=out)
    first, second, *third = parts.unbind()
    y = torch.add(first, second, out=out)
    return y.add_(*third) if third else y


def _two_rows(k):
    """(2 w, h + 1): each column of the kernel with a zero below it, then with a zero above."""
    h, w = k.shape
    columns = k.new_zeros(w, 2, h + 1)
    columns[:, 0, :h] = columns[:, 1, 1:] = k.t()
    return columns.view(2 * w, h + 1)


def row_bags(x, k, plan):
    """Add image rows, weighted by each of the kernel's columns, then the w sums, each shifted by its column.

    Embedding bags, which add weighted rows of a table, are one loop over registers in float32. The table is a strip of
    the image, narrow enough for h of its rows to stay in the nearest cache.
    """
    rows, columns = plan
    (H, W), (h, w) = x.shape, k.shape
    R, C = H - h + 1, W - w + 1
    y, weights = empty((R, C), x), k.t().reshape(-1).expand(rows, w * h).reshape(-1)
    bags = _bags if rows * w * h <= _KEPT else _bags.__wrapped__
    met, starts = map(torch.from_numpy, bags(rows, h, w))
    for r in range(0, R, rows):
        for c in range(0, C, columns):
            out = y[r : r + rows, c : c + columns]
            m, n = out.shape[0], out.shape[1] + w - 1
            table, taps = x[r : r + m + h - 1, c : c + n].contiguous(), m * w * h
            sums = embedding_bag(met[:taps], table, starts[: m * w], mode="sum", per_sample_weights=weights[:taps])
            _added(sums.as_strided((w, m, n - w + 1), (n + 1, w * n, 1)), out)
            del sums, table  # before the next are made
    return y


@lru_cache(maxsize=4)
def _bags(rows, h, w):
    """The numbers of the image rows in all bags, one after another, and where in them each bag starts."""
    return np.add.outer(np.arange(rows), np.tile(np.arange(h), w)).ravel(), np.arange(0, rows * w * h, h)


def dot_products(x, k, rows):
    """Add windows times kernel, in bands of kernel rows that stay in cache: for few outputs of a large kernel."""
    (H, W), (h, w) = x.shape, k.shape
    R, C = H - h + 1, W - w + 1
    y = x.new_zeros(R, C)
    for u in range(0, h, rows):
        taps = k[u : u + rows].view(-1)
        size = (C, len(taps) // w + R - 1, w)
        shifted = x.as_strided(size, (1, W, 1), x.storage_offset() + u * W).reshape(C, -1)
        for r in range(R):
            y[r].addmv_(shifted[:, r * w : r * w + len(taps)], taps)
        del shifted  # before the next is made
    return y


def shifted_sums(x, k, rows):
    """Add the image, shifted by every tap and times its weight, in bands of rows that stay in cache."""
    (H, W), (h, w) = x.shape, k.shape
    R, C = H - h + 1, W - w + 1
    y, start = empty((R, C), x), x.storage_offset()
    ((_, first), *rest) = [(u * W + v, weight) for u, row in enumerate(k.tolist()) for v, weight in enumerate(row)]
    for r in range(0, R, rows):
        band = y[r : r + rows]
        torch.mul(x.as_strided(band.shape, (W, 1), start + r * W), first, out=band)
        for offset, weight in rest:
            band.add_(x.as_strided(band.shape, (W, 1), start + r * W + offset), alpha=weight)
    return y
