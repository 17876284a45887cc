"""Question (e): which of four training-loss curves had the low, the optimal, the high and the very high rate."""

from collections.abc import Mapping

import numpy as np


@np.errstate(all="ignore")  # A run that blows up is an answer, not a fault.
def label_learning_rates(curves: Mapping) -> dict:
    """Label four training-loss curves "low", "optimal", "high" and "very high", each once.

    1. Measure heights so that the common start is 1 and the best end 0, cut at 3 and at -3, with 3 from where a run is
       no longer finite; a run's end is the mean of its last quarter.
    2. A run is steady if it falls straight (correlation of height and step) or stays near its start.
    3. Very high has the greatest sum of its end and twice its mean, less its steadiness.
    4. Of the other three, optimal ends lowest; of the last two, low has the greater sum of its steadiness and a
       quarter of its end, and the other is high.

    curves: maps four names to loss histories (lists, arrays or tensors), which may differ in length and turn NaN or
    infinite. Returns a dictionary from the names, in their order, to the labels. TypeError: no mapping. ValueError:
    not four curves, one that is not 1-D, real, two losses long and finite at its start, or none that falls.
    """
    if not isinstance(curves, Mapping):
        raise TypeError(f"curves must map names to loss histories, got {type(curves).__name__}")
    if len(curves) != 4:
        raise ValueError(f"the four labels need exactly four curves, got {len(curves)}")
    losses = {name: read_losses(name, history) for name, history in curves.items()}
    start = np.median([loss[0] for loss in losses.values()])
    best = min(mean_end(loss) for loss in losses.values())
    if not 0 < start - best < np.inf:
        raise ValueError("no curve ends below the common start, so none is optimal")
    heights = {name: np.clip((loss - best) / (start - best), -3, 3) for name, loss in losses.items()}
    ends = {name: mean_end(height) for name, height in heights.items()}
    steadiness = {name: measure_steadiness(height) for name, height in heights.items()}
    very_high = max(heights, key=lambda name: ends[name] + 2 * heights[name].mean() - steadiness[name])
    others = [name for name in heights if name != very_high]
    optimal = min(others, key=ends.get)
    others.remove(optimal)
    low = max(others, key=lambda name: steadiness[name] + ends[name] / 4)
    return dict.fromkeys(curves, "high") | {very_high: "very high", optimal: "optimal", low: "low"}


def read_losses(name, history) -> np.ndarray:
    """Return the losses in float64, with infinity from where they are no longer finite."""
    try:
        losses = np.asarray(history.tolist() if hasattr(history, "tolist") else history)  # Arrays and tensors have it.
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"curve {name!r} is not a series of real numbers: {error}") from None
    if losses.dtype.kind not in "iuf" or losses.ndim != 1 or len(losses) < 2 or not np.isfinite(losses[0]):
        raise ValueError(f"curve {name!r} must be 1-D, two or more reals, the first finite, got {str(losses)[:60]}")
    still_finite = np.logical_and.accumulate(np.isfinite(losses))
    return np.where(still_finite, losses.astype(np.float64), np.inf)


def mean_end(series) -> float:
    return series[-max(1, len(series) // 4) :].mean()


def measure_steadiness(heights) -> float:
    nearness = 1 - abs(heights - 1).mean()
    straightness = -np.corrcoef(heights, np.arange(len(heights)))[0, 1]
    return np.fmax(nearness, straightness)  # A constant has no correlation but NaN, which fmax leaves out.
