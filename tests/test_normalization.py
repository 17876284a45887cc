"""The properties of batch norm that the notebook claims, and the figure that shows them."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from helpers.notebook import use_style
from helpers.warmup import normalization


@pytest.fixture(scope="module")
def gap():
    return normalization.deviations()


EXACT = (
    "formula",
    "mean",
    "variance",
    "half variance",
    "identity",
    "bias",
    "gradient sum",
    "company, test",
    "folded",
)


@pytest.mark.parametrize("name", EXACT)
def test_a_property_that_is_exact_holds_to_rounding(gap, name):
    assert gap[name] < 1e-11  # sums of 9,216 numbers of size 10 in float64


def test_scale_invariance_is_off_by_what_eps_explains(gap):
    x = normalization.features(256)
    _, v = normalization.moments(x)
    standardized = np.abs(x - x.mean((0, 2, 3), keepdims=True)).max((0, 2, 3)) / np.sqrt(v)
    first_order = np.abs(normalization.GAMMA) * standardized * normalization.EPS / (2 * v) * (1 - 1 / 49)
    assert gap["scale"] == pytest.approx(first_order.max(), rel=1e-3)
    assert gap["scale, eps / 1e6"] == pytest.approx(gap["scale"] / 1e6, rel=1e-2)


def test_properties_of_training_are_those_of_training_alone(gap):
    assert gap["company"] > 0.1
    assert gap["gradient sum, test"] > 100


def test_two_values_are_sent_to_plus_and_minus_one(gap):
    assert gap["pair"] < 1e-8  # eps 1e-11 over twice the smallest variance of the pairs


def test_normalize_agrees_with_torch():
    x = normalization.features(30)
    gamma, beta = torch.from_numpy(normalization.GAMMA), torch.from_numpy(normalization.BETA)
    expected = torch.nn.functional.batch_norm(torch.from_numpy(x), None, None, gamma, beta, training=True)
    np.testing.assert_allclose(normalization.normalize(x), expected.numpy(), rtol=0, atol=1e-12)


def test_features_are_cross_correlations_of_the_digits():
    x = normalization.features(3)
    image = normalization.load_digits()[0][2]
    assert x.shape == (3, 5, 6, 6)
    assert x[2, 4, 1, 3] == pytest.approx((image[1:4, 3:6] * normalization.KERNELS[4, 0]).sum())


def test_running_statistics_rise_from_zero_to_those_of_all_digits():
    history = normalization.running_statistics(60)
    assert history.shape == (61, 2)
    assert not history[0].any()
    rise = 1 - 0.9 ** np.arange(61)
    assert np.abs(history - rise[:, None]).max() < 0.05  # batches of 16 images vary by a few percent
    assert np.abs(history[-1] - 1).max() < 0.02


@pytest.fixture
def axes():
    use_style()
    return Figure(figsize=(4.5, 3.4)).subplots()


def test_the_three_histograms_have_one_shape_and_the_stated_moments(axes):
    normalization.draw_distributions(axes)
    counts = [patch.get_data().values - patch.get_data().baseline for patch in axes.patches]
    assert len(counts) == 3
    np.testing.assert_allclose(counts[1], counts[0], atol=0.02)  # a value may change its bin by rounding
    np.testing.assert_allclose(counts[2], counts[0], atol=0.02)
    texts = [text.get_text() for text in axes.texts]
    assert texts == [
        "x\nmean 0.82\nvariance 0.51",
        "x̂\nmean 0.00\nvariance 1.00",
        "y = 2 x̂ + 3\nmean 3.00\nvariance 4.00",
    ]
    centers = [
        np.average((edges[1:] + edges[:-1]) / 2, weights=c)
        for c, edges in ((c, patch.get_data().edges) for c, patch in zip(counts, axes.patches, strict=True))
    ]
    np.testing.assert_allclose(centers, [0.82, 0, 3], atol=0.03)  # bins blur the mean a little


def test_below_each_histogram_a_bar_reaches_one_standard_deviation_to_either_side_of_the_mean(axes):
    normalization.draw_distributions(axes)
    reach = [container.lines[2][0].get_segments()[0][:, 0] for container in axes.containers]
    moments = [(0.82, np.sqrt(0.51)), (0, 1), (3, 2)]
    np.testing.assert_allclose(reach, [(m - deviation, m + deviation) for m, deviation in moments], atol=1e-12)


def test_the_running_curves_carry_the_history_and_the_theory(axes):
    history = np.column_stack([np.linspace(0, 0.9, 8), np.linspace(0, 1.1, 8)])
    normalization.draw_running(axes, history)
    mean, variance, theory = axes.lines
    np.testing.assert_array_equal(mean.get_ydata(), history[:, 0])
    np.testing.assert_array_equal(variance.get_ydata(), history[:, 1])
    np.testing.assert_allclose(theory.get_ydata(), 1 - 0.9 ** np.arange(8))
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["running mean / mean", "running variance / variance", "1 − 0.9ᵗ"]
    assert axes.get_xlabel()
    assert axes.get_ylabel()
