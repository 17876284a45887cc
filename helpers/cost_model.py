"""What the ways to a cross-correlation cost, and which is the cheapest."""

import math
from functools import partial

import torch

# Nanoseconds for 16 float32 lanes; only the ratios matter. A float64 step costs twice as much; threads share the steps
# of torch's operations, not the calls and not NumPy's.

_CALL = 1_300.0  # one torch operation, called from Python
_MEETING = 10_000.0  # wait until all threads are done; often it takes twice as long
_SMALL_CALL = 900.0  # one NumPy operation
_WINDOW = 5.0  # begin the sum of one window of a column
_LINE = 20.0  # begin the sums of one row of outputs
_COLUMN = 0.06  # copy one pixel of the columns or lines of windows
_FAR = 1.75  # times as much from an image that leaves the cache
_DOT = 0.034  # one multiply-add of a window
_WHOLE = 0.4  # the same of integers of any size
_TAP = 0.08  # copy one pixel to where a tap meets it, and multiply it
_SHIFT = 0.11  # multiply and add one shifted pixel
_COPY = 0.2  # copy one pixel beside others
_ROW = 40.0  # begin one row of outputs in a batch of matrix products
_PRODUCT = {1: 0.3, 2: 0.24}  # write one entry of a product for one row of outputs, or two, and add it later
_MULTIPLY = 0.02  # one multiply-add inside the product
_VECTOR = 2.5  # times as much where one factor is a vector
_SPILLED = 3.0  # times as much where what one row of outputs takes leaves the cache
_LANES = 16  # columns that it multiplies at least
_BAG = 0.1  # write one entry of a bag of rows, and add it later
_BAG_ROW = 0.019  # add one weighted entry of a row to a bag
_OUTPUT = 0.2  # put one output in its place, beyond what each of its bags costs
_NEAR = 10_000  # numbers that stay in the nearest cache
_NARROWEST = 64  # numbers in a strip: below, to begin a bag costs more than to add it
_WIDEST = 4_096  # numbers in a strip: the loop that adds bags is compiled for its width, which it unrolls
_TURN = 2.0  # transpose one pixel
_TRANSFORM = 5.5  # one point of a float64 tile, forth and back (single precision takes float64 too)
_COMPLEX = 3.0  # times as much of complex numbers
_TWICE = 1.5  # times as much in float64, where a second transform, in single precision, tells what can be trusted
_CACHED = 262_144  # numbers a thread that stay in cache
_SERIAL = 262_144  # multiply-adds up to which NumPy's matrix product keeps to one thread
_ALONE = 4_096  # the same of complex numbers for a matrix and a vector, beyond which its threads wait for each other
_ROOM = 8  # times the size of inputs and output that may be used beyond them
IN_NUMPY = {"window_products", "banded_products", "tap_products"}
TOGETHER = 200_000  # points of the tiles that are transformed at a time, so that they stay in cache
_REACH = 12  # kernels that a tile may span in float64, so that rounding in the tile stays small in a window
_TILES = [n for a in range(2, 21) for b in (1, 3, 5, 9, 15, 25, 27, 45, 75) if 8 <= (n := 2**a * b) <= 2**20]


def cheapest_way(
    image: torch.Size, kernel: torch.Size, dtype: torch.dtype, method: str, threads: int, *, in_main_memory: bool = True
) -> tuple[str, object]:
    """The name of a way and its parameter (rows of a band, shape of a tile)."""
    costs = estimates(image, kernel, dtype, method, threads)
    if not in_main_memory:
        costs = {plan: cost for plan, cost in costs.items() if not _is_for_main_memory(*plan)}
    return min(costs, key=costs.get)


def _is_for_main_memory(way, parameter):
    return _is_for_main_memory(*parameter) if way == "turned" else way in IN_NUMPY or way == "row_bags"


def estimates(image, kernel, dtype, method, threads) -> dict:
    """The cost of every way that the method allows, by its name and parameter."""
    inexact = dtype.is_floating_point or dtype.is_complex
    costs = {}
    if inexact and method != "direct":
        tile, cost = _tile(image, kernel, dtype, threads)
        if method == "fft" or _has_room(image, kernel, dtype, tile):
            costs["tile_spectra", tile] = cost
    if not inexact or method != "fft":
        turn = 4 * _CALL + dtype.itemsize / 4 * _TURN * (math.prod(image) + math.prod(kernel))
        turned = _direct_costs(image[::-1], kernel[::-1], dtype, threads, _ROOM - 1)  # which holds all three turned
        costs |= _direct_costs(image, kernel, dtype, threads, _ROOM)
        costs |= {("turned", plan): cost + turn for plan, cost in turned.items()}
    return costs


def _direct_costs(image, kernel, dtype, threads, times):
    (H, W), (h, w) = image, kernel
    R, C = H - h + 1, W - w + 1
    size, room, cached = dtype.itemsize / 4, times * (H * W + h * w + R * C), threads * _CACHED
    rows = min(R, max(1, cached // C))
    step, bands = size / threads, math.ceil(R / rows)
    costs = {("shifted_sums", rows): h * w * (2.5 * _CALL * bands + step * _SHIFT * R * C)}
    costs |= _small_costs(image, kernel, dtype, room)
    if dtype.is_floating_point or dtype.is_complex:
        costs |= _product_costs(image, kernel, size, room, threads)
    if dtype.is_floating_point:  # of complex numbers the products are many times as slow
        costs |= _line_costs(image, kernel, size, room, threads)
    if dtype == torch.float32:
        costs |= _bag_costs(image, kernel, room, threads)
    rows = min(h, min(room, cached) // (C * w) - R + 1)
    if rows > 0:
        bands, copies = math.ceil(h / rows), _COPY * C * w * (h + (R - 1) * math.ceil(h / rows))
        costs["dot_products", rows] = step * (copies + _SHIFT * R * C * h * w) + bands * (4 + 3 * R) * _CALL
    return costs


def _small_costs(image, kernel, dtype, room):
    """The cost of the ways in NumPy."""
    (H, W), (h, w) = image, kernel
    R, C = H - h + 1, W - w + 1
    size, inexact, costs = dtype.itemsize / 4, dtype.is_floating_point or dtype.is_complex, {}
    rows = min(R, min(_CACHED, room) // (w * C) - h + 1)
    if rows > 0 and not (dtype.is_complex and h * w * C > _ALONE):
        bands = math.ceil(R / rows)
        copied = size * _COLUMN * (R + bands * (h - 1)) * w * C
        begun = (1 + 4 * bands) * _SMALL_CALL + _LINE * R + copied
        dot = h * w * R * (size * _DOT if inexact else _WHOLE)
        for copies, cost in {"columns": _WINDOW * R * C + dot * C, "lines": dot * (C + _LANES / size)}.items():
            plan = ("window_products", copies) if bands == 1 else ("banded_products", (copies, math.ceil(R / bands)))
            costs[plan] = begun + cost
    if h * w * R * W <= min(_SERIAL, room - 2 * R * W):
        tap = size * _TAP + (0 if inexact else _WHOLE)
        costs["tap_products", None] = 5 * _SMALL_CALL + tap * h * w * R * W
    return costs


def _line_costs(image, kernel, size, room, threads):
    """The cost of matrix products of lines, in bands."""
    (H, W), (h, w) = image, kernel
    R, C = H - h + 1, W - w + 1
    rows = min(R, max(1, threads * _CACHED // (w * C)), room // (w * C) - h + 1)
    if rows <= 0:
        return {}
    bands = math.ceil(R / rows)
    copied = _copy(image, threads) * w * C * (R + bands * (h - 1))
    multiply = _VECTOR * _MULTIPLY * (_SPILLED if h * w * C > threads * _CACHED else 1)
    sums = size / threads * (copied + h * w * R * max(C, _LANES) * multiply)
    calls = 7 * _CALL + bands * (5 * _CALL + _meeting(threads))
    return {("line_sums", rows): calls + R * _ROW / threads + sums}


def _product_costs(image, kernel, size, room, threads):
    """The cost of matrix products of blocks of one or two rows of outputs, in bands."""
    (H, W), (h, w) = image, kernel
    R = H - h + 1
    costs, cached = {}, threads * _CACHED
    for block in (1, 2) if size > 1 else (1,):
        filled = 2 * w * (h + 1) if block == 2 else 0  # the kernel with its zeros
        rows = min(R, max(block, cached // (w * W)), (room - filled) // (w * W)) // block * block
        if rows > 0:
            bands = math.ceil(R / rows)
            rows = math.ceil(R / bands / block) * block  # bands of one height
            calls = (3 if block == 1 else 14) * _CALL + bands * (6 * _CALL + _meeting(threads))
            row = W * _PRODUCT[block] + max(W, _LANES) * (h + block - 1) * _MULTIPLY
            sums = R * (_ROW + size * w * row) / threads
            costs["row_products", (block, rows)] = calls + sums
    return costs


def _meeting(threads):
    return _MEETING if threads > 1 else 0


def _copy(image, threads):
    return _COLUMN * (_FAR if 4 * threads * _CACHED < math.prod(image) else 1)


def _bag_costs(image, kernel, room, threads):
    """The cost of bags of rows, in as few strips of columns as can be, and in strips of which a bag stays near."""
    (H, W), (h, w) = image, kernel
    R, C = H - h + 1, W - w + 1
    cached, costs, fewest = threads * _CACHED, {}, math.ceil(C / _WIDEST)
    for copies in (1, w):
        bags, bag = w // copies, h * copies
        for strips in {fewest, max(fewest, math.ceil(bag * C / _NEAR))}:
            columns = math.ceil(C / strips)
            width = columns + w - copies
            row = bags * (width + 4) + copies * width + 3 * h * w  # numbers that it takes; a row number counts twice
            rows = R if R * (bags + copies) * width <= 8 * cached else max(1, 2 * cached // (w * width))
            rows = min(R, rows, (room - bag * width) // row)
            if rows > 0 and width >= _NARROWEST:
                bands = math.ceil(R / rows)
                rows, pieces = math.ceil(R / bands), bands * strips
                weighted = bag * _BAG_ROW * (1 if bag * width < 1.5 * _NEAR else 1.5) * (width + _LANES)
                placed = _OUTPUT * width if pieces > 1 or bags > 1 else 0
                copied = copies * width * _copy(image, threads) if strips > 1 or copies > 1 else 0
                sums = R * (bags * (_BAG * width + weighted) + placed) + (R + bands * (h - 1)) * copied
                costs["row_bags", (rows, columns, copies)] = (9 + 10 * pieces) * _CALL + strips * sums / threads
    return costs


def _tile(image, kernel, dtype, threads):
    """The best tile to transform, and its cost."""
    double = dtype in (torch.float64, torch.complex128)
    longest = [max(32, _REACH * m) if double else math.inf for m in kernel]
    tile = tuple(min(_TILES, key=partial(_tiled, *axis)) for axis in zip(image, kernel, longest, strict=True))
    points = math.prod(map(_tiled, image, kernel, longest, tile)) + math.prod(tile) / 4
    tiles = math.prod(map(tile_count, image, kernel, tile))
    groups = math.ceil(tiles / max(1, TOGETHER // math.prod(tile)))
    calls = 3 * tiles * _CALL + groups * (55 * _CALL + 3 * _meeting(threads))
    cost = calls + _TRANSFORM * (_COMPLEX if dtype.is_complex else 1) * points / threads
    return tile, (_TWICE if double else 1) * cost


def tile_count(n: int, m: int, tile: int) -> int:
    """How many tiles of one length cover n, overlapping by m - 1."""
    return math.ceil((n - m + 1) / (tile - m + 1))


def _has_room(image, kernel, dtype, tile):
    """Whether the tiles transformed at a time take little enough memory: five arrays in float64, and padding."""
    outputs = [n - m + 1 for n, m in zip(image, kernel, strict=True)]
    points = min(math.prod(map(tile_count, image, kernel, tile)) * math.prod(tile), max(math.prod(tile), TOGETHER))
    size = dtype.itemsize * sum(map(math.prod, (image, kernel, outputs)))
    return (68 if dtype.is_complex else 42) * points <= _ROOM * size


def _tiled(n: int, m: int, longest: float, tile: int) -> float:
    """Points that tiles of one length take in all; long ones leave the cache."""
    if not m <= tile <= longest:
        return math.inf
    return tile_count(n, m, tile) * tile * (1 + tile / 2048)
