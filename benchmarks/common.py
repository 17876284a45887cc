"""What the benchmarks share: timings taken side by side."""

import math
from collections.abc import Callable

import torch
from torch.utils.benchmark import Timer


def side_by_side(candidates: dict[str, Callable], seconds: float) -> dict[str, float]:
    """The fastest of several rounds, in microseconds a call, of every candidate; the rounds alternate.

    Every candidate gets about `seconds`, and at least one call after the first, unless that took a second.
    """
    threads = torch.get_num_threads()
    timers = {name: Timer("f()", globals={"f": f}, num_threads=threads) for name, f in candidates.items()}
    first = {name: timer.timeit(1).mean for name, timer in timers.items()}
    fastest = {name: time if time > 1 else math.inf for name, time in first.items()}
    rounds = 5
    for _ in range(rounds):
        for name, timer in timers.items():
            calls = seconds / rounds / min(first[name], fastest[name])
            if calls >= 1 or fastest[name] == math.inf:
                fastest[name] = min(fastest[name], timer.timeit(max(1, int(calls))).mean)
    return {name: 1e6 * time for name, time in fastest.items()}
