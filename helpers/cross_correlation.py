"""Valid 2-D cross-correlation in several ways, and the cost model that chooses among them."""

import math
from functools import lru_cache, partial

import torch
from torch.autograd import forward_ad
from torch.nn.functional import pad

from helpers.interop import Array, as_tensors, empty

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
    _check(x, k)
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if x.dtype == k.dtype:
        return back(_correlate(x, k, method))
    try:
        dtype = torch.result_type(x, k)
    except RuntimeError:
        raise TypeError(f"torch has no common dtype for X of {x.dtype} and K of {k.dtype}") from None
    wide = torch.promote_types(dtype, torch.float32) if dtype.is_floating_point else dtype  # no half before the sum
    return back(_correlate(x.to(wide), k.to(wide), method).to(dtype))


def _check(x: torch.Tensor, k: torch.Tensor) -> None:
    for name, tensor in (("X", x), ("K", k)):
        if tensor.dtype not in _WORKING:
            raise TypeError(f"{name} has dtype {tensor.dtype}, which cross_corr_2d does not take; convert it first")
        if tensor.ndim != 2 or not tensor.numel():
            raise ValueError(f"{name} must be 2-D and not empty, got shape {tuple(tensor.shape)}")
    (H, W), (h, w) = x.shape, k.shape
    if h > H or w > W:
        raise ValueError(f"K of shape {(h, w)} is larger than X of shape {(H, W)}")
    if x.device != k.device:
        raise ValueError(f"X and K must be on one device, got {x.device} and {k.device}")


# ---- derivatives -----------------------------------------------------------------------------------------


def _correlate(x: torch.Tensor, k: torch.Tensor, method: str) -> torch.Tensor:
    if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        return _Transformable.apply(x, k, method)
    if torch.is_grad_enabled() and (x.requires_grad or k.requires_grad):
        return _CrossCorrelation.apply(x, k, method)
    return _values(x, k, method)


class _CrossCorrelation(torch.autograd.Function):
    """Both gradients are cross-correlations themselves, so one rule gives derivatives of every order."""

    @staticmethod
    def forward(ctx, x, k, method):
        ctx.save_for_backward(x, k)
        ctx.method = method
        return _values(x, k, method)

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


class _Transformable(_CrossCorrelation):
    """The same for torch.func and forward mode; the plain form costs half as much a call."""

    @staticmethod
    def forward(x, k, method):
        return _values(x, k, method)

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, k, ctx.method = inputs
        ctx.save_for_backward(x, k)
        ctx.save_for_forward(x, k)

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
# Nanoseconds on one core with 16 float32 lanes; only the ratios matter. A float64 step costs twice as much.

_CALL = 1_000.0  # one torch operation, called from Python
_SHIFT = 0.2  # multiply and add one shifted pixel
_COPY = 0.2  # copy one pixel beside others
_ROW = 250.0  # begin one row of outputs in a batch of matrix products, and in the sum after it
_PRODUCT = 0.2  # write one entry of such a product, and add it
_COLUMN = 0.3  # copy one pixel to where such a product takes it, or write one entry and add it
_MULTIPLY = 0.012  # one multiply-add inside the product
_INTEGER = 0.1  # the same for integers
_TURN = 2.0  # transpose one pixel
_TRANSFORM = 9.0  # one point of a float64 tile, forth and back (single precision takes float64 too)
_CACHED = 1 << 20  # bytes a thread that stay in the second-level cache
_REACH = 12  # kernels that a tile may span in float64, so that rounding in the tile stays small in a window
_TILES = [2**a * b for a in range(3, 17) for b in (1, 3, 5, 9, 15)]


@lru_cache(maxsize=512)
def _plan(image: torch.Size, kernel: torch.Size, dtype: torch.dtype, method: str, threads: int):
    """The cheapest way to the values: a function of (x, k, parameter), and its parameter."""
    costs = _costs(image, kernel, dtype, method, threads)
    return min(costs, key=costs.get)


def _costs(image, kernel, dtype, method, threads):
    inexact = dtype.is_floating_point or dtype.is_complex
    costs = {}
    if inexact and method != "direct":
        tile, cost = _tile(image, kernel, dtype)
        costs[_tile_spectra, tile] = cost
    if not inexact or method != "fft":
        turn = 4 * _CALL + dtype.itemsize / 4 * _TURN * (math.prod(image) + math.prod(kernel))
        turned = _direct_costs(image[::-1], kernel[::-1], dtype, threads)
        costs |= _direct_costs(image, kernel, dtype, threads)
        costs |= {(_turned, plan): cost + turn for plan, cost in turned.items()}
    return costs


def _direct_costs(image, kernel, dtype, threads):
    (H, W), (h, w) = image, kernel
    R, C = H - h + 1, W - w + 1
    scale, room, cached = dtype.itemsize / 4, 8 * (H * W + h * w + R * C), threads * _CACHED // dtype.itemsize
    rows = max(1, cached // C)
    costs = {(_shifted_sums, rows): h * w * (scale * _SHIFT * R * C + 3 * _CALL * math.ceil(R / rows))}
    rows = min(h, min(room, cached) // (C * w) - R + 1)
    if rows > 0:
        bands, copies = math.ceil(h / rows), _COPY * C * w * (h + (R - 1) * math.ceil(h / rows))
        costs[_dot_products, rows] = scale * (copies + _SHIFT / 2 * R * C * h * w) + bands * (5 + 4 * R) * _CALL
    rows = min(R, max(1, cached // (w * W)), room // (w * W))
    rows = rows and math.ceil(R / math.ceil(R / rows))
    inexact = dtype.is_floating_point or dtype.is_complex
    if rows and inexact:
        entry = scale * (_PRODUCT + h * _MULTIPLY)
        costs[_row_products, rows] = R * (_ROW + w * W * entry) + 7 * math.ceil(R / rows) * _CALL
    if (w + h) * H * C <= min(room, cached):
        multiply = _MULTIPLY if inexact else _INTEGER
        costs[_column_products, None] = 6 * _CALL + scale * H * C * ((w + h) * _COLUMN + h * w * multiply)
    return costs


def _tile(image, kernel, dtype):
    """The best tile to transform, and its cost."""
    double = dtype in (torch.float64, torch.complex128)
    longest = [max(32, _REACH * m) if double else math.inf for m in kernel]
    tile = tuple(min(_TILES, key=partial(_tiled, *axis)) for axis in zip(image, kernel, longest, strict=True))
    points = math.prod(map(_tiled, image, kernel, longest, tile)) + math.prod(tile) / 2
    calls = 60 + 40 * math.ceil((image[0] - kernel[0] + 1) / (tile[0] - kernel[0] + 1))
    return tile, (1.6 if double else 1) * _TRANSFORM * points + calls * _CALL


def _tiled(n: int, m: int, longest: float, tile: int) -> float:
    """Points that tiles of one length need to cover n, overlapping by m - 1; long ones leave the cache."""
    if not m <= tile <= longest:
        return math.inf
    return math.ceil((n - m + 1) / (tile - m + 1)) * tile * (1 + tile / 2048)


# ---- the ways to the values -----------------------------------------------------------------------------


def _values(x: torch.Tensor, k: torch.Tensor, method: str) -> torch.Tensor:
    if torch.is_autocast_enabled(x.device.type):  # it would lower the precision of matrix products
        with torch.autocast(x.device.type, enabled=False):
            return _values(x, k, method)
    dtype, working = x.dtype, _WORKING[x.dtype]
    if working is not dtype:
        same_size = not dtype.is_floating_point
        x, k = (t.view(working) if same_size else t.to(working) for t in (x, k))
        y = _values(x, k, method)
        return y.view(dtype) if same_size else y.to(dtype)
    if k.numel() == 1:
        return x * k if x.numel() < 2**19 else torch.mul(x, k, out=empty(x.shape, x))
    compute, parameter = _plan(x.shape, k.shape, dtype, method, torch.get_num_threads())
    return compute(_plain(x), _plain(k), parameter)


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor with its numbers one after another in memory, neither conjugated nor negated by a flag."""
    if tensor.is_conj() or tensor.is_neg():
        tensor = tensor.resolve_conj().resolve_neg()
    return tensor if tensor.is_contiguous() else tensor.contiguous()


def _row_products(x, k, rows):
    """Multiply every h image rows with the kernel's columns, then add the w products, each shifted by its column."""
    y = empty((x.shape[0] - k.shape[0] + 1, x.shape[1] - k.shape[1] + 1), x)
    if rows >= len(y):
        return _row_band(x, k, 0, None, y)
    products = x.new_empty(rows, k.shape[1], x.shape[1])
    for r in range(0, len(y), rows):
        band = y[r : r + rows]
        _row_band(x, k, r, products[: len(band)], band)
    return y


def _row_band(x, k, r, products, out):
    W, (h, w), (m, C) = x.shape[1], k.shape, out.shape
    images = x.as_strided((m, h, W), (W, W, 1), x.storage_offset() + r * W)
    products = torch.bmm(k.as_strided((m, w, h), (0, 1, w)), images, out=products)
    shifted = products.as_strided((m, w, C), (w * W, W + 1, 1))
    if w == 3 and m * C > 8192:  # where torch.sum takes twice as long
        return torch.add(shifted[:, 0], shifted[:, 1], out=out).add_(shifted[:, 2])
    return torch.sum(shifted, 1, out=out)


def _column_products(x, k, _):
    """The same with rows and columns exchanged, for small images: copy the w shifted ones, multiply once, add h."""
    (H, W), (h, w) = x.shape, k.shape
    R, C = H - h + 1, W - w + 1
    columns = x.as_strided((w, H, C), (1, W, 1), x.storage_offset()).reshape(w, H * C)
    products = k @ columns
    return products.as_strided((h, R, C), (H * C + C, C, 1)).sum(0, dtype=x.dtype)


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
    return y


def _shifted_sums(x, k, rows):
    """Add the image, shifted by every tap and times its weight, in bands of rows that stay in cache."""
    (H, W), (h, w) = x.shape, k.shape
    R, C = H - h + 1, W - w + 1
    y, start = empty((R, C), x), x.storage_offset()
    (first, *rest) = [(u * W + v, weight) for u, row in enumerate(k.tolist()) for v, weight in enumerate(row)]
    for r in range(0, R, rows):
        band = y[r : r + rows]
        torch.mul(x.as_strided(band.shape, (W, 1), start + r * W + first[0]), first[1], out=band)
        for offset, weight in rest:
            band.add_(x.as_strided(band.shape, (W, 1), start + r * W + offset), alpha=weight)
    return y


def _turned(x, k, plan):
    """Any of the above, on the transposed image with the transposed kernel."""
    compute, parameter = plan
    return compute(x.t().contiguous(), k.t().contiguous(), parameter).t().contiguous()


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
    y = empty((R, C), x)
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
            return _values(x, k, "direct")
        for c, part, good in zip(columns, sums, exact.tolist(), strict=True):
            window = x[r : r + height + h - 1, c : c + width + w - 1]
            y[r : r + height, c : c + width] = part if good else _values(window, k, "direct")
    return y


def _spectrum(k, tile):
    return torch.fft.fft2(k.conj(), s=tile).conj() if k.is_complex() else torch.fft.rfft2(k, s=tile).conj()


def _times(tiles, spectrum, tile, height, width):
    if tiles.is_complex():
        return torch.fft.ifft2(torch.fft.fft2(tiles, s=tile) * spectrum)[:, :height, :width]
    lines = torch.fft.ifft(torch.fft.rfft2(tiles, s=tile).mul_(spectrum), dim=1)[:, :height]
    return torch.fft.irfft(lines, n=tile[1])[..., :width]
