"""Direct sums of a cross-correlation of contiguous x and k in torch, each the fastest for some shapes.

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


def line_sums(x, k, rows):
    """Copy every row w times, each shifted by a column; then each row of outputs is one product. In bands of rows."""
    (H, W), (h, w) = x.shape, k.shape
    R, C = H - h + 1, W - w + 1
    y, start = empty((R, C), x), x.storage_offset()
    for r in range(0, R, rows):
        band = y[r : r + rows].unsqueeze(1)
        lines = x.as_strided((len(band) + h - 1, w, C), (W, 1, 1), start + r * W).contiguous()
        windows = lines.as_strided((len(band), h * w, C), (w * C, C, 1))
        torch.bmm(k.view(1, 1, h * w).expand(len(band), 1, h * w), windows, out=band)
        del lines, windows  # before the next are made
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
    y = empty((R, C), x)
    if rows >= R and R % block == 0:
        _row_band(x, columns, 0, None, y.view(-1, block, C))
        return y
    products = x.new_empty(rows // block, block * w, W)
    bands = [(r, min(rows, R - r) // block) for r in range(0, R - block + 1, rows)]
    bands += [(R - block, 1)] if R % block else []
    for r, m in bands:
        _row_band(x, columns, r, products[:m], y[r : r + m * block].view(m, block, C))
    return y


def _row_band(x, columns, r, products, out):
    W, (m, block, C) = x.shape[1], out.shape
    images = x.as_strided((m, columns.shape[1], W), (block * W, W, 1), x.storage_offset() + r * W)
    products = torch.bmm(columns.expand(m, *columns.shape), images, out=products)
    w = len(columns) // block
    _added(products.as_strided((w, m, block, C), (block * W + 1, w * block * W, W, 1)), out)


def _added(parts, out):
    """Put their sum over the first axis into out; where they are two or three, one by one takes less."""
    if not 1 < len(parts) < 4:
        torch.sum(parts, 0, out=out)
    else:
        first, second, *third = parts.unbind()
        torch.add(first, second, out=out)
        if third:
            out.add_(*third)


def _two_rows(k):
    """(2 w, h + 1): each column of the kernel with a zero below it, then with a zero above."""
    h, w = k.shape
    columns = k.new_zeros(w, 2, h + 1)
    columns[:, 0, :h] = columns[:, 1, 1:] = k.t()
    return columns.view(2 * w, h + 1)


def row_bags(x, k, plan):
    """Add image rows, weighted by the kernel's columns, then these sums, each shifted by its columns.

    Embedding bags, which add weighted rows of a table, are one loop over registers in float32. The table is a strip of
    the image, narrow enough for what a bag adds to stay in the nearest cache. Either it holds every row once, and each
    column of the kernel makes a bag; or w times, each shifted by a column, and one bag is a row of outputs.
    """
    rows, columns, copies = plan
    (H, W), (h, w) = x.shape, k.shape
    R, C, g = H - h + 1, W - w + 1, w // copies
    weights = k.view(h, g, copies).transpose(0, 1).reshape(-1).expand(rows, w * h).reshape(-1)
    bags = _bags if rows * w * h <= _KEPT else _bags.__wrapped__
    met, starts = map(torch.from_numpy, bags(rows, h, g, copies))
    y = empty((R, C), x) if rows < R or columns < C or g > 1 else None
    for r in range(0, R, rows):
        for c in range(0, C, columns):
            m, n = min(rows, R - r), min(columns, C - c) + w - copies
            lines = x.as_strided((m + h - 1, copies, n), (W, 1, 1), x.storage_offset() + r * W + c)
            table, taps = lines.reshape(-1, n).contiguous(), m * w * h
            sums = embedding_bag(met[:taps], table, starts[: m * g], mode="sum", per_sample_weights=weights[:taps])
            del lines, table
            if y is None:
                return sums
            out = y[r : r + rows, c : c + columns]
            if g == 1:
                out.copy_(sums)
            else:
                _added(sums.as_strided((g, m, n - w + copies), (n + copies, g * n, 1)), out)
            del sums  # before the next are made
    return y


@lru_cache(maxsize=4)
def _bags(rows, h, g, copies):
    """The numbers of the table's rows in all bags, one after another, and where in them each bag starts."""
    bag = np.arange(h * copies)
    met = np.add.outer(copies * np.arange(rows), np.tile(bag, g)).ravel()
    return met, np.arange(0, rows * g * h * copies, h * copies)


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
