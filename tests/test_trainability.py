"""Trainability: gradients through fifty layers against theory, degradation, and the curves that show them."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from helpers.data import load_digits
from helpers.warmup import trainability
from helpers.warmup.trainability import PLAIN, REMEDIES, Setting, gradient_norms, training_loss


@pytest.fixture
def axes():
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


def rate(setting, depth=20):
    """Growth of the gradient norm a layer, averaged over five networks, without their outermost layers."""
    logs = np.mean([np.log(gradient_norms(setting, depth, seed)) for seed in range(5)], axis=0)
    return np.exp((logs[-6] - logs[5]) / (depth - 10))


# The mean over five networks of 64 units scatters by 1 to 2 %.
@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (Setting("", gain=1.0), np.sqrt(1 / 2)),
        (Setting("", gain=2.0), 1.0),
        (Setting("", gain=4.0), np.sqrt(2)),
        (Setting("", gain=1.0, norm=True), np.sqrt(np.pi / (np.pi - 1))),  # Yang et al. 2019
    ],
    ids=["ReLU 1/n", "ReLU 2/n", "ReLU 4/n", "batch norm"],
)
def test_gradients_grow_at_the_rate_that_theory_gives(setting, expected):
    assert rate(setting) == pytest.approx(expected, rel=0.06)


def test_a_sigmoid_layer_shrinks_the_gradient_by_a_quarter_of_the_weights_norm_or_more():
    norms = gradient_norms(Setting("", "sigmoid", 1.0), depth=10)
    # The largest singular value of a square Gaussian matrix with variance 1/n is 2, in the limit of large n.
    assert (norms[1:] / norms[:-1] < 2 / 4).all()


def test_one_layer_with_a_skip_is_the_formula_by_hand():
    rng = np.random.default_rng(3)
    weights, upstream = rng.normal(0, np.sqrt(2 / 64), (64, 64)), rng.normal(size=(128, 64))
    pixels = load_digits()[0].reshape(-1, 64)
    on = (pixels[:128] - pixels.mean()) @ weights.T > 0
    expected = np.linalg.norm(upstream + (upstream * on) @ weights) / np.linalg.norm(upstream)
    norms = gradient_norms(Setting("", gain=2.0, skip=True), depth=1, seed=3)
    np.testing.assert_allclose(norms, [1, expected], rtol=1e-12)  # sums of a few thousand in float64


def test_skips_alone_make_the_gradient_grow():
    # Each layer adds half of the second moment, and a part that points the same way.
    assert rate(Setting("", gain=1.0, skip=True)) > np.sqrt(3 / 2)


def test_batch_norm_makes_the_gradient_independent_of_the_scale_of_the_weights():
    small, large = (gradient_norms(Setting("", gain=gain, norm=True), depth=10) for gain in (1e2, 1e4))
    # Only eps = 1e-5 tells them apart, beside variances of about 100 and 10,000.
    np.testing.assert_allclose(small, large, rtol=1e-3)


def test_the_gradient_starts_at_one_and_has_an_entry_for_each_layer():
    norms = gradient_norms(Setting(""), depth=7)
    assert norms.shape == (8,)
    assert norms[0] == 1


def test_settings_are_told_apart_by_their_labels():
    assert len({setting.label for setting in PLAIN + REMEDIES}) == len(PLAIN + REMEDIES)


@pytest.mark.parametrize(("seed", "rate"), [(1, 0.02), (2, 0.1)])
def test_the_plain_deep_network_trains_worse_with_other_seeds_and_rates(seed, rate):
    deep = training_loss(skip=False, depth=16, seed=seed, rate=rate)
    assert deep > 3 * training_loss(skip=False, depth=2, seed=seed, rate=rate)
    assert deep > 3 * training_loss(skip=True, depth=16, seed=seed, rate=rate)


@pytest.mark.parametrize("skip", [False, True])
def test_rounding_does_not_reach_the_loss_of_16_layers(monkeypatch, skip):
    pixels, labels = trainability._digits()
    loss = training_loss(skip, depth=16)
    monkeypatch.setattr(trainability, "_digits", lambda: (pixels * (1 + 1e-15), labels))
    assert training_loss(skip, depth=16) == pytest.approx(loss, abs=1e-8)  # measured: 6e-12


def test_gradient_curves_are_drawn_on_a_log_scale_with_their_labels_in_their_order(axes):
    curves = {"falls": np.array([1, 1e-2, 1e-4]), "rises": np.array([1, 1e3, 1e6]), "stays": np.ones(3)}
    trainability.draw_gradients(axes, curves, "title")
    np.testing.assert_array_equal(
        [line.get_ydata() for line in axes.get_lines()],
        [curves[name] for name in ("falls", "stays", "rises")],
    )
    heights = {text.get_text(): text.get_position()[1] for text in axes.texts}
    assert heights == pytest.approx({"falls": 1e-4, "stays": 1, "rises": 1e6})
    assert axes.get_yscale() == "log"
    assert axes.get_title() == "title"
    assert axes.get_xlabel() == "layers passed on the way back"
    assert axes.get_ylabel() == "gradient norm, relative"


def test_labels_of_curves_that_end_together_are_moved_apart(axes):
    trainability.draw_gradients(axes, {"a": np.array([1, 1]), "b": np.array([1, 2]), "c": np.array([1, 1e9])}, "")
    heights = [np.log10(text.get_position()[1]) for text in axes.texts]
    assert min(np.diff(heights)) > 0.5


def test_losses_are_drawn_by_depth_and_named(axes):
    trainability.draw_losses(axes, {2: 0.1, 24: 1.5}, {2: 0.2, 24: 0.05})
    plain, skips = (line.get_xydata().tolist() for line in axes.get_lines())
    assert (plain, skips) == ([[2, 0.1], [24, 1.5]], [[2, 0.2], [24, 0.05]])
    assert {text.get_text(): text.xy for text in axes.texts} == {"plain": (24, 1.5), "with skips": (24, 0.05)}
    assert axes.get_ylabel() == "training loss (nats)"
