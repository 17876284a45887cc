"""Execute the notebook: a copy and an HTML page under build/, or in place.

python -m tools.execute [--in-place] [NOTEBOOK]
"""

import argparse
import asyncio
import contextlib
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

from tools.page import html_page

SECONDS_A_CELL = 600
KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def main() -> None:
    parser = argparse.ArgumentParser(description="Execute the notebook.")
    parser.add_argument("notebook", nargs="?", type=Path, default=Path("coursework1.ipynb"))
    parser.add_argument("--in-place", action="store_true", help="replace the notebook instead of writing to build/")
    arguments = parser.parse_args()
    source, start = arguments.notebook, time.perf_counter()
    try:
        executed = execute(nbformat.read(source, as_version=4), source.resolve().parent, report=print_now)
        written = [source] if arguments.in_place else write_copy_and_page(executed, source.stem)
        if arguments.in_place:
            write_atomically(source, nbformat.writes(executed).encode())
    except CellExecutionError as error:
        sys.exit(f"{error}\n{source}: a cell failed; nothing was written.")
    except (KeyboardInterrupt, asyncio.CancelledError, DeadKernelError) as error:
        sys.exit(f"Interrupted, or the kernel died ({type(error).__name__}); nothing was written.")
    print_now(f"{time.perf_counter() - start:.1f} s in all. Written:", *written, sep="\n  ")


def execute(notebook, folder: Path, report: Callable[[str], None] = lambda line: None):
    """Run every cell of a notebook in `folder`, with this Python, and return an executed copy.

    No timing, no version and no kernel of this machine stays in it, so that equal runs give equal files.
    Raises CellExecutionError when a cell fails.
    """
    notebook = nbformat.from_dict(notebook)
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
    asyncio.run(run_until_done_or_interrupted(client))
    notebook.metadata.language_info.pop("version", None)
    notebook.metadata.kernelspec = {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    }
    return notebook


async def run_until_done_or_interrupted(client: NotebookClient) -> None:
    """Execute; a signal cancels, and the kernel is shut down (nbclient's own handler leaves it half-way)."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()

    def take_signals(notebook):
        with contextlib.suppress(NotImplementedError):  # Windows
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, task.cancel)

    client.on_notebook_start = take_signals
    await client.async_execute(cleanup_kc=True)


def headings_of_code_cells(notebook) -> dict[int, str]:
    """For every code cell, by its index: the text of the last heading above it."""
    titles, heading = {}, ""
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            heading = (re.findall(r"^#+ +(.+)$", cell.source, flags=re.MULTILINE) or [heading])[-1]
        elif cell.cell_type == "code" and cell.source.strip():
            titles[index] = heading
    return titles


def write_copy_and_page(notebook, name: str) -> list[Path]:
    """Write build/<name>.ipynb and build/<name>.html."""
    Path("build").mkdir(exist_ok=True)
    copy, page = Path("build", f"{name}.ipynb"), Path("build", f"{name}.html")
    write_atomically(copy, nbformat.writes(notebook).encode())
    write_atomically(page, html_page(notebook).encode())
    return [copy, page]


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file in one step: whoever looks, or interrupts, finds the old content or the new one."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, path.stat().st_mode & 0o777 if path.exists() else 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def print_now(*words, **how) -> None:
    print(*words, **how, flush=True)


if __name__ == "__main__":
    main()
