"""Question (j): what each transformation does, and what random shifts buy."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from helpers.warmup import augmentation as augment

RANDOM = (augment.flip, augment.rotate_and_scale, augment.color_jitter)


@pytest.fixture
def image():
    return np.random.default_rng(0).random((30, 20, 3))


def test_a_crop_is_a_window_at_the_place_it_names(image):
    for seed in range(20):
        window, place = augment.crop(image, np.random.default_rng(seed), height=27, width=16)
        top, left = (int(word.strip(",")) for word in place.split() if word.strip(",").isdigit())
        np.testing.assert_array_equal(window, image[top : top + 27, left : left + 16])


def test_crops_reach_every_place(image):
    rng = np.random.default_rng(0)
    places = {augment.crop(image, rng, height=28, width=19)[1] for _ in range(200)}
    assert places == {f"at row {top}, column {left}" for top in range(3) for left in range(2)}


def test_a_flip_mirrors_left_and_right(image):
    mirrored, name = augment.flip(image, np.random.default_rng(0), probability=1)
    np.testing.assert_array_equal(mirrored[:, 0], image[:, -1])
    assert name == "mirrored"


def test_half_the_flips_leave_the_image_alone(image):
    rng = np.random.default_rng(0)
    names = [augment.flip(image, rng)[1] for _ in range(400)]
    assert 160 < names.count("not mirrored") < 240  # four standard deviations


def test_a_quarter_turn_is_counterclockwise(image):
    square = image[:20]
    # float64 interpolation at pixel centers
    np.testing.assert_allclose(augment.affine(square, 90, 1), np.rot90(square), atol=1e-10)


def test_a_half_turn_of_an_oblong_image_reverses_both_axes(image):
    np.testing.assert_allclose(augment.affine(image, 180, 1), image[::-1, ::-1], atol=1e-10)


def test_turning_an_oblong_image_keeps_angles():
    rows, columns = np.indices((300, 200)) - np.array([149.5, 99.5])[:, None, None]
    turned = augment.affine(np.stack([rows, columns], axis=2), 30, 1)
    cos, sin = np.cos(np.pi / 6), np.sin(np.pi / 6)
    middle = np.s_[100:200, 60:140]
    np.testing.assert_allclose(turned[..., 0][middle], (cos * rows + sin * columns)[middle], atol=1e-9)
    np.testing.assert_allclose(turned[..., 1][middle], (cos * columns - sin * rows)[middle], atol=1e-9)


def test_scaling_by_two_magnifies():
    ramp = np.repeat(np.arange(20.0)[:, None, None], 30, axis=1).repeat(3, axis=2)
    np.testing.assert_allclose(np.diff(augment.affine(ramp, 0, 2)[:, 5, 0])[1:-1], 0.5, atol=1e-10)


def test_without_strength_the_colors_stay(image):
    np.testing.assert_allclose(augment.color_jitter(image, np.random.default_rng(0), strength=0)[0], image, atol=1e-12)


def test_without_saturation_the_channels_agree(image):
    gray = augment.saturate(image, 0)
    np.testing.assert_allclose(gray, gray[..., :1].repeat(3, axis=2), atol=1e-12)


@pytest.mark.parametrize("transform", RANDOM)
def test_images_stay_in_range_and_the_original_untouched(transform, image):
    before = image.copy()
    for seed in range(5):
        result, _ = transform(image, np.random.default_rng(seed))
        assert result.shape == image.shape
        assert result.min() >= -1e-12
        assert result.max() <= 1 + 1e-12
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("transform", RANDOM)
def test_each_use_draws_anew_and_a_seed_repeats_it(transform, image):
    rng = np.random.default_rng(5)
    results = [transform(image, rng)[0].tobytes() for _ in range(20)]
    assert len(set(results)) > 1
    assert transform(image, np.random.default_rng(5))[0].tobytes() == results[0]


def test_a_digit_is_moved_down_and_to_the_right():
    digits = np.random.default_rng(0).random((2, 8, 8))
    moved = augment.shift(digits, np.array([1, -2]), np.array([2, 0]))
    np.testing.assert_array_equal(moved[0, 3:11, 4:12], digits[0])
    np.testing.assert_array_equal(moved[1, 0:8, 2:10], digits[1])
    np.testing.assert_allclose(moved.sum((1, 2)), digits.sum((1, 2)), rtol=1e-12)


def test_random_shifts_teach_the_network_shifted_digits():
    centered, shifted = (augment.accuracy_by_shift(augmented, steps=300) for augmented in (False, True))
    assert centered[2, 2] > 0.9
    assert centered.mean() < 0.3  # measured: 0.2
    assert shifted.min() > 0.6  # measured: 0.7


def test_every_place_of_the_table_carries_its_accuracy():
    axes, accuracy = Figure().subplots(), np.arange(25).reshape(5, 5) / 25
    augment.draw_accuracy(axes, accuracy)
    labels = {text.get_position(): text.get_text() for text in axes.texts}
    assert labels == {(c - 2, r - 2): f"{4 * (5 * r + c)}" for r in range(5) for c in range(5)}
    np.testing.assert_array_equal(axes.images[0].get_array(), accuracy)
    assert axes.images[0].get_extent() == [-2.5, 2.5, 2.5, -2.5]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("shift to the right (pixels)", "shift down (pixels)")


def test_an_image_says_what_was_done_and_how(image):
    axes = Figure().subplots()
    augment.draw_image(axes, image, "flip", "mirrored")
    assert (axes.get_title(), axes.get_xlabel()) == ("flip", "mirrored")
    np.testing.assert_array_equal(axes.images[0].get_array(), image)
