"""The arithmetic of batch normalization, on blocks of whole channels: arrays whose last axis is the channels'."""

import math
from functools import lru_cache

import torch

from helpers.interop import empty

_BLOCK = 8_388_608  # bytes of x worked on at a time, whole channels, so that passes find them in the cache
_MANY = 512  # values a channel: float32 sums of more products lose digits where both factors have a mean
_SMALL = 32_768  # numbers: torch sums so many in a single thread
_LONG = 4_096  # numbers: of more, a norm adds too many squares in a row for float32


def normalize(block, mode, eps):
    """Whole channels normalized (in out if that is not None), mean and variance, and what the backward pass needs."""
    out, maps, scale, offset, mean, var = block
    eps = number(eps, maps.dtype)
    if mode == "train":
        center, shrink, shift, mean, var = _statistics(maps, out)
    else:
        center, shrink, shift = mean.clone(), None, torch.zeros_like(mean)
    inverse_std = torch.add(var, eps if shrink is None else shrink.square().mul_(eps)).rsqrt_()
    factor = scale * inverse_std
    out = torch.mul(_centered(maps, center, shrink, out), factor, out=out)
    out.add_(torch.addcmul(offset, factor, shift, value=-1))
    var = var if shrink is None else var / shrink.square()
    return out, mean, var, (center, shrink, shift, inverse_std, factor)


def _statistics(maps, scratch):
    """A cache's center, shrink and shift, the mean of x, the variance of (x - center) shrink; scratch is like maps.

    The variance is the mean square less the squared mean, but of values whose mean is at most a quarter of the
    standard deviation, so that next to nothing cancels. Where x is not such a case, its mean becomes the center, and
    what then is left of a mean corrects its rounding; where squares overflow even so, take smaller values.
    """
    center, shrink, values = None, None, maps
    share = number(maps.shape[-1] / maps.numel(), maps.dtype)
    for attempt in range(6):
        shift, squares = _sum(values).mul_(share), _sum_of_squares(values, scratch).mul_(share)
        mean = shift if center is None else center + shift  # a center that squares overflow about is the mean already
        var = torch.addcmul(squares, shift, shift, value=-1)
        if torch.lerp(squares, var, 17).min().item() >= 0:  # var - 16 shift^2, or NaN where squares overflow
            break
        if attempt > 1 and shrink is None and not squares.isfinite().all():
            limits = torch.finfo(maps.dtype)  # a power of two that brings any difference to where it can be squared
            shrink = torch.ones_like(squares).masked_fill_(~squares.isfinite(), limits.eps * limits.tiny**0.5)
        else:
            center = mean
        values = _centered(maps, center, shrink, scratch)
    return center, shrink, shift, mean, var


def gradients(block, mode):
    """dx of whole channels (in dx if that is not None), dgamma and dbeta."""
    dx, maps, grads, (center, shrink, shift, inverse_std, factor) = block
    dbeta, share = _sum(grads), maps.shape[-1] / maps.numel()
    if center is None and maps.dtype == torch.float32 and _MANY * share < 1:
        dx = torch.sub(grads, dbeta, alpha=share, out=dx)
        rest, products = _sum(dx), _sum(dx.mul_(maps))
    else:
        dx = torch.mul(_centered(maps, center, shrink, dx), grads, out=dx)
        rest, products = dbeta, _sum(dx)
    dgamma = torch.addcmul(products, rest, shift, value=-1).mul_(inverse_std)
    factor = factor if shrink is None else factor * shrink
    if mode == "train":
        slope = dgamma * inverse_std
        level = torch.addcmul(dbeta, slope, shift, value=-1)
        torch.addcmul(grads, _centered(maps, center, shrink, dx), slope, value=-share, out=dx)
        dx.sub_(level, alpha=share).mul_(factor)
    else:
        torch.mul(grads, factor, out=dx)
    return dx, dgamma, dbeta


def _centered(maps, center, shrink, out):
    if center is None:
        return maps
    out = torch.sub(maps, center, out=out)
    return out if shrink is None else out.mul_(shrink)


def _sum(maps):
    return maps.sum((1, 2)).sum(0) if _by_image(maps) else maps.sum_to_size(maps.shape[-1])


def _sum_of_squares(maps, scratch):
    if _by_image(maps):
        width, size = maps.shape[1], maps.shape[1] * maps.shape[2]
        if size <= _LONG or 64 <= width <= _LONG:  # norms of images, or of their rows unless these are many and short
            norms = torch.linalg.vector_norm(maps, dim=(1, 2) if size <= _LONG else 1)
            return norms.square_().sum_to_size(maps.shape[-1])
    return _sum(torch.mul(maps, maps, out=scratch))


def _by_image(maps):
    """Whether to sum every image by itself first: large ones stay in a thread's cache, tiny ones are many in a row."""
    channel = maps.stride(-1)  # the size of an image where x is contiguous
    return channel != 1 and maps.dim() == 4 and (channel < 16 or maps.numel() > _SMALL)


def average(old, new, momentum):
    """momentum old + (1 - momentum) new; at 0 and 1 exactly, even where the other one is not finite."""
    if momentum in {0, 1}:
        return (old if momentum else new).clone()
    return old.mul(number(momentum, old.dtype)).add_(new, alpha=1 - momentum)  # lerp makes NaN of two infinities


def number(value, dtype):
    """A positive number, held within the dtype's range, as a tensor, which torch computes faster with than Python's."""
    if torch._C._len_torch_dispatch_stack() or torch._C._are_functorch_transforms_active():
        return _number_once.__wrapped__(value, dtype)  # a tensor of the mode's own kind, of no use after it
    return _number_once(value, dtype)


@lru_cache
def _number_once(value, dtype):
    limits = torch.finfo(dtype)
    return torch.scalar_tensor(min(max(value, limits.tiny), limits.max), dtype=dtype, device="cpu")


def by_blocks(function, arrays, *settings):
    """What function makes of about equally many whole channels at a time, which stay in the cache, put together again.

    The first array is maps; a block also holds, in front, memory for a result of its shape, or None if that is small.
    The whole result has its axes in x's order again. Of several blocks, the last of four results, and the argument that
    takes it later, is a list. Channels that interleave are one block.
    """
    maps = arrays[0]
    if maps.numel() <= _SMALL:
        results = function((None, *arrays), *settings)
        results[0].transpose_(1, -1)
        return results
    result, count = like(maps.transpose(1, -1)), _count(maps, arrays[-1])
    arrays = result.transpose(1, -1), *arrays
    if count == 1:
        return result, *function(arrays, *settings)[1:]
    parts = (array if isinstance(array, list) else array.tensor_split(count, -1) for array in arrays)
    _, first, second, *last = zip(*(function(block, *settings) for block in zip(*parts, strict=True)), strict=True)
    return result, torch.cat(first), torch.cat(second), *map(list, last)


def _count(maps, last):
    """How many blocks: as many as there were before, if that is how the last array came about."""
    if isinstance(last, list):
        return len(last)
    if isinstance(last, tuple) or maps.stride(-1) == 1:
        return 1
    return math.ceil(maps.shape[-1] / max(1, _BLOCK * maps.shape[-1] // maps.nbytes))


def like(x):
    return empty(x.shape, x) if x.is_contiguous() else torch.empty_like(x)
