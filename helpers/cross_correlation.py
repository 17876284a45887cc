"""Valid 2-D cross-correlation and its derivatives; helpers.correlation_ways computes the values."""

import torch
from torch import constant_pad_nd
from torch._C._functorch import TransformType
from torch.autograd import forward_ad

from helpers.correlation_ways import WORKING, check_dtype, planned, small_gradients, transformed_in_vain, values
from helpers.interop import Array, as_tensors, shown

METHODS = ("auto", "direct", "fft")


def cross_corr_2d(X: Array, K: Array, *, method: str = "auto") -> Array:
    """Valid 2-D cross-correlation of an image with a kernel: Y[i, j] = sum over u, v of X[i+u, j+v] K[u, v].

    X is the image (H, W), K the kernel (h, w), both NumPy arrays or both torch tensors; Y is (H-h+1,
    W-w+1), of the same kind, on the same device, in torch.result_type(X, K). Neither input is changed.
    float16 and bfloat16 are summed in float32; integers wrap as NumPy's do and are always summed
    directly; a complex K is not conjugated. Tensors that require gradients get them for X and K, to any
    order; torch.func works too (torch's older, batched gradients do not).

    method "direct" adds products, "fft" multiplies the spectra of tiles, "auto" takes the cheaper. The largest
    error of an output, relative to the sum of |X||K| over its own window, stays within 4 times that of plain
    summation: float32 is transformed in float64, and a tile whose range is too great for its transform is
    summed directly. The exceptions are images on which plain summation is almost exact by chance, as where signs
    alternate from pixel to pixel or all pixels are alike (here some dozen units of rounding, and in single rows under
    thousands of taps a hundred), and float64 transforms that are asked for (below 20 units). NaN and infinity
    reach exactly the outputs whose window holds them. Working memory: at most 8 times the size of inputs and
    output in the dtype that is summed, not counting what torch's own operations allocate inside and copies of
    inputs that are not contiguous or of another dtype; a transform that is asked for on an image of few rows or
    columns takes up to 45 times.

    Raises ValueError: not 2-D, empty, kernel larger than image, two devices, unknown method. TypeError:
    not an array, mixed kinds, bool or another dtype that is not listed here, two dtypes that torch does
    not promote.
    Source: Goodfellow, Bengio and Courville (2016), Deep Learning, section 9.1.
    """
    (x, k), back = as_tensors(X=X, K=K)
    if not isinstance(method, str) or method not in METHODS:  # an array compares element by element
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {shown(method)}")
    if x.dtype is k.dtype:
        return back(_correlate(x, k, method))
    dtype = _common_dtype(x.dtype, k.dtype)
    wide = torch.promote_types(dtype, torch.float32) if dtype.is_floating_point else dtype  # no half before the sum
    return back(_correlate(x.to(wide), k.to(wide), method).to(dtype))


def _common_dtype(x: torch.dtype, k: torch.dtype) -> torch.dtype:
    check_dtype("X", x)
    check_dtype("K", k)
    try:
        return torch.promote_types(x, k)
    except RuntimeError:
        raise TypeError(f"torch has no common dtype for X of {x} and K of {k}") from None


def _transformed() -> bool:
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def _transforms() -> list:
    """The kinds of torch.func's transforms around the call, the outermost first."""
    return [level.key() for level in torch._C._functorch.get_interpreter_stack() or ()]


def _correlate(x: torch.Tensor, k: torch.Tensor, method: str) -> torch.Tensor:
    if _transformed():
        if _transforms().count(TransformType.Jvp) > 1:  # where torch forgets a Function's own derivative
            planned(x, k, method)
            windows = x.unfold(0, k.shape[0], 1).unfold(1, k.shape[1], 1)
            wide = WORKING[x.dtype]
            return (windows.to(wide) * k.to(wide)).sum((2, 3)).to(x.dtype)
        return _Transformable.apply(x, k, method)
    if torch.is_grad_enabled() and (x.requires_grad or k.requires_grad):
        return _CrossCorrelation.apply(x, k, method)
    return values(x, k, method)


def _correlate_fully(large: torch.Tensor, small: torch.Tensor, method: str) -> torch.Tensor:
    """The cross-correlation of large, in as many zeros as small can reach, with small turned round."""
    h, w = small.shape
    if h * w == 1:
        return _correlate(large, small, method)
    if TransformType.Vmap in _transforms() or small.sum(dtype=WORKING[small.dtype]).isfinite():
        padded = constant_pad_nd(large, (w - 1, w - 1, h - 1, h - 1))
        return _correlate(padded, small.flip(0, 1), "direct" if transformed_in_vain(padded, small, method) else method)
    (H, W), wide = large.shape, WORKING[large.dtype]  # without the zeros, which make NaN of infinity
    y = large.new_zeros(H + h - 1, W + w - 1, dtype=wide)
    for u in range(h):
        for v in range(w):
            y[u : u + H, v : v + W] += small[u, v].to(wide) * large.to(wide)
    return y.to(large.dtype)


class _CrossCorrelation(torch.autograd.Function):
    """Both gradients are cross-correlations themselves, so one rule gives derivatives of every order."""

    @staticmethod
    def forward(ctx, x, k, method):
        ctx.save_for_backward(x, k)
        ctx.method = method
        return values(x, k, method)

    @staticmethod
    def backward(ctx, upstream):
        x, k = ctx.saved_tensors
        if all(ctx.needs_input_grad[:2]) and not torch.is_grad_enabled() and not _transformed():
            both = small_gradients(x, k, upstream, ctx.method)
            if both:
                return *both, None
        dx = dk = None
        if ctx.needs_input_grad[0]:  # the padded upstream gradient with the kernel turned round, or the reverse
            dx = _correlate_fully(*sorted((upstream, k.conj()), key=torch.Tensor.numel, reverse=True), ctx.method)
        if ctx.needs_input_grad[1]:  # the image with the upstream gradient as its kernel
            dk = _correlate(x.conj(), upstream, ctx.method)
        return dx, dk, None


class _Transformable(_CrossCorrelation):
    """The same for torch.func and forward mode; the plain form costs half as much a call."""

    @staticmethod
    def forward(x, k, method):
        return values(x, k, method)

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
