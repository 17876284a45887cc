"""Execute coursework1.ipynb into build/ or in place, and make its page: python -m tools.execute [--in-place]"""

import copy
import sys
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tools.page import html_page

NOTEBOOK = Path("coursework1.ipynb")


def main() -> None:
    try:
        executed = execute(nbformat.read(NOTEBOOK, as_version=4), Path.cwd(), report=print)
    except RuntimeError as error:
        sys.exit(f"{error.__cause__ or ''}\n{error}\nNothing was written.")
    target = NOTEBOOK if "--in-place" in sys.argv else Path("build", NOTEBOOK)
    write_whole(target, nbformat.writes(executed).encode())
    write_whole(Path("build/coursework1.html"), html_page(executed).encode())


def execute(notebook, folder: Path, report=lambda line: None):
    """Run every cell of a notebook in `folder`, with this Python, and return an executed copy.

    `report` is called with one line before each code cell. Equal runs give equal notebooks: no timing and no empty
    cell stays. Raises RuntimeError that names the first cell that fails.
    """
    notebook = copy.deepcopy(notebook)
    notebook.cells = [cell for cell in notebook.cells if cell.cell_type != "code" or cell.source.strip()]
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    begun = []

    def announce(cell, cell_index):
        begun.append(cell.id)
        report(f"cell {cell_index + 1} of {len(notebook.cells)}: {cell.id}")

    client = NotebookClient(
        notebook,
        # With an empty list of folders, the only kernel left is that of the Python that runs this.
        km=AsyncKernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[])),
        timeout=600,
        record_timing=False,
        coalesce_streams=True,
        on_cell_execute=announce,
        extra_arguments=["--log-level=ERROR"],  # ipykernel warns of its unencrypted local connection.
        resources={"metadata": {"path": str(folder)}},
    )
    try:
        client.execute(cleanup_kc=True)
    except CellExecutionError as error:
        raise RuntimeError(f"cell {begun[-1]} fails with {error.ename}: {error.evalue}") from error
    return notebook


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place and rename it: a reader finds the previous content or the new one."""
    path.parent.mkdir(exist_ok=True)
    part = path.with_name(f".part-{path.name}")
    part.write_bytes(content)
    part.replace(path)
    print(f"Written: {path} ({len(content) / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
