"""Which way to a cross-correlation is taken."""

import pytest
import torch

from helpers.cost_model import cheapest_way, estimates

# image, kernel, dtype, method, threads, the plan, and what each way is estimated to cost, in microseconds
COSTS = [
    (
        (16, 16),
        (3, 3),
        "float32",
        "auto",
        2,
        "window_products False",
        {
            "tile_spectra (16, 16)": 131.6,
            "shifted_sums 14": 29.35,
            "window_products False": 4.702,
            "small_products None": 6.542,
            "column_sums 14": 28.22,
            "row_products (1, 14)": 12.1,
            "dot_products 3": 59.96,
            "turned shifted_sums 14": 35.08,
            "turned window_products False": 10.43,
            "turned small_products None": 12.27,
            "turned column_sums 14": 33.95,
            "turned row_products (1, 14)": 17.83,
            "turned dot_products 3": 65.69,
        },
    ),
    (
        (64, 64),
        (7, 5),
        "float64",
        "auto",
        1,
        "small_products None",
        {
            "tile_spectra (64, 24)": 201.4,
            "shifted_sums 58": 140.5,
            "small_products None": 19.66,
            "column_sums 58": 67.77,
            "row_products (1, 58)": 31.39,
            "row_products (2, 58)": 44.36,
            "dot_products 7": 265.9,
            "turned shifted_sums 60": 162.3,
            "turned small_products None": 47.38,
            "turned column_sums 60": 109.4,
            "turned row_products (1, 60)": 58.4,
            "turned row_products (2, 60)": 70.77,
            "turned dot_products 5": 298.1,
        },
    ),
    ((6, 5), (3, 2), "float64", "fft", 1, "tile_spectra (8, 8)", {"tile_spectra (8, 8)": 131.2}),
    (
        (256, 300),
        (11, 11),
        "float32",
        "auto",
        2,
        "row_products (1, 123)",
        {
            "tile_spectra (256, 160)": 609.4,
            "shifted_sums 246": 868.0,
            "column_sums 246": 387.7,
            "row_products (1, 123)": 253.3,
            "turned shifted_sums 290": 1027.0,
            "turned column_sums 290": 556.4,
            "turned row_products (1, 145)": 414.6,
        },
    ),
    (
        (1024, 1024),
        (5, 5),
        "float32",
        "direct",
        2,
        "column_sums 514",
        {
            "shifted_sums 514": 1593.0,
            "column_sums 514": 1114.0,
            "row_products (1, 102)": 1199.0,
            "turned shifted_sums 514": 3695.0,
            "turned column_sums 514": 3216.0,
            "turned row_products (1, 102)": 3301.0,
        },
    ),
    (
        (2048, 2048),
        (63, 63),
        "float64",
        "auto",
        2,
        "tile_spectra (576, 576)",
        {
            "tile_spectra (576, 576)": 57120.0,
            "shifted_sums 263": 1825000.0,
            "column_sums 263": 787000.0,
            "row_products (1, 4)": 468200.0,
            "row_products (2, 4)": 459000.0,
            "turned shifted_sums 263": 1842000.0,
            "turned column_sums 263": 803800.0,
            "turned row_products (1, 4)": 485000.0,
            "turned row_products (2, 4)": 475800.0,
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
            "tile_spectra (288, 192)": 13750.0,
            "shifted_sums 269": 107200.0,
            "column_sums 269": 46980.0,
            "row_products (1, 9)": 31000.0,
            "turned shifted_sums 263": 109300.0,
            "turned column_sums 263": 49370.0,
            "turned row_products (1, 8)": 33780.0,
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
            "tile_spectra (768, 640)": 4661.0,
            "shifted_sums 6": 1442000.0,
            "column_sums 6": 4424.0,
            "row_products (1, 1)": 20850.0,
            "dot_products 268": 660.7,
            "turned shifted_sums 3": 1443000.0,
            "turned column_sums 3": 6547.0,
            "turned row_products (1, 1)": 13210.0,
            "turned dot_products 123": 2599.0,
        },
    ),
    (
        (500, 8),
        (3, 3),
        "complex64",
        "auto",
        1,
        "window_products False",
        {
            "tile_spectra (48, 8)": 686.3,
            "shifted_sums 498": 35.17,
            "window_products False": 11.67,
            "small_products None": 14.91,
            "column_sums 498": 91.79,
            "row_products (1, 498)": 40.51,
            "row_products (2, 498)": 53.95,
            "dot_products 3": 1957.0,
            "turned shifted_sums 6": 56.4,
            "turned window_products False": 31.14,
            "turned small_products None": 34.02,
            "turned column_sums 6": 53.99,
            "turned row_products (1, 6)": 39.87,
            "turned row_products (2, 6)": 53.52,
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
        {"shifted_sums 84": 261.9, "dot_products 7": 580.3, "turned shifted_sums 998": 627.2},
    ),
    (
        (40, 30),
        (5, 3),
        "uint8",
        "fft",
        1,
        "small_products None",
        {
            "shifted_sums 36": 49.17,
            "small_products None": 6.592,
            "dot_products 5": 146.2,
            "turned shifted_sums 28": 54.97,
            "turned small_products None": 12.61,
            "turned dot_products 3": 120.9,
        },
    ),
    ((2000, 3000), (40, 45), "complex128", "fft", 2, "tile_spectra (320, 256)", {"tile_spectra (320, 256)": 67540.0}),
    (
        (1, 5000),
        (1, 900),
        "float64",
        "auto",
        1,
        "turned row_products (1, 4101)",
        {
            "tile_spectra (8, 2304)": 1758.0,
            "shifted_sums 1": 3737.0,
            "turned shifted_sums 4101": 3766.0,
            "turned column_sums 4101": 562.5,
            "turned row_products (1, 4101)": 384.2,
            "turned row_products (2, 2052)": 406.0,
            "turned dot_products 900": 16840.0,
        },
    ),
    (
        (64, 64),
        (15, 15),
        "float32",
        "auto",
        1,
        "row_products (1, 50)",
        {
            "tile_spectra (64, 64)": 181.2,
            "shifted_sums 50": 793.1,
            "column_sums 50": 166.8,
            "row_products (1, 50)": 45.38,
            "dot_products 15": 271.7,
            "turned shifted_sums 50": 807.0,
            "turned column_sums 50": 180.6,
            "turned row_products (1, 50)": 59.22,
            "turned dot_products 15": 285.5,
        },
    ),
    (
        (60, 60),
        (19, 19),
        "float32",
        "auto",
        1,
        "row_products (1, 21)",
        {
            "tile_spectra (64, 64)": 181.2,
            "shifted_sums 42": 1243.0,
            "column_sums 42": 197.8,
            "row_products (1, 21)": 57.38,
            "dot_products 16": 424.2,
            "turned shifted_sums 42": 1256.0,
            "turned column_sums 42": 210.9,
            "turned row_products (1, 21)": 70.5,
            "turned dot_products 16": 437.3,
        },
    ),
    (
        (30, 30),
        (25, 25),
        "float32",
        "auto",
        1,
        "small_products None",
        {
            "tile_spectra (32, 32)": 142.5,
            "shifted_sums 6": 2034.0,
            "small_products None": 7.92,
            "column_sums 6": 177.5,
            "row_products (1, 6)": 15.99,
            "dot_products 25": 31.98,
            "turned shifted_sums 6": 2042.0,
            "turned small_products None": 16.17,
            "turned column_sums 6": 185.7,
            "turned row_products (1, 6)": 24.24,
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
            "tile_spectra (8, 64)": 41170.0,
            "shifted_sums 1": 623.2,
            "row_products (1, 1)": 1777.0,
            "turned shifted_sums 87381": 4267.0,
            "turned column_sums 87381": 28150.0,
            "turned row_products (1, 85714)": 28330.0,
        },
    ),
    (
        (512, 512),
        (11, 11),
        "float64",
        "auto",
        1,
        "row_products (2, 46)",
        {
            "tile_spectra (96, 96)": 5103.0,
            "shifted_sums 502": 7102.0,
            "column_sums 502": 3893.0,
            "row_products (1, 46)": 3299.0,
            "row_products (2, 46)": 3110.0,
            "turned shifted_sums 502": 8156.0,
            "turned column_sums 502": 4947.0,
            "turned row_products (1, 46)": 4353.0,
            "turned row_products (2, 46)": 4164.0,
        },
    ),
    ((411, 416), (21, 23), "float32", "fft", 1, "tile_spectra (120, 160)", {"tile_spectra (120, 160)": 2466.0}),
    (
        (500, 7),
        (4, 3),
        "float32",
        "auto",
        2,
        "small_products None",
        {
            "tile_spectra (128, 8)": 305.5,
            "shifted_sums 497": 40.64,
            "small_products None": 10.06,
            "column_sums 497": 58.28,
            "row_products (1, 497)": 23.71,
            "dot_products 4": 1946.0,
            "turned shifted_sums 5": 52.86,
            "turned window_products False": 19.72,
            "turned small_products None": 22.12,
            "turned column_sums 5": 47.74,
            "turned row_products (1, 5)": 25.88,
            "turned dot_products 3": 39.96,
        },
    ),
    (
        (16, 16),
        (7, 7),
        "float64",
        "auto",
        2,
        "small_products None",
        {
            "tile_spectra (16, 16)": 132.5,
            "shifted_sums 10": 159.8,
            "small_products None": 7.106,
            "column_sums 10": 55.02,
            "row_products (1, 10)": 12.42,
            "row_products (2, 10)": 26.68,
            "dot_products 7": 44.96,
            "turned shifted_sums 10": 166.2,
            "turned small_products None": 13.53,
            "turned column_sums 10": 61.44,
            "turned row_products (1, 10)": 18.84,
            "turned row_products (2, 10)": 33.1,
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
            "tile_spectra (96, 72)": 5885.0,
            "shifted_sums 586": 4180.0,
            "column_sums 586": 2384.0,
            "row_products (1, 77)": 2236.0,
            "row_products (2, 78)": 2093.0,
            "turned shifted_sums 756": 6706.0,
            "turned column_sums 756": 5043.0,
            "turned row_products (1, 90)": 4968.0,
            "turned row_products (2, 90)": 4802.0,
        },
    ),
    (
        (2048, 2000),
        (3, 3),
        "float64",
        "direct",
        1,
        "column_sums 131",
        {
            "shifted_sums 131": 8562.0,
            "column_sums 131": 7080.0,
            "row_products (1, 43)": 9593.0,
            "row_products (2, 42)": 8732.0,
            "turned shifted_sums 128": 24950.0,
            "turned column_sums 128": 23460.0,
            "turned row_products (1, 42)": 25980.0,
            "turned row_products (2, 42)": 25110.0,
        },
    ),
]


def name(way, parameter):
    return f"turned {name(*parameter)}" if way == "turned" else f"{way} {parameter}"


@pytest.mark.parametrize("case", COSTS)
def test_the_cheapest_way_is_taken(case):
    image, kernel, dtype, method, threads, way, costs = case
    arguments = image, kernel, getattr(torch, dtype), method
    estimated = estimates(*arguments, threads).items()
    assert {name(*way): float(f"{cost / 1000:.4g}") for way, cost in estimated} == costs
    assert name(*cheapest_way(*arguments, (torch.device("cpu"), threads))) == way == min(costs, key=costs.get)


def test_numpy_serves_images_in_main_memory_only():
    arguments = (64, 64), (3, 3), torch.float32, "auto"
    assert cheapest_way(*arguments, (torch.device("cpu"), 1))[0] == "window_products"
    assert cheapest_way(*arguments, (torch.device("cuda"), 1))[0] == "row_products"


@pytest.mark.parametrize(
    ("image", "kernel", "way", "offered"),
    [
        # as many outputs as taps: every tap is copied; one row of taps more: every output
        ((5, 5), (3, 3), ("window_products", False), True),
        ((16, 16), (15, 15), ("window_products", True), True),
        # copies, with sums and result, that fit into eight times the inputs and output, and that do not
        ((17, 6), (2, 5), ("window_products", False), True),
        ((11, 6), (2, 5), ("window_products", False), True),
        ((17, 10), (2, 9), ("small_products", None), True),
        ((18, 10), (2, 9), ("small_products", None), False),
        # 262,144 multiply-adds, and one more
        ((71, 64), (8, 8), ("small_products", None), True),
        ((49, 109), (13, 5), ("small_products", None), False),
        # kernels of one row, and of two; windows of one kernel row at a time
        ((5, 5), (1, 2), ("column_sums", 5), False),
        ((5, 5), (2, 1), ("column_sums", 4), True),
        ((21, 50), (2, 22), ("dot_products", 1), True),
        # bands that just fill the cache: 256 rows of 1,024 numbers, 108 of 2,405
        ((300, 1024), (1, 1), ("shifted_sums", 256), True),
        ((300, 2405), (1, 1), ("shifted_sums", 108), True),
    ],
)
def test_a_way_is_offered_just_to_its_limit(image, kernel, way, offered):
    assert (way in estimates(image, kernel, torch.float32, "auto", 1)) == offered


@pytest.mark.parametrize(
    ("image", "kernel", "dtype", "tile"),
    [(24, 24, torch.float32, 24), (32, 2, torch.float64, 32)],  # as large as the kernel; as large as is allowed
)
def test_a_tile_may_be_just_as_large_as_image_or_bound(image, kernel, dtype, tile):
    assert ("tile_spectra", (tile, tile)) in estimates((image, image), (kernel, kernel), dtype, "fft", 1)


def test_every_row_of_tiles_is_called_for():
    one_row, two_rows = (estimates((n, 9), (2, 2), torch.float32, "fft", 1)["tile_spectra", (8, 8)] for n in (8, 9))
    assert two_rows - one_row > 40 * 1_300  # nanoseconds: 40 operations more
