"""The gradient check against torch.autograd.gradcheck, on batch norm of (2, 3, 5, 7): the fastest of seven turns."""

import numpy as np
import torch
from torch.autograd import gradcheck
from torch.nn import functional
from torch.utils.benchmark import Timer

from helpers.batch_norm import spatial_batchnorm_backward, spatial_batchnorm_forward
from helpers.gradient_check import check_autograd, check_gradients


def forward(x, gamma, beta):
    return spatial_batchnorm_forward(x, gamma, beta, {"mode": "train"})


class Joined(torch.autograd.Function):
    """The project's forward and backward pass as gradcheck can call them."""

    @staticmethod
    def forward(ctx, x, gamma, beta):
        out, ctx.cache = forward(x, gamma, beta)
        return out

    @staticmethod
    def backward(ctx, dout):
        return spatial_batchnorm_backward(dout, ctx.cache)


def torch_batch_norm(x, gamma, beta):
    return functional.batch_norm(x, None, None, gamma, beta, training=True)


def main() -> None:
    """Print the fastest turn of each check, in milliseconds, and how many times slower gradcheck is."""
    rng = np.random.default_rng(0)
    tensors = [torch.from_numpy(rng.normal(size=shape)) for shape in ((2, 3, 5, 7), 3, 3)]
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    pairs = {
        "project's batch norm": (
            lambda: check_gradients(forward, spatial_batchnorm_backward, tensors),
            lambda: gradcheck(Joined.apply, leaves),
        ),
        "F.batch_norm": (
            lambda: check_autograd(torch_batch_norm, tensors),
            lambda: gradcheck(torch_batch_norm, leaves),
        ),
    }
    print(f"{'checked':<22}{'this [ms]':>12}{'gradcheck [ms]':>16}{'ratio':>8}")
    for name, pair in pairs.items():
        timers = [Timer("run()", globals={"run": run}, num_threads=torch.get_num_threads()) for run in pair]
        ours, theirs = np.min([[timer.timeit(1).median * 1e3 for timer in timers] for _ in range(7)], axis=0)
        print(f"{name:<22}{ours:>12.1f}{theirs:>16.1f}{theirs / ours:>8.1f}")


if __name__ == "__main__":
    main()
