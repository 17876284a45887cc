"""The project's batch normalization as a torch operation, so that networks can be trained through it."""

import torch

from helpers import batch_norm as functions


class BatchNorm(torch.autograd.Function):
    """Forward and backward pass of `helpers.batch_norm`, joined for torch's automatic differentiation."""

    @staticmethod
    def forward(ctx, x, gamma, beta, bn_param):
        spatial = x.dim() == 4
        forward = functions.spatial_batchnorm_forward if spatial else functions.batchnorm_forward
        ctx.backward_pass = functions.spatial_batchnorm_backward if spatial else functions.batchnorm_backward
        out, cache = forward(x, gamma, beta, bn_param)
        ctx.save_for_backward(x)  # torch keeps it itself, to free it early and to notice when it is overwritten
        ctx.statistics = cache._replace(x=None)
        return out

    @staticmethod
    def backward(ctx, dout):
        if torch.is_grad_enabled():
            raise RuntimeError("batch_norm has first derivatives only: call without create_graph")
        return *ctx.backward_pass(dout, ctx.statistics._replace(x=ctx.saved_tensors[0])), None


def batch_norm(x: torch.Tensor, gamma: torch.Tensor, beta: torch.Tensor, bn_param: dict) -> torch.Tensor:
    """Batch normalization, gamma * (x - mean) / sqrt(variance + eps) + beta, with the project's own gradient.

    x: (N, C) or (N, C, H, W), floating point; gamma, beta: (C,) of the same dtype; bn_param: `mode` and the
    settings of `helpers.batch_norm`, which receives the new running statistics in "train" mode.
    Returns a tensor like x. Raises what `helpers.batch_norm` raises; RuntimeError for a second derivative.
    """
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"x must be a torch tensor, got {type(x).__name__}")
    return BatchNorm.apply(x, gamma, beta, bn_param)
