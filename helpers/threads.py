"""A loop split among threads: the loops release Python's lock, so that they run side by side."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import torch


def run_in_threads(threads: int, count: int, loop, *arguments) -> None:
    """Call loop(start, stop, *arguments) for consecutive parts of range(count), one part a thread.

    At most `threads` of torch's threads take part. Which of them computes an item does not change its result.
    """
    threads = min(threads, count, torch.get_num_threads()) if threads > 1 else 1
    if threads <= 1:
        loop(0, count, *arguments)
        return
    bounds = [count * part // threads for part in range(threads + 1)]
    pool = _open_pool(os.getpid(), threads - 1)
    others = [pool.submit(loop, bounds[part], bounds[part + 1], *arguments) for part in range(1, threads)]
    loop(0, bounds[1], *arguments)
    for other in others:
        other.result()


@lru_cache(maxsize=8)
def _open_pool(process: int, workers: int) -> ThreadPoolExecutor:
    """Return a pool of this process: a forked child inherits its parent's pools without their threads."""
    return ThreadPoolExecutor(workers, thread_name_prefix=f"loops-{process}")
