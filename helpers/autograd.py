"""The project's batch normalization as a torch operation, so that networks can be trained through it."""

import torch
from torch.autograd.function import once_differentiable

from helpers import batch_norm as functions


class BatchNorm(torch.autograd.Function):
    """Forward and backward pass of `helpers.batch_norm`, joined for torch's automatic differentiation."""

    @staticmethod
    def forward(ctx, x, gamma, beta, bn_param):
        spatial = x.dim() == 4
        forward = functions.spatial_batchnorm_forward if spatial else functions.batchnorm_forward
        ctx.backward_pass = functions.spatial_batchnorm_backward if spatial else functions.batchnorm_backward
        out, ctx.cache = forward(x, gamma, beta, bn_param)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, dout):
        return *ctx.backward_pass(dout, ctx.cache), None


def batch_norm(x: torch.Tensor, gamma: torch.Tensor, beta: torch.Tensor, bn_param: dict) -> torch.Tensor:
    """Batch normalization, gamma * (x - mean) / sqrt(variance + eps) + beta, with the project's own gradient.

    x: (N, C) or (N, C, H, W), floating point; gamma, beta: (C,) of the same dtype; bn_param: `mode` and the
    settings of `helpers.batch_norm`, which receives the new running statistics in "train" mode.
    Returns a tensor like x, and raises what `helpers.batch_norm` raises. It has first derivatives only.
    """
    return BatchNorm.apply(x, gamma, beta, bn_param)
