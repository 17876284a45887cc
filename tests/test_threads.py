"""A loop split among threads covers every item once, on no more threads than torch has."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from helpers.threads import run_in_threads


@pytest.fixture(autouse=True)
def _three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [0, 1, 2, 3, 50])
@pytest.mark.parametrize("count", [1, 2, 7, 100])
def test_every_item_is_computed_once(count, threads):
    parts = []
    run_in_threads(threads, count, lambda start, stop, items: items.append((start, stop)), parts)
    assert sorted(item for start, stop in parts for item in range(start, stop)) == list(range(count))
    assert len(parts) == max(1, min(threads, count, 3))


def test_parts_run_side_by_side():
    together = threading.Barrier(3, timeout=60)  # each part waits for the other two
    run_in_threads(3, 3, lambda start, stop: together.wait())


def test_callers_at_once_share_one_thread_beside_their_own_where_two_are_asked_for():
    seen = set()

    def loop(start, stop):
        time.sleep(0.01)  # The next caller comes meanwhile.
        seen.add(threading.current_thread())

    with ThreadPoolExecutor(8, "caller") as callers:
        list(callers.map(lambda _: run_in_threads(2, 2, loop), range(8)))
    assert sum(not thread.name.startswith("caller") for thread in seen) == 1


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_an_error_of_any_part_reaches_the_caller(failing):
    def loop(start, stop):
        if start == failing:
            raise ArithmeticError(start)

    with pytest.raises(ArithmeticError, match=str(failing)):
        run_in_threads(3, 3, loop)
