"""Question (i): the gradients of soft and hard attention, and the figure's artists."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from helpers.warmup import attention

TIGHT = {"rtol": 1e-12, "atol": 1e-15}  # float64, sums of 20 terms below one


@pytest.fixture(scope="module")
def scene():
    return attention.load_scene()


def every_outcome_once(samples, probabilities, size):
    return np.eye(len(probabilities))


def test_the_patches_tile_the_photograph(scene):
    np.testing.assert_allclose(scene.values[6].numpy(), scene.image[60:120, 128:192].mean((0, 1)), rtol=1e-12)
    assert scene.values.shape == (20, 3)


def test_the_soft_gradient_is_the_slope_of_the_reward_of_the_blend(scene):
    def reward(logits):
        return scene.reward(logits.softmax(0) @ scene.values)

    step = 1e-5 * torch.eye(20, dtype=torch.float64)
    slopes = [(reward(scene.logits + row) - reward(scene.logits - row)) / 2e-5 for row in step]
    # central differences: truncation 1e-10, rounding 1e-16 / 1e-5
    torch.testing.assert_close(attention.soft_gradient(scene), torch.stack(slopes), rtol=0, atol=1e-9)


def test_the_hard_gradient_is_that_of_the_expected_reward(scene):
    expected = torch.func.grad(lambda logits: logits.softmax(0) @ scene.rewards)(scene.logits)
    torch.testing.assert_close(attention.hard_gradient(scene), expected, **TIGHT)


@pytest.mark.parametrize("choose", [torch.argmax, lambda weights: torch.searchsorted(weights.cumsum(0), 0.3)])
def test_no_gradient_passes_through_a_choice(scene, choose):
    for_logits, for_layer, slopes = attention.gradient_through_choice(scene, choose)
    assert for_logits is None
    assert for_layer.any()
    assert not slopes.any()


def test_a_gradient_does_pass_when_the_choice_responds_to_the_logits(scene):
    flipping = 1e-9 + float(scene.weights[0])  # the smallest push of the first logit changes this choice
    *_, slopes = attention.gradient_through_choice(scene, lambda weights: (weights[0] > flipping).long())
    assert slopes[0] != 0


@pytest.mark.parametrize("baseline", [0.0, -0.4, 3.0])
def test_the_score_function_is_unbiased_for_any_baseline(scene, baseline):
    rng = SimpleNamespace(multinomial=every_outcome_once)
    outcomes = attention.score_function(scene, baseline, 1, 20, rng)
    torch.testing.assert_close(scene.weights @ outcomes, attention.hard_gradient(scene), **TIGHT)


@pytest.mark.parametrize("baseline", [0.0, -0.4])
def test_the_variance_is_that_of_the_outcomes(scene, baseline):
    outcomes = attention.score_function(scene, baseline, 1, 20, SimpleNamespace(multinomial=every_outcome_once))
    deviations = (outcomes - attention.hard_gradient(scene)).square().sum(1)
    assert attention.estimator_variance(scene, baseline) == pytest.approx(float(scene.weights @ deviations), rel=1e-10)


def test_the_error_falls_with_the_root_of_the_number_of_samples(scene):
    sizes = [100, 1600, 25600]
    errors = attention.relative_errors(scene, 0.0, sizes, np.random.default_rng(3))
    expected = np.sqrt(attention.estimator_variance(scene, 0.0) / np.array(sizes))
    expected /= float(attention.hard_gradient(scene).norm())
    np.testing.assert_allclose(errors, expected, rtol=0.1)  # 400 repeats: 3 % sampling error


def test_score_function_updates_find_the_rewarded_patches(scene):
    weights = attention.train_hard(scene, updates=300, samples=10, rate=2.0, rng=np.random.default_rng(0))
    assert weights @ scene.rewards > 0.5 * (scene.weights @ scene.rewards)
    assert weights[[5, 6, 9, 10]].sum() > 0.9


def test_a_patch_is_lit_and_labelled_where_it_lies(scene):
    axes = Figure().subplots()
    light, labels = np.zeros(20), [""] * 20
    light[6], labels[6] = 1, "here"
    attention.draw_attention(axes, scene, light, labels, scene.values[:3])
    photograph, strip = (image.get_array() for image in axes.images)
    np.testing.assert_allclose(photograph[60:120, 128:192], scene.image[60:120, 128:192], rtol=1e-12)
    np.testing.assert_allclose(photograph[:60], 0.2 * scene.image[:60], rtol=1e-12)
    np.testing.assert_array_equal(strip[0], scene.values[:3])
    assert [(text.get_text(), text.get_position()) for text in axes.texts] == [("here", (160, 90))]


def test_every_label_stands_in_the_middle_of_its_patch(scene):
    axes = Figure().subplots()
    attention.draw_attention(axes, scene, np.zeros(20), [str(patch) for patch in range(1, 21)], scene.values)
    middles = [(64 * column + 32, 60 * row + 30) for row in range(5) for column in range(4)]
    assert [text.get_position() for text in axes.texts] == middles


def test_the_curves_carry_the_errors_and_their_names():
    axes = Figure().subplots()
    errors = {"plain": [5.0, 4.0, 3.0, 2.0, 1.0], "better": [2.5, 2.0, 1.5, 1.0, 0.5]}
    attention.draw_convergence(axes, [1, 2, 3, 4, 5], errors)
    for line, text, (name, values) in zip(axes.lines, axes.texts, errors.items(), strict=True):
        np.testing.assert_array_equal(line.get_xydata(), np.column_stack([[1, 2, 3, 4, 5], values]))
        assert (text.get_text().strip(), text.get_color()) == (name, line.get_color())
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert axes.get_xlabel() == "samples drawn"
    assert "relative to the gradient" in axes.get_ylabel()
