"""Depth against width: the constructed networks, the counts, and the curves that show them."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex

from helpers.warmup import depth

FOLDS = np.arange(1, 9)


@pytest.fixture
def axes():
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


def tent(x):
    return np.where(x < 0.5, 2 * x, 2 - 2 * x)


@pytest.mark.parametrize("folds", FOLDS)
def test_the_deep_network_is_the_composed_tent_exactly(folds):
    x = np.arange(1025) / 1024
    expected = x
    for _ in range(folds):
        expected = tent(expected)
    np.testing.assert_array_equal(depth.evaluate(depth.deep_network(folds), x), expected)


@pytest.mark.parametrize("folds", FOLDS)
def test_both_networks_have_as_many_units_and_parameters(folds):
    deep, wide = depth.deep_network(folds), depth.wide_network(folds)
    units = [sum(len(biases) for _, biases in network[:-1]) for network in (deep, wide)]
    assert units == [2 * folds] * 2
    for build in (depth.deep_network, depth.wide_network):
        assert depth.measure(build, [folds])["parameters"] == [6 * folds + 1]


@pytest.mark.parametrize("folds", FOLDS)
def test_depth_doubles_the_pieces_and_width_adds_them(folds):
    assert depth.pieces(depth.deep_network(folds), folds) == 2**folds
    assert depth.pieces(depth.wide_network(folds), folds) == min(2**folds, 2 * folds + 1)


@pytest.mark.parametrize("folds", FOLDS)
def test_a_finer_grid_finds_no_further_piece(folds):
    for network in (depth.deep_network(folds), depth.wide_network(folds)):
        assert depth.pieces(network, folds + 3) == depth.pieces(network, folds)


@pytest.mark.parametrize("folds", FOLDS)
def test_the_wide_network_reaches_the_bound_on_wrong_points(folds):
    assert depth.wrong_points(depth.wide_network(folds), folds) == depth.least_wrong(folds)
    assert depth.wrong_points(depth.deep_network(folds), folds) == 0


def test_measures_are_taken_for_each_number_of_folds():
    measures = depth.measure(depth.wide_network, np.array([1, 4]))
    assert {name: counts.tolist() for name, counts in measures.items()} == {
        "parameters": [7, 25],
        "pieces": [2, 9],
        "wrong": [0, 4],
    }


@pytest.mark.parametrize("folds", [2, 3, 4])
def test_no_choice_of_crossings_beats_the_bound(folds):
    points, crossings = np.arange(2**folds + 1), min(2 * folds + 1, 2**folds)
    sides = (
        (np.searchsorted(cuts, points) + start) % 2
        for cuts in itertools.combinations(points[:-1], crossings)
        for start in (0, 1)
    )
    assert min(np.count_nonzero(side != points % 2) for side in sides) == depth.least_wrong(folds)


@pytest.mark.parametrize("folds", FOLDS[2:])
def test_the_wide_network_is_never_wrong_by_more_than_a_half(folds):
    x = np.arange(2 ** (folds + 3) + 1) / 2 ** (folds + 3)
    errors = np.abs(depth.evaluate(depth.deep_network(folds), x) - depth.evaluate(depth.wide_network(folds), x))
    assert errors.max() == 0.5


@pytest.mark.parametrize(("widths", "expected"), [((16,), 137), ((8, 8), 592), ((4, 4, 4, 4), 704)])
def test_regions_of_sixteen_units_on_the_plane(widths, expected):
    assert depth.count_regions(widths) == expected
    folds = np.prod([(width // 2) ** 2 for width in widths[:-1]])  # Montufar et al. 2014, theorem 5
    assert folds * (1 + widths[-1] + widths[-1] * (widths[-1] - 1) // 2) == expected


@pytest.mark.parametrize(("widths", "expected"), [((1,), 2), ((3,), 7), ((4, 3), 4 * 7), ((6, 2), 9 * 4), ((2, 2), 4)])
def test_regions_of_small_networks(widths, expected):
    assert depth.count_regions(widths) == expected


def test_the_drawn_functions_are_the_two_networks(axes):
    depth.draw_functions(axes, 4)
    deep, wide = axes.get_lines()
    x = np.linspace(0, 1, 33)
    np.testing.assert_array_equal(deep.get_ydata(), depth.evaluate(depth.deep_network(4), x))
    np.testing.assert_array_equal(wide.get_ydata(), depth.evaluate(depth.wide_network(4), x))
    colors = {text.get_text(): to_hex(text.get_color()) for text in axes.texts}
    assert colors == {"4 layers of 2": to_hex(deep.get_color()), "1 layer of 8": to_hex(wide.get_color())}


def test_the_drawn_counts_carry_their_names_at_their_ends(axes):
    folds = np.array([1, 2, 3])
    depth.draw_counts(axes, folds, [2, 4, 8], [2, 4, 7], "linear pieces")
    np.testing.assert_array_equal(
        [line.get_xydata() for line in axes.get_lines()],
        [[(2, 2), (4, 4), (6, 8)], [(2, 2), (4, 4), (6, 7)]],
    )
    assert {text.get_text(): text.xy for text in axes.texts} == {"deep": (6, 8), "one layer": (6, 7)}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("ReLU units", "linear pieces")
