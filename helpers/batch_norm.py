"""Batch normalization of feature vectors and feature maps: forward and backward, training and test mode."""

import math
from numbers import Real
from typing import NamedTuple

import torch

from helpers import channel_arithmetic as arithmetic
from helpers.interop import Array, as_tensors, shown

_AVERAGES = ("running_mean", "running_var")
_COMPUTE_DTYPE = dict.fromkeys((torch.float16, torch.bfloat16, torch.float32), torch.float32)
_COMPUTE_DTYPE[torch.float64] = torch.float64
_BELOW_AUTOGRAD = torch._C._AutoDispatchBelowAutograd  # nothing is recorded, nor asked whether it should be


class Cache(NamedTuple):
    """What the backward pass needs: the caller's own array, not a copy, and a few numbers a channel.

    statistics is (center, shrink, shift, inverse_std, factor), each of shape (C,), such that x_hat is
    ((x - center) shrink - shift) inverse_std, or a list of these for blocks of channels; factor is gamma inverse_std.
    The center is None (0) where all means are at most a quarter of the standard deviation, else the mean as far as the
    dtype can tell; shift is the mean of what is left; shrink is None (1) unless squares would overflow even so.
    """

    x: Array
    mode: str
    statistics: tuple | list


def spatial_batchnorm_forward(x: Array, gamma: Array, beta: Array, bn_param: dict) -> tuple[Array, Cache]:
    """Normalize every channel over batch, height and width, then scale and shift it.

    out = gamma (x - M) / sqrt(V + eps) + beta. In "train" M and V are the channel's mean and biased variance
    in this batch, and running <- momentum running + (1 - momentum) batch; in "test" they are the running
    statistics.

    x: (N, C, H, W), gamma and beta: (C,), all NumPy arrays or all torch tensors, of one floating-point dtype;
    float16 and bfloat16 compute in float32. bn_param: "mode", "train" or "test"; "eps" (1e-5), held within the
    range of the dtype; "momentum" (0.9), the share that the old running statistics keep; "running_mean" and
    "running_var", (C,), of x's dtype, zeros when absent. "train" puts new ones there once all has succeeded; a
    variance too large for the dtype is inf.

    Returns out, of x's kind, dtype, shape and memory order, outside any autograd graph and without the tangents of
    forward mode (helpers.autograd.batch_norm is differentiable), and the cache, which refers to x itself: whoever
    changes x before the backward pass gets wrong gradients.
    Raises ValueError, naming it: mode, a shape, an empty batch, eps not positive, momentum outside [0, 1], in
    "test" a negative running_var. TypeError: bn_param no dict, eps or momentum no numbers, mixed or other kinds or
    dtypes.
    Source: Ioffe and Szegedy (2015), Batch Normalization, algorithms 1 and 2.
    """
    return _forward(x, gamma, beta, bn_param, ("N", "C", "H", "W"))


def spatial_batchnorm_backward(dout: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """Gradients (dx, dgamma, dbeta) of sum(out * dout), where x_hat = (x - M) / sqrt(V + eps).

    Over the m = N H W values of a channel, dbeta = sum dout and dgamma = sum dout x_hat. In "train", where M
    and V depend on x, dx = gamma / sqrt(V + eps) (dout - dbeta / m - x_hat dgamma / m); in "test", where they
    do not, dx = gamma / sqrt(V + eps) dout. dout and the results are of x's kind and dtype.
    Raises ValueError: dout of another shape than x. TypeError: of another kind or dtype.
    """
    tensors, give_back = as_tensors(dout=dout, x=cache.x)
    grads, x = tensors
    if grads.shape != x.shape:
        raise ValueError(f"dout must have the shape of x, {tuple(x.shape)}, got {tuple(grads.shape)}")
    if grads.dtype is not x.dtype:
        raise TypeError(f"dout must have the dtype of x, {x.dtype}, got {grads.dtype}")
    with _BELOW_AUTOGRAD():
        (grads, maps), give_back = _computable(tensors, give_back)
        arrays = maps.transpose(1, -1), grads.transpose(1, -1), cache.statistics
        dx, dgamma, dbeta = arithmetic.by_blocks(arithmetic.gradients, arrays, cache.mode)
        return give_back(dx), give_back(dgamma), give_back(dbeta)


def batchnorm_forward(x: Array, gamma: Array, beta: Array, bn_param: dict) -> tuple[Array, Cache]:
    """Normalize every feature over the batch: spatial_batchnorm_forward for x (N, D)."""
    return _forward(x, gamma, beta, bn_param, ("N", "D"))


def batchnorm_backward(dout: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """Gradients (dx, dgamma, dbeta) of batchnorm_forward: spatial_batchnorm_backward for dout (N, D)."""
    return spatial_batchnorm_backward(dout, cache)


def _forward(x, gamma, beta, bn_param, axes):
    mode, eps, momentum, running = _read(bn_param)
    tensors, give_back = as_tensors(x=x, gamma=gamma, beta=beta, **running)
    _check(tensors, ("gamma", "beta", *running), axes)
    with _BELOW_AUTOGRAD():
        (maps, scale, offset, *old), give_back = _computable(tensors, give_back)
        if len(old) < 2:
            old = [old.pop() if name in running else torch.zeros_like(scale) for name in _AVERAGES]
        if mode == "test" and (old[1] < 0).any():
            raise ValueError(f"bn_param['running_var'] must not be negative, got {old[1].min().item()}")
        arrays = maps.transpose(1, -1), scale, offset, *old
        out, mean, var, statistics = arithmetic.by_blocks(arithmetic.normalize, arrays, mode, eps)
        out = give_back(out)
        if mode == "train":
            mean, var = map(arithmetic.average, old, (mean, var), (momentum, momentum))
            bn_param.update(running_mean=give_back(mean), running_var=give_back(var))
        return out, Cache(x, mode, statistics)


def _computable(tensors, give_back):
    """The tensors in the dtype to compute in, and the way back from it."""
    dtype = tensors[0].dtype
    wide = _COMPUTE_DTYPE[dtype]
    if wide is dtype:
        return tensors, give_back
    return [tensor.to(wide) for tensor in tensors], lambda result: give_back(result.to(dtype))


def _read(bn_param):
    if not isinstance(bn_param, dict):
        raise TypeError(f"bn_param must be a dictionary, got {type(bn_param).__name__}")
    mode, eps, momentum = bn_param.get("mode"), bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
    if not isinstance(mode, str) or mode not in ("train", "test"):
        raise ValueError(f"bn_param['mode'] must be 'train' or 'test', got {shown(mode)}")
    for name, number in (("eps", eps), ("momentum", momentum)):
        if type(number) is not float and (not isinstance(number, Real) or isinstance(number, bool)):
            raise TypeError(f"bn_param[{name!r}] must be a number, got {type(number).__name__}")
    if not 0 < eps < math.inf:
        raise ValueError(f"bn_param['eps'] must be positive and finite, got {eps}")
    if not 0 <= momentum <= 1:
        raise ValueError(f"bn_param['momentum'] must be from 0 to 1, got {momentum}")
    running = {name: bn_param[name] for name in _AVERAGES if name in bn_param}
    try:
        return mode, float(eps), float(momentum), running
    except OverflowError:  # an integer beyond any float
        return mode, math.inf, float(momentum), running


def _check(tensors, names, axes):
    dtype, shape = tensors[0].dtype, tensors[0].shape
    if dtype not in _COMPUTE_DTYPE:
        raise TypeError(f"x must be float16, bfloat16, float32 or float64, got {dtype}")
    if len(shape) != len(axes):
        raise ValueError(f"x must have shape ({', '.join(axes)}), got {tuple(shape)}")
    if 0 in shape:
        raise ValueError(f"x is an empty batch, shape {tuple(shape)}")
    channels = shape[1:2]
    for name, tensor in zip(names, tensors[1:], strict=True):
        if tensor.dtype is not dtype:
            raise TypeError(f"{name} must have the dtype of x, {dtype}, got {tensor.dtype}")
        if tensor.shape != channels:
            raise ValueError(f"{name} must have shape ({shape[1]},), got {tuple(tensor.shape)}")
