"""The values of a cross-correlation, in several ways; helpers.cost_model chooses among them."""

import math
from functools import lru_cache

import torch

from helpers import direct_sums, small_sums
from helpers.cost_model import IN_NUMPY, TOGETHER, cheapest_way, tile_count
from helpers.interop import empty

# The dtype that sums are held in. Unsigned words are added as signed ones: modulo 2^n the bits are the same.
WORKING = {torch.float16: torch.float32, torch.bfloat16: torch.float32}
WORKING |= {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}
WORKING |= {t: t for t in (torch.float32, torch.float64, torch.complex64, torch.complex128)}
WORKING |= {t: t for t in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)}

_FEW = 8  # sums of a tile, which cost less to sum directly than to look at all windows


def check_dtype(name: str, dtype: torch.dtype) -> None:
    if dtype not in WORKING:
        raise TypeError(f"{name} has dtype {dtype}, which cross_corr_2d does not take; convert it first")


def values(x: torch.Tensor, k: torch.Tensor, method: str) -> torch.Tensor:
    """The cross-correlation of tensors of one dtype, outside any graph."""
    if torch._C._is_any_autocast_enabled() and torch.is_autocast_enabled(x.device.type):
        with torch.autocast(x.device.type, enabled=False):  # it would lower the precision of matrix products
            return values(x, k, method)
    way, parameter = planned(x, k, method)
    return way(x.contiguous(), k.contiguous(), parameter)


def planned(x: torch.Tensor, k: torch.Tensor, method: str, *, gradients: bool = False) -> tuple | None:
    """The way to the values and its parameter, or to both gradients, once the arguments are found to be fit."""
    elsewhere = None if x.is_cpu and k.is_cpu else (x.device, k.device)
    plan = _gradient_plans if gradients else _plan
    return plan((x.shape, k.shape), x.dtype, method, torch.get_num_threads(), elsewhere)


def transformed_in_vain(padded: torch.Tensor, k: torch.Tensor, method: str) -> bool:
    """Whether most tiles of a float64 transform would lie at the edge, where it is inexact beside windows of zeros."""
    if method != "auto" or padded.dtype != torch.float64:
        return False
    way, tile = planned(padded, k, method)
    if way is not _tile_spectra:
        return False
    rows, columns = map(tile_count, padded.shape, k.shape, tile)
    return 2 * max(0, rows - 2) * max(0, columns - 2) < rows * columns


def small_gradients(x: torch.Tensor, k: torch.Tensor, upstream: torch.Tensor, method: str) -> tuple | None:
    """Both gradients outside any graph, where NumPy is the way to both; else None."""
    plans = planned(x, k, method, gradients=True)
    return small_sums.gradients_in_numpy(x.contiguous(), k, upstream, plans) if plans else None


@lru_cache
def _gradient_plans(shapes, dtype, method, threads, elsewhere):
    image, kernel = shapes
    outputs = torch.Size(n - m + 1 for n, m in zip(image, kernel, strict=True))
    small, large = sorted((kernel, outputs), key=math.prod)
    padded = torch.Size(n + 2 * m - 2 for n, m in zip(large, small, strict=True))
    pairs = (padded, small), (image, outputs)
    ways, plans = zip(*(_plan(pair, dtype, method, threads, elsewhere) for pair in pairs), strict=True)
    return plans if set(ways) == {small_sums.in_numpy} else None


@lru_cache
def _plan(shapes, dtype, method, threads, elsewhere):
    """Check what a call asks for, on two devices unless in main memory; return the cheapest way and its parameter."""
    image, kernel = shapes
    check_dtype("X", dtype)
    for name, shape in (("X", image), ("K", kernel)):
        if len(shape) != 2 or not math.prod(shape):
            raise ValueError(f"{name} must be 2-D and not empty, got shape {tuple(shape)}")
    if kernel[0] > image[0] or kernel[1] > image[1]:
        raise ValueError(f"K of shape {tuple(kernel)} is larger than X of shape {tuple(image)}")
    if elsewhere and elsewhere[0] != elsewhere[1]:
        raise ValueError(f"X and K must be on one device, got {elsewhere[0]} and {elsewhere[1]}")
    if WORKING[dtype] is not dtype:
        return _in_working_dtype, method
    if math.prod(kernel) == 1:
        return _scaled, None
    if image == kernel:
        return _sum_of_products, None
    way, parameter = cheapest_way(image, kernel, dtype, method, threads, in_main_memory=not elsewhere)
    plan = _prepared(way, parameter, image, kernel, dtype.itemsize)
    return (_resolved, plan) if dtype.is_complex else plan


def _prepared(way, parameter, image, kernel, itemsize):
    """The function of a way, and its parameter, to which belongs whatever can be known before a call."""
    if way == "turned":
        return _turned, _prepared(*parameter, image[::-1], kernel[::-1], itemsize)
    if way == "tile_spectra":
        return _tile_spectra, parameter
    if way in IN_NUMPY:
        views = getattr(small_sums, way.replace("products", "views"))
        return small_sums.in_numpy, (getattr(small_sums, way), views(image, kernel, itemsize, parameter))
    return getattr(direct_sums, way), parameter


def _resolved(x, k, plan):
    """Conjugate in memory what torch has only marked as conjugate."""
    way, parameter = plan
    return way(x.resolve_conj(), k.resolve_conj(), parameter)


def _in_working_dtype(x, k, method):
    dtype, working = x.dtype, WORKING[x.dtype]
    if dtype.is_floating_point:
        return values(x.to(working), k.to(working), method).to(dtype)
    return values(x.view(working), k.view(working), method).view(dtype)


def _scaled(x, k, _):
    return torch.mul(x, k, out=empty(x.shape, x) if x.nbytes >= 2**24 else None)


def _sum_of_products(x, k, _):
    return torch.mul(x, k).sum((0, 1), keepdim=True, dtype=x.dtype)  # in pairs: a dot product adds in a row


def _turned(x, k, plan):
    """A direct sum of the transposed image with the transposed kernel."""
    way, parameter = plan
    turned = way(x.t().contiguous(), k.t().contiguous(), parameter)
    return turned.t().clone(memory_format=torch.contiguous_format)


def _tile_spectra(x, k, tile):
    """Multiply the spectra of overlapping tiles with the kernel's; sum directly where rounding would show."""
    (H, W), (h, w) = x.shape, k.shape
    R, C = H - h + 1, W - w + 1
    height, width = min(tile[0] - h + 1, R), min(tile[1] - w + 1, C)  # outputs of a tile
    rows, columns = ([min(i, n - m) for i in range(0, n, m)] for n, m in ((R, height), (C, width)))
    y, corners = empty((R, C), x), [(r, c) for r in rows for c in columns]
    untrusted = _transform(x, k, (tile, (height, width)), corners, y)
    if len(corners) == len(untrusted) == 1:
        del y  # which another result does not fit beside
        return values(x, k, "direct")
    for r, c in untrusted:
        part = x[r : r + height + h - 1, c : c + width + w - 1]
        y[r : r + height, c : c + width] = values(part, k, "direct")
    return y


def _transform(x, k, sizes, corners, y):
    """Write the outputs of the tiles that can be trusted; return the corners of the others."""
    tile, (height, width) = sizes
    h, w = k.shape
    double = x.dtype in (torch.float64, torch.complex128)
    wide, single = (torch.complex128, torch.complex64) if x.is_complex() else (torch.float64, torch.float32)
    taps, spectrum_size, untrusted, together = k.to(wide), None, [], max(1, TOGETHER // math.prod(tile))
    # A convolution with the kernel turned round is a cross-correlation.
    spectrum, size = _forth(taps.flip(0, 1), tile), torch.linalg.vector_norm(taps)
    valid = slice(h - 1, h - 1 + height), slice(w - 1, w - 1 + width)
    for group in (corners[i : i + together] for i in range(0, len(corners), together)):
        parts = [x[r : r + height + h - 1, c : c + width + w - 1] for r, c in group]
        tiles = (torch.stack(parts) if len(parts) > 1 else parts[0][None]).to(wide)
        sums = _convolved(tiles, spectrum, tile, valid)
        # The transform's error is this times 2^-53 / 10, or times 2^-52 where next to all is zero.
        noise = torch.linalg.vector_norm(tiles, dim=(1, 2)) * size
        plain = torch.zeros_like(noise, dtype=torch.bool) if double else _mended(sums, tiles, taps, noise * 2**-26)
        exact = plain
        if not plain.all():  # then compare with the windows' sums of |X||K|, which single precision resolves
            if spectrum_size is None:
                spectrum_size = _forth(k.abs().float().flip(0, 1), tile)
            windows = _convolved(tiles.to(single).abs(), spectrum_size, tile, valid).amin((1, 2))
            exact = windows.isfinite() & (windows > noise * (1 / 48 if double else 2**-16)) | plain
            if double:
                exact &= windows > sums.abs().amax((1, 2)) / 4
        found = zip(group, sums, exact.tolist(), plain.tolist(), noise.tolist(), strict=True)
        for (r, c), result, good, as_it_is, bound in found:
            if good:
                y[r : r + height, c : c + width] = result if double or as_it_is else _rounded(result, bound)
            else:
                untrusted.append((r, c))
    return untrusted


def _mended(sums, tiles, k, bounds):
    """Sum directly what lies within the bounds, if it is little; whether all of a tile's sums lie beyond them then."""
    (h, w), beyond = k.shape, sums.abs().amin((1, 2)) > bounds
    if not beyond.all():
        small = ~(sums.abs() > bounds[:, None, None])  # NaN, too
        beyond = small.sum((1, 2)) <= _FEW
        for t, i, j in (small & beyond[:, None, None]).nonzero().tolist():
            sums[t, i, j] = (tiles[t, i : i + h, j : j + w] * k).sum()
    return beyond


def _rounded(sums, noise):
    """Round to a power of two above the transform's largest error, so that integers come out exactly."""
    grid = 6 * 2.0 ** math.ceil(math.log2(noise))  # no sum exceeds `noise`: this has 2^50 steps of the grid
    grid = complex(grid, grid) if sums.is_complex() else grid
    return sums.add_(grid).sub_(grid)


def _forth(a, tile):
    if a.is_complex():
        return torch.fft.fft2(a, s=tile)
    return torch.fft.fft(torch.fft.rfft(a, n=tile[1]), n=tile[0], dim=-2)  # cheaper than rfft2 where rows are few


def _convolved(tiles, spectrum, tile, valid):
    rows, columns = valid
    if tiles.is_complex():
        return torch.fft.ifft2(_forth(tiles, tile).mul_(spectrum))[:, rows, columns]
    lines = torch.fft.ifft(_forth(tiles, tile).mul_(spectrum), dim=1)[:, rows]
    return torch.fft.irfft(lines, n=tile[1])[..., columns]
