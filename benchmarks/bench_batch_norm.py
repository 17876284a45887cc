"""Batch normalization, forward plus backward, against torch's batch_norm with autograd, side by side in one process.

`python -m benchmarks.bench_batch_norm` prints the times in microseconds and their ratios (below 1: the helpers lead).
The inputs have a mean of 5 and a deviation of 3. `--quick` takes few shapes, and `--tune` prints what it costs to wake
another thread, for the constant of helpers/batch_norm.py.
"""

import sys
from functools import partial
from statistics import geometric_mean

import numpy as np
import torch
from torch.nn.functional import batch_norm

from benchmarks.common import side_by_side
from helpers import batch_norm as functions

MAPS = [(8, 16, 8, 8), (16, 64, 32, 32), (32, 64, 56, 56), (32, 256, 14, 14), (32, 512, 7, 7), (16, 3, 224, 224)]
VECTORS = [(128, 1024), (4096, 64)]
DTYPES = ("float32", "float64")
THREADS = 2


def make_arrays(shape: tuple[int, ...], dtype: str) -> list[np.ndarray]:
    """Return x, gamma, beta and dout."""
    rng = np.random.default_rng(shape)
    x = 5 + 3 * rng.standard_normal(shape)
    others = [rng.standard_normal(size) for size in (shape[1], shape[1], shape)]
    return [array.astype(dtype) for array in (x, *others)]


def run_helpers(x, gamma, beta, dout, bn_param):
    forward, backward = functions.batchnorm_forward, functions.batchnorm_backward
    if x.ndim == 4:
        forward, backward = functions.spatial_batchnorm_forward, functions.spatial_batchnorm_backward
    out, cache = forward(x, gamma, beta, bn_param)
    return out, *backward(dout, cache)


def time_both_passes(shape: tuple[int, ...], dtype: str, seconds: float) -> dict[str, float]:
    arrays = make_arrays(shape, dtype)
    tensors = [torch.from_numpy(array) for array in arrays]
    dout = tensors[-1]
    leaves = [tensor.clone().requires_grad_() for tensor in tensors[:3]]
    running = torch.zeros_like(tensors[1]), torch.ones_like(tensors[1])

    def run_autograd():
        out = batch_norm(leaves[0], *running, *leaves[1:], training=True)
        return out, *torch.autograd.grad(out, leaves, dout)

    array_param = {"mode": "train"}
    tensor_param = {"mode": "train"}
    candidates = {
        "NumPy": lambda: run_helpers(*arrays, array_param),
        "torch": lambda: run_helpers(*tensors, tensor_param),
        "autograd": run_autograd,
    }
    return side_by_side(candidates, seconds)


def compare(shapes: list[tuple], seconds: float, limits: dict[str, float]) -> None:
    ratios = {}
    for dtype in DTYPES:
        for shape in shapes:
            times = time_both_passes(shape, dtype, seconds)
            row = f"{dtype:8} {shape!s:18}" + "".join(f"{time:10.0f}" for time in times.values())
            for kind in ("NumPy", "torch"):
                ratios[kind, dtype, shape] = times[kind] / times["autograd"]
                row += f"{ratios[kind, dtype, shape]:8.2f}"
            print(row, flush=True)
    mean, worst = geometric_mean(ratios.values()), max(ratios, key=ratios.get)
    where = "{} {} {}".format(*worst)
    found = {"geometric mean": f"{mean:.2f}", "worst": f"{ratios[worst]:.2f} ({where})"}
    for name, limit in limits.items():
        print(f"{name} {found[name]}, limit {limit:.2f}")


def run_with_threshold(arrays: list[np.ndarray], threshold: int) -> None:
    functions.VALUES_PER_THREAD = threshold
    run_helpers(*arrays, {"mode": "train"})


def tune() -> None:
    """Print from which size on two threads are faster than one."""
    before = functions.VALUES_PER_THREAD
    for size in (16, 32, 48, 64):
        arrays = make_arrays((8, 16, size, size), "float32")
        values = arrays[0].size
        one = partial(run_with_threshold, arrays, values)
        two = partial(run_with_threshold, arrays, values // 2)
        times = side_by_side({"one": one, "two": two}, 1)
        print(f"{values:8} values: one thread {times['one']:6.0f}, two {times['two']:6.0f} microseconds", flush=True)
    functions.VALUES_PER_THREAD = before


def main() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    if "--tune" in sys.argv:
        tune()
    else:
        quick = "--quick" in sys.argv
        seconds = 0.2 if quick else 0.5
        print(f"microseconds and their ratios to autograd's, {THREADS} threads")
        print(f"{'':27}{'NumPy':>10}{'torch':>10}{'autograd':>10}{'NumPy':>8}{'torch':>8}")
        compare(MAPS[::3] if quick else MAPS, seconds, {"geometric mean": 0.6, "worst": 0.9})
        compare(VECTORS[:1] if quick else VECTORS, seconds, {"worst": 1.0})
    torch.set_num_threads(before)


if __name__ == "__main__":
    main()
