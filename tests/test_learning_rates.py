"""The labels of learning rates hold on real runs, on hundreds of generated sets and on any kind of input."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from helpers.data import load_json
from helpers.warmup import learning_rates
from helpers.warmup.learning_rates import LABELS, RATES, SCALED_RATES, curve_shapes, label_learning_rates

STEP = np.arange(60)
TEXTBOOK = {
    "a": 1 - STEP / 200,
    "b": np.exp(-STEP / 6.0),
    "c": 0.4 + 0.6 * np.exp(-STEP / 3.0) + 0.05 * np.sin(2.5 * STEP),
    "d": 1 + STEP / 20,
}
TRUTH = dict(zip(TEXTBOOK, LABELS, strict=True))


# --- Sets of four curves in the order of LABELS, at rates from the theory: stability ends at 2 / curvature


def quadratic(rng):
    """SGD on a quadratic in several dimensions, gradient noise sized so that the high rate leaves a floor."""
    dimensions, steps = rng.integers(1, 20), rng.integers(40, 400)
    curvature = np.logspace(0, -rng.uniform(0, 2), dimensions)
    start = rng.normal(size=dimensions) + 1
    initial = (curvature * start**2).sum() / 2
    rates = np.array([rng.uniform(0.2, 1) * 2 / steps, *(rng.uniform(*r) for r in ((0.4, 1), (1.8, 1.97), (2.03, 3)))])
    floor = initial * 10 ** rng.uniform(-2, -0.5)
    noise = np.sqrt(2 * floor * (2 - rates[2]) / rates[2] / dimensions)
    jitter = rng.choice([0, 0.03])  # of the measured loss
    w, losses = np.tile(start, (4, 1)), np.empty((4, steps))
    for step in range(steps):
        losses[:, step] = (curvature * w**2).sum(1) / 2 * (1 + jitter * rng.normal(size=4))
        w = w - rates[:, None] * (curvature * w + noise * rng.normal(size=w.shape))
    return [list(losses)]


def regression(rng):
    """Minibatch SGD on linear, logistic, ReLU or tanh regression at rates scaled by the inputs' curvature."""
    kind = rng.choice(["linear", "logistic", "relu", "tanh"])
    steps, batch, features, hidden = rng.integers(60, 160), 16, rng.integers(4, 12), 12
    x = rng.normal(size=(128, features)) * 2 ** rng.uniform(-1, 1, features)
    signal = np.tanh(x @ rng.normal(size=(features, 1)) / 2)
    y = signal + rng.normal(0, 0.3, signal.shape)
    if kind == "logistic":
        y = (y > 0) * 1.0
    curvature = np.linalg.eigvalsh(x.T @ x / len(x))[-1]
    eta = 10 ** np.linspace(-2.2, 2.4, 20)[:, None, None] / curvature
    first = rng.normal(size=(features, hidden)) * np.sqrt(2 / features)
    w = np.tile(first if kind in ("relu", "tanh") else np.zeros((features, 1)), (len(eta), 1, 1))
    v = np.tile(rng.normal(size=(hidden, 1)) / np.sqrt(hidden), (len(eta), 1, 1))
    whole_set, losses = rng.random() < 0.5, np.empty((len(eta), steps))
    for step in range(steps):
        batches = [rng.integers(0, len(x), batch), slice(None)]
        for rows in batches[: 1 + whole_set][::-1]:  # the batch comes last: its gradient is the one that is used
            z = x[rows] @ w
            h = np.maximum(z, 0) if kind == "relu" else np.tanh(z)
            out = h @ v if kind in ("relu", "tanh") else z
            error = (1 / (1 + np.exp(-out)) if kind == "logistic" else out) - y[rows]
            loss = np.logaddexp(0, out) - y[rows] * out if kind == "logistic" else error**2 / 2
            if not (whole_set and rows is batches[0]):
                losses[:, step] = loss.mean((1, 2))
        back = error / batch
        if kind in ("relu", "tanh"):
            slope = (z > 0) if kind == "relu" else 1 - h**2
            back, v = back @ v.transpose(0, 2, 1) * slope, v - eta * (h.transpose(0, 2, 1) @ back)
        w = w - eta * (x[rows].T @ back)
    return [four_of(rng, losses) for _ in range(3)]


def four_of(rng, losses):
    """Of runs at growing rates, four to draw: an unfinished one, the best, a plateau above it, a failure."""
    ends = [np.median(run[-len(run) // 4 :]) if np.isfinite(run).all() else np.inf for run in losses]
    best = int(np.argmin(ends))
    height = (np.array(ends) - ends[best]) / (losses[0, 0] - ends[best])
    low = np.flatnonzero((height > 0.15) & (height < 0.95) & (np.arange(len(ends)) < best))
    high = np.flatnonzero((height > 0.06) & (height < 0.7) & (np.arange(len(ends)) > best))
    failed = np.flatnonzero((height > 1) & (np.arange(len(ends)) > (high[0] if len(high) else np.inf)))
    if not len(low) or not len(failed):
        return None
    high = rng.choice(high[high < failed[-1]])
    return list(losses[[rng.choice(low), best, high, rng.choice(failed[failed > high][:4])]])


def cartoon(rng):
    """The curves of the textbook's drawing, with six ways to fail for the very high rate."""
    steps = rng.integers(20, 400)
    step, time = np.arange(steps), np.linspace(0, 1, steps)
    floor = rng.uniform(0, 0.3)
    plateau = floor + (1 - floor) * rng.uniform(0.1, 0.6)
    low = 1 - rng.uniform(0.05, 0.5) * (1 - np.exp(-time * rng.uniform(0.3, 2)))
    optimal = floor + (1 - floor) * np.exp(-time * rng.uniform(6, 30))
    bounce = rng.uniform(0.01, 0.1) * plateau * rng.normal(size=steps) * (step > 0)
    high = plateau + (1 - plateau) * np.exp(-time * rng.uniform(10, 60)) + bounce
    growth, blow_up = np.exp(rng.uniform(0.02, 0.3) * step), rng.integers(1, steps // 3)
    very_high = [
        growth,
        np.minimum(growth, rng.uniform(1.5, 20)),
        np.where(step < blow_up, growth, np.nan),
        np.where(step < blow_up, growth, np.inf),
        1 + rng.uniform(0.5, 20) * np.exp(-step / rng.uniform(1, 6)) * (step > 0) + rng.normal(0, 0.02, steps),
        growth[: blow_up + 1] if growth[blow_up] > 1.5 else np.array([1.0, 50.0]),
    ][rng.integers(6)]
    noise = rng.choice([0, 0.01, 0.03])
    return [[run * (1 + noise * rng.normal(size=len(run))) for run in (low, optimal, high, very_high)]]


def disguised(rng, runs):
    """The same runs as another person might hand them over: other units, lengths, steps and containers."""
    stride, scale, offset = rng.integers(1, 6), 10 ** rng.uniform(-3, 3), rng.choice([0, 5, -5])
    kind = rng.integers(3)
    if kind == 0:
        runs = [run[::stride] for run in runs]
    elif kind == 1:
        runs = [run[: max(8, int(len(run) * rng.uniform(0.6, 1)))] for run in runs]
    runs = [scale * (run + offset) for run in runs]
    return [(np.asarray, list, torch.tensor)[rng.integers(3)](run) for run in runs]


def readable(runs):
    """Low and high end three standard errors above optimal: what drowns in noise nobody could label."""
    tails = [np.asarray(run)[-max(4, len(run) // 4) :] for run in runs[:3]]
    (low, d_low), (best, d_best), (high, d_high) = (
        (np.median(tail), 1.25 * tail.std() / np.sqrt(len(tail))) for tail in tails
    )
    return low - best > 3 * np.hypot(d_low, d_best) and high - best > 3 * np.hypot(d_high, d_best)


@pytest.mark.parametrize(("family", "count"), [(quadratic, 120), (regression, 30), (cartoon, 150)])
def test_at_least_98_percent_of_generated_sets_are_labeled_right(family, count):
    rng = np.random.default_rng(count)
    right = []
    with np.errstate(over="ignore", invalid="ignore"):
        while len(right) < count:
            for runs in family(rng):
                if runs is None or not readable(runs):
                    continue
                given, order = disguised(rng, runs), rng.permutation(4)
                labels = label_learning_rates({f"run {i}": given[i] for i in order})
                right.append(labels == {f"run {i}": LABELS[i] for i in range(4)})
    assert np.mean(right) >= 0.98


# --- Real runs


@pytest.fixture(scope="module")
def trained():
    return learning_rates.train_on_digits()


BY_RATE = dict(zip(sorted(RATES, key=RATES.get), LABELS, strict=True))


def test_four_runs_on_the_digits_get_the_labels_of_their_rates(trained):
    assert label_learning_rates(trained) == BY_RATE


def test_the_recorded_curves_get_the_labels_of_their_rates():
    recorded = load_json("learning_rate_curves.json")["curves"]
    assert {name: run["rate"] for name, run in recorded.items()} == RATES
    assert label_learning_rates({name: run["loss"] for name, run in recorded.items()}) == BY_RATE


def test_training_anew_follows_the_recorded_curves(trained):
    recorded = load_json("learning_rate_curves.json")["curves"]
    for name in ("B", "D"):  # the stable rates; rounding grows in the others, machine by machine
        np.testing.assert_allclose(trained[name], recorded[name]["loss"], rtol=1e-3)  # four digits are recorded


# --- The promises of the function


@pytest.mark.parametrize("order", list(itertools.permutations("abcd")))
def test_the_order_of_the_curves_does_not_matter(order):
    labels = label_learning_rates({name: TEXTBOOK[name] for name in order})
    assert labels == TRUTH
    assert list(labels) == list(order)


@pytest.mark.parametrize(
    "disguise",
    [
        lambda run: 1e-6 * run,
        lambda run: 1e6 * run,
        lambda run: run - 7,
        lambda run: run[::5],
        list,
        tuple,
        lambda run: torch.tensor(run, requires_grad=True),
        lambda run: torch.tensor(run, dtype=torch.bfloat16),
        lambda run: torch._neg_view(-torch.tensor(run)),  # only marked as negative
        lambda run: run.astype(np.float16),
        lambda run: (1000 * run).astype(np.int64),
        lambda run: run[::-1][::-1],
    ],
)
def test_scale_offset_and_container_do_not_matter(disguise):
    assert label_learning_rates({name: disguise(run) for name, run in TEXTBOOK.items()}) == TRUTH


@pytest.mark.parametrize(
    "failed",
    [
        [np.nan],
        [1.0],
        [1.0, np.nan],
        [1.0, np.inf],
        [1.0, 3.0, np.nan, 0.5],
        [1.0, -np.inf],
        [1.0, 1e308, 1e308],
        [1.0] + 59 * [2.3],
        [1.0, 4.0] + 58 * [1.0],
        59 * [1.0] + [np.nan],
    ],
)
def test_every_way_to_blow_up_is_very_high(failed):
    assert label_learning_rates({**TEXTBOOK, "d": failed}) == TRUTH


def test_of_two_runs_that_blow_up_the_sooner_is_very_high():
    sooner, later = np.where(STEP < 3, 1.0, np.nan), np.where(STEP < 40, TEXTBOOK["c"], np.inf)
    for history in (sooner, sooner[:4]):  # of which the rest was not logged
        assert label_learning_rates({**TEXTBOOK, "c": later, "d": history}) == TRUTH


def test_a_low_run_that_ends_under_the_optimal_one_is_still_low():
    low = np.exp(-STEP / 15.0)
    optimal = 0.05 + 0.95 * np.exp(-STEP / 1.5)
    assert low[-1] < optimal[-1]
    assert label_learning_rates({**TEXTBOOK, "a": low, "b": optimal}) == TRUTH


@pytest.mark.parametrize("fall", [0, 0.02, 0.05])
def test_a_low_run_whose_fall_is_lost_in_its_noise_is_still_low(fall):
    rng = np.random.default_rng(0)
    for _ in range(50):
        noise = rng.normal(0, 0.03, (3, 60)) * (STEP > 0)
        runs = {
            "a": 1 - fall * STEP / 60 + noise[0],
            "b": np.exp(-STEP / 6) + noise[1],
            "c": 0.55 - 0.15 * STEP / 60 + 0.45 * np.exp(-STEP / 3) + noise[2],  # still sinks, steadily
            "d": 1.15 + 5 * np.exp(-STEP / 8),  # comes down from a peak, steadily
        }
        assert label_learning_rates(runs) == TRUTH


def test_a_high_run_that_comes_down_from_a_bump_is_not_low():
    bump = 1.5 * np.exp(-STEP / 6) * (1 - np.exp(-STEP / 1.5))
    runs = {"a": np.exp(-STEP / 66), "b": np.exp(-STEP / 7), "c": 0.5 + 0.5 * np.exp(-STEP / 20) + bump}
    assert label_learning_rates({**runs, "d": np.where(STEP > 0, 3.0, 1.0)}) == TRUTH


def test_nothing_is_changed():
    curves = {name: run.copy() for name, run in TEXTBOOK.items()}
    for run in curves.values():
        run.flags.writeable = False
    label_learning_rates(curves)
    for name, run in TEXTBOOK.items():
        np.testing.assert_array_equal(curves[name], run)


def test_curves_that_all_agree_still_get_each_label_once():
    labels = label_learning_rates({name: [1.0, 1.0, 1.0, 1.0] for name in "abcd"})
    assert sorted(labels.values()) == sorted(LABELS)


@pytest.mark.parametrize("curves", [list(TEXTBOOK.values()), None, 3.0, np.zeros((4, 9))])
def test_what_is_not_a_mapping_is_a_type_error(curves):
    with pytest.raises(TypeError, match="map names to loss histories"):
        label_learning_rates(curves)


@pytest.mark.parametrize("names", ["", "abc", "abcde"])
def test_other_than_four_curves_is_a_value_error(names):
    with pytest.raises(ValueError, match=f"exactly four curves, got {len(names)}"):
        label_learning_rates({name: [1.0, 0.5] for name in names})


@pytest.mark.parametrize(
    "history",
    [
        *([], np.empty(0), torch.empty(0), np.ones((3, 2)), torch.ones(2, 3), 1.0, None, "loss", ["a", "b"]),
        *([[1.0], [1.0, 2.0]], np.ones(3, complex), torch.ones(3, dtype=torch.complex64), [1.0, None], {1.0}),
        *(torch.ones(3, dtype=torch.complex64).conj(), torch.ones(3, device="meta"), torch.ones(3).to_sparse()),
    ],
)
def test_an_unreadable_history_is_a_value_error_that_names_it(history):
    with pytest.raises(ValueError, match="curve 'c'") as caught:
        label_learning_rates({**TEXTBOOK, "c": history})
    assert caught.value.__suppress_context__ or caught.value.__context__ is None, "a second exception layer"


def test_four_runs_that_all_blow_up_are_a_value_error():
    with pytest.raises(ValueError, match="every run blows up"):
        label_learning_rates({name: [1.0, np.nan] for name in "abcd"})


def test_the_shapes_measure_what_they_say():
    shapes = curve_shapes({"a": [1, 1, 1, 1], "b": [1, 0.75, 0.25, 0], "c": [1, 2, 2, 2], "d": [1, np.nan] * 2})
    assert shapes["a"] == learning_rates.Shape(level=1, slowness=1, steadiness=1, rise=0)
    assert shapes["b"].level == 0
    assert shapes["b"].slowness == 0.5
    assert shapes["b"].steadiness == pytest.approx(1.75 / np.sqrt(5 * 0.625))
    assert shapes["c"].level == pytest.approx(1 + np.log(2))
    assert shapes["c"].rise == 1
    assert shapes["d"] == learning_rates.Shape(level=4.5, slowness=2.5, steadiness=0, rise=2)


def test_shapes_do_not_depend_on_the_unit_of_the_loss():
    runs = {"a": [1, 1, 1, 1], "b": [1, 0.75, 0.25, 0], "c": [1, 2, 2, 2], "d": [1, 0.5, 0.25, 0.25]}
    small = curve_shapes({name: np.array(losses) / 2**7 for name, losses in runs.items()})
    assert small == curve_shapes(runs)  # a power of two: exactly


LONG = {"a": [1] + 11 * [0], "d": 12 * [1]}  # of two of four runs: they say what heights 0 and 1 are


def test_a_run_ends_at_the_median_of_its_last_quarter():
    assert curve_shapes({**LONG, "b": [1] * 8 + [9, 1, 2, 3], "c": 12 * [1]})["b"].level == 1 + np.log(2)


def test_heights_count_as_3_at_most_and_as_minus_1_at_least():
    shapes = curve_shapes({**LONG, "b": [1, 9, 0.5, *9 * [0.5]], "c": [1, -9, 0.5, *9 * [0.5]]})
    assert shapes["b"].slowness == (1 + 3 + 10 * 0.5) / 12
    assert shapes["c"].slowness == (1 - 1 + 10 * 0.5) / 12


def test_rise_is_the_peak_above_the_start_smoothed_over_a_fortieth_of_the_run():
    long = {"a": [1] + 79 * [0], "d": 80 * [1]}
    shapes = curve_shapes({**long, "b": [1, 1, 1, 2, *76 * [0.5]], "c": [1, 0.5, 1, 0.5, *76 * [0.5]]})
    assert shapes["b"].rise == 0.5  # the mean of 1 and 2, two of 80 steps
    assert shapes["c"].rise == 0


def test_a_level_above_the_start_is_logarithmic_up_to_4():
    shapes = curve_shapes({**LONG, "b": [1, *11 * [1.5]], "c": [1, *11 * [1e9]]})
    assert (shapes["b"].level, shapes["c"].level) == (1 + np.log(1.5), 4)


@pytest.mark.parametrize(
    ("history", "steadiness"),
    [
        ([1, 0.75, 0.5, 0.25, 0], 1),
        ([1, 1, 1, 1, 1], 1),  # stays at its start
        ([0.2, 0.2, 0.2, 0.2, 0.2], 0.2),  # stays elsewhere
        ([2.5, 2.5, 2.5, 2.5, 2.5], 0),  # has neither
        ([1, 0.9, 1, 0.9, 1], 0.96),  # hardly moves, and has no trend
        ([1, 0, 0, 0, 0], 1 / np.sqrt(2)),  # by hand: 2 / sqrt(0.8 * 10)
        ([1, 0, 0, 0, 1], 0.4),  # no trend: 1 minus the mean distance from the start
        ([1, 9, 3, 3, 3], 1 - 8 / 5),  # counts as 1, 3, 3, 3, 3: it rises
    ],
)
def test_steadiness_is_the_straightness_of_the_fall_or_the_nearness_to_the_start(history, steadiness):
    shapes = curve_shapes({"a": [1] + 4 * [0], "b": 5 * [1], "c": history, "d": 5 * [1]})
    assert shapes["c"].steadiness == pytest.approx(steadiness)


def test_three_losses_are_a_trend():
    shapes = curve_shapes({"a": [1, 0.5, 0], "b": [1, 1, 1], "c": [1, 1, 1], "d": [1, 1, 1]})
    assert shapes["a"].steadiness == pytest.approx(1)


def test_a_rise_is_that_of_the_highest_fortieth():
    spike = np.append(np.ones(79), 3.0)
    shapes = curve_shapes({"a": [1, 0, 0, 0], "b": spike, "c": [1, 1, 1], "d": [1, 1, 1]})
    assert shapes["b"].rise == 1


def test_two_losses_are_no_trend():
    assert curve_shapes({**LONG, "b": [1, 0.5], "c": [1, 0.5]})["b"].steadiness == 0


PLACES = ("low", "optimal", "high", "very_high")


@pytest.mark.parametrize(
    ("place", "change", "points"),
    [
        ("low", {"slowness": 1.0}, 0.6),  # (1 - 1/4) / (1 + 1/4)
        ("optimal", {"slowness": 1.0}, -0.6),
        ("low", {"steadiness": 0.5}, 1.0),
        ("high", {"steadiness": 0.5}, -0.5),
        ("very_high", {"steadiness": 0.5}, -0.5),
        ("low", {"rise": 0.3}, -0.3),
        ("low", {"level": 0.75}, 0.0625 - 0.25),  # above the high one, but not under the very high one
        ("low", {"level": 3.0}, 0.125 - 2.5),  # from 1 on, only the latter counts
        ("high", {"level": 0.75}, 1 - 0.0625 - 0.25),
        ("high", {"level": 3.0}, 1 - 0.125 - 2.5),
        ("optimal", {"level": 0.75}, -1 - 0.25),
        ("very_high", {"level": 2.0}, 1.5),
    ],
)
def test_each_clause_of_the_rule_has_its_points(place, change, points):
    alike = dict.fromkeys(PLACES, learning_rates.Shape(level=0.5, slowness=0.5, steadiness=0.0, rise=0.0))
    changed = {**alike, place: replace(alike[place], **change)}
    gained = learning_rates._evidence(**changed) - learning_rates._evidence(**alike)
    assert gained == pytest.approx(points)


def test_a_short_run_ends_at_its_last_loss():
    shapes = curve_shapes({"a": [3, 3, 1], "b": [3, 2, 2], "c": [3, 3, 3], "d": [3, 3, 3]})
    assert [shapes[name].level for name in "abcd"] == [0, 0.5, 1, 1]


def test_heights_are_measured_from_the_starts_of_all_runs_even_of_those_that_blow_up():
    shapes = curve_shapes({"a": [1, 0], "b": [1, 0.5], "c": [5, np.nan], "d": [5, np.nan]})
    assert shapes["b"].level == pytest.approx(0.5 / 3)  # the median start is 3


def test_without_a_span_heights_are_losses():
    shapes = curve_shapes({"a": [1, 1], "b": [1, 1], "c": [1, 1], "d": [3, 3]})
    assert [shapes[name].slowness for name in "abcd"] == [0, 0, 0, 2]


# --- The quadratic and the figures


@pytest.fixture(scope="module")
def on_quadratic():
    return learning_rates.train_on_quadratic()


def test_the_quadratic_has_a_hundred_losses_of_4000_runs_at_each_rate(on_quadratic):
    assert on_quadratic.shape == (4, 4000, 100)


def test_every_run_on_the_quadratic_starts_at_3(on_quadratic):
    assert (on_quadratic[..., 0] == 3**2 / 2).all()


def test_the_very_high_rate_is_just_beyond_two_over_the_curvature():
    assert SCALED_RATES[2] < 2 < SCALED_RATES[3] < 2.2


@pytest.mark.parametrize("index", [1, 2])
def test_noise_leaves_the_floor_of_the_theory(on_quadratic, index):
    settled = on_quadratic[index, :, -40:].mean()
    # 4000 runs of 40 correlated steps: the standard error is about 1 % at the high rate
    assert settled == pytest.approx(learning_rates.noise_floor(SCALED_RATES[index]), rel=0.04)


def test_the_floor_is_that_of_the_stationary_variance():
    rate, variance = 1.3, 0.25
    w_squared = rate**2 * variance / (1 - (1 - rate) ** 2)  # fixed point of E w^2 <- (1 - eta)^2 E w^2 + eta^2 s^2
    assert learning_rates.noise_floor(rate) == pytest.approx(w_squared / 2)


def test_beyond_two_over_the_curvature_the_loss_diverges(on_quadratic):
    assert on_quadratic[3, :, -1].mean() > 1e3 * on_quadratic[3, :, 0].mean()


def test_single_noisy_runs_on_the_quadratic_are_labeled_right(on_quadratic):
    right = [label_learning_rates(dict(zip(LABELS, on_quadratic[:, run], strict=True))) for run in range(200)]
    assert all(labels == {label: label for label in LABELS} for labels in right)


def test_each_plot_shows_its_own_curve_under_its_own_title(trained):
    row = Figure().subplots(1, 4)
    learning_rates.draw_curves(row, trained, {name: f"plot {name}" for name in trained})
    for axes, (name, losses) in zip(row, trained.items(), strict=True):
        np.testing.assert_array_equal(axes.lines[0].get_ydata(), losses)
        assert axes.lines[1].get_ydata()[100] == np.median(losses[93:108])
        assert axes.get_title() == f"plot {name}"
        assert axes.get_xlabel() == "SGD step"
        assert axes.get_ylim() == (0, 4.4)
        assert max(losses[0], axes.lines[1].get_ydata()[-1]) < 4.4  # where each run starts and settles
        assert 0 < axes.lines[0].get_linewidth() < axes.lines[1].get_linewidth()
    assert [axes.get_ylabel() for axes in row] == ["training loss (nats)", "", "", ""]


def test_the_legend_stands_at_half_height_to_the_right_of_the_curves(on_quadratic):
    axes = Figure().subplots()
    learning_rates.draw_quadratic(axes, on_quadratic)
    corner = axes.get_legend().get_bbox_to_anchor().p0
    np.testing.assert_allclose(axes.transAxes.inverted().transform(corner), (1, 0.5))


def test_at_its_ends_the_running_median_is_that_of_the_steps_there_are(trained):
    row = Figure().subplots(1, 4)
    learning_rates.draw_curves(row, trained, dict.fromkeys(trained, ""))
    smooth = row[0].lines[1].get_ydata()
    losses = trained["A"]
    assert (smooth[0], smooth[-1]) == (np.median(losses[:8]), np.median(losses[-8:]))


def test_each_curve_needs_its_axes(trained):
    with pytest.raises(ValueError, match="shorter"):
        learning_rates.draw_curves(Figure().subplots(1, 5), trained, dict.fromkeys(trained, ""))


def test_each_rate_of_the_quadratic_needs_its_losses(on_quadratic):
    with pytest.raises(ValueError, match="shorter"):
        learning_rates.draw_quadratic(Figure().subplots(), on_quadratic[:3])


def test_the_quadratic_figure_carries_means_floors_and_labels(on_quadratic):
    axes = Figure().subplots()
    learning_rates.draw_quadratic(axes, on_quadratic)
    curves = [line for line in axes.lines if len(line.get_xdata()) == on_quadratic.shape[2]]
    assert axes.get_ylim() == (8e-4, 100)  # every floor and every start lies between
    dotted = [line for line in axes.lines if line not in curves]
    assert [line.get_color() for line in dotted] == [line.get_color() for line in curves[:3]]
    floors = [line.get_ydata()[0] for line in dotted]
    assert floors == [learning_rates.noise_floor(rate) for rate in SCALED_RATES[:3]]
    for line, runs, label, rate in zip(curves, on_quadratic, LABELS, SCALED_RATES, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), runs.mean(0))
        assert line.get_label() == rf"{label}, $\eta\lambda$ = {rate:g}"
