"""The gradient check against torch.autograd.gradcheck as it comes, on spatial batch norm of (2, 3, 5, 7).

Both check the same pair of functions in the same process, turn by turn; the time of each is its fastest turn.
"""

import numpy as np
import torch
from torch.autograd import gradcheck
from torch.nn.functional import batch_norm
from torch.utils.benchmark import Timer

from helpers import autograd
from helpers.batch_norm import spatial_batchnorm_backward, spatial_batchnorm_forward
from helpers.gradient_check import check_autograd, check_gradients

TURNS = 7


def forward(x, gamma, beta):
    return spatial_batchnorm_forward(x, gamma, beta, {"mode": "train"})


def joined(x, gamma, beta):
    """The project's forward and backward pass as gradcheck can call them."""
    return autograd.batch_norm(x, gamma, beta, {"mode": "train"})


def torch_batch_norm(x, gamma, beta):
    return batch_norm(x, None, None, gamma, beta, training=True)


def main() -> None:
    """Print the fastest turn of every contestant, in milliseconds, and how many times slower gradcheck is."""
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(2, 3, 5, 7)), rng.normal(size=3), rng.normal(size=3)]
    tensors = [torch.from_numpy(array) for array in arrays]
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    contestants = {
        "project's batch norm": (
            lambda: check_gradients(forward, spatial_batchnorm_backward, tensors).raise_if_failed(),
            lambda: gradcheck(joined, leaves),
        ),
        "the same on NumPy": (
            lambda: check_gradients(forward, spatial_batchnorm_backward, arrays).raise_if_failed(),
            lambda: gradcheck(joined, leaves),
        ),
        "F.batch_norm": (
            lambda: check_autograd(torch_batch_norm, tensors).raise_if_failed(),
            lambda: gradcheck(torch_batch_norm, leaves),
        ),
    }
    print(f"Gradient check of spatial batch norm (2, 3, 5, 7), {torch.get_num_threads()} threads")
    print(f"{'checked':<22}{'this [ms]':>12}{'gradcheck [ms]':>16}{'ratio':>8}")
    for name, pair in contestants.items():
        timers = [Timer("run()", globals={"run": run}, num_threads=torch.get_num_threads()) for run in pair]
        turns = [[timer.timeit(1).median * 1e3 for timer in timers] for _ in range(TURNS)]
        ours, theirs = np.min(turns, axis=0)
        print(f"{name:<22}{ours:>12.1f}{theirs:>16.1f}{theirs / ours:>8.1f}")


if __name__ == "__main__":
    main()
