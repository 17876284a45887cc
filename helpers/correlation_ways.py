"""The values of a cross-correlation, in several ways; helpers.cost_model chooses among them."""

import math
from functools import lru_cache

import numpy as np
import torch
from torch.nn.functional import embedding_bag

from helpers.cost_model import cheapest_way
from helpers.interop import empty

# The dtype that sums are held in. Unsigned words are added as signed ones: modulo 2^n the bits are the same.
WORKING = {torch.float16: torch.float32, torch.bfloat16: torch.float32}
WORKING |= {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}
WORKING |= {t: t for t in (torch.float32, torch.float64, torch.complex64, torch.complex128)}
WORKING |= {t: t for t in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)}

_TOGETHER = 200_000  # points of the tiles that are transformed at a time, so that they stay in cache


def check_dtype(name: str, dtype: torch.dtype) -> None:
    if dtype not in WORKING:
        raise TypeError(f"{name} has dtype {dtype}, which cross_corr_2d does not take; convert it first")


def values(x: torch.Tensor, k: torch.Tensor, method: str) -> torch.Tensor:
    """The cross-correlation of tensors of one dtype, outside any graph."""
    if torch._C._is_any_autocast_enabled() and torch.is_autocast_enabled(x.device.type):
        with torch.autocast(x.device.type, enabled=False):  # it would lower the precision of matrix products
            return values(x, k, method)
    way, parameter = planned(x, k, method)
    if not (x.is_contiguous() and k.is_contiguous()) or x.is_conj() or k.is_conj():
        x, k = (t.resolve_conj().resolve_neg().contiguous() for t in (x, k))
    return way(x, k, parameter)


def planned(x: torch.Tensor, k: torch.Tensor, method: str) -> tuple:
    """The way to the values and its parameter, once the arguments are found to be fit."""
    return _plan((x.shape, k.shape), x.dtype, method, (x.device, k.device), torch.get_num_threads())


@lru_cache
def _plan(shapes, dtype, method, devices, threads):
    """Check what a call asks for; return the cheapest way to it, and its parameter."""
    (image, kernel), (device, other) = shapes, devices
    check_dtype("X", dtype)
    for name, shape in (("X", image), ("K", kernel)):
        if len(shape) != 2 or not math.prod(shape):
            raise ValueError(f"{name} must be 2-D and not empty, got shape {tuple(shape)}")
    if kernel[0] > image[0] or kernel[1] > image[1]:
        raise ValueError(f"K of shape {tuple(kernel)} is larger than X of shape {tuple(image)}")
    if device != other:
        raise ValueError(f"X and K must be on one device, got {device} and {other}")
    if WORKING[dtype] is not dtype:
        return _in_working_dtype, method
    if math.prod(kernel) == 1:
        return _scaled, None
    if image == kernel:
        return _dot_product, None
    way, parameter = cheapest_way(image, kernel, dtype, method, (device, threads))
    return _WAYS[way], parameter


def _in_working_dtype(x, k, method):
    dtype, working = x.dtype, WORKING[x.dtype]
    if dtype.is_floating_point:
        return values(x.to(working), k.to(working), method).to(dtype)
    return values(x.view(working), k.view(working), method).view(dtype)


def _scaled(x, k, _):
    return torch.mul(x, k, out=empty(x.shape, x) if x.nbytes >= 2**24 else None)


def _dot_product(x, k, _):
    return torch.dot(x.flatten(), k.flatten()).view(1, 1)


_quietly = np.errstate(all="ignore")  # an overflow or NaN in the image is the caller's own


@_quietly
def _window_products(x, k, few):
    """Copy what every tap, or every output, meets and multiply once: in NumPy, for small images, where calls count."""
    image, taps = x.numpy(), k.numpy()
    (H, W), (h, w), size = image.shape, taps.shape, image.itemsize
    R, C, step = H - h + 1, W - w + 1, (W * size, size)
    if few:
        windows = np.ndarray((R, C, h, w), image.dtype, image, 0, step + step).reshape(R * C, h * w)
        return torch.from_numpy(windows.dot(taps.reshape(h * w, 1)).reshape(R, C))
    length = (R - 1) * W + C  # whole rows; the last w - 1 sums of each are no outputs
    shifted = np.ndarray((h, w, length), image.dtype, image, 0, (*step, size)).reshape(h * w, length)
    sums = taps.reshape(1, h * w).dot(shifted)
    return torch.from_numpy(np.ndarray((R, C), sums.dtype, sums, 0, step).copy())


@_quietly
def _small_products(x, k, _):
    """Multiply the image, shifted by rows, with the kernel's columns, then add the w products; in NumPy as above."""
    image, taps = x.numpy(), k.numpy()
    (H, W), (h, w), size = image.shape, taps.shape, image.itemsize
    R, C = H - h + 1, W - w + 1
    products = taps.T.dot(np.ndarray((h, R * W), image.dtype, image, 0, (W * size, size)).copy())
    shifted = np.ndarray((w, R, C), products.dtype, products, 0, ((R * W + 1) * size, W * size, size))
    return torch.from_numpy(np.add.reduce(shifted, 0, products.dtype))


def _column_sums(x, k, rows):
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


def _row_products(x, k, plan):
    """Multiply blocks of image rows with all the kernel's columns, then add the w products, each shifted by its column.

    A block holds what one row of outputs needs, or two: then the kernel is filled up with zeros, by which NaN and
    infinity reach outputs that are not theirs, and all is done again with one.
    """
    block, rows = plan
    (H, W), (h, w) = x.shape, k.shape
    R, C = H - h + 1, W - w + 1
    columns = k.t() if block == 1 else _two_rows(k)
    if rows >= R and R % block == 0:
        y = _row_band(x, columns, 0, (R // block, block, C), (None, None)).view(R, C)
    else:
        y, products = empty((R, C), x), x.new_empty(rows // block, block * w, W)
        bands = [(r, min(rows, R - r) // block) for r in range(0, R - block + 1, rows)]
        bands += [(R - block, 1)] if R % block else []
        for r, m in bands:
            _row_band(x, columns, r, (m, block, C), (products[:m], y[r : r + m * block].view(m, block, C)))
    return y if block == 1 or y.sum().isfinite() else _row_products(x, k, (1, rows))


def _row_band(x, columns, r, shape, buffers):
    W, (m, block, C), (products, out) = x.shape[1], shape, buffers
    images = x.as_strided((m, columns.shape[1], W), (block * W, W, 1), x.storage_offset() + r * W)
    products = torch.bmm(columns.expand(m, *columns.shape), images, out=products)
    w = len(columns) // block
    return torch.sum(products.as_strided((m, w, block, C), (w * block * W, block * W + 1, W, 1)), 1, out=out)


def _two_rows(k):
    """(2 w, h + 1): each column of the kernel with a zero below it, then with a zero above."""
    h, w = k.shape
    columns = k.new_zeros(w, 2, h + 1)
    columns[:, 0, :h] = columns[:, 1, 1:] = k.t()
    return columns.view(2 * w, h + 1)


def _row_bags(x, k, plan):
    """Add image rows, weighted by each of the kernel's columns, then the w sums, each shifted by its column.

    Embedding bags, which add weighted rows of a table, are one loop over registers in float32. The table is a strip of
    the image, narrow enough for h of its rows to stay in the nearest cache.
    """
    rows, columns = plan
    (H, W), (h, w) = x.shape, k.shape
    R, C = H - h + 1, W - w + 1
    y, whole = empty((R, C), x), {"dtype": torch.int32, "device": x.device}
    met = torch.arange(rows + h - 1, **whole).as_strided((rows, w, h), (1, 0, 1)).reshape(-1)
    starts, weights = torch.arange(0, rows * w * h, h, **whole), k.t().expand(rows, w, h).reshape(-1)
    for r in range(0, R, rows):
        for c in range(0, C, columns):
            out = y[r : r + rows, c : c + columns]
            m, n = out.shape[0], out.shape[1] + w - 1
            table, taps = x[r : r + m + h - 1, c : c + n].contiguous(), m * w * h
            sums = embedding_bag(met[:taps], table, starts[: m * w], mode="sum", per_sample_weights=weights[:taps])
            torch.sum(sums.as_strided((m, w, n - w + 1), (w * n, n + 1, 1)), 1, out=out)
            del sums, table  # before the next are made
    return y


def _dot_products(x, k, rows):
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


def _shifted_sums(x, k, rows):
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


def _turned(x, k, plan):
    """Any of the above, on the transposed image with the transposed kernel."""
    way, parameter = plan
    return _WAYS[way](x.t().contiguous(), k.t().contiguous(), parameter).t().contiguous()


def _tile_spectra(x, k, tile):
    """Multiply the spectra of overlapping tiles with the kernel's; sum directly where rounding would show."""
    (H, W), (h, w) = x.shape, k.shape
    R, C = H - h + 1, W - w + 1
    double = x.dtype in (torch.float64, torch.complex128)
    wide, single = (torch.complex128, torch.complex64) if x.is_complex() else (torch.float64, torch.float32)
    height, width = min(tile[0] - h + 1, R), min(tile[1] - w + 1, C)  # outputs of a tile
    rows, columns = ([min(i, n - m) for i in range(0, n, m)] for n, m in ((R, height), (C, width)))
    corners, together = [(r, c) for r in rows for c in columns], max(1, _TOGETHER // math.prod(tile))
    spectrum, size = _spectrum(k.to(wide), tile), torch.linalg.vector_norm(k.to(wide))
    spectrum_size = _spectrum(k.abs().float(), tile)
    y = empty((R, C), x)
    for group in (corners[i : i + together] for i in range(0, len(corners), together)):
        parts = [x[r : r + height + h - 1, c : c + width + w - 1] for r, c in group]
        tiles = torch.stack(parts).to(wide)
        sums = _times(tiles, spectrum, tile, height, width)
        noise = torch.linalg.vector_norm(tiles, dim=(1, 2)) * size  # times 2^-53 / 10: the transform's error
        exact = torch.zeros_like(noise, dtype=torch.bool) if double else sums.abs().amin((1, 2)) > noise * 2**-33
        if not exact.all():  # then compare with the windows' sums of |X||K|, which single precision resolves
            windows = _times(tiles.to(single).abs(), spectrum_size, tile, height, width).amin((1, 2))
            wide_enough = windows > sums.abs().amax((1, 2)) / 4 if double else True
            exact |= (windows > noise * (1 / 48 if double else 2**-16)) & wide_enough & windows.isfinite()
        if not double:
            _round(sums, noise)
        for (r, c), part, result, good in zip(group, parts, sums, exact.tolist(), strict=True):
            y[r : r + height, c : c + width] = result if good else values(part, k, "direct")
    return y


def _round(sums, noise):
    """Round each tile's sums to a power of two just above the transform's error, so that integers come out exactly."""
    grid = 6 * noise.log2().ceil().exp2()[:, None, None]  # no sum exceeds `noise`: this has 2^50 steps of the grid
    grid = torch.complex(grid, grid) if sums.is_complex() else grid
    sums.add_(grid).sub_(grid)


def _spectrum(k, tile):
    return torch.fft.fft2(k.conj(), s=tile).conj() if k.is_complex() else torch.fft.rfft2(k, s=tile).conj()


def _times(tiles, spectrum, tile, height, width):
    if tiles.is_complex():
        return torch.fft.ifft2(torch.fft.fft2(tiles, s=tile) * spectrum)[:, :height, :width]
    lines = torch.fft.ifft(torch.fft.rfft2(tiles, s=tile).mul_(spectrum), dim=1)[:, :height]
    return torch.fft.irfft(lines, n=tile[1])[..., :width]


_WAYS = {way.__name__.lstrip("_"): way for way in (_window_products, _small_products, _column_sums, _row_products)}
_WAYS |= {way.__name__.lstrip("_"): way for way in (_row_bags, _dot_products, _shifted_sums, _turned, _tile_spectra)}
