"""Valid 2-D cross-correlation in five ways, and the cost model that chooses among them."""

import math
from functools import lru_cache, partial

import torch
from torch.autograd import forward_ad
from torch.nn.functional import pad

from helpers.interop import Array, as_tensors

METHODS = ("auto", "direct", "fft")
# The dtype that sums are held in. Unsigned words are added as signed ones: modulo 2^n the bits are the same.
_WORKING = {torch.float16: torch.float32, torch.bfloat16: torch.float32}
_WORKING |= {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}
_WORKING |= {t: t for t in (torch.float32, torch.float64, torch.complex64, torch.complex128)}
_WORKING |= {t: t for t in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)}


def cross_corr_2d(X: Array, K: Array, *, method: str = "auto") -> Array:
    """Valid 2-D cross-correlation of an image with a kernel: Y[i, j] = sum over u, v of X[i+u, j+v] K[u, v].

    X is the image (H, W), K the kernel (h, w), both NumPy arrays or both torch tensors; Y is (H-h+1,
    W-w+1), of the same kind, on the same device, in torch.result_type(X, K). Neither input is changed.
    float16 and bfloat16 are summed in float32; integers wrap as NumPy's do and are always summed
    directly; a complex K is not conjugated. Tensors that require gradients get them for X and K, to any
    order; torch.func works too.

    method "direct" adds products, "fft" multiplies the spectra of tiles, "auto" takes the cheaper. The largest
    error of an output, relative to the sum of |X||K| over its own window, stays within 4 times that of plain
    summation: float32 is transformed in float64, and a tile whose range is too great for its transform is
    summed directly. The exception is float64 where plain summation is exact almost by chance, as on a constant
    image: there a transform stays below 8 units of rounding (2^-53). NaN and infinity reach exactly the
    outputs whose window holds them. Working memory: at most 8 times the size of inputs and output, not
    counting what torch's own operations allocate inside.

    Raises ValueError: not 2-D, empty, kernel larger than image, two devices, unknown method. TypeError:
    not an array, mixed kinds, bool or another dtype that is not listed here, two dtypes that torch does
    not promote.
    Source: Goodfellow, Bengio and Courville (2016), Deep Learning, section 9.1.
    """
    (x, k), back = as_tensors(X=X, K=K)
    x, k = _checked(x, k)
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    return back(_correlate(x, k, method))


def _checked(x: torch.Tensor, k: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    for name, tensor in (("X", x), ("K", k)):
        if tensor.dtype not in _WORKING:
            raise TypeError(f"{name} has dtype {tensor.dtype}, which cross_corr_2d does not take; convert it first")
        if tensor.ndim != 2 or 0 in tensor.shape:
            raise ValueError(f"{name} must be 2-D and not empty, got shape {tuple(tensor.shape)}")
    (H, W), (h, w) = x.shape, k.shape
    if h > H or w > W:
        raise ValueError(f"K of shape {(h, w)} is larger than X of shape {(H, W)}")
    if x.device != k.device:
        raise ValueError(f"X and K must be on one device, got {x.device} and {k.device}")
    if x.dtype == k.dtype:
        return x, k
    try:
        dtype = torch.result_type(x, k)
    except RuntimeError:
        raise TypeError(f"torch has no common dtype for X of {x.dtype} and K of {k.dtype}") from None
    return x.to(dtype), k.to(dtype)


# ---- derivatives -----------------------------------------------------------------------------------------


def _correlate(x: torch.Tensor, k: torch.Tensor, method: str) -> torch.Tensor:
    recorded = torch.is_grad_enabled() and (x.requires_grad or k.requires_grad)
    if recorded or torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        return _CrossCorrelation.apply(x, k, method)
    return _values(x, k, method)


class _CrossCorrelation(torch.autograd.Function):
    """Both gradients are cross-correlations themselves, so one rule gives derivatives of every order."""

    @staticmethod
    def forward(x, k, method):
        return _values(x, k, method)

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, k, ctx.method = inputs
        ctx.save_for_backward(x, k)
        ctx.save_for_forward(x, k)

    @staticmethod
    def backward(ctx, upstream):
        x, k = ctx.saved_tensors
        dx = dk = None
        if ctx.needs_input_grad[0]:  # the padded upstream gradient with the kernel turned round, or the reverse
            large, small = sorted((upstream, k.conj()), key=torch.Tensor.numel, reverse=True)
            h, w = small.shape
            dx = _correlate(pad(large, (w - 1, w - 1, h - 1, h - 1)), small.flip(0, 1), ctx.method)
        if ctx.needs_input_grad[1]:  # the image with the upstream gradient as its kernel
            dk = _correlate(x.conj(), upstream, ctx.method)
        return dx, dk, None

    @staticmethod
    def jvp(ctx, x_tangent, k_tangent, _):
        x, k = ctx.saved_tensors
        parts = [_correlate(x_tangent, k, ctx.method)] if x_tangent is not None else []
        parts += [_correlate(x, k_tangent, ctx.method)] if k_tangent is not None else []
        return sum(parts[1:], parts[0])

    @staticmethod
    def vmap(info, in_dims, x, k, method):
        xs, ks = (
            [tensor] * info.batch_size if dim is None else tensor.unbind(dim)
            for tensor, dim in zip((x, k), in_dims[:2], strict=True)
        )
        return torch.stack([_correlate(x, k, method) for x, k in zip(xs, ks, strict=True)]), 0


# ---- the cost model --------------------------------------------------------------------------------------
# Nanoseconds on one core with 8 float32 lanes; only the ratios matter. A float64 step costs twice as much,
# in the banded product four times.

_CALL = 4_000.0  # one torch operation on a view, called from Python
_SHIFT = 0.21  # multiply and add one shifted pixel
_GATHER = 0.23  # copy one pixel into a matrix of windows and multiply it
_BAND = 0.04  # one multiply-add inside a banded matrix product
_PACK = 2.0  # lay one pixel out for the banded product, and crop it
_TRANSFORM = 16.0  # one point of a float64 tile, forth and back (single precision takes float64 too)
_BLOCK = 16  # outputs in a row of the banded product: the width of a register tile
_CACHED = 1 << 19  # bytes that stay in the second-level cache
_REACH = 12  # kernels that a tile may span in float64, so that rounding in the tile stays small in a window
_TILES = [2**a * b for a in range(3, 17) for b in (1, 3, 5, 9, 15)]


@lru_cache(maxsize=512)
def _plan(image: torch.Size, kernel: torch.Size, dtype: torch.dtype, method: str):
    """The cheapest way to the values: a function of (x, k, parameter), and its parameter."""
    (H, W), (h, w) = image, kernel
    R, C = H - h + 1, W - w + 1
    scale, double = dtype.itemsize / 4, dtype in (torch.float64, torch.complex128)
    room, cached = 7 * (H * W + h * w + R * C), _CACHED // dtype.itemsize  # elements
    shift, window = (
        scale * _SHIFT * R * C + _CALL * (1 + R * C // cached),
        2 * scale * _SHIFT * h * w + 4 * _CALL,
    )
    costs = {(_shifted_sums, max(1, cached // C)): h * w * shift, (_window_sums, None): R * C * window}

    height, line = (h, R * C * w) if w > C else (R, h * w * C)  # the matrix of windows comes in bands of rows
    rows = min(room, 4 * cached) // line
    if rows:
        costs[_window_matrix, rows] = scale * _GATHER * height * line + 2 * _CALL * math.ceil(height / rows)

    L, blocks = w + _BLOCK - 1, math.ceil(C / _BLOCK)
    inexact = dtype.is_floating_point or dtype.is_complex
    rows = min(R, max(h, cached // (blocks * L)))
    if inexact and L * (_BLOCK * h + blocks * (rows + h)) < room:
        step = _PACK + scale * _BAND * h * L
        costs[_banded_product, rows] = scale * step * R * blocks * _BLOCK + 30 * _CALL

    if inexact and method != "direct":
        longest = [max(32, _REACH * m) if double else math.inf for m in kernel]
        tile = tuple(min(_TILES, key=partial(_tiled, *axis)) for axis in zip(image, kernel, longest, strict=True))
        points = _tiled(H, h, longest[0], tile[0]) * _tiled(W, w, longest[1], tile[1]) + math.prod(tile) / 2
        if method == "fft":
            return _tile_spectra, tile
        calls = 60 + 40 * math.ceil(R / (tile[0] - h + 1))
        costs[_tile_spectra, tile] = (1.6 if double else 1) * _TRANSFORM * points + calls * _CALL
    return min(costs, key=costs.get)


def _tiled(n: int, m: int, longest: float, tile: int) -> float:
    """Points that tiles of one length need to cover n, overlapping by m - 1; long ones leave the cache."""
    if not m <= tile <= longest:
        return math.inf
    return math.ceil((n - m + 1) / (tile - m + 1)) * tile * (1 + tile / 2048)


# ---- five ways to the values ----------------------------------------------------------------------------


def _values(x: torch.Tensor, k: torch.Tensor, method: str) -> torch.Tensor:
    if torch.is_autocast_enabled(x.device.type):  # it would lower the precision of matrix products
        with torch.autocast(x.device.type, enabled=False):
            return _values(x, k, method)
    dtype, working = x.dtype, _WORKING[x.dtype]
    if working is dtype:
        return _apply_plan(_plain(x), _plain(k), method)
    if dtype.is_floating_point:
        return _apply_plan(_plain(x.to(working)), _plain(k.to(working)), method).to(dtype)
    return _apply_plan(_plain(x.view(working)), _plain(k.view(working)), method).view(dtype)


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor with its numbers one after another in memory, neither conjugated nor negated by a flag."""
    if tensor.is_conj() or tensor.is_neg():
        tensor = tensor.resolve_conj().resolve_neg()
    return tensor if tensor.is_contiguous() else tensor.contiguous()


def _apply_plan(x, k, method):
    if k.numel() == 1:
        return x * k
    compute, parameter = _plan(x.shape, k.shape, x.dtype, method)
    return compute(x, k, parameter)


def _shifted_sums(x, k, rows):
    """Add the image, shifted by every tap and times its weight, in bands of rows that stay in cache."""
    (H, W), (h, w) = x.shape, k.shape
    R, C = H - h + 1, W - w + 1
    y, start = x.new_empty(R, C), x.storage_offset()
    (first, *rest) = [(u * W + v, weight) for u, row in enumerate(k.tolist()) for v, weight in enumerate(row)]
    for r in range(0, R, rows):
        band = y[r : r + rows]
        torch.mul(x.as_strided(band.shape, (W, 1), start + r * W + first[0]), first[1], out=band)
        for offset, weight in rest:
            band.add_(x.as_strided(band.shape, (W, 1), start + r * W + offset), alpha=weight)
    return y


def _window_sums(x, k, _):
    """Sum every window times the kernel, as the definition says: for the few outputs of a large kernel."""
    (H, W), (h, w) = x.shape, k.shape
    windows = x.as_strided((H - h + 1, W - w + 1, h, w), (W, 1, W, 1), x.storage_offset())
    return torch.stack([torch.stack([torch.sum(window * k, dtype=x.dtype) for window in row]) for row in windows])


def _window_matrix(x, k, rows):
    """Copy the windows side by side into a matrix and multiply it with the kernel, in bands of rows."""
    (H, W), (h, w) = x.shape, k.shape
    R, C = H - h + 1, W - w + 1
    start = x.storage_offset()
    if w > C:  # a row of the matrix is an output's window: bands of kernel rows
        y = x.new_zeros(R * C)
        for u in range(0, h, rows):
            taps = k[u : u + rows]
            windows = x.as_strided((R, C, *taps.shape), (W, 1, W, 1), start + u * W)
            y.addmv_(windows.reshape(R * C, taps.numel()), taps.view(-1))
        return y.view(R, C)
    weights = k.view(1, h * w)  # a row of the matrix is a shifted image: bands of output rows
    if rows >= R:
        return (weights @ x.as_strided((h, w, R, C), (W, 1, W, 1), start).reshape(h * w, R * C)).view(R, C)
    y = x.new_empty(1, R * C)
    for r in range(0, R, rows):
        m = min(rows, R - r)
        shifted = x.as_strided((h, w, m, C), (W, 1, W, 1), start + r * W)
        torch.mm(weights, shifted.reshape(h * w, m * C), out=y[:, r * C : (r + m) * C])
    return y.view(R, C)


def _banded_product(x, k, rows):
    """Multiply blocks of every image row with banded matrices: a kernel row, shifted to each output."""
    (H, W), (h, w) = x.shape, k.shape
    R, C = H - h + 1, W - w + 1
    L, blocks = w + _BLOCK - 1, math.ceil(C / _BLOCK)
    bands = k.new_zeros(h, _BLOCK, L)
    bands.as_strided((h, _BLOCK, w), (_BLOCK * L, L + 1, 1)).copy_(k[:, None])
    whole = max(0, (W - L) // _BLOCK + 1)
    y = x.new_empty(R, blocks * _BLOCK)
    rows = min(rows, R)
    packed = x.new_zeros(rows + h - 1, blocks, L)
    for r in range(0, R, rows):
        m = min(rows, R - r)
        packed[: m + h - 1, :whole] = x.as_strided((m + h - 1, whole, L), (W, _BLOCK, 1), x.storage_offset() + r * W)
        for b in range(whole, blocks):  # the last block, cut off by the image's edge
            packed[: m + h - 1, b, : W - b * _BLOCK] = x[r : r + m + h - 1, b * _BLOCK :]
        shifted = packed.as_strided((h, m * blocks, L), (blocks * L, L, 1))
        out = y[r : r + m].view(-1, _BLOCK)
        torch.addbmm(out, shifted, bands.mT, beta=0, out=out)
    y = y[:, :C].contiguous()
    # The zeros beside the band turn a NaN or infinity of another window into NaN: then add each window alone.
    return y if y.sum().isfinite() else _shifted_sums(x, k, max(1, _CACHED // (C * x.itemsize)))


def _tile_spectra(x, k, tile):
    """Multiply the spectra of overlapping tiles with the kernel's; sum directly where rounding would show."""
    (H, W), (h, w) = x.shape, k.shape
    R, C = H - h + 1, W - w + 1
    double = x.dtype in (torch.float64, torch.complex128)
    wide = torch.complex128 if x.is_complex() else torch.float64
    height, width = min(tile[0] - h + 1, R), min(tile[1] - w + 1, C)  # outputs of a tile
    columns = [min(c, C - width) for c in range(0, C, width)]
    spectrum, size = _spectrum(k.to(wide), tile), torch.linalg.vector_norm(k.to(wide))
    spectrum_size = _spectrum(k.abs().float(), tile)
    y = x.new_empty(R, C)
    for r in (min(r, R - height) for r in range(0, R, height)):
        tiles = torch.stack([x[r : r + height + h - 1, c : c + width + w - 1] for c in columns]).to(wide)
        sums = _times(tiles, spectrum, tile, height, width)
        noise = torch.linalg.vector_norm(tiles, dim=(1, 2)) * size  # times 2^-53 / 10: the transform's error
        exact = sums.abs().amin((1, 2)) > noise * (math.inf if double else 2**-33)
        if not exact.all():  # then compare with the windows' sums of |X||K|, which single precision resolves
            windows = _times(tiles.abs().float(), spectrum_size, tile, height, width).amin((1, 2))
            wide_enough = windows > sums.abs().amax((1, 2)) / 4 if double else True
            exact |= (windows > noise * (1 / 48 if double else 2**-16)) & wide_enough
        if not exact.any():
            return _apply_plan(x, k, "direct")
        for c, part, good in zip(columns, sums, exact.tolist(), strict=True):
            window = x[r : r + height + h - 1, c : c + width + w - 1]
            y[r : r + height, c : c + width] = part if good else _apply_plan(window.contiguous(), k, "direct")
    return y


def _spectrum(k, tile):
    return torch.fft.fft2(k.conj(), s=tile).conj() if k.is_complex() else torch.fft.rfft2(k, s=tile).conj()


def _times(tiles, spectrum, tile, height, width):
    if tiles.is_complex():
        return torch.fft.ifft2(torch.fft.fft2(tiles, s=tile) * spectrum)[:, :height, :width]
    lines = torch.fft.ifft(torch.fft.rfft2(tiles, s=tile).mul_(spectrum), dim=1)[:, :height]
    return torch.fft.irfft(lines, n=tile[1])[..., :width]
