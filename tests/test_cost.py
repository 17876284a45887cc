"""The cost of depth: counts against known ones, memory and work against theory, and their artists."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from helpers.warmup import cost


@pytest.fixture
def axes():
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


@pytest.fixture(scope="module")
def plain():
    return cost.training_step(16)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("VGG-16", {"parameters": 138_357_544, "multiply-adds": 15_470_264_320, "activations": 13_547_520}),
        ("ResNet-50", {"parameters": 25_557_032, "multiply-adds": 4_089_184_256, "activations": 11_113_984}),
    ],
)
def test_totals_are_the_known_counts(name, expected):
    assert {quantity: counts.sum() for quantity, counts in cost.totals(name).items()} == expected


def test_groups_of_vgg_are_the_hand_counts():
    sums = cost.totals("VGG-16")
    fully_connected = 25088 * 4096 + 4096 * 4096 + 4096 * 1000
    wide = 2 * 64 * 224**2 + 2 * 128 * 112**2 + 3 * 256 * 56**2
    assert sums["parameters"][2] == fully_connected + 4096 + 4096 + 1000
    assert sums["multiply-adds"][2] == fully_connected
    assert sums["activations"].tolist() == [wide, 13_547_520 - wide, 0]


def test_activations_scale_with_the_batch_and_weights_with_their_copies():
    state, activations = cost.training_gigabytes("VGG-16", [1, 256])
    assert state == pytest.approx(3 * 4 * 138_357_544 / 1e9)
    assert activations == pytest.approx([0.05419008, 13.87266048])
    assert cost.training_gigabytes("VGG-16", 1, copies=4)[0] == pytest.approx(4 / 3 * state)


@pytest.mark.parametrize("segments", [1, 2, 4, 8, 16])
def test_memory_held_is_one_segment_and_the_inputs_of_the_others(segments):
    assert cost.training_step(16, segments).held == 16 / segments + segments


@pytest.mark.parametrize("segments", [2, 4, 16])
def test_checkpointed_gradients_are_the_plain_ones_to_the_last_bit(plain, segments):
    gradients = cost.training_step(16, segments).gradients
    assert all(torch.equal(*pair) for pair in zip(gradients, plain.gradients, strict=True))
    assert all(gradient.abs().max() > 0 for gradient in gradients)


def test_a_step_costs_three_forward_passes_but_for_the_gradient_of_the_images(plain):
    assert plain.work == 3 - 1 / 16


def test_checkpoints_cost_one_more_forward_pass_but_for_the_last_segment(plain):
    assert cost.training_step(16, 4).work == plain.work + 1 - 1 / 4


@pytest.mark.parametrize("segments", [1, 4])
def test_the_whole_step_never_needs_much_more_than_what_the_forward_pass_holds(segments):
    watch = Watch()
    with watch:
        held = cost.training_step(16, segments).held
    # The network's output or its gradient comes on top, and what one layer computes before it lets go.
    assert held <= watch.peak <= held + 4


class Watch(TorchDispatchMode):
    """Counts the layer outputs, and arrays of their size, that are alive after each operation of torch."""

    peak = 0

    def __init__(self):
        super().__init__()
        self.storages = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        results = func(*args, **(kwargs or {}))
        for tensor in results if isinstance(results, tuple) else (results,):
            if isinstance(tensor, torch.Tensor) and tensor.shape == (4, 8, 8, 8):
                reference = StorageWeakRef(tensor.untyped_storage())
                self.storages[reference.cdata] = reference
        self.storages = {key: storage for key, storage in self.storages.items() if not storage.expired()}
        self.peak = max(self.peak, len(self.storages))
        return results


def test_memory_is_drawn_for_both_networks_with_labels_at_the_right_heights(axes):
    batches = 2 ** np.arange(9)
    cost.draw_memory(axes, batches)
    lines = [line.get_ydata() for line in axes.get_lines()]
    for name, (activations, state) in zip(("VGG-16", "ResNet-50"), (lines[:2], lines[2:]), strict=True):
        expected_state, expected = cost.training_gigabytes(name, batches)
        np.testing.assert_array_equal(activations, expected)
        np.testing.assert_array_equal(state, expected_state)
    heights = {text.get_text(): text.get_position()[1] for text in axes.texts}
    assert heights["VGG-16 3 x weights"] == lines[1][-1]
    assert heights["ResNet-50 3 x weights"] == lines[3][-1]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("batch size (images)", "memory (GB, float32)")
    assert heights["ResNet-50 activations"] < lines[2][-1] < lines[0][-1] < heights["VGG-16 activations"]


def test_shares_are_drawn_as_bars_that_fill_a_hundred_percent(axes):
    cost.draw_shares(axes, "VGG-16")
    widths = np.array([[bar.get_width() for bar in bars] for bars in axes.containers])
    np.testing.assert_allclose(widths.sum(axis=0), 100)
    starts = np.array([[bar.get_x() for bar in bars] for bars in axes.containers])
    np.testing.assert_allclose(starts, np.cumsum(widths, axis=0) - widths, atol=1e-9)
    assert [bars.get_label() for bars in axes.containers] == list(cost.GROUPS)
    np.testing.assert_allclose(widths[2], [89.36, 0.80, 0], atol=0.005)
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["parameters", "multiply-adds", "activations"]
    texts = [text.get_text() for text in axes.texts]
    assert "fully connected\n89" in texts
    assert "convolutions, 56 px and up\n89" in texts


def test_checkpoints_are_drawn_as_measured_beside_the_theory(axes):
    cost.draw_checkpoints(axes, 16, {1: 17, 4: 8, 16: 18})
    theory_line, dots = axes.get_lines()
    theory, measured = theory_line.get_xydata(), dots.get_xydata()
    np.testing.assert_allclose(theory[:, 1], 16 / theory[:, 0] + theory[:, 0])
    assert measured.tolist() == [[1, 17], [4, 8], [16, 18]]
    assert [text.get_text() for text in axes.texts] == ["line: n/k + k\ndots: measured"]
    assert (theory_line.get_linestyle(), dots.get_linestyle()) == ("--", "None")
    assert axes.get_ylabel() == "layer outputs held"
