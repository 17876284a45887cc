"""Execute the notebook: a copy and an HTML page under build/, or in place.

python -m tools.execute [--in-place] [NOTEBOOK]
"""

from tools import interruption

if __name__ == "__main__":
    interruption.end_at_once()

import argparse
import asyncio
import atexit
import contextlib
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

from tools.files import write_atomically
from tools.page import html_page

SECONDS_A_CELL = 600
KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def main() -> None:
    parser = argparse.ArgumentParser(description="Execute the notebook.")
    parser.add_argument("notebook", nargs="?", type=Path, default=Path("coursework1.ipynb"))
    parser.add_argument("--in-place", action="store_true", help="replace the notebook instead of writing to build/")
    arguments = parser.parse_args()
    source, start = arguments.notebook, time.perf_counter()
    before = source.read_bytes()
    executed = execute_or_exit(nbformat.reads(before.decode(), as_version=4), source.resolve().parent)
    contents = {source: encoded(executed)} if arguments.in_place else copy_and_page(executed, source.stem)
    if arguments.in_place and source.read_bytes() != before:
        sys.exit(f"{source} was changed while it was executed; nothing was written.")
    for path, content in contents.items():
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, content)
    print_now(f"{time.perf_counter() - start:.1f} s in all. Written:", *contents, sep="\n  ")


def execute_or_exit(notebook, folder: Path):
    """Execute, with progress printed; where that does not come to its end, exit with the cause."""
    try:
        return execute(notebook, folder, report=print_now)
    except CellExecutionError as error:
        sys.exit(f"{error}\nA cell failed; nothing was written.")
    except (KeyboardInterrupt, asyncio.CancelledError, DeadKernelError) as error:
        sys.exit(f"Interrupted, or the kernel died ({type(error).__name__}); nothing was written.")


def execute(notebook, folder: Path, report: Callable[[str], None] = lambda line: None):
    """Run every cell of a notebook in `folder`, with this Python, and return an executed copy.

    No timing, no version, no kernel of this machine and no empty cell stays in it, so that equal runs give equal files.
    Raises CellExecutionError when a cell fails.
    """
    notebook = nbformat.from_dict(notebook)
    notebook.cells = [cell for cell in notebook.cells if cell.cell_type != "code" or cell.source.strip()]
    for cell in notebook.cells:
        for timing in ("execution", "ExecuteTime"):
            cell.metadata.pop(timing, None)
    titles = headings_of_code_cells(notebook)

    def announce(cell, cell_index):
        if cell_index in titles:
            number = list(titles).index(cell_index) + 1
            report(f"cell {number} of {len(titles)}: {titles[cell_index]}")

    # An empty list of kernel folders leaves only the kernel of the Python that runs this.
    kernels = KernelSpecManager(kernel_dirs=[])
    client = NotebookClient(
        notebook,
        km=AsyncKernelManager(kernel_name="python3", kernel_spec_manager=kernels),
        timeout=SECONDS_A_CELL,
        record_timing=False,
        coalesce_streams=True,
        on_cell_start=announce,
        extra_arguments=["--log-level=CRITICAL"],
        resources={"metadata": {"path": str(folder)}},
    )
    handlers = {number: signal.getsignal(number) for number in interruption.SIGNALS}
    try:
        asyncio.run(run_until_done_or_interrupted(client))
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    notebook.metadata.language_info.pop("version", None)
    notebook.metadata.kernelspec = dict(KERNELSPEC)
    return notebook


async def run_until_done_or_interrupted(client: NotebookClient) -> None:
    """Execute; a signal cancels, at any time (nbclient's own handlers leave a kernel half-way that just starts)."""
    task, loop, kernel = asyncio.current_task(), asyncio.get_running_loop(), client.km

    def keep_handlers(*_):
        raise RuntimeError("the signals are taken")  # nbclient then leaves them alone

    with contextlib.suppress(NotImplementedError):  # Windows
        for number in interruption.SIGNALS:
            loop.add_signal_handler(number, task.cancel)
        loop.add_signal_handler = keep_handlers
    try:
        await client.async_execute(cleanup_kc=True)
    finally:  # a cancelled start or end leaves a kernel to nbclient's own clearing at exit, which prints tracebacks
        atexit.unregister(client._cleanup_kernel)
        if await kernel.is_alive():
            await kernel.provisioner.kill()
        await kernel.cleanup_resources()
    if task.cancelling():  # what waits for the kernel's end can lose a cancellation
        raise asyncio.CancelledError


def headings_of_code_cells(notebook) -> dict[int, str]:
    """For every code cell, by its index: the text of the last heading above it."""
    titles, heading = {}, ""
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            heading = (re.findall(r"^#+ +(.+)$", cell.source, flags=re.MULTILINE) or [heading])[-1]
        elif cell.cell_type == "code":
            titles[index] = heading
    return titles


def copy_and_page(notebook, name: str) -> dict[Path, bytes]:
    """What build/<name>.ipynb and build/<name>.html are to hold."""
    return {
        Path("build", f"{name}.ipynb"): encoded(notebook),
        Path("build", f"{name}.html"): html_page(notebook).encode(),
    }


def encoded(notebook) -> bytes:
    return nbformat.writes(notebook).encode()


def print_now(*words, **how) -> None:
    print(*words, **how, flush=True)


if __name__ == "__main__":
    with interruption.clearing_away():
        main()
