"""The network of both operations: its layers against torch's, its training, and the figure's artists."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch.nn import functional

from helpers import digits_network as network


@pytest.fixture(scope="module")
def short_runs():
    return {normalized: network.train(0.3, normalized, steps=12) for normalized in (False, True)}


def reference_scores(images, parameters, statistics):
    x = images
    for layer in range(2):
        x = functional.conv2d(x, parameters[f"kernels{layer}"])
        mean, variance = (statistics[layer][name] for name in ("running_mean", "running_var"))
        gamma, beta = parameters[f"gamma{layer}"], parameters[f"beta{layer}"]
        x = functional.batch_norm(x, mean, variance, gamma, beta, training=False).relu()
    return x.flatten(1) @ parameters["weights"] + parameters["bias"]


def test_the_layer_and_its_gradients_are_a_convolution_over_all_channels():
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.normal(size=(5, 2, 7, 6))).requires_grad_()
    kernels = torch.from_numpy(rng.normal(size=(4, 2, 3, 2))).requires_grad_()
    ours, theirs = network.convolve(images, kernels), functional.conv2d(images, kernels)
    upstream = torch.from_numpy(rng.normal(size=(5, 4, 5, 5)))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)  # float64, 12 products near one
    for mine, torchs in zip(
        *(torch.autograd.grad(y, (images, kernels), upstream) for y in (ours, theirs)), strict=True
    ):
        torch.testing.assert_close(mine, torchs, rtol=0, atol=1e-11)


def test_in_test_mode_the_running_statistics_are_used(short_runs):
    run, (_, _, images, labels) = short_runs[True], network.load()
    expected = reference_scores(images, run.parameters, run.statistics)
    torch.testing.assert_close(
        network.scores(images, run.parameters, run.statistics, "test"), expected, rtol=0, atol=1e-10
    )
    assert run.accuracy == (expected.argmax(1) == labels).double().mean()


def test_training_moves_every_parameter(short_runs):
    start = network.initialize(np.random.default_rng(0))
    for run in short_runs.values():
        assert all(not torch.equal(run.parameters[name], value) for name, value in start.items())


def test_both_networks_start_alike_and_see_the_same_batches():
    runs = [network.train(0.0, normalized, steps=3) for normalized in (False, True)]
    assert all(torch.equal(a, b) for a, b in zip(*(run.parameters.values() for run in runs), strict=True))
    plain, again = runs[0], network.train(0.0, False, steps=3)
    np.testing.assert_array_equal(plain.losses, again.losses)
    rng = np.random.default_rng(0)
    parameters, (images, labels, *_) = network.initialize(rng), network.load()
    for normalized_loss, plain_loss in zip(runs[1].losses, plain.losses, strict=True):
        batch = torch.from_numpy(rng.choice(1287, 128, replace=False))
        for loss, statistics in ((plain_loss, None), (normalized_loss, [{}, {}])):
            scores = network.scores(images[batch], parameters, statistics, "train")
            assert loss == pytest.approx(functional.cross_entropy(scores, labels[batch]).item(), rel=1e-12)


def test_training_lowers_the_loss(short_runs):
    assert short_runs[True].losses[-3:].mean() < 0.75 * short_runs[True].losses[:3].mean()


def test_training_and_test_digits_do_not_overlap():
    images, labels, test_images, test_labels = network.load()
    assert images.shape == (1287, 1, 8, 8)
    assert test_images.shape == (510, 1, 8, 8)
    assert (len(labels), len(test_labels)) == (1287, 510)
    assert not (test_images[:, None] == images[None, :50]).flatten(2).all(2).any()


def make_run(losses, accuracy):
    return network.Run(np.array(losses), accuracy, {}, None)


def test_the_loss_curves_carry_their_names():
    axes = Figure().subplots()
    network.draw_losses(axes, make_run([2.0, 3.0], 0.1), make_run([2.0, 1.0], 0.9))
    curves = {line.get_label(): list(line.get_ydata()) for line in axes.lines[:2]}
    assert curves == {"without batch norm": [2.0, 3.0], "with batch norm": [2.0, 1.0]}
    assert axes.lines[2].get_ydata()[0] == pytest.approx(np.log(10))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "training loss (nats)")


def test_the_accuracies_stand_at_their_rates():
    axes = Figure().subplots()
    plain, normalized = (
        {rate: [make_run([], share) for share in shares] for rate, shares in runs.items()}
        for runs in ({0.1: (0.7, 0.5, 0.4), 1.0: (0.1,) * 3}, {0.1: (0.6,) * 3, 1.0: (0.8, 0.9, 0.95)})
    )
    network.draw_accuracies(axes, plain, normalized)
    bars = {bars.get_label(): bars.lines for bars in axes.containers}
    curves = {name: line.get_xydata().tolist() for name, (line, _, _) in bars.items()}
    assert curves == {"without batch norm": [[0.1, 50], [1, 10]], "with batch norm": [[0.1, 60], [1, 90]]}
    ranges = {name: [[y for _, y in ends] for ends in stems[0].get_segments()] for name, (*_, stems) in bars.items()}
    assert ranges["without batch norm"] == [pytest.approx([40, 70]), pytest.approx([10, 10])]
    assert ranges["with batch norm"] == [pytest.approx([60, 60]), pytest.approx([80, 95])]
    assert axes.get_xscale() == "log"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0.1", "1"]
    assert set(axes.lines[-1].get_ydata()) == {10}  # guessing one of ten digits
    assert axes.get_ylabel() == "test accuracy (%)"
