"""Batch normalization of feature vectors and feature maps: forward and backward, training and test mode."""

import math
import sys
from functools import lru_cache
from numbers import Real
from typing import NamedTuple

import torch

from helpers.interop import Array, as_tensors, empty, shown

_BLOCK = 8_388_608  # bytes of x worked on at a time, whole channels, so that passes find them in the cache
_AVERAGES = ("running_mean", "running_var")
_AXES = (0, 1, 2)  # all but the last, the channels
_MANY = 512  # values a channel: float32 sums of more products lose digits where both factors have a mean
_SMALL = 32_768  # numbers: torch sums so many in a single thread
_COMPUTE_DTYPE = dict.fromkeys((torch.float16, torch.bfloat16, torch.float32), torch.float32)
_COMPUTE_DTYPE[torch.float64] = torch.float64


class Cache(NamedTuple):
    """What the backward pass needs: the caller's own array, not a copy, and a few numbers a channel.

    statistics holds (center, shrink, shift, inverse_std, factor) for each block of channels, each of shape (c,), such
    that x_hat is ((x - center) shrink - shift) inverse_std; factor is gamma inverse_std. The center is None (0) where
    all means are at most a quarter of the standard deviation, else the mean as far as the dtype can tell; shift is the
    mean of what is left; shrink is None (1) unless squares would overflow even so.
    """

    x: Array
    mode: str
    statistics: tuple


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

    Returns out, of x's kind, dtype, shape and memory order, outside any autograd graph, and the cache, which
    refers to x itself: whoever changes x before the backward pass gets wrong gradients.
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
    return _backward(dout, cache)


def batchnorm_forward(x: Array, gamma: Array, beta: Array, bn_param: dict) -> tuple[Array, Cache]:
    """Normalize every feature over the batch: spatial_batchnorm_forward for x (N, D)."""
    return _forward(x, gamma, beta, bn_param, ("N", "D"))


def batchnorm_backward(dout: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """Gradients (dx, dgamma, dbeta) of batchnorm_forward: spatial_batchnorm_backward for dout (N, D)."""
    return _backward(dout, cache)


def _forward(x, gamma, beta, bn_param, axes):
    mode, eps, momentum, running = _read(bn_param)
    tensors, give_back = as_tensors(x=x, gamma=gamma, beta=beta, **running)
    dtype = _check(tensors, ("gamma", "beta", *running), axes)
    maps, scale, offset, *given = _computable(tensors, dtype)
    averages = {name: given.pop(0) if name in running else torch.zeros_like(scale) for name in _AVERAGES}
    if mode == "test" and (averages["running_var"] < 0).any():
        raise ValueError(f"bn_param['running_var'] must not be negative, got {averages['running_var'].min().item()}")
    limits, out = torch.finfo(maps.dtype), _like(maps)
    eps = _number(min(max(eps, limits.tiny), limits.max), maps.dtype)
    arrays = _channels_last(maps), _channels_last(out), scale, offset, *averages.values()
    blocks = [_normalize(block, mode, eps) for block in _blocks(*arrays)]
    out = give_back(_as(dtype, out))
    if mode == "train":
        pairs = zip(averages.items(), _joined(blocks), strict=True)
        bn_param.update({name: give_back(_as(dtype, _average(old, new, momentum))) for (name, old), new in pairs})
    return out, Cache(x, mode, tuple(block[2:] for block in blocks))


def _normalize(block, mode, eps):
    """Normalize whole channels into out; return their mean and variance, and what the backward pass needs."""
    maps, out, scale, offset, mean, var = block
    if mode == "train":
        center, shrink, shift, mean, var = _statistics(maps, out)
    else:
        center, shrink, shift = mean.clone(), None, torch.zeros_like(mean)
    inverse_std = torch.add(var, eps if shrink is None else shrink.square().mul_(eps)).rsqrt_()
    factor = scale * inverse_std
    torch.mul(_centered(maps, center, shrink, out), factor, out=out)
    out.add_(torch.addcmul(offset, factor, shift, value=-1))
    return mean, var if shrink is None else var / shrink.square(), center, shrink, shift, inverse_std, factor


def _statistics(maps, scratch):
    """A cache's center, shrink and shift, the mean of x, the variance of (x - center) shrink; scratch is like maps.

    The variance is the mean square less the squared mean, but of values whose mean is at most a quarter of the
    standard deviation, so that next to nothing cancels. Where x is not such a case, its mean becomes the center, and
    what then is left of a mean corrects its rounding; where squares overflow even so, take smaller values.
    """
    center, shrink = None, None
    share = _number(maps.shape[-1] / maps.numel(), maps.dtype)
    for attempt in range(6):
        values = _centered(maps, center, shrink, scratch)
        shift, squares = _sum(values).mul_(share), _sum_of_squares(values, scratch).mul_(share)
        mean = shift if shrink is None else shift / shrink
        mean = mean if center is None else center + mean
        var = torch.addcmul(squares, shift, shift, value=-1)
        if torch.lerp(squares, var, 17).min().item() >= 0:  # var - 16 shift^2, or NaN where squares overflow
            break
        if attempt > 1 and shrink is None and not squares.isfinite().all():
            limits = torch.finfo(maps.dtype)  # a power of two that brings any difference to where it can be squared
            shrink = torch.ones_like(squares).masked_fill_(~squares.isfinite(), limits.eps * limits.tiny**0.5)
        else:
            center = mean
    return center, shrink, shift, mean, var


def _number(value, dtype):
    """A number as a tensor of no dimensions, with which torch computes faster than with a Python number."""
    if torch._C._len_torch_dispatch_stack() or torch._C._are_functorch_transforms_active():
        return _number_once.__wrapped__(value, dtype)  # a tensor of the mode's own kind, of no use after it
    return _number_once(value, dtype)


@lru_cache
def _number_once(value, dtype):
    return torch.scalar_tensor(value, dtype=dtype, device="cpu")


def _centered(maps, center, shrink, out):
    if center is None:
        return maps
    torch.sub(maps, center, out=out)
    return out if shrink is None else out.mul_(shrink)


def _average(old, new, momentum):
    """momentum old + (1 - momentum) new; at 0 and 1 exactly, even where the other one is not finite."""
    if momentum in {0, 1}:
        return (old if momentum else new).clone()
    if momentum > 0.5:
        return torch.lerp(old, new, _number(1 - momentum, new.dtype))
    return torch.add(momentum * old, new, alpha=1 - momentum)  # lerp would subtract one infinity from another


def _sum(maps):
    return maps.sum((1, 2)).sum(0) if _by_image(maps) else maps.sum(_AXES[: maps.dim() - 1])


def _sum_of_squares(maps, scratch):
    if _by_image(maps):
        return torch.linalg.vector_norm(maps, dim=(1, 2)).square_().sum(0)
    return _sum(torch.mul(maps, maps, out=scratch))


def _by_image(maps):
    """Whether to sum every image by itself first, which keeps each thread to what it has in its cache."""
    return maps.numel() > _SMALL and maps.dim() == 4 and maps.shape[1] * maps.shape[2] >= 16 and maps.stride(-1) > 1


def _backward(dout, cache):
    (grads, x), give_back = as_tensors(dout=dout, x=cache.x)
    if grads.shape != x.shape:
        raise ValueError(f"dout must have the shape of x, {tuple(x.shape)}, got {tuple(grads.shape)}")
    if grads.dtype != x.dtype:
        raise TypeError(f"dout must have the dtype of x, {x.dtype}, got {grads.dtype}")
    grads, maps = _computable((grads, x), x.dtype)
    dx = _like(maps)
    blocks = zip(_blocks(*map(_channels_last, (maps, grads, dx))), cache.statistics, strict=True)
    channels = _joined([_gradients(block, statistics, cache.mode) for block, statistics in blocks])
    return tuple(give_back(_as(x.dtype, gradient)) for gradient in (dx, *channels))


def _gradients(block, statistics, mode):
    """Write dx of whole channels; return their dgamma and dbeta."""
    (maps, grads, dx), (center, shrink, shift, inverse_std, factor) = block, statistics
    dbeta, share = _sum(grads), maps.shape[-1] / maps.numel()
    if center is None and maps.dtype == torch.float32 and _MANY * share < 1:
        rest = _sum(torch.sub(grads, dbeta, alpha=share, out=dx))
        products = _sum(dx.mul_(maps))
    else:
        rest, products = dbeta, _sum(torch.mul(_centered(maps, center, shrink, dx), grads, out=dx))
    dgamma = torch.addcmul(products, rest, shift, value=-1).mul_(inverse_std)
    factor = factor if shrink is None else factor * shrink
    if mode == "train":
        slope = dgamma * inverse_std
        level = torch.addcmul(dbeta, slope, shift, value=-1)
        torch.addcmul(grads, _centered(maps, center, shrink, dx), slope, value=-share, out=dx)
        dx.sub_(level, alpha=share).mul_(factor)
    else:
        torch.mul(grads, factor, out=dx)
    return dgamma, dbeta


def _blocks(*arrays):
    """The arrays in step, in blocks of whole channels; in one where the channels interleave."""
    maps = arrays[0]
    if maps.nbytes <= _BLOCK or maps.stride(-1) == 1:
        return [arrays]
    channels = max(1, _BLOCK * maps.shape[-1] // maps.nbytes)
    return zip(*(array.split(channels, -1) for array in arrays), strict=True)


def _joined(blocks):
    """The first two arrays of every block, put together again along the channels."""
    first, *others = [block[:2] for block in blocks]
    return [torch.cat(parts) for parts in zip(first, *others, strict=True)] if others else first


def _like(maps):
    return empty(maps.shape, maps) if maps.nbytes > _BLOCK and maps.is_contiguous() else torch.empty_like(maps)


def _channels_last(x):
    """(N, C, H, W) seen as (N, H, W, C), so that numbers a channel, (C,), broadcast against it as they are."""
    return x.permute(0, 2, 3, 1) if x.dim() == 4 else x


def _computable(tensors, dtype):
    """The tensors, of this dtype, outside any graph and in the dtype to compute in."""
    plain = [tensor.detach() if tensor.requires_grad else tensor for tensor in tensors]
    return plain if _COMPUTE_DTYPE[dtype] is dtype else [tensor.to(_COMPUTE_DTYPE[dtype]) for tensor in plain]


def _as(dtype, tensor):
    return tensor if tensor.dtype is dtype else tensor.to(dtype)


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
    return mode, float(min(eps, sys.float_info.max)), float(momentum), running


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
    return dtype
