"""cross_corr_2d against torch's conv2d, SciPy's correlate and OpenCV's filter2D, side by side in one process.

`python -m benchmarks.bench_cross_correlation` prints the grid as ratios (below 1: cross_corr_2d leads), then what they
come to. `--quick` takes few sizes and kernels, and `--only=tune` prints what the constants of the helpers rest on.
"""

import argparse
import itertools
from functools import partial
from statistics import geometric_mean

import cv2
import numpy as np
import scipy.signal
import torch
from torch.nn.functional import conv2d

from benchmarks.common import side_by_side
from helpers import cross_corr_2d, transforms
from helpers.cross_correlation import correlate_directly
from helpers.transforms import correlate_tiles, count_pixels

SIZES = (16, 32, 64, 200, 256, 900, 1024, 2048)
KERNELS = (1, 3, 5, 6, 7, 11, 12, 15, 29, 31, 63)
DTYPES = ("float32", "float64")
THREADS = 2
UNROLLED_BYTES = 4e9  # in float64 conv2d copies every window, 29 GB at 1024 pixels and kernel 63: not run


def make_arrays(size: int, kernel: int, dtype: str) -> list[np.ndarray]:
    rng = np.random.default_rng([size, kernel])
    return [rng.standard_normal((n, n)).astype(dtype) for n in (size, kernel)]


def fits_conv2d(size: int, kernel: int, dtype: str) -> bool:
    return dtype == "float32" or 8 * ((size - kernel + 1) * kernel) ** 2 < UNROLLED_BYTES


def time_values(size: int, kernel: int, dtype: str, seconds: float) -> dict[str, float]:
    """Return times over cross_corr_2d's in the other library's kind of array: NumPy's, or torch's for conv2d."""
    x, k = make_arrays(size, kernel, dtype)
    X, K = torch.from_numpy(x), torch.from_numpy(k)
    candidates = {
        "numpy": lambda: cross_corr_2d(x, k),
        "torch": lambda: cross_corr_2d(X, K),
        "cv2": lambda: cv2.filter2D(x, -1, k, borderType=cv2.BORDER_CONSTANT),
        "scipy": lambda: scipy.signal.correlate(x, k, "valid"),
    }
    if fits_conv2d(size, kernel, dtype):
        candidates["conv2d"] = lambda: conv2d(X[None, None], K[None, None])
    return side_by_side(candidates, seconds)


def time_gradients(size: int, kernel: int, dtype: str, seconds: float) -> dict[str, float]:
    X, K = (torch.from_numpy(array).requires_grad_() for array in make_arrays(size, kernel, dtype))
    upstream = torch.from_numpy(make_arrays(size - kernel + 1, 1, dtype)[0])
    candidates = {
        "torch": lambda: torch.autograd.grad(cross_corr_2d(X, K), (X, K), upstream),
        "conv2d": lambda: torch.autograd.grad(conv2d(X[None, None], K[None, None])[0, 0], (X, K), upstream),
    }
    return side_by_side(candidates, seconds)


def print_verdict(name: str, ratios: dict[tuple, float], limit: float) -> None:
    if not ratios:
        return
    worst = max(ratios, key=ratios.get)
    above = sum(ratio > limit for ratio in ratios.values())
    where = "{} {} kernel {}".format(*worst)
    print(f"{name:<48} worst {ratios[worst]:5.2f} ({where}), limit {limit}: {above} of {len(ratios)} above", flush=True)


def select(ratios: dict[tuple, float], least: int, below: float = np.inf) -> dict[tuple, float]:
    return {point: ratio for point, ratio in ratios.items() if least <= point[1] < below}


def compare_values(points: list[tuple], seconds: float) -> None:
    print(f"time over that of OpenCV, SciPy (NumPy arrays) and conv2d (tensors); {THREADS} threads; -: not run")
    to_cv2, to_better, as_tensors = {}, {}, {}
    for dtype, size, kernel in points:
        times = time_values(size, kernel, dtype, seconds)
        point = dtype, size, kernel
        to_cv2[point] = times["numpy"] / times["cv2"]
        as_tensors[point] = times["torch"] / times["cv2"]
        to_scipy = times["numpy"] / times["scipy"]
        to_conv2d = times["torch"] / times["conv2d"] if "conv2d" in times else 0.0
        to_better[point] = max(to_scipy, to_conv2d)
        cells = f"{to_cv2[point]:6.2f} {to_scipy:6.2f} " + (f"{to_conv2d:6.2f}" if to_conv2d else "     -")
        print(f"{dtype} {size:5} k{kernel:3} {times['numpy']:10.1f} us {cells}", flush=True)
    print(f"geometric mean over OpenCV: {geometric_mean(to_cv2.values()):.2f}, limit 0.70")
    print(f"geometric mean over OpenCV, called with tensors: {geometric_mean(as_tensors.values()):.2f}")
    print_verdict("over the better of conv2d and SciPy", to_better, 1.0)
    print_verdict("over OpenCV below 64 pixels", select(to_cv2, 0, 64), 2.2)
    print_verdict("over OpenCV from 64 to 199 pixels", select(to_cv2, 64, 200), 1.7)
    print_verdict("over OpenCV from 200 pixels on", select(to_cv2, 200), 1.25)
    print_verdict("over OpenCV below 64 pixels, called with tensors", select(as_tensors, 0, 64), 2.2)


def compare_gradients(points: list[tuple], seconds: float) -> None:
    print("\nforward and both gradients, time over torch conv2d's")
    ratios = {}
    for dtype, size, kernel in points:
        if not fits_conv2d(size, kernel, dtype):
            continue
        times = time_gradients(size, kernel, dtype, seconds)
        ratios[dtype, size, kernel] = times["torch"] / times["conv2d"]
        print(
            f"{dtype} {size:5} k{kernel:3} {times['torch']:10.1f} us {times['torch'] / times['conv2d']:6.2f}",
            flush=True,
        )
    print(f"geometric mean over conv2d: {geometric_mean(ratios.values()):.2f}, limit 0.50")
    print_verdict("gradients below 64 pixels", select(ratios, 0, 64), 1.35)
    print_verdict("gradients from 64 pixels on", select(ratios, 64), 1.05)


def tune(seconds: float) -> None:
    """Print what bounds the constants of helpers/cross_correlation.py and helpers/transforms.py."""
    for dtype, size, kernel in itertools.product(DTYPES, (64, 256, 1024), (7, 11, 15, 21)):
        x, k = make_arrays(size, kernel, dtype)
        direct = partial(correlate_directly, x, k)
        candidates = {"fft": partial(correlate_tiles, x, k, correlate_directly), "direct": direct}
        times = side_by_side(candidates, seconds)
        products = k.nbytes * (size - kernel + 1) ** 2
        per_pixel = times["fft"] / times["direct"] * products / count_pixels(size, kernel) ** 2
        torch.set_num_threads(1)
        alone = side_by_side({"direct": direct}, seconds)["direct"]
        torch.set_num_threads(THREADS)
        print(f"{dtype} {size:5} k{kernel:3}: a pixel's transforms take as long as {per_pixel:5.0f} bytes of products")
        print(f"  {products:,} bytes of products take {alone:.0f} us; {times['direct']:.0f} us with {THREADS} threads")
    before = transforms.TILE
    for size, kernel in itertools.product((900, 2048), (31, 63)):
        x, k = make_arrays(size, kernel, "float32")
        tiles = {str(side): partial(correlate_with_tile, side, x, k) for side in (192, 256, 320, 384, 512)}
        print(size, kernel, "us by tile:", {side: round(time) for side, time in side_by_side(tiles, seconds).items()})
    transforms.TILE = before


def correlate_with_tile(side: int, x: np.ndarray, k: np.ndarray) -> None:
    transforms.TILE = side
    correlate_tiles(x, k, correlate_directly)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few sizes and kernels")
    parser.add_argument("--sizes", type=lambda text: [int(size) for size in text.split(",")], default=SIZES)
    parser.add_argument("--only", choices=("values", "gradients", "tune"))
    parser.add_argument("--seconds", type=float, default=0.1, help="for each function at each point")
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    cv2.setNumThreads(THREADS)
    sizes, kernels = ((16, 64, 256), (3, 7, 15)) if options.quick else (options.sizes, KERNELS)
    points = [point for point in itertools.product(DTYPES, sizes, kernels) if point[2] <= point[1]]
    if options.only == "tune":
        tune(options.seconds)
    if options.only in (None, "values"):
        compare_values(points, options.seconds)
    if options.only in (None, "gradients"):
        compare_gradients(points, options.seconds)


if __name__ == "__main__":
    main()
