"""Valid 2-D cross-correlation of one image with one kernel, and its derivatives."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from helpers import loops
from helpers.arrays import Array, as_numpy, as_tensor, check_arrays, has_tangent
from helpers.threads import run_in_threads
from helpers.transforms import correlate_tiles, count_pixels

METHODS = ("auto", "direct", "fft")
# Measured with `python -m benchmarks.bench_cross_correlation --only tune`.
TRANSFORM_BYTES = 2_000  # of kernel for an output: to add so many products takes as long as to transform a pixel
THREAD_BYTES = 4_000_000  # of products: so many outweigh the waking of a thread

# The loops sum these as they are. All others are converted first.
FLOATS = {torch.float32, torch.float64, torch.complex64, torch.complex128, *map(np.dtype, "fdFD")}
INTEGERS = {torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64}
SUM_DTYPES = {dtype: dtype for dtype in FLOATS} | {torch.float16: torch.float32, torch.bfloat16: torch.float32}
SUM_DTYPES |= dict.fromkeys(INTEGERS, torch.int64)  # Cut to n bits, its sums wrap as n-bit sums do.


def cross_corr_2d(X: Array, K: Array, *, method: str = "auto") -> Array:
    """Valid 2-D cross-correlation of an image with a kernel: Y[i, j] = sum over u, v of X[i+u, j+v] K[u, v].

    X is the image (H, W), K the kernel (h, w), both torch tensors or both NumPy arrays; Y is (H-h+1, W-w+1), of the
    same kind, on the same device, in torch.result_type(X, K). float16 and bfloat16 are summed in float32; integers
    wrap as NumPy's do; a complex K is not conjugated. Tensors get gradients of any order.
    method "direct" adds the products; "fft" multiplies spectra of tiles in double precision, with an error of a few
    2^-53 |tile| |K| in float64 (integers and complex numbers are added all the same); "auto" takes what costs less. NaN
    and infinity reach exactly the outputs whose window holds them.
    Raises ValueError: not 2-D, empty, kernel larger than image, two devices, unknown method. TypeError: not an array,
    mixed kinds, bool or another dtype that torch does not add or promote.
    Source: Goodfellow, Bengio and Courville (2016), Deep Learning, section 9.1.
    """
    check_arrays(X=X, K=K)
    image, kernel = X.shape, K.shape
    if len(image) != 2 or len(kernel) != 2 or not (0 < kernel[0] <= image[0] and 0 < kernel[1] <= image[1]):
        for name, shape in (("X", image), ("K", kernel)):
            if len(shape) != 2 or 0 in shape:
                raise ValueError(f"{name} must be 2-D and not empty, got shape {tuple(shape)}")
        raise ValueError(f"K of shape {tuple(kernel)} is larger than X of shape {tuple(image)}")
    if not isinstance(method, str) or method not in METHODS:  # an array would compare element by element
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if X.dtype != K.dtype or X.dtype not in FLOATS:
        return convert_and_correlate(X, K, method)
    if isinstance(X, Tensor):
        return correlate(X, K, method)
    return correlate_arrays(as_numpy(X), as_numpy(K), method)


def convert_and_correlate(X: Array, K: Array, method: str) -> Array:
    """Convert arrays to the dtype in which they are summed, and the result to their common dtype."""
    image, kernel = as_tensor("X", X), as_tensor("K", K)
    for name, array, tensor in (("X", X, image), ("K", K, kernel)):
        if tensor.dtype not in SUM_DTYPES:
            raise TypeError(f"{name} has dtype {array.dtype}, which cross_corr_2d does not take; convert it first")
    try:
        dtype = torch.promote_types(image.dtype, kernel.dtype)
    except RuntimeError:
        raise TypeError(f"torch has no common dtype for X of {X.dtype} and K of {K.dtype}") from None
    wide = SUM_DTYPES[dtype]
    Y = correlate(image.to(wide), kernel.to(wide), method).to(dtype)
    return Y if isinstance(X, Tensor) else Y.numpy()


def correlate(X: Tensor, K: Tensor, method: str) -> Tensor:
    """Cross-correlate tensors of one dtype, of FLOATS or int64, with or without gradients."""
    if K.shape == (1, 1) and X.is_cpu and K.is_cpu and X.layout is K.layout is torch.strided:
        return X * K  # faster than any loop over a single entry
    x = as_numpy(X, "X")
    k = as_numpy(K, "K")
    if x is None or k is None or has_tangent(X) or has_tangent(K):
        return define_in_torch(X, K)
    if (X.requires_grad or K.requires_grad) and torch.is_grad_enabled():
        return CrossCorrelation.apply(X, K, (x, k), method)
    return torch.from_numpy(correlate_arrays(x, k, method))


def correlate_arrays(x: np.ndarray, k: np.ndarray, method: str) -> np.ndarray:
    if method == "auto" and k.nbytes > TRANSFORM_BYTES:  # else "direct" wins: outputs <= pixels
        outputs = math.prod(n - m + 1 for n, m in zip(x.shape, k.shape, strict=True))
        pixels = math.prod(map(count_pixels, x.shape, k.shape))
        method = "fft" if outputs * k.nbytes > pixels * TRANSFORM_BYTES else "direct"
    if method == "fft" and x.dtype.kind == "f":
        return correlate_tiles(x, k, correlate_directly)
    return correlate_directly(x, k)


def correlate_directly(x: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Run the loop whose inner loop is longer: along the kernel's rows, or along those of the outputs."""
    if loops.numba is None:
        return define_in_torch(torch.from_numpy(x), torch.from_numpy(k)).numpy()
    (H, W), (h, w) = x.shape, k.shape
    y = np.empty((H - h + 1, W - w + 1), x.dtype)
    loop = loops.correlate_rows if W - w + 1 >= w else loops.correlate_windows
    run_in_threads(y.size * k.nbytes // THREAD_BYTES, len(y), loop, x, k, y)
    return y


def define_in_torch(X: Tensor, K: Tensor) -> Tensor:
    """The definition, in torch's own operations: on any device, under torch.func, or without Numba."""
    if X.device != K.device:
        raise ValueError(f"X and K must be on one device, got {X.device} and {K.device}")
    (H, W), (h, w) = X.shape, K.shape
    windows = torch.stack([X.narrow(1, v, W - w + 1) for v in range(w)], dim=2)  # (H, W - w + 1, w)
    return sum((windows[u : u + H - h + 1] * K[u]).sum(2) for u in range(h))


def correlate_fully(Y: Tensor, K: Tensor, method: str) -> Tensor:
    """Full convolution: pad the larger with zeros, and cross-correlate it with the smaller, turned by 180 degrees."""
    large, small = (Y, K) if Y.numel() >= K.numel() else (K, Y)
    h, w = small.shape
    return correlate(pad(large, (w - 1, w - 1, h - 1, h - 1)), small.flip(0, 1), method)


class CrossCorrelation(torch.autograd.Function):
    """Both gradients are cross-correlations themselves, so one rule gives derivatives of every order."""

    @staticmethod
    def forward(ctx, X, K, arrays, method):
        ctx.save_for_backward(X, K)
        ctx.method = method
        return torch.from_numpy(correlate_arrays(*arrays, method))

    @staticmethod
    def backward(ctx, dY):
        X, K = ctx.saved_tensors
        dX = correlate_fully(dY, K.conj(), ctx.method) if ctx.needs_input_grad[0] else None
        dK = correlate(X.conj(), dY, ctx.method) if ctx.needs_input_grad[1] else None
        return dX, dK, None, None
