"""Valid 2-D cross-correlation."""

import torch

from helpers.interop import Array, as_tensors

METHODS = ("auto", "direct", "fft")
_SIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}


def cross_corr_2d(X: Array, K: Array, *, method: str = "auto") -> Array:
    """Valid 2-D cross-correlation of an image with a kernel: Y[i, j] = sum over u, v of X[i+u, j+v] K[u, v].

    X: image (H, W); K: kernel (h, w); Y: (H-h+1, W-w+1), of X's kind, in torch.result_type(X, K).
    float16 and bfloat16 accumulate in float32; integers wrap as NumPy's do; a complex K is not conjugated.
    Raises ValueError: not 2-D, empty, a kernel larger than the image, an unknown method; TypeError: not an array,
    one NumPy and one torch, bool or another dtype that is not a number's.
    """
    (x, k), back = as_tensors(X=X, K=K)
    for name, tensor in (("X", x), ("K", k)):
        if tensor.dtype == torch.bool:
            raise TypeError(f"{name} has dtype bool; convert it to a number's dtype first")
        if tensor.ndim != 2 or not tensor.numel():
            raise ValueError(f"{name} must be 2-D and not empty, got shape {tuple(tensor.shape)}")
    (H, W), (h, w) = x.shape, k.shape
    if h > H or w > W:
        raise ValueError(f"K of shape {(h, w)} is larger than X of shape {(H, W)}")
    if method not in METHODS:
        raise ValueError(f"method must be one of {METHODS}, got {method!r}")
    dtype = torch.result_type(x, k)
    working = torch.float32 if dtype in (torch.float16, torch.bfloat16) else _SIGNED.get(dtype, dtype)
    x, k = x.to(working), k.to(working)
    rows, columns = H - h + 1, W - w + 1
    y = sum(x[u : u + rows, v : v + columns] * k[u, v] for u in range(h) for v in range(w))
    return back(y.view(dtype) if dtype in _SIGNED else y.to(dtype))
