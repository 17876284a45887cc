"""Which way to a cross-correlation is taken."""

import pytest
import torch

from helpers.cost_model import _TILES, cheapest_way, estimates

# image, kernel, dtype, method, threads, the plan, and what each way is estimated to cost, in microseconds
COSTS = [
    (
        (16, 16),
        (3, 3),
        "float32",
        "auto",
        2,
        "tap_products None",
        {
            "tile_spectra (16, 16)": 106.3,
            "shifted_sums 14": 29.35,
            "window_products columns": 5.86,
            "window_products lines": 4.949,
            "tap_products None": 4.661,
            "row_products (1, 14)": 22.1,
            "line_sums 14": 25.95,
            "dot_products 3": 59.96,
            "turned shifted_sums 14": 35.08,
            "turned window_products columns": 11.59,
            "turned window_products lines": 10.68,
            "turned tap_products None": 10.39,
            "turned row_products (1, 14)": 27.83,
            "turned line_sums 14": 31.68,
            "turned dot_products 3": 65.69,
        },
    ),
    (
        (64, 64),
        (7, 5),
        "float64",
        "auto",
        1,
        "window_products lines",
        {
            "tile_spectra (64, 24)": 167.6,
            "shifted_sums 58": 140.5,
            "window_products columns": 33.65,
            "window_products lines": 17.35,
            "row_products (1, 58)": 30.35,
            "row_products (2, 58)": 43.17,
            "line_sums 58": 32.4,
            "dot_products 7": 265.9,
            "turned shifted_sums 60": 162.3,
            "turned window_products columns": 56.22,
            "turned window_products lines": 39.97,
            "turned row_products (1, 60)": 57.33,
            "turned row_products (2, 60)": 69.48,
            "turned line_sums 60": 55.02,
            "turned dot_products 5": 298.1,
        },
    ),
    ((6, 5), (3, 2), "float64", "fft", 1, "tile_spectra (8, 8)", {"tile_spectra (8, 8)": 113.8}),
    (
        (256, 300),
        (11, 11),
        "float32",
        "auto",
        2,
        "row_bags (246, 290, 1)",
        {
            "tile_spectra (256, 108)": 402.3,
            "shifted_sums 246": 868.0,
            "banded_products (columns, 62)": 725.2,
            "banded_products (lines, 62)": 384.6,
            "row_products (1, 123)": 255.5,
            "line_sums 164": 288.3,
            "row_bags (246, 290, 1)": 162.0,
            "row_bags (246, 290, 11)": 182.6,
            "row_bags (246, 73, 11)": 199.8,
            "turned shifted_sums 290": 1027.0,
            "turned banded_products (columns, 73)": 883.9,
            "turned banded_products (lines, 73)": 546.3,
            "turned row_products (1, 145)": 416.7,
            "turned line_sums 193": 447.9,
            "turned row_bags (290, 246, 1)": 322.7,
            "turned row_bags (290, 246, 11)": 342.7,
            "turned row_bags (290, 82, 11)": 342.8,
        },
    ),
    (
        (1024, 1024),
        (5, 5),
        "float32",
        "direct",
        2,
        "row_bags (1020, 340, 5)",
        {
            "shifted_sums 514": 1593.0,
            "banded_products (columns, 47)": 6526.0,
            "banded_products (lines, 47)": 1338.0,
            "row_products (1, 102)": 1247.0,
            "line_sums 102": 1007.0,
            "row_bags (204, 1020, 1)": 694.2,
            "row_bags (204, 1020, 5)": 768.3,
            "row_bags (1020, 340, 5)": 622.2,
            "turned shifted_sums 514": 3695.0,
            "turned banded_products (columns, 47)": 8628.0,
            "turned banded_products (lines, 47)": 3440.0,
            "turned row_products (1, 102)": 3349.0,
            "turned line_sums 102": 3109.0,
            "turned row_bags (204, 1020, 1)": 2797.0,
            "turned row_bags (204, 1020, 5)": 2871.0,
            "turned row_bags (1020, 340, 5)": 2725.0,
        },
    ),
    (
        (2048, 2048),
        (63, 63),
        "float64",
        "auto",
        2,
        "tile_spectra (400, 400)",
        {
            "tile_spectra (400, 400)": 39800.0,
            "shifted_sums 263": 1825000.0,
            "row_products (1, 4)": 408600.0,
            "row_products (2, 4)": 398400.0,
            "line_sums 4": 2787000.0,
            "turned shifted_sums 263": 1842000.0,
            "turned row_products (1, 4)": 425400.0,
            "turned row_products (2, 4)": 415200.0,
            "turned line_sums 4": 2804000.0,
        },
    ),
    (
        (1024, 1000),
        (31, 29),
        "float32",
        "auto",
        1,
        "tile_spectra (288, 192)",
        {
            "tile_spectra (288, 192)": 9848.0,
            "shifted_sums 269": 107200.0,
            "row_products (1, 9)": 27430.0,
            "line_sums 9": 138400.0,
            "row_bags (18, 972, 1)": 29700.0,
            "row_bags (63, 243, 1)": 23770.0,
            "row_bags (18, 972, 29)": 30710.0,
            "turned shifted_sums 263": 109300.0,
            "turned row_products (1, 8)": 30200.0,
            "turned line_sums 8": 141300.0,
            "turned row_bags (16, 994, 1)": 32040.0,
            "turned row_bags (45, 332, 1)": 25340.0,
            "turned row_bags (17, 994, 31)": 33060.0,
        },
    ),
    (
        (700, 640),
        (695, 638),
        "float32",
        "auto",
        2,
        "dot_products 268",
        {
            "tile_spectra (720, 640)": 2670.0,
            "shifted_sums 6": 1442000.0,
            "row_products (1, 1)": 17510.0,
            "line_sums 6": 3258.0,
            "row_bags (3, 3, 1)": 25030.0,
            "dot_products 268": 660.7,
            "turned shifted_sums 3": 1443000.0,
            "turned row_products (1, 1)": 11380.0,
            "turned line_sums 3": 3490.0,
            "turned row_bags (3, 6, 1)": 15460.0,
            "turned dot_products 123": 2599.0,
        },
    ),
    (
        (500, 8),
        (3, 3),
        "complex64",
        "auto",
        1,
        "tap_products None",
        {
            "tile_spectra (48, 8)": 187.6,
            "shifted_sums 498": 35.17,
            "window_products columns": 32.31,
            "window_products lines": 19.81,
            "tap_products None": 10.24,
            "row_products (1, 498)": 41.66,
            "row_products (2, 498)": 55.48,
            "dot_products 3": 1957.0,
            "turned shifted_sums 6": 56.4,
            "turned tap_products None": 30.06,
            "turned row_products (1, 6)": 39.66,
            "turned row_products (2, 6)": 53.24,
            "turned dot_products 3": 60.53,
        },
    ),
    (
        (90, 1000),
        (7, 3),
        "int64",
        "auto",
        2,
        "shifted_sums 84",
        {
            "shifted_sums 84": 261.9,
            "banded_products (columns, 42)": 1168.0,
            "banded_products (lines, 42)": 754.1,
            "dot_products 7": 580.3,
            "turned shifted_sums 998": 627.2,
            "turned banded_products (columns, 333)": 1591.0,
            "turned banded_products (lines, 333)": 1239.0,
        },
    ),
    (
        (40, 30),
        (5, 3),
        "uint8",
        "fft",
        1,
        "window_products columns",
        {
            "shifted_sums 36": 49.17,
            "window_products columns": 16.36,
            "window_products lines": 25.14,
            "dot_products 5": 146.2,
            "turned shifted_sums 28": 54.97,
            "turned window_products columns": 22.04,
            "turned window_products lines": 27.75,
            "turned dot_products 3": 120.9,
        },
    ),
    ((2000, 3000), (40, 45), "complex128", "fft", 2, "tile_spectra (320, 256)", {"tile_spectra (320, 256)": 137500.0}),
    (
        (1, 5000),
        (1, 900),
        "float64",
        "auto",
        1,
        "turned window_products columns",
        {
            "shifted_sums 1": 3737.0,
            "turned shifted_sums 4101": 3766.0,
            "turned window_products columns": 387.4,
            "turned window_products lines": 2375.0,
            "turned row_products (1, 4101)": 2569.0,
            "turned row_products (2, 2052)": 2593.0,
            "turned line_sums 4101": 6114.0,
            "turned dot_products 900": 16840.0,
        },
    ),
    (
        (64, 64),
        (15, 15),
        "float32",
        "auto",
        1,
        "window_products lines",
        {
            "tile_spectra (64, 64)": 105.0,
            "shifted_sums 50": 793.1,
            "window_products columns": 40.01,
            "window_products lines": 33.62,
            "row_products (1, 50)": 42.5,
            "line_sums 50": 48.6,
            "row_bags (25, 50, 1)": 60.24,
            "dot_products 15": 271.7,
            "turned shifted_sums 50": 807.0,
            "turned banded_products (columns, 25)": 58.08,
            "turned banded_products (lines, 25)": 51.7,
            "turned row_products (1, 25)": 64.14,
            "turned line_sums 49": 69.58,
            "turned row_bags (25, 50, 1)": 74.08,
            "turned dot_products 14": 493.1,
        },
    ),
    (
        (60, 60),
        (19, 19),
        "float32",
        "auto",
        1,
        "banded_products (lines, 21)",
        {
            "tile_spectra (60, 60)": 101.3,
            "shifted_sums 42": 1243.0,
            "banded_products (columns, 21)": 43.15,
            "banded_products (lines, 21)": 42.57,
            "row_products (1, 21)": 53.74,
            "line_sums 39": 59.35,
            "dot_products 16": 424.2,
            "turned shifted_sums 42": 1256.0,
            "turned banded_products (columns, 21)": 56.27,
            "turned banded_products (lines, 21)": 55.7,
            "turned row_products (1, 21)": 66.86,
            "turned line_sums 32": 72.48,
            "turned dot_products 9": 612.8,
        },
    ),
    (
        (30, 30),
        (25, 25),
        "float32",
        "auto",
        1,
        "window_products columns",
        {
            "tile_spectra (32, 32)": 82.62,
            "shifted_sums 6": 2034.0,
            "window_products columns": 5.835,
            "window_products lines": 7.695,
            "row_products (1, 6)": 15.54,
            "line_sums 6": 19.11,
            "dot_products 25": 31.98,
            "turned shifted_sums 6": 2042.0,
            "turned window_products columns": 14.09,
            "turned window_products lines": 15.95,
            "turned row_products (1, 6)": 23.79,
            "turned line_sums 6": 27.36,
            "turned dot_products 25": 40.23,
        },
    ),
    (
        (3, 600000),
        (1, 3),
        "float32",
        "auto",
        1,
        "shifted_sums 1",
        {
            "tile_spectra (8, 64)": 67750.0,
            "shifted_sums 1": 623.2,
            "row_products (1, 1)": 1755.0,
            "line_sums 1": 1406.0,
            "row_bags (3, 4082, 1)": 3115.0,
            "row_bags (3, 4082, 3)": 3133.0,
            "row_bags (3, 3334, 3)": 3562.0,
            "turned shifted_sums 87381": 4267.0,
            "turned banded_products (columns, 85714)": 24920.0,
            "turned banded_products (lines, 85714)": 16900.0,
            "turned row_products (1, 85714)": 28780.0,
            "turned line_sums 87381": 29290.0,
        },
    ),
    (
        (512, 512),
        (11, 11),
        "float64",
        "auto",
        1,
        "banded_products (lines, 36)",
        {
            "tile_spectra (96, 96)": 3444.0,
            "shifted_sums 502": 7102.0,
            "banded_products (columns, 36)": 3820.0,
            "banded_products (lines, 36)": 2593.0,
            "row_products (1, 46)": 3050.0,
            "row_products (2, 46)": 2838.0,
            "line_sums 47": 3555.0,
            "turned shifted_sums 502": 8156.0,
            "turned banded_products (columns, 36)": 4875.0,
            "turned banded_products (lines, 36)": 3648.0,
            "turned row_products (1, 46)": 4104.0,
            "turned row_products (2, 46)": 3893.0,
            "turned line_sums 47": 4610.0,
        },
    ),
    ((411, 416), (21, 23), "float32", "fft", 1, "tile_spectra (216, 160)", {"tile_spectra (216, 160)": 1573.0}),
    (
        (500, 7),
        (4, 3),
        "float32",
        "auto",
        2,
        "turned window_products lines",
        {
            "tile_spectra (128, 8)": 129.8,
            "shifted_sums 497": 40.64,
            "window_products columns": 28.33,
            "window_products lines": 19.15,
            "row_products (1, 497)": 34.16,
            "line_sums 497": 38.15,
            "dot_products 4": 1946.0,
            "turned shifted_sums 5": 52.86,
            "turned window_products columns": 31.1,
            "turned window_products lines": 18.71,
            "turned tap_products None": 19.12,
            "turned row_products (1, 5)": 35.82,
            "turned line_sums 5": 39.09,
            "turned row_bags (5, 497, 1)": 37.97,
            "turned row_bags (5, 497, 4)": 37.76,
            "turned dot_products 3": 39.96,
        },
    ),
    (
        (16, 16),
        (7, 7),
        "float64",
        "auto",
        2,
        "window_products lines",
        {
            "tile_spectra (16, 16)": 159.4,
            "shifted_sums 10": 159.8,
            "window_products columns": 5.668,
            "window_products lines": 5.434,
            "row_products (1, 10)": 22.39,
            "row_products (2, 10)": 36.65,
            "line_sums 10": 26.26,
            "dot_products 7": 44.96,
            "turned shifted_sums 10": 166.2,
            "turned window_products columns": 12.09,
            "turned window_products lines": 11.85,
            "turned row_products (1, 10)": 28.81,
            "turned row_products (2, 10)": 43.07,
            "turned line_sums 10": 32.68,
            "turned dot_products 7": 51.38,
        },
    ),
    (
        (700, 900),
        (8, 7),
        "float64",
        "auto",
        2,
        "row_products (2, 78)",
        {
            "tile_spectra (96, 72)": 4732.0,
            "shifted_sums 586": 4180.0,
            "banded_products (columns, 33)": 6178.0,
            "banded_products (lines, 33)": 3101.0,
            "row_products (1, 77)": 2186.0,
            "row_products (2, 78)": 2026.0,
            "line_sums 83": 2190.0,
            "turned shifted_sums 756": 6706.0,
            "turned banded_products (columns, 41)": 8763.0,
            "turned banded_products (lines, 41)": 5692.0,
            "turned row_products (1, 90)": 4928.0,
            "turned row_products (2, 90)": 4742.0,
            "turned line_sums 94": 4769.0,
        },
    ),
    (
        (2048, 2000),
        (3, 3),
        "float64",
        "direct",
        1,
        "banded_products (lines, 41)",
        {
            "shifted_sums 131": 8562.0,
            "banded_products (columns, 41)": 24710.0,
            "banded_products (lines, 41)": 4277.0,
            "row_products (1, 43)": 9299.0,
            "row_products (2, 42)": 8339.0,
            "line_sums 43": 6778.0,
            "turned shifted_sums 128": 24950.0,
            "turned banded_products (columns, 40)": 41100.0,
            "turned banded_products (lines, 40)": 20670.0,
            "turned row_products (1, 42)": 25690.0,
            "turned row_products (2, 42)": 24720.0,
            "turned line_sums 42": 23170.0,
        },
    ),
    (
        (20, 9000),
        (5, 6),
        "float32",
        "direct",
        1,
        "row_bags (16, 2999, 6)",
        {
            "shifted_sums 16": 572.4,
            "row_products (1, 4)": 381.3,
            "line_sums 4": 787.0,
            "row_bags (16, 2999, 1)": 300.8,
            "row_bags (16, 1799, 1)": 286.0,
            "row_bags (16, 334, 6)": 557.1,
            "row_bags (16, 2999, 6)": 282.4,
            "turned shifted_sums 8995": 937.7,
            "turned banded_products (columns, 2999)": 1467.0,
            "turned banded_products (lines, 2999)": 893.7,
            "turned row_products (1, 2249)": 1138.0,
            "turned line_sums 3276": 1013.0,
        },
    ),
    (
        (300, 700),
        (1, 12),
        "float32",
        "auto",
        2,
        "row_bags (300, 689, 12)",
        {
            "tile_spectra (12, 128)": 1466.0,
            "shifted_sums 300": 175.4,
            "banded_products (columns, 30)": 1310.0,
            "banded_products (lines, 30)": 278.0,
            "row_products (1, 60)": 502.1,
            "line_sums 63": 234.0,
            "row_bags (300, 689, 1)": 196.2,
            "row_bags (300, 689, 12)": 133.6,
            "turned shifted_sums 689": 600.6,
            "turned window_products columns": 1574.0,
            "turned window_products lines": 544.9,
            "turned row_products (1, 689)": 516.5,
            "turned line_sums 689": 532.9,
            "turned row_bags (689, 300, 1)": 485.1,
            "turned dot_products 12": 3275.0,
        },
    ),
    (
        (33, 40),
        (30, 38),
        "float32",
        "direct",
        2,
        "window_products columns",
        {
            "shifted_sums 4": 3706.0,
            "window_products columns": 5.331,
            "window_products lines": 7.751,
            "row_products (1, 4)": 24.52,
            "line_sums 4": 27.62,
            "dot_products 30": 21.93,
            "turned shifted_sums 3": 3716.0,
            "turned window_products columns": 15.49,
            "turned window_products lines": 17.29,
            "turned row_products (1, 3)": 33.45,
            "turned line_sums 3": 37.29,
            "turned dot_products 38": 28.25,
        },
    ),
]


def name(way, parameter):
    return f"turned {name(*parameter)}" if way == "turned" else f"{way} {parameter}".replace("'", "")


@pytest.mark.parametrize("case", COSTS)
def test_the_cheapest_way_is_taken(case):
    image, kernel, dtype, method, threads, way, costs = case
    arguments = image, kernel, getattr(torch, dtype), method
    estimated = estimates(*arguments, threads).items()
    assert {name(*way): float(f"{cost / 1000:.4g}") for way, cost in estimated} == costs
    assert name(*cheapest_way(*arguments, threads)) == way == min(costs, key=costs.get)


@pytest.mark.parametrize(
    ("image", "kernel", "way"),
    [((64, 64), (3, 3), "tap_products"), ((1, 5000), (1, 900), "turned"), ((256, 256), (7, 7), "row_bags")],
)
def test_numpy_and_bags_serve_images_in_main_memory_only(image, kernel, way):
    arguments = image, kernel, torch.float32, "auto"
    assert cheapest_way(*arguments, 1)[0] == way
    elsewhere = name(*cheapest_way(*arguments, 1, in_main_memory=False))
    assert elsewhere.removeprefix("turned ").startswith(("row_products", "line_sums"))


@pytest.mark.parametrize(
    ("image", "kernel", "way", "offered"),
    [
        # columns that fill the cache, and one number more; eight times the inputs and output, and one more
        ((128, 1025), (3, 2), ("window_products", "columns"), True),
        ((109, 485), (3, 5), ("window_products", "lines"), False),
        ((2, 58), (1, 24), ("window_products", "lines"), True),
        ((5, 57), (1, 43), ("window_products", "columns"), False),
        # 262,144 multiply-adds, and one more; copies, sums and result of eight times inputs and output, and one more
        ((257, 256), (2, 2), ("tap_products", None), True),
        ((109, 481), (1, 5), ("tap_products", None), False),
        ((2, 12), (1, 11), ("tap_products", None), True),
        ((9, 17), (9, 15), ("tap_products", None), False),
        # the lines of bands of rows: eight times inputs and output, and one number more; as many as fill the cache
        ((8, 55), (7, 24), ("line_sums", 1), True),
        ((8, 58), (5, 35), ("line_sums", 3), True),
        ((20, 51), (19, 17), ("line_sums", 1), False),
        ((27, 55), (23, 27), ("line_sums", 1), False),
        ((300, 1025), (3, 2), ("line_sums", 128), True),
        # windows of one kernel row at a time
        ((21, 50), (2, 22), ("dot_products", 1), True),
        # bands that just fill the cache: 256 rows of 1,024 numbers, 108 of 2,405
        ((300, 1024), (1, 1), ("shifted_sums", 256), True),
        ((300, 2405), (1, 1), ("shifted_sums", 108), True),
    ],
)
def test_a_way_is_offered_just_to_its_limit(image, kernel, way, offered):
    assert (way in estimates(image, kernel, torch.float32, "auto", 1)) == offered


@pytest.mark.parametrize(("image", "kernel", "offered"), [((6, 259), (4, 4), True), ((3, 257), (1, 17), False)])
def test_complex_windows_are_multiplied_in_numpy_up_to_4096_numbers(image, kernel, offered):
    ways = {way for way, _ in estimates(image, kernel, torch.complex64, "direct", 1)}
    assert ("window_products" in ways) == offered


@pytest.mark.parametrize(
    ("image", "kernel", "plan"),
    [
        ((48, 74), (4, 71), (2, 4)),
        ((54, 66), (35, 64), (2, 10)),
        ((32, 48), (12, 19), (1, 21)),
        ((47, 39), (25, 25), (1, 12)),
    ],
)
def test_bands_of_products_just_fit_into_memory(image, kernel, plan):
    assert ("row_products", plan) in estimates(image, kernel, torch.float64, "direct", 1)


@pytest.mark.parametrize(
    ("image", "kernel", "costs"),  # by rows and columns of what is summed at a time, in microseconds
    [
        ((74, 4061), (26, 23), {(5, 4039, 1): 4044.0, (49, 368, 1): 3186.0, (5, 4039, 23): 5254.0}),
        ((9, 2501), (3, 2), {(7, 2500, 1): 33.71, (7, 2500, 2): 32.16, (7, 1250, 2): 47.67}),
        ((9, 2502), (3, 2), {(7, 2501, 1): 33.71, (7, 2501, 2): 32.16, (7, 1251, 2): 47.68}),
        ((3, 8194), (1, 2), {(3, 2731, 1): 62.95, (3, 2731, 2): 61.96}),
        ((8, 4097), (3, 2), {(6, 4096, 1): 37.35, (6, 2048, 1): 52.33, (6, 4096, 2): 35.31, (6, 1366, 2): 64.85}),
        ((8, 4098), (3, 2), {(6, 2049, 1): 52.33, (6, 2049, 2): 51.84, (6, 1366, 2): 64.85}),
        ((135, 66), (36, 16), {(34, 51, 1): 152.3}),
        ((55, 70), (21, 8), {(35, 63, 1): 36.76}),
        ((56, 70), (21, 9), {(36, 62, 1): 38.59}),
        ((15, 2149), (10, 52), {(2, 2098, 1): 312.8, (6, 700, 1): 262.1}),
        ((73, 14762), (1, 51), {(2, 3678, 1): 8879.0, (2, 3678, 51): 9577.0, (73, 194, 51): 8215.0}),
        ((100, 6000), (1, 700), {(1, 2651, 1): 58640.0, (1, 2651, 700): 35680.0}),
        ((9, 64), (2, 1), {(8, 64, 1): 24.78}),
        ((9, 63), (2, 1), {}),
        ((96, 68), (25, 44), {(11, 25, 1): 251.6}),
        ((199, 80), (21, 53), {(20, 28, 1): 570.9}),
        ((238, 98), (32, 48), {(26, 51, 1): 905.8}),
        ((9, 3000), (5, 2), {(5, 2999, 1): 35.0, (5, 1500, 1): 48.21, (5, 2999, 2): 33.73, (5, 1000, 2): 61.34}),
        ((71, 203), (20, 38), {(18, 166, 1): 257.4, (7, 166, 38): 400.5}),
        ((29, 100), (25, 33), {(3, 68, 1): 48.54}),
        ((100, 119), (11, 34), {(23, 86, 1): 188.6, (30, 86, 34): 171.9}),
        ((103, 255), (6, 29), {(33, 227, 1): 216.0, (33, 227, 29): 220.1}),
        ((1026, 512), (3, 3), {(1024, 510, 1): 379.3, (1024, 510, 3): 263.2}),
        ((1027, 512), (3, 3), {(257, 510, 1): 418.6, (1025, 510, 3): 263.4}),
        ((1024, 1024), (3, 3), {(146, 1022, 1): 807.7, (171, 1022, 3): 774.7}),
    ],
)
def test_bags_of_rows_are_cut_at_memory_cache_and_width(image, kernel, costs):
    estimated = estimates(image, kernel, torch.float32, "direct", 1).items()
    assert {plan: float(f"{cost / 1000:.4g}") for (way, plan), cost in estimated if way == "row_bags"} == costs


@pytest.mark.parametrize(
    ("image", "kernel", "dtype", "tile"),
    [(24, 24, torch.float32, 24), (32, 2, torch.float64, 32)],  # as large as the kernel; as large as is allowed
)
def test_a_tile_may_be_just_as_large_as_image_or_bound(image, kernel, dtype, tile):
    assert ("tile_spectra", (tile, tile)) in estimates((image, image), (kernel, kernel), dtype, "fft", 1)


@pytest.mark.parametrize(
    ("image", "kernel", "dtype", "offered"),
    [
        ((898, 12), (190, 11), torch.float32, False),
        ((256, 256), (63, 63), torch.float32, True),
        ((577, 9), (3, 3), torch.float32, False),
        ((409, 48), (34, 34), torch.float32, False),
        # just all of it, and a little too much: one tile, a few, and more than are transformed at a time
        ((168, 263), (106, 168), torch.float32, True),
        ((365, 265), (185, 70), torch.float32, False),
        ((10, 54), (3, 43), torch.complex64, True),
        ((420, 78), (389, 4), torch.complex64, False),
        ((222, 66), (4, 51), torch.complex64, True),
        ((81, 343), (3, 240), torch.complex64, False),
        ((542, 341), (42, 204), torch.float32, True),
        ((517, 337), (258, 20), torch.float32, False),
    ],
)
def test_a_transform_is_chosen_only_where_it_has_room_and_else_has_to_be_asked_for(image, kernel, dtype, offered):
    ways = {method: dict(estimates(image, kernel, dtype, method, 1)) for method in ("auto", "fft")}
    assert any(way == "tile_spectra" for way, _ in ways["auto"]) == offered
    assert any(way == "tile_spectra" for way, _ in ways["fft"])


def test_tiles_have_lengths_of_small_factors():
    def odd_part(n):
        return n if n % 2 else odd_part(n // 2)

    def small(n):
        return n == 1 or any(n % factor == 0 and small(n // factor) for factor in (3, 5))

    lengths = [n for n in range(8, 2**20 + 1, 4) if odd_part(n) <= 75 and small(odd_part(n))]
    assert sorted(_TILES) == lengths
