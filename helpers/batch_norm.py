"""Batch normalization of vectors and of feature maps: forward and backward, in training and at test time."""

import math
from numbers import Real

import numpy as np
import torch
from torch import Tensor

from helpers import batch_norm_vectors, loops
from helpers.arrays import Array, as_numpy, as_tensor, check_arrays, give_back, has_tangent
from helpers.threads import run_in_threads

AXES = {2: "(N, D)", 4: "(N, C, H, W)"}
DTYPES = {torch.float16, torch.bfloat16, torch.float32, torch.float64, np.float16, np.float32, np.float64}
VALUES_PER_THREAD = 150_000  # outweigh the waking of a thread: `python -m benchmarks.bench_batch_norm --tune`


def batchnorm_forward(x: Array, gamma: Array, beta: Array, bn_param: dict) -> tuple[Array, tuple]:
    """Normalize every feature over the batch: spatial_batchnorm_forward for x of shape (N, D)."""
    return run_forward(x, gamma, beta, bn_param, 2)


def batchnorm_backward(dout: Array, cache: tuple) -> tuple[Array, Array, Array]:
    """Gradients (dx, dgamma, dbeta) of batchnorm_forward: spatial_batchnorm_backward for dout of shape (N, D)."""
    return run_backward(dout, cache)


def spatial_batchnorm_forward(x: Array, gamma: Array, beta: Array, bn_param: dict) -> tuple[Array, tuple]:
    """Normalize every channel over batch, height and width, then scale and shift it.

    out = gamma x_hat + beta, where x_hat = (x - M) / sqrt(V + eps). In "train", M and V are the mean and the biased
    variance of the channel in this batch, and running = momentum running + (1 - momentum) batch. In "test", they are
    the running statistics.

    x: (N, C, H, W); gamma, beta: (C,); NumPy arrays or torch tensors of one floating-point dtype. bn_param: "mode",
    "train" or "test"; "eps" (1e-5); "momentum" (0.9); "running_mean", "running_var", (C,), zeros when absent, replaced
    in "train". Returns out, like x, and the cache, which shares x and gamma: leave both until the backward pass.
    Raises ValueError (shape, empty batch, mode, eps, momentum) or TypeError (kind, dtype, bn_param), naming the fault.
    Source: Ioffe and Szegedy (2015), Batch Normalization, algorithms 1 and 2. There the running variance is unbiased.
    """
    return run_forward(x, gamma, beta, bn_param, 4)


def spatial_batchnorm_backward(dout: Array, cache: tuple) -> tuple[Array, Array, Array]:
    """Gradients (dx, dgamma, dbeta) of the sum of out * dout.

    dbeta = sum dout and dgamma = sum dout x_hat over the m = N H W values of a channel. In "train",
    dx = gamma / sqrt(V + eps) (dout - dbeta / m - x_hat dgamma / m); in "test", dx = gamma / sqrt(V + eps) dout.
    All three are like x. Raises ValueError for a dout of another shape than x, TypeError for another kind or dtype.
    """
    return run_backward(dout, cache)


def batch_norm(x: Tensor, gamma: Tensor, beta: Tensor, bn_param: dict) -> Tensor:
    """The forward functions as one torch operation with all derivatives, also under torch.func (a bn_param a call)."""
    if not isinstance(x, Tensor):
        raise TypeError(f"x must be a torch tensor, got {type(x).__name__}")
    out, cache = run_forward(x, gamma, beta, bn_param, 2 if x.dim() == 2 else 4, differentiable=True)
    if isinstance(cache[-1], Tensor):  # torch computed out, and has recorded how
        return out
    return BatchNorm.apply(x, gamma, beta, out, cache)


class BatchNorm(torch.autograd.Function):
    """The backward pass, attached to the output of the forward pass."""

    @staticmethod
    def forward(ctx, x, gamma, beta, out, cache):
        ctx.save_for_backward(x, gamma)  # torch frees them early, and notices when they are overwritten
        ctx.rest_of_cache = cache[2:]
        ctx.mark_dirty(out)  # so that it may be changed in place, as ReLU(inplace=True) does
        return out

    @staticmethod
    def backward(ctx, dout):
        x, gamma = ctx.saved_tensors
        cache = x, gamma, *ctx.rest_of_cache
        differentiable = torch.is_grad_enabled() or any(map(has_tangent, (dout, x, gamma)))
        return *run_backward(dout, cache, differentiable), None, None


def run_forward(x, gamma, beta, bn_param, dimensions, differentiable=False):
    training, eps, _ = settings = read_settings(bn_param)
    zeros_like = torch.zeros_like if isinstance(gamma, Tensor) else lambda array: np.zeros_like(array, subok=False)
    given = {key: bn_param[key] if key in bn_param else zeros_like(gamma) for key in ("running_mean", "running_var")}
    inputs = {"x": x, "gamma": gamma, "beta": beta, **given}
    check_inputs(dimensions, **inputs)
    needs_torch = differentiable and any(map(has_tangent, inputs.values()))
    results = compute(forward_in_loops, forward_in_torch, settings, inputs, differentiable, needs_torch)
    out, mean, var = [give_back(result, x) for result in results[:3]]
    if training:
        bn_param.update(running_mean=mean, running_var=var)
    return out, (x, gamma, training, eps, results[3])


def run_backward(dout, cache, differentiable=False):
    x, gamma, training, eps, statistics = cache
    check_arrays(dout=dout, x=x)
    check_like(x, x.shape, {"dout": dout})
    inputs = {"dout": dout, "x": x, "gamma": gamma, "statistics": statistics}
    gradients = compute(backward_in_loops, backward_in_torch, (training, eps), inputs, differentiable, differentiable)
    return tuple([give_back(gradient, x) for gradient in gradients])


def compute(in_loops, in_torch, settings, inputs, differentiable, needs_torch):
    """Call in_loops(*settings, *inputs) with NumPy arrays or, out of NumPy's or Numba's reach, in_torch in float64."""
    arrays = [as_numpy(array, name) for name, array in inputs.items()]
    if loops.numba is not None and not needs_torch and all(array is not None for array in arrays):
        return in_loops(*settings, *arrays)
    tensors = [as_tensor(name, array) for name, array in inputs.items()]
    wide = torch.float32 if tensors[0].device.type == "mps" else torch.float64  # which Apple's GPUs lack
    with torch.set_grad_enabled(differentiable and torch.is_grad_enabled()):
        return in_torch(*settings, *[tensor.to(wide) for tensor in tensors])


def forward_in_loops(training, eps, momentum, x, gamma, beta, mean, var):
    """Return out, the new running mean and variance, and x0, V and mean_d, which in test mode are mean, var and 0."""
    out = np.empty_like(x)
    running = np.array([mean, var])
    statistics = np.zeros((3, gamma.size))
    statistics[:2] = running
    values = group_channels(x)
    loop = batch_norm_vectors.normalize_vectors if values.ndim == 2 else loops.normalize_maps
    arguments = training, values, gamma, beta, eps, momentum, running, statistics, group_channels(out)
    run_in_threads(x.size // VALUES_PER_THREAD, gamma.size, loop, *arguments)
    return out, *running, statistics


def backward_in_loops(training, eps, dout, x, gamma, statistics):
    dx, dgamma, dbeta = np.empty_like(x), np.empty_like(gamma), np.empty_like(gamma)
    values = group_channels(x)
    loop = batch_norm_vectors.differentiate_vectors if values.ndim == 2 else loops.differentiate_maps
    arguments = training, group_channels(dout), values, gamma, eps, statistics, group_channels(dx), dgamma, dbeta
    run_in_threads(x.size // VALUES_PER_THREAD, gamma.size, loop, *arguments)
    return dx, dgamma, dbeta


def group_channels(x: np.ndarray) -> np.ndarray:
    """View maps as (N, C, H W), and vectors, or maps of one pixel, as (N, C)."""
    N, C = x.shape[:2]
    return x.reshape(N, C) if x.size == N * C else x.reshape(N, C, -1)


def forward_in_torch(training, eps, momentum, x, gamma, beta, mean, var):
    """forward_in_loops as the definition, in torch: on any device, under torch.func, or without Numba."""
    axes = [axis for axis in range(x.dim()) if axis != 1]
    each = (-1,) + (1,) * (x.dim() - 2)  # views one number a channel to fit x
    x0 = x.mean(axes) if training else mean
    d = x - x0.view(each)
    mean_d = d.mean(axes) if training else torch.zeros_like(x0)  # what rounding left out of x0
    d = d - mean_d.view(each)
    V = (d * d).mean(axes) if training else var
    out = gamma.view(each) * d / torch.sqrt(V + eps).view(each) + beta.view(each)
    statistics = torch.stack([x0, V, mean_d]).detach()
    running = momentum * torch.stack([mean, var]) + (1 - momentum) * statistics[:2]
    return out, *running, statistics


def backward_in_torch(training, eps, dout, x, gamma, statistics):
    """Let torch differentiate the definition. The gradients depend neither on beta nor on the momentum."""

    def forward(x, gamma, beta):
        return forward_in_torch(training, eps, 0.9, x, gamma, beta, statistics[0], statistics[1])[0]

    _, pull_back = torch.func.vjp(forward, x, gamma, torch.zeros_like(gamma))
    return pull_back(dout)


def read_settings(bn_param: dict) -> tuple[bool, float, float]:
    if not isinstance(bn_param, dict):
        raise TypeError(f"bn_param must be a dictionary, got {type(bn_param).__name__}")
    mode = bn_param.get("mode")
    if not isinstance(mode, str) or mode not in ("train", "test"):
        raise ValueError(f"bn_param['mode'] must be 'train' or 'test', got {mode!r}")
    eps = bn_param.get("eps", 1e-5)
    momentum = bn_param.get("momentum", 0.9)
    if not (isinstance(eps, Real) and isinstance(momentum, Real)):
        raise TypeError(f"bn_param needs numbers: eps is {type(eps).__name__}, momentum is {type(momentum).__name__}")
    if not (0 < eps < math.inf and 0 <= momentum <= 1):
        raise ValueError(f"bn_param needs 0 < eps < inf and 0 <= momentum <= 1, got {eps} and {momentum}")
    return mode == "train", float(eps), float(momentum)


def get_dtype(array: Array) -> type | torch.dtype:
    """Return the dtype without its byte order."""
    return array.dtype if isinstance(array, Tensor) else array.dtype.type


def check_inputs(dimensions: int, x: Array, **others: Array) -> None:
    check_arrays(x=x, **others)
    if get_dtype(x) not in DTYPES:
        raise TypeError(f"x must be float16, bfloat16, float32 or float64, got {x.dtype}")
    if len(x.shape) != dimensions or 0 in x.shape:
        raise ValueError(f"x must have shape {AXES[dimensions]}, not empty, got {tuple(x.shape)}")
    check_like(x, x.shape[1:2], others)


def check_like(x: Array, shape: tuple[int, ...], arrays: dict[str, Array]) -> None:
    for name, array in arrays.items():
        if array.dtype != x.dtype and get_dtype(array) != get_dtype(x):
            raise TypeError(f"{name} must have the dtype of x, {x.dtype}, got {array.dtype}")
        if array.shape != shape:
            raise ValueError(f"{name} must have shape {tuple(shape)}, got {tuple(array.shape)}")
