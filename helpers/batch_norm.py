"""Batch normalization, forward and backward, of feature vectors and of feature maps, in training and at test time."""

import math
from numbers import Real
from typing import NamedTuple

import torch

from helpers.interop import Array, as_tensors

_COMPUTE_DTYPE = {
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
    torch.float32: torch.float32,
    torch.float64: torch.float64,
}


class Cache(NamedTuple):
    """What the backward pass needs: the caller's own arrays and two numbers a channel, in float64."""

    x: Array
    gamma: Array
    mean: torch.Tensor
    inverse_std: torch.Tensor
    mode: str


def batchnorm_forward(x: Array, gamma: Array, beta: Array, bn_param: dict) -> tuple[Array, Cache]:
    """Normalize every feature over the batch, x of shape (N, D); otherwise as spatial_batchnorm_forward."""
    return _forward(x, gamma, beta, bn_param, "(N, D)")


def batchnorm_backward(dout: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """Gradients of batchnorm_forward, dout of shape (N, D); otherwise as spatial_batchnorm_backward."""
    return _backward(dout, cache)


def spatial_batchnorm_forward(x: Array, gamma: Array, beta: Array, bn_param: dict) -> tuple[Array, Cache]:
    """Normalize every channel over batch, height and width."""
    return _forward(x, gamma, beta, bn_param, "(N, C, H, W)")


def spatial_batchnorm_backward(dout: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """Gradients of sum(out * dout) with respect to x, gamma and beta."""
    return _backward(dout, cache)


def _forward(x, gamma, beta, bn_param, layout):
    mode, eps, momentum, running = _read(bn_param)
    tensors, give_back = as_tensors(x=x, gamma=gamma, beta=beta, **running)
    tensors = [tensor.detach() for tensor in tensors]
    _check(tensors, running, layout)
    values, scale, offset = (tensor.to(_COMPUTE_DTYPE[tensor.dtype]) for tensor in tensors[:3])
    rows = values.reshape(*values.shape[:2], -1)
    averages = dict(zip(running, tensors[3:], strict=True))
    zeros = tensors[1].new_zeros(scale.shape)
    running_mean, running_var = (averages.get(name, zeros) for name in ("running_mean", "running_var"))
    if mode == "train":
        mean = rows.double().mean((0, 2))
        var = (rows.double() - mean[:, None]).square().mean((0, 2))
    else:
        mean, var = running_mean.double(), running_var.double()
        if (var < 0).any():
            raise ValueError(f"running_var must not be negative, got {var.min().item()}")
    inverse_std = (var + eps).rsqrt()
    out = (rows.double() - mean[:, None]) * (inverse_std * scale)[:, None] + offset[:, None]
    out = give_back(out.to(tensors[0].dtype).reshape(values.shape))
    cache = Cache(x, gamma, mean, inverse_std, mode)
    if mode == "train":
        bn_param["running_mean"] = give_back(_blend(running_mean, mean, momentum))
        bn_param["running_var"] = give_back(_blend(running_var, var, momentum))
    return out, cache


def _backward(dout, cache):
    (upstream, x, gamma), give_back = as_tensors(dout=dout, x=cache.x, gamma=cache.gamma)
    if upstream.shape != x.shape:
        raise ValueError(f"dout must have the shape of x, {tuple(x.shape)}, got {tuple(upstream.shape)}")
    if upstream.dtype != x.dtype:
        raise TypeError(f"dout must have the dtype of x, {x.dtype}, got {upstream.dtype}")
    shape = (*x.shape[:2], -1)
    rows, grads = x.detach().reshape(shape).double(), upstream.detach().reshape(shape).double()
    normalized = (rows - cache.mean[:, None]) * cache.inverse_std[:, None]
    dbeta = grads.sum((0, 2))
    dgamma = (grads * normalized).sum((0, 2))
    if cache.mode == "train":
        count = rows.shape[0] * rows.shape[2]
        grads = grads - (dbeta / count)[:, None] - normalized * (dgamma / count)[:, None]
    dx = grads * (gamma.detach() * cache.inverse_std)[:, None]
    dx = dx.reshape(x.shape)
    return tuple(give_back(gradient.to(x.dtype)) for gradient in (dx, dgamma, dbeta))


def _blend(running, batch, momentum):
    return (momentum * running.double() + (1 - momentum) * batch).to(running.dtype)


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
        raise ValueError(f"bn_param['eps'] must be positive, got {eps}")
    if not 0 <= momentum <= 1:
        raise ValueError(f"bn_param['momentum'] must be from 0 to 1, got {momentum}")
    running = {name: bn_param[name] for name in ("running_mean", "running_var") if name in bn_param}
    return mode, float(eps), float(momentum), running


def _check(tensors, running, layout):
    x, *channels = tensors
    if x.dtype not in _COMPUTE_DTYPE:
        raise TypeError(f"x must be float16, bfloat16, float32 or float64, got {x.dtype}")
    if x.dim() != layout.count(",") + 1:
        raise ValueError(f"x must have shape {layout}, got {tuple(x.shape)}")
    if x.numel() == 0:
        raise ValueError(f"x is an empty batch, shape {tuple(x.shape)}")
    for name, tensor in zip(("gamma", "beta", *running), channels, strict=True):
        if tensor.dtype != x.dtype:
            raise TypeError(f"{name} must have the dtype of x, {x.dtype}, got {tensor.dtype}")
        if tensor.shape != x.shape[1:2]:
            raise ValueError(f"{name} must have shape ({x.shape[1]},), got {tuple(tensor.shape)}")
