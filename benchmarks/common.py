"""What the benchmarks share: timings taken side by side."""

import math
import timeit
from collections.abc import Callable

ROUNDS = 5


def side_by_side(candidates: dict[str, Callable], seconds: float) -> dict[str, float]:
    """Return the time of a call of every candidate in microseconds: the fastest of five rounds, taken in turn.

    Every candidate gets about `seconds` after a first call, and at least one call, unless the first took a second.
    """
    fastest = {}
    for name, function in candidates.items():
        function()  # compiles, plans and allocates
        first = timeit.timeit(function, number=1)
        fastest[name] = first if first > 1 else math.inf
    for _ in range(ROUNDS):
        for name, function in candidates.items():
            if fastest[name] > 1 and fastest[name] < math.inf:
                continue
            once = timeit.timeit(function, number=1)
            calls = max(1, int(seconds / ROUNDS / max(once, 1e-6)))
            fastest[name] = min(fastest[name], timeit.timeit(function, number=calls) / calls)
    return {name: 1e6 * time for name, time in fastest.items()}
