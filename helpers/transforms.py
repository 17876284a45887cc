"""Cross-correlation by tiles of spectra: for a large kernel, transforms cost less than the products."""

import math

import numpy as np

from helpers.threads import run_in_threads

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
    """Cross-correlate float32 or float64 arrays by tiles that are transformed in double precision.

    The spectrum of a cross-correlation is the tile's times that of the kernel turned by 180 degrees. Tiles overlap by
    h - 1 rows and w - 1 columns, so that every window lies within one. An output's error is a small multiple of
    2^-53 |tile| |K| (Euclidean norms). A row of a tile is summed directly if sums of the transforms may overflow or
    underflow or, in single precision, if it holds a sum so small that this error could show.
    Source: Oppenheim and Schafer (2010), Discrete-Time Signal Processing, section 8.7 (overlap-save).
    """
    (H, W), (h, w) = x.shape, k.shape
    height, rows = plan_tiles(H, h)
    width, columns = plan_tiles(W, w)
    precision = 2.0**-29 if x.dtype == np.float32 else 0.0
    y = np.empty((H - h + 1, W - w + 1), x.dtype)
    corners = [(i, j) for i in range(0, y.shape[0], rows) for j in range(0, y.shape[1], columns)]

    def correlate_some(start: int, stop: int) -> None:
        # One block of memory: several smaller ones would go back to the system after every call.
        kernel_spectrum, spectrum, work = np.empty((3, height, width // 2 + 1), complex)
        numbers = work.view(float)

        def transform(part: np.ndarray, out: np.ndarray) -> float:
            """Write the spectrum of a part to out, and return the part's norm, or NaN if its squares underflow."""
            tile = numbers[: part.shape[0], : part.shape[1]]
            tile[:] = part
            np.fft.rfft(tile, width, out=out[: len(tile)])
            out[len(tile) :] = 0
            np.fft.fft(out, axis=0, out=out)
            norm = math.sqrt(np.vecdot(tile, tile).sum())
            return norm if norm > 1e-150 or not tile.any() else math.nan

        kernel_norm = transform(k[::-1, ::-1], kernel_spectrum)
        for i, j in corners[start:stop]:
            part = x[i : i + rows + h - 1, j : j + columns + w - 1]
            largest = transform(part, spectrum) * kernel_norm  # no sum exceeds it
            np.multiply(spectrum, kernel_spectrum, out=spectrum)
            np.fft.ifft(spectrum, axis=0, out=spectrum)
            target = y[i : i + rows, j : j + columns]
            sums = numbers[: len(target), :width]
            np.fft.irfft(spectrum[h - 1 : len(part)], width, out=sums)
            target[:] = sums[:, w - 1 : part.shape[1]]
            smallest = largest * precision if largest < 1e290 else math.nan  # NaN: no row is exact
            if smallest != 0 and not np.abs(target).min() >= smallest:
                for row in np.flatnonzero(~(np.abs(target).min(1) >= smallest)):
                    target[row] = correlate_directly(part[row : row + h].copy(), k)

    run_in_threads(len(corners), len(corners), np.errstate(all="ignore")(correlate_some))
    return y
