"""Spatial batch normalization side by side with torch's native layer: forward plus backward, training mode.

`python -m benchmarks.bench_batch_norm` prints times, their ratios (below 1: the helper is faster) and the
peak memory of both; `--quick` leaves out the larger half of the shapes.
"""

import ctypes
import re
import sys
from pathlib import Path
from statistics import geometric_mean

import numpy as np
import torch
from torch.nn.functional import batch_norm

from benchmarks.common import side_by_side
from helpers.batch_norm import spatial_batchnorm_backward, spatial_batchnorm_forward

SHAPES = [(8, 16, 8, 8), (32, 512, 7, 7), (16, 64, 32, 32), (32, 256, 14, 14), (16, 3, 224, 224), (32, 64, 56, 56)]
STATUS = Path("/proc/self/status")


def candidates(shape: tuple[int, ...], dtype: torch.dtype) -> dict:
    """The helpers on tensors and on arrays, torch's layer in the two ways to call it, and the usual NumPy."""
    rng = np.random.default_rng(shape[1])
    size = shape[1]
    x, gamma, beta, dout = (torch.from_numpy(rng.standard_normal(s)).to(dtype) for s in (shape, size, size, shape))
    mean, var = torch.zeros(size, dtype=dtype), torch.ones(size, dtype=dtype)
    arrays = [tensor.numpy() for tensor in (x, gamma, beta, dout)]
    leaves = [tensor.clone().requires_grad_() for tensor in (x, gamma, beta)]

    def ours(x, gamma, beta, dout, param):
        out, cache = spatial_batchnorm_forward(x, gamma, beta, param)
        return out, *spatial_batchnorm_backward(dout, cache)

    def autograd():
        out = batch_norm(leaves[0], mean, var, *leaves[1:], True)
        return out, *torch.autograd.grad(out, leaves, dout)

    def kernels():
        out, *saved = torch.native_batch_norm(x, gamma, beta, mean, var, True, 0.1, 1e-5)
        statistics = (mean, var, *saved)
        return out, *torch.ops.aten.native_batch_norm_backward(dout, x, gamma, *statistics, True, 1e-5, [True] * 3)

    tensor_param = {"mode": "train", "running_mean": mean, "running_var": var}
    array_param = {"mode": "train", "running_mean": mean.numpy(), "running_var": var.numpy()}
    return {
        "ours": lambda: ours(x, gamma, beta, dout, tensor_param),
        "ours, NumPy": lambda: ours(*arrays, array_param),
        "autograd": autograd,
        "kernels": kernels,
        "transposes": lambda: with_transposes(*arrays),
    }


def with_transposes(x, gamma, beta, dout, eps=1e-5):
    """The usual NumPy formulation: channels last, as a matrix, then the formulas of the paper."""
    n, c, h, w = x.shape
    rows, upstream = (a.transpose(0, 2, 3, 1).reshape(-1, c) for a in (x, dout))
    mean, var = rows.mean(0), rows.var(0)
    x_hat = (rows - mean) / np.sqrt(var + eps)
    out = gamma * x_hat + beta
    dbeta, dgamma = upstream.sum(0), (upstream * x_hat).sum(0)
    dx = gamma / np.sqrt(var + eps) * (upstream - dbeta / len(rows) - x_hat * dgamma / len(rows))
    return *(a.reshape(n, h, w, c).transpose(0, 3, 1, 2) for a in (out, dx)), dgamma, dbeta


def peak(call) -> float | None:
    """The most memory in MiB that a call holds beyond what it found, its results included; Linux only."""
    if not STATUS.exists():
        return None
    call()
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)  # memory that earlier calls left in the heap would not show
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    call()
    return resident("VmHWM") - before


def resident(field: str) -> float:
    return int(re.search(rf"{field}:\s+(\d+) kB", STATUS.read_text())[1]) / 1024


def main() -> None:
    quick = "--quick" in sys.argv
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    print("milliseconds, and ratios to torch; memory in MiB, ours / torch's kernels")
    heads = f"{'ours':>10}{'autograd':>10}{'kernels':>10}{'to autograd':>14}{'to the faster':>14}"
    print(f"{'':26}{heads}{'NumPy':>11}{'transposes':>14}{'memory':>14}")
    ratios = {"autograd": [], "the faster": []}
    for dtype in (torch.float32, torch.float64):
        for shape in SHAPES[:3] if quick else SHAPES:
            calls = candidates(shape, dtype)
            time = side_by_side(calls, seconds=0.3 if quick else 1.0)
            ratios["autograd"].append(time["ours"] / time["autograd"])
            ratios["the faster"].append(time["ours"] / min(time["autograd"], time["kernels"]))
            memory = [peak(calls[name]) for name in ("ours", "kernels")]
            shown = "-" if None in memory else "{:.0f} / {:.0f}".format(*memory)
            times = "".join(f"{time[name] / 1e3:10.2f}" for name in ("ours", "autograd", "kernels"))
            both = "".join(f"{values[-1]:14.2f}" for values in ratios.values())
            numpy = f"{time['ours, NumPy'] / 1e3:11.2f}{time['transposes'] / time['ours, NumPy']:8.1f} times"
            print(f"{str(dtype)[6:]:8}{shape!s:18}{times}{both}{numpy}{shown:>14}", flush=True)
    for name, values in ratios.items():
        print(f"to {name}: geometric mean {geometric_mean(values):.2f}, worst {max(values):.2f}")
    torch.set_num_threads(threads)


if __name__ == "__main__":
    main()
