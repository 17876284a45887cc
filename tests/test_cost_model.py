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
        "tap_products None",
        {
            "tile_spectra (16, 16)": 131.2,
            "shifted_sums 14": 29.35,
            "window_products None": 5.591,
            "tap_products None": 4.702,
            "small_products None": 5.642,
            "column_sums 14": 20.4,
            "row_products (1, 14)": 12.1,
            "dot_products 3": 59.96,
            "turned shifted_sums 14": 35.08,
            "turned window_products None": 11.32,
            "turned tap_products None": 10.43,
            "turned small_products None": 11.37,
            "turned column_sums 14": 26.13,
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
            "tile_spectra (64, 24)": 200.3,
            "shifted_sums 58": 140.5,
            "window_products None": 33.65,
            "small_products None": 18.76,
            "column_sums 58": 52.19,
            "row_products (1, 58)": 30.35,
            "row_products (2, 58)": 43.17,
            "dot_products 7": 265.9,
            "turned shifted_sums 60": 162.3,
            "turned window_products None": 56.26,
            "turned small_products None": 46.48,
            "turned column_sums 60": 87.75,
            "turned row_products (1, 60)": 57.33,
            "turned row_products (2, 60)": 69.48,
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
        "row_bags (246, 290)",
        {
            "tile_spectra (256, 160)": 507.5,
            "shifted_sums 246": 868.0,
            "column_sums 246": 326.9,
            "row_products (1, 123)": 235.5,
            "row_bags (246, 290)": 149.4,
            "turned shifted_sums 290": 1027.0,
            "turned column_sums 290": 495.6,
            "turned row_products (1, 145)": 396.7,
            "turned row_bags (290, 246)": 309.2,
        },
    ),
    (
        (1024, 1024),
        (5, 5),
        "float32",
        "direct",
        2,
        "row_bags (204, 1020)",
        {
            "shifted_sums 514": 1593.0,
            "column_sums 514": 905.7,
            "row_products (1, 102)": 1147.0,
            "row_bags (204, 1020)": 729.5,
            "turned shifted_sums 514": 3695.0,
            "turned column_sums 514": 3008.0,
            "turned row_products (1, 102)": 3249.0,
            "turned row_bags (204, 1020)": 2832.0,
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
            "tile_spectra (576, 576)": 56230.0,
            "shifted_sums 263": 1825000.0,
            "column_sums 263": 739500.0,
            "row_products (1, 4)": 403700.0,
            "row_products (2, 4)": 393400.0,
            "turned shifted_sums 263": 1842000.0,
            "turned column_sums 263": 756300.0,
            "turned row_products (1, 4)": 420500.0,
            "turned row_products (2, 4)": 410200.0,
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
            "tile_spectra (288, 192)": 10890.0,
            "shifted_sums 269": 107200.0,
            "column_sums 269": 43260.0,
            "row_products (1, 9)": 27430.0,
            "row_bags (18, 972)": 24460.0,
            "row_bags (77, 195)": 20140.0,
            "turned shifted_sums 263": 109300.0,
            "turned column_sums 263": 45510.0,
            "turned row_products (1, 8)": 30200.0,
            "turned row_bags (16, 994)": 26840.0,
            "turned row_bags (58, 249)": 22090.0,
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
            "tile_spectra (768, 640)": 3698.0,
            "shifted_sums 6": 1442000.0,
            "column_sums 6": 3552.0,
            "row_products (1, 1)": 17450.0,
            "row_bags (2, 3)": 19350.0,
            "dot_products 268": 660.7,
            "turned shifted_sums 3": 1443000.0,
            "turned column_sums 3": 5038.0,
            "turned row_products (1, 1)": 11350.0,
            "turned row_bags (2, 6)": 12390.0,
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
            "tile_spectra (48, 8)": 678.6,
            "shifted_sums 498": 35.17,
            "window_products None": 22.65,
            "tap_products None": 11.67,
            "small_products None": 14.01,
            "column_sums 498": 86.93,
            "row_products (1, 498)": 41.66,
            "row_products (2, 498)": 55.48,
            "dot_products 3": 1957.0,
            "turned shifted_sums 6": 56.4,
            "turned window_products None": 44.27,
            "turned tap_products None": 31.14,
            "turned small_products None": 33.12,
            "turned column_sums 6": 45.01,
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
            "window_products None": 9.738,
            "small_products None": 5.692,
            "dot_products 5": 146.2,
            "turned shifted_sums 28": 54.97,
            "turned window_products None": 15.58,
            "turned small_products None": 11.71,
            "turned dot_products 3": 120.9,
        },
    ),
    ((2000, 3000), (40, 45), "complex128", "fft", 2, "tile_spectra (320, 256)", {"tile_spectra (320, 256)": 66490.0}),
    (
        (1, 5000),
        (1, 900),
        "float64",
        "auto",
        1,
        "turned window_products None",
        {
            "shifted_sums 1": 3737.0,
            "turned shifted_sums 4101": 3766.0,
            "turned window_products None": 335.0,
            "turned column_sums 4101": 5638.0,
            "turned row_products (1, 4101)": 2569.0,
            "turned row_products (2, 2052)": 2593.0,
            "turned dot_products 900": 16840.0,
        },
    ),
    (
        (64, 64),
        (15, 15),
        "float32",
        "auto",
        1,
        "window_products None",
        {
            "tile_spectra (64, 64)": 170.3,
            "shifted_sums 50": 793.1,
            "window_products None": 41.49,
            "column_sums 50": 124.4,
            "row_products (1, 50)": 42.5,
            "row_bags (25, 50)": 54.98,
            "dot_products 15": 271.7,
            "turned shifted_sums 50": 807.0,
            "turned column_sums 50": 138.3,
            "turned row_products (1, 25)": 64.14,
            "turned row_bags (25, 50)": 68.82,
            "turned dot_products 14": 493.1,
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
            "tile_spectra (64, 64)": 170.3,
            "shifted_sums 42": 1243.0,
            "column_sums 42": 145.1,
            "row_products (1, 21)": 53.74,
            "dot_products 16": 424.2,
            "turned shifted_sums 42": 1256.0,
            "turned column_sums 42": 158.2,
            "turned row_products (1, 21)": 66.86,
            "turned dot_products 9": 612.8,
        },
    ),
    (
        (30, 30),
        (25, 25),
        "float32",
        "auto",
        1,
        "window_products None",
        {
            "tile_spectra (32, 32)": 139.9,
            "shifted_sums 6": 2034.0,
            "window_products None": 5.827,
            "small_products None": 7.02,
            "column_sums 6": 114.1,
            "row_products (1, 6)": 15.54,
            "dot_products 25": 31.98,
            "turned shifted_sums 6": 2042.0,
            "turned window_products None": 14.08,
            "turned small_products None": 15.27,
            "turned column_sums 6": 122.4,
            "turned row_products (1, 6)": 23.79,
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
            "tile_spectra (8, 64)": 32450.0,
            "shifted_sums 1": 623.2,
            "row_products (1, 1)": 1755.0,
            "row_bags (3, 4082)": 3526.0,
            "turned shifted_sums 87381": 4267.0,
            "turned column_sums 87381": 29090.0,
            "turned row_products (1, 85714)": 28780.0,
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
            "tile_spectra (96, 96)": 5030.0,
            "shifted_sums 502": 7102.0,
            "column_sums 502": 3410.0,
            "row_products (1, 46)": 3050.0,
            "row_products (2, 46)": 2838.0,
            "turned shifted_sums 502": 8156.0,
            "turned column_sums 502": 4464.0,
            "turned row_products (1, 46)": 4104.0,
            "turned row_products (2, 46)": 3893.0,
        },
    ),
    ((411, 416), (21, 23), "float32", "fft", 1, "tile_spectra (120, 160)", {"tile_spectra (120, 160)": 2003.0}),
    (
        (500, 7),
        (4, 3),
        "float32",
        "auto",
        2,
        "small_products None",
        {
            "tile_spectra (128, 8)": 301.4,
            "shifted_sums 497": 40.64,
            "window_products None": 18.55,
            "small_products None": 9.157,
            "column_sums 497": 51.74,
            "row_products (1, 497)": 24.16,
            "dot_products 4": 1946.0,
            "turned shifted_sums 5": 52.86,
            "turned window_products None": 31.19,
            "turned tap_products None": 19.72,
            "turned small_products None": 21.22,
            "turned column_sums 5": 37.01,
            "turned row_products (1, 5)": 25.82,
            "turned row_bags (5, 497)": 38.1,
            "turned dot_products 3": 39.96,
        },
    ),
    (
        (16, 16),
        (7, 7),
        "float64",
        "auto",
        2,
        "window_products None",
        {
            "tile_spectra (16, 16)": 132.4,
            "shifted_sums 10": 159.8,
            "window_products None": 5.518,
            "small_products None": 6.206,
            "column_sums 10": 36.9,
            "row_products (1, 10)": 12.39,
            "row_products (2, 10)": 26.65,
            "dot_products 7": 44.96,
            "turned shifted_sums 10": 166.2,
            "turned window_products None": 11.94,
            "turned small_products None": 12.63,
            "turned column_sums 10": 43.32,
            "turned row_products (1, 10)": 18.81,
            "turned row_products (2, 10)": 33.07,
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
            "tile_spectra (96, 72)": 5801.0,
            "shifted_sums 586": 4180.0,
            "column_sums 586": 2018.0,
            "row_products (1, 77)": 2096.0,
            "row_products (2, 78)": 1936.0,
            "turned shifted_sums 756": 6706.0,
            "turned column_sums 756": 4635.0,
            "turned row_products (1, 90)": 4828.0,
            "turned row_products (2, 90)": 4642.0,
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
            "column_sums 131": 5336.0,
            "row_products (1, 43)": 9299.0,
            "row_products (2, 42)": 8339.0,
            "turned shifted_sums 128": 24950.0,
            "turned column_sums 128": 21720.0,
            "turned row_products (1, 42)": 25690.0,
            "turned row_products (2, 42)": 24720.0,
        },
    ),
    (
        (20, 9000),
        (5, 6),
        "float32",
        "direct",
        1,
        "column_sums 16",
        {
            "shifted_sums 16": 572.4,
            "column_sums 16": 285.5,
            "row_products (1, 4)": 381.3,
            "row_bags (16, 2999)": 326.8,
            "row_bags (16, 1500)": 333.9,
            "turned shifted_sums 8995": 937.7,
            "turned column_sums 8995": 2433.0,
            "turned row_products (1, 2249)": 1138.0,
        },
    ),
    (
        (300, 700),
        (1, 12),
        "float32",
        "auto",
        2,
        "shifted_sums 300",
        {
            "tile_spectra (8, 128)": 2840.0,
            "shifted_sums 300": 175.4,
            "row_products (1, 60)": 452.1,
            "row_bags (100, 689)": 246.0,
            "turned shifted_sums 689": 600.6,
            "turned window_products None": 1571.0,
            "turned column_sums 689": 514.0,
            "turned row_products (1, 689)": 506.5,
            "turned row_bags (689, 300)": 511.4,
            "turned dot_products 12": 3275.0,
        },
    ),
    (
        (33, 40),
        (30, 38),
        "float32",
        "direct",
        2,
        "window_products None",
        {
            "shifted_sums 4": 3706.0,
            "window_products None": 5.324,
            "small_products None": 7.589,
            "column_sums 4": 160.7,
            "row_products (1, 4)": 14.52,
            "dot_products 30": 21.93,
            "turned shifted_sums 3": 3716.0,
            "turned window_products None": 15.51,
            "turned small_products None": 16.59,
            "turned column_sums 3": 138.0,
            "turned row_products (1, 3)": 23.45,
            "turned dot_products 38": 28.25,
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
    assert name(*cheapest_way(*arguments, threads)) == way == min(costs, key=costs.get)


@pytest.mark.parametrize(
    ("image", "kernel", "way"),
    [((64, 64), (3, 3), "tap_products"), ((1, 5000), (1, 900), "turned"), ((256, 256), (7, 7), "row_bags")],
)
def test_numpy_and_bags_serve_images_in_main_memory_only(image, kernel, way):
    arguments = image, kernel, torch.float32, "auto"
    assert cheapest_way(*arguments, 1)[0] == way
    elsewhere = name(*cheapest_way(*arguments, 1, in_main_memory=False))
    assert elsewhere.removeprefix("turned ").startswith("row_products")


@pytest.mark.parametrize(
    ("image", "kernel", "way", "offered"),
    [
        # columns that fill the cache, and one number more; eight times the inputs and output, and one more
        ((128, 1025), (3, 2), ("window_products", None), True),
        ((109, 485), (3, 5), ("window_products", None), False),
        ((2, 58), (1, 24), ("window_products", None), True),
        ((5, 57), (1, 43), ("window_products", None), False),
        # 262,144 multiply-adds, and one more; copies, sums and result of eight times inputs and output, and one more
        ((257, 256), (2, 2), ("tap_products", None), True),
        ((109, 481), (1, 5), ("tap_products", None), False),
        ((2, 12), (1, 11), ("tap_products", None), True),
        ((9, 17), (9, 15), ("tap_products", None), False),
        # the same two limits
        ((17, 10), (2, 9), ("small_products", None), True),
        ((18, 10), (2, 9), ("small_products", None), False),
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
        ((74, 4061), (26, 23), {(5, 4039): 3405.0, (49, 270): 2829.0}),
        ((9, 2501), (3, 2), {(7, 2500): 35.55}),
        ((9, 2502), (3, 2), {(7, 2501): 35.56, (7, 1251): 53.07}),
        ((3, 8194), (1, 2), {(3, 2731): 69.39}),
        ((8, 4097), (3, 2), {(6, 4096): 39.94, (6, 2048): 59.5}),
        ((8, 4098), (3, 2), {(6, 2049): 59.51}),
        ((135, 66), (36, 16), {(34, 51): 121.8}),
        ((55, 70), (21, 8), {(35, 63): 33.86}),
        ((56, 70), (21, 9), {(36, 62): 35.21}),
        ((15, 2149), (10, 52), {(2, 2098): 282.5, (6, 700): 247.8}),
        ((73, 14762), (1, 51), {(2, 3678): 9697.0}),
        ((100, 6000), (1, 700), {(1, 2651): 63920.0}),
        ((9, 64), (2, 1), {(8, 64): 24.93}),
        ((9, 63), (2, 1), {}),
        ((96, 68), (25, 44), {(11, 25): 209.7}),
        ((199, 80), (21, 53), {(20, 28): 459.3}),
        ((238, 98), (32, 48), {(26, 51): 701.2}),
        ((9, 3000), (5, 2), {(5, 2999): 36.02, (5, 1500): 53.31}),
        ((71, 203), (20, 38), {(18, 166): 220.3}),
        ((29, 100), (25, 33), {(3, 68): 45.94}),
        ((100, 119), (11, 34), {(23, 86): 168.9}),
        ((103, 255), (6, 29), {(33, 227): 206.8}),
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
        # all but too much, and a little too much
        ((148, 179), (80, 128), torch.complex64, True),
        ((65, 313), (59, 148), torch.complex64, False),
        ((296, 54), (20, 20), torch.float32, True),
        ((639, 13), (358, 5), torch.float32, False),
        ((258, 254), (86, 201), torch.float32, True),
    ],
)
def test_a_transform_is_chosen_only_where_it_has_room_and_else_has_to_be_asked_for(image, kernel, dtype, offered):
    ways = {method: dict(estimates(image, kernel, dtype, method, 1)) for method in ("auto", "fft")}
    assert any(way == "tile_spectra" for way, _ in ways["auto"]) == offered
    assert any(way == "tile_spectra" for way, _ in ways["fft"])


def test_every_row_of_tiles_is_called_for():
    one_row, two_rows = (estimates((n, 9), (2, 2), torch.float32, "fft", 1)["tile_spectra", (8, 8)] for n in (8, 9))
    assert two_rows - one_row > 40 * 1_300  # nanoseconds: 40 operations more
