"""Batch normalization of feature vectors and feature maps: forward and backward, training and test mode."""

import math
from numbers import Real
from typing import NamedTuple

import torch

from helpers.interop import Array, as_tensors, empty

_BLOCK = 2**25  # bytes worked on at a time, whole channels that stay in cache from pass to pass
_AXES = (0, 2, 3)  # every axis but the channels; (N, D) is (N, D, 1, 1) in here
_COMPUTE_DTYPE = {torch.float16: torch.float32, torch.bfloat16: torch.float32}
_COMPUTE_DTYPE |= {torch.float32: torch.float32, torch.float64: torch.float64}
_SHRINK = {torch.float32: 2.0**-80, torch.float64: 2.0**-600}  # brings any difference to where it can be squared


class Cache(NamedTuple):
    """What the backward pass needs: the caller's own arrays, not copies, and a few numbers a channel.

    statistics holds (center, shrink, shift, inverse_std) for each block of channels, each of shape (1, c, 1, 1),
    such that x_hat is ((x - center) shrink - shift) inverse_std. The center is None (0) where all means are at
    most a quarter of the standard deviation, else the mean as far as the dtype can tell; shift is the mean of what is
    left; shrink is None (1) unless squares would overflow even so.
    """

    x: Array
    gamma: Array
    mode: str
    statistics: tuple


def spatial_batchnorm_forward(x: Array, gamma: Array, beta: Array, bn_param: dict) -> tuple[Array, Cache]:
    """Normalize every channel over batch, height and width, then scale and shift it.

    out = gamma (x - M) / sqrt(V + eps) + beta. In "train" M and V are the channel's mean and biased variance
    in this batch, and running <- momentum running + (1 - momentum) batch; in "test" they are the running
    statistics.

    x: (N, C, H, W), gamma and beta: (C,), all NumPy arrays or all torch tensors, of one floating-point dtype;
    float16 and bfloat16 compute in float32. bn_param: "mode", "train" or "test"; "eps" (1e-5); "momentum"
    (0.9), the share that the old running statistics keep; "running_mean" and "running_var", (C,), of x's
    dtype, zeros when absent. "train" puts new ones there once all has succeeded; a variance too large for the
    dtype is inf.

    Returns out, of x's kind, dtype, shape and memory order, outside any autograd graph, and the cache, which
    refers to x and gamma themselves: whoever changes them before the backward pass gets wrong gradients.
    Raises ValueError, naming it: mode, a shape, an empty batch, eps not positive, momentum outside [0, 1], a
    negative running_var. TypeError: bn_param no dict, eps or momentum no numbers, mixed or other kinds or
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
    _check(tensors, ("x", "gamma", "beta", *running), axes)
    given = tensors[0]
    maps, scale, offset, *averages = (_computable(tensor) for tensor in tensors)
    averages = dict(zip(running, averages, strict=True))
    maps, scale, offset = _as_maps(maps), scale.view(1, -1, 1, 1), offset.view(1, -1, 1, 1)
    eps = max(eps, torch.finfo(maps.dtype).tiny)
    out = _like(maps)
    if mode == "train":
        blocks = [_normalize(*block, eps) for block in _blocks(maps, scale, offset, out)]
        for name, batch in zip(("running_mean", "running_var"), _joined(blocks), strict=True):
            average = averages[name] if name in averages else torch.zeros_like(batch)
            ends = {0: batch, 1: average}  # exactly, even where the other one is not finite
            moved = ends[momentum].clone() if momentum in ends else torch.lerp(batch, average, momentum)
            averages[name] = give_back(_as(given.dtype, moved))
    else:
        mean, var = (averages.get(name, torch.zeros_like(scale)) for name in ("running_mean", "running_var"))
        if (var < 0).any():
            raise ValueError(f"bn_param['running_var'] must not be negative, got {var.min().item()}")
        mean, inverse_std = mean.view(scale.shape).clone(), (var.view(scale.shape) + eps).rsqrt_()
        blocks = []
        for block, a, b, result, center, factor in _blocks(maps, scale, offset, out, mean, inverse_std):
            torch.sub(block, center, out=result).mul_(a * factor).add_(b)
            blocks.append((center, None, torch.zeros_like(center), factor))
    out = give_back(_as(given.dtype, out).view(given.shape))
    if mode == "train":
        bn_param.update(averages)
    return out, Cache(x, gamma, mode, tuple(block[-4:] for block in blocks))


def _normalize(maps, scale, offset, out, eps):
    """Normalize whole channels into out; return their mean and variance, and what the backward pass needs."""
    center, shrink, shift, var = _statistics(maps, out)
    inverse_std = (var + (eps if shrink is None else eps * shrink.square())).rsqrt_()
    factor = scale * inverse_std
    torch.mul(maps if center is None else out, factor, out=out)
    out.add_(torch.addcmul(offset, factor, shift, value=-1))
    mean, batch_var = (shift, var) if shrink is None else (shift / shrink, var / shrink.square())
    mean = mean if center is None else center + mean
    return mean.view(-1), batch_var.view(-1), center, shrink, shift, inverse_std


def _statistics(maps, out):
    """What describes the channels; out holds (x - center) shrink, unless the center is None.

    The variance is the mean square less the squared mean, but of values whose mean is at most a quarter of the
    standard deviation, so that next to nothing cancels. Where x is not such a case, its mean becomes the center, and
    what then is left of a mean corrects its rounding; where squares overflow even so, take smaller values.
    """
    center, shrink, share = None, None, maps.shape[1] / maps.numel()
    for _ in range(5):
        values = _centered(maps, center, shrink, out)
        shift = _sum(values).mul_(share)
        squares = _sum_of_squares(values).mul_(share)
        var = torch.addcmul(squares, shift, shift, value=-1)
        least, most = torch.addcmul(var, shift, shift, value=-16).aminmax()
        if least.item() >= 0 and most.item() < math.inf:
            break
        if center is not None and shrink is None and not squares.isfinite().all():
            shrink = torch.ones_like(squares).masked_fill_(~squares.isfinite(), _SHRINK[maps.dtype])
        else:
            mean = shift if shrink is None else shift / shrink
            center = mean if center is None else center + mean
    else:
        var.clamp_(min=0)
    return center, shrink, shift, var


def _centered(maps, center, shrink, out):
    if center is None:
        return maps
    torch.sub(maps, center, out=out)
    return out if shrink is None else out.mul_(shrink)


def _sum(maps):
    """The sum over every axis but the channels, image by image where that keeps each thread to what it has in cache."""
    return maps.sum((2, 3), True).sum(0, True) if _large_images(maps) else maps.sum(_AXES, True)


def _sum_of_squares(maps):
    axes = (2, 3) if _large_images(maps) else _AXES
    return torch.linalg.vector_norm(maps, dim=axes, keepdim=True).square_().sum(0, True)


def _large_images(maps):
    return maps.shape[2] * maps.shape[3] >= 16  # so that a number an image and channel is little memory


def _backward(dout, cache):
    tensors, give_back = as_tensors(dout=dout, x=cache.x, gamma=cache.gamma)
    upstream, x, _ = tensors
    if upstream.shape != x.shape:
        raise ValueError(f"dout must have the shape of x, {tuple(x.shape)}, got {tuple(upstream.shape)}")
    if upstream.dtype != x.dtype:
        raise TypeError(f"dout must have the dtype of x, {x.dtype}, got {upstream.dtype}")
    grads, maps, scale = (_computable(tensor) for tensor in tensors)
    grads, maps, scale = _as_maps(grads), _as_maps(maps), scale.view(1, -1, 1, 1)
    dx = _like(maps)
    blocks = zip(_blocks(maps, grads, scale, dx), cache.statistics, strict=True)
    channels = _joined([_gradients(block, statistics, cache.mode) for block, statistics in blocks])
    dx, dgamma, dbeta = (_as(x.dtype, gradient) for gradient in (dx, *channels))
    return give_back(dx.view(x.shape)), give_back(dgamma), give_back(dbeta)


def _gradients(block, statistics, mode):
    """Write dx of whole channels; return their dgamma and dbeta."""
    (maps, grads, scale, dx), (center, shrink, shift, inverse_std) = block, statistics
    dbeta = _sum(grads)
    products = _sum(torch.mul(_centered(maps, center, shrink, dx), grads, out=dx))
    dgamma = torch.addcmul(products, dbeta, shift, value=-1).mul_(inverse_std)
    factor = scale * inverse_std if shrink is None else scale * inverse_std * shrink
    if mode == "train":
        share = maps.shape[1] / maps.numel()
        slope = dgamma * inverse_std
        level = torch.addcmul(dbeta, slope, shift, value=-1)
        torch.addcmul(grads, _centered(maps, center, shrink, dx), slope, value=-share, out=dx)
        dx.sub_(level, alpha=share).mul_(factor)
    else:
        torch.mul(grads, factor, out=dx)
    return dgamma.view(-1), dbeta.view(-1)


def _blocks(maps, *others):
    """The arrays in step, in blocks of whole channels; in one where the channels interleave."""
    channels = max(1, _BLOCK * maps.shape[1] // (maps.numel() * maps.itemsize))
    if channels >= maps.shape[1] or maps.stride(1) == 1:
        return [(maps, *others)]
    return zip(*(array.split(channels, 1) for array in (maps, *others)), strict=True)


def _joined(blocks):
    """The first two arrays of every block, put together again along the channels."""
    if len(blocks) == 1:
        return blocks[0][:2]
    return [torch.cat([block[i] for block in blocks]) for i in range(2)]


def _like(maps):
    return empty(maps.shape, maps) if maps.is_contiguous() else torch.empty_like(maps)


def _as_maps(x):
    return x if x.dim() == 4 else x[:, :, None, None]


def _computable(tensor):
    """The tensor outside any graph, in the dtype to compute in."""
    return _as(_COMPUTE_DTYPE[tensor.dtype], tensor.detach() if tensor.requires_grad else tensor)


def _as(dtype, tensor):
    return tensor if tensor.dtype == dtype else tensor.to(dtype)


def _read(bn_param):
    if not isinstance(bn_param, dict):
        raise TypeError(f"bn_param must be a dictionary, got {type(bn_param).__name__}")
    mode, eps, momentum = bn_param.get("mode"), bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
    if mode not in ("train", "test"):
        raise ValueError(f"bn_param['mode'] must be 'train' or 'test', got {mode!r}")
    for name, number in (("eps", eps), ("momentum", momentum)):
        if not isinstance(number, Real) or isinstance(number, bool):
            raise TypeError(f"bn_param[{name!r}] must be a number, got {type(number).__name__}")
    if not 0 < eps < math.inf:
        raise ValueError(f"bn_param['eps'] must be positive and finite, got {eps}")
    if not 0 <= momentum <= 1:
        raise ValueError(f"bn_param['momentum'] must be from 0 to 1, got {momentum}")
    running = {name: bn_param[name] for name in ("running_mean", "running_var") if name in bn_param}
    return mode, float(eps), float(momentum), running


def _check(tensors, names, axes):
    dtype, shape = tensors[0].dtype, tensors[0].shape
    if dtype not in _COMPUTE_DTYPE:
        raise TypeError(f"x must be float16, bfloat16, float32 or float64, got {dtype}")
    if len(shape) != len(axes):
        raise ValueError(f"x must have shape ({', '.join(axes)}), got {tuple(shape)}")
    if math.prod(shape) == 0:
        raise ValueError(f"x is an empty batch, shape {tuple(shape)}")
    channels = shape[1:2]
    for name, tensor in zip(names[1:], tensors[1:], strict=True):
        if tensor.dtype != dtype:
            raise TypeError(f"{name} must have the dtype of x, {dtype}, got {tensor.dtype}")
        if tensor.shape != channels:
            raise ValueError(f"{name} must have shape ({shape[1]},), got {tuple(tensor.shape)}")
