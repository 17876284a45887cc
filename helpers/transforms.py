"""Cross-correlation by tiles of spectra: for a large kernel, transforms cost less than the products."""

import math

import numpy as np
import torch

TILE = 320  # pixels a side: of 192 to 640, the best from 900 pixels on (`--only=tune` of the benchmark)


def plan_tiles(length: int, taps: int) -> tuple[int, int]:
    """Return the length of tiles along one side of the image, and how many outputs each gives."""
    outputs = length - taps + 1
    most = max(TILE, 2 * taps) - taps + 1
    tiles = math.ceil(outputs / most)
    each = math.ceil(outputs / tiles)
    side = each + taps - 1
    while 30**20 % side != 0:  # a side transforms fast if its only prime factors are 2, 3 and 5
        side += 1
    return side, each


def count_pixels(length: int, taps: int) -> int:
    """Return how many pixels all tiles along one side have together."""
    tile, each = plan_tiles(length, taps)
    return tile * math.ceil((length - taps + 1) / each)


def correlate_tiles(x: np.ndarray, k: np.ndarray, correlate_directly) -> np.ndarray:
    """Cross-correlate arrays of one dtype, real or complex, by tiles that are transformed in double precision.

    The spectrum of a cross-correlation is the tile's times the kernel's at the opposite frequency. Tiles overlap by
    h - 1 rows and w - 1 columns, so that every window lies within one. An output's error is a small multiple of
    2^-53 |tile| |K| (Euclidean norms). A row of a tile is summed directly if it holds a sum that is not finite or, in
    single precision, one so small that this error could show.
    Source: Oppenheim and Schafer (2010), Discrete-Time Signal Processing, section 8.7 (overlap-save).
    """
    (H, W), (h, w) = x.shape, k.shape
    height, rows = plan_tiles(H, h)
    width, columns = plan_tiles(W, w)
    is_complex = x.dtype.kind == "c"
    transform, invert = (torch.fft.fft2, torch.fft.ifft2) if is_complex else (torch.fft.rfft2, torch.fft.irfft2)
    double = np.complex128 if is_complex else np.float64
    taps = torch.from_numpy(np.array(k, double))
    spectrum = transform(taps.conj(), s=(height, width)).conj()
    smallest = torch.linalg.vector_norm(taps) * (2.0**-29 if x.dtype.char in "fF" else 0.0)  # a sum, over |tile|

    y = np.empty((H - h + 1, W - w + 1), x.dtype)
    for i in range(0, y.shape[0], rows):
        for j in range(0, y.shape[1], columns):
            target = y[i : i + rows, j : j + columns]
            part = x[i : i + rows + h - 1, j : j + columns + w - 1]
            tile = torch.from_numpy(np.array(part, double))
            sums = invert(transform(tile, s=(height, width)).mul_(spectrum), s=(height, width))
            sums = sums[: target.shape[0], : target.shape[1]]
            torch.from_numpy(target).copy_(sums)
            bound = smallest * torch.linalg.vector_norm(tile)
            magnitudes = sums.abs()
            exact = (magnitudes.amin(1) >= bound) & (magnitudes.amax(1) < math.inf)  # NaN is neither
            for row in exact.logical_not().nonzero().flatten().tolist():
                target[row] = correlate_directly(part[row : row + h].copy(), k)
    return y
