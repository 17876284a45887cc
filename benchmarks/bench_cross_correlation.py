"""Cross-correlation side by side with torch, SciPy and OpenCV, over image and kernel sizes.

`python -m benchmarks.bench_cross_correlation` prints the grid as ratios (below 1: cross_corr_2d leads); `--record` also
writes it to data/cross_corr_cost.json, which the notebook reads, `--quick` takes small images only, `--sizes=256,1024`
takes these, and `--threads=1` times one thread of each library, which a busy machine disturbs least.
"""

import argparse
import datetime
import json
import os
import platform
from statistics import geometric_mean

import cv2
import numpy as np
import scipy.signal
import torch
from torch.nn.functional import conv2d

from benchmarks.common import side_by_side
from helpers.cross_correlation import cross_corr_2d
from tools.make_data import write_data

SIZES = (16, 64, 256, 1024, 2048)
KERNELS = (1, 3, 5, 7, 11, 15, 31, 63)
CONV2D_MEMORY = 4e9  # bytes; in float64 conv2d unrolls every window, 29 GB at 1024 with kernel 63: not run
RECORD = "cross_corr_cost.json"


def candidates(size: int, kernel: int, dtype: torch.dtype) -> dict:
    rng = np.random.default_rng(size + kernel)
    X, K = (torch.from_numpy(rng.standard_normal((n, n))).to(dtype) for n in (size, kernel))
    x, k = X.numpy(), K.numpy()
    timed = {
        "cross_corr_2d": lambda: cross_corr_2d(X, K),
        "scipy": lambda: scipy.signal.correlate(x, k, "valid"),
        "cv2": lambda: cv2.filter2D(x, -1, k, borderType=cv2.BORDER_CONSTANT),
        "conv2d": lambda: conv2d(X[None, None], K[None, None]),
    }
    if dtype == torch.float64 and 8 * ((size - kernel + 1) * kernel) ** 2 > CONV2D_MEMORY:
        del timed["conv2d"]
    if size == 1024 and dtype == torch.float32:
        timed["direct"] = lambda: cross_corr_2d(X, K, method="direct")
        timed["fft"] = lambda: cross_corr_2d(X, K, method="fft")
    return timed


def gradients(size: int, kernel: int, dtype: torch.dtype) -> dict:
    rng = np.random.default_rng(size + kernel)
    X, K = (torch.from_numpy(rng.standard_normal((n, n))).to(dtype).requires_grad_() for n in (size, kernel))
    upstream = torch.from_numpy(rng.standard_normal((size - kernel + 1,) * 2)).to(dtype)
    return {
        "cross_corr_2d": lambda: torch.autograd.grad(cross_corr_2d(X, K), (X, K), upstream),
        "conv2d": lambda: torch.autograd.grad(conv2d(X[None, None], K[None, None])[0, 0], (X, K), upstream),
    }


def forward_grid(sizes, seconds: float) -> dict:
    print("time over: torch conv2d, SciPy correlate valid, OpenCV filter2D (-: needs more than 4 GB, not run)")
    others, ratios, worst, record = ("conv2d", "scipy", "cv2"), {"conv2d": [], "scipy": [], "cv2": []}, [], {}
    for dtype in (torch.float32, torch.float64):
        name = str(dtype).removeprefix("torch.")
        record[name] = {}
        for size in sizes:
            record[name][size] = {}
            for kernel in (k for k in KERNELS if k <= size):
                times = side_by_side(candidates(size, kernel, dtype), seconds)
                record[name][size][kernel] = {which: round(time, 1) for which, time in times.items()}
                row = {other: times["cross_corr_2d"] / times[other] for other in others if other in times}
                for other, ratio in row.items():
                    ratios[other].append(ratio)
                best = max(row["scipy"], row.get("conv2d", 0))
                worst.append((best, f"{name} {size} kernel {kernel}"))
                cells = "".join(f"{row[other]:9.2f}" if other in row else "        -" for other in others)
                print(f"{name} {size:5} k{kernel:3} {times['cross_corr_2d']:10.0f} us {cells}", flush=True)
    for other, values in ratios.items():
        print(f"geometric mean against {other}: {geometric_mean(values):.2f}")
    above = [f"{where}: {ratio:.2f}" for ratio, where in sorted(worst, reverse=True) if ratio > 1.1]
    print(f"slower than 1.1 x the better of conv2d and SciPy at {len(above)} of {len(worst)} points: {above}")
    return record


def gradient_grid(sizes, seconds: float) -> None:
    print("\nforward and both gradients, time over torch conv2d's")
    ratios = []
    for dtype in (torch.float32, torch.float64):
        for size in sizes:
            for kernel in (k for k in KERNELS if k <= size and (size * k) ** 2 < 3e8):
                times = side_by_side(gradients(size, kernel, dtype), seconds)
                ratios.append(times["cross_corr_2d"] / times["conv2d"])
                where = f"{str(dtype).removeprefix('torch.')} {size:5} k{kernel:3}"
                print(f"{where} {times['cross_corr_2d']:10.0f} us {ratios[-1]:9.2f}", flush=True)
    slower = sum(ratio > 1 for ratio in ratios)
    print(f"geometric mean {geometric_mean(ratios):.2f}; slower at {slower} of {len(ratios)} points")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small images only")
    parser.add_argument("--record", action="store_true", help=f"write the times of all sizes to data/{RECORD}")
    parser.add_argument("--sizes", type=lambda text: [int(size) for size in text.split(",")])
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    if options.record and (options.quick or options.sizes):
        parser.error("--record takes all sizes: neither --quick nor --sizes")
    sizes, seconds = (SIZES[:3], 0.05) if options.quick else (options.sizes or SIZES, 0.25)
    if options.threads:
        torch.set_num_threads(options.threads)
        cv2.setNumThreads(options.threads)
    cores, threads = os.cpu_count(), torch.get_num_threads()
    print(f"{datetime.date.today()}, {cores} cores, {threads} threads", flush=True)
    facts = {"date": str(datetime.date.today()), "cores": cores, "threads": threads, "machine": platform.machine()}
    if hasattr(os, "getloadavg"):  # more than the cores: the machine was busy, and the times are uncertain
        facts["load"] = round(os.getloadavg()[0], 1)
    facts |= {"unit": "microseconds, fastest of five rounds", "times": forward_grid(sizes, seconds)}
    if options.record:
        write_data(RECORD, (json.dumps(facts, indent=1) + "\n").encode())
    gradient_grid([size for size in sizes if size <= 1024], seconds)


if __name__ == "__main__":
    main()
