"""Write build/submission.zip: the notebook, what it needs to run, and its HTML page.

Refuses when a test of the notebook's shape fails, or when its outputs are not what it computes now.
"""

from tools import interruption

if __name__ == "__main__":
    interruption.end_at_once()

import base64
import io
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import matplotlib.image
import nbformat
import numpy as np

from tools.execute import execute_or_exit, print_now
from tools.files import write_atomically
from tools.page import html_page

NOTEBOOK = Path("coursework1.ipynb")
PARTS = (NOTEBOOK, Path("helpers"), Path("data"), Path("environment.yml"), Path("requirements.txt"))
LEFT_OUT = re.compile(r"(^|/)(\.|__pycache__/)")  # what is hidden, as a file that a killed write left
ARCHIVE = Path("build", "submission.zip")


def main() -> None:
    print_now("Testing the notebook's shape")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:randomly",
        "-p",
        "no:cacheprovider",
        "tests/test_notebook.py",
    ]
    tests = subprocess.run(command, capture_output=True, text=True, check=False)
    if tests.returncode:
        reason = "the notebook's shape fails the tests above; where it was saved in Jupyter, run `make outputs` first"
        sys.exit(f"{tests.stdout}{tests.stderr}\nRefused: {reason}. Nothing was written.")
    print_now("Executing the notebook, to compare its outputs with what it computes now")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    if stale := stale_cells(notebook, execute_or_exit(notebook, Path.cwd())):
        cells = ", ".join(stale)
        reason = "stale, or pictures that another Matplotlib drew"
        sys.exit(f"Refused: the outputs of {cells} are {reason}; run `make outputs`. Nothing was written.")
    ARCHIVE.parent.mkdir(exist_ok=True)
    write_atomically(ARCHIVE, archive(html_page(notebook)))
    print_now(f"Written: {ARCHIVE}")


def stale_cells(stored, fresh) -> list[str]:
    """The ids of the code cells whose stored outputs are not those of a fresh execution."""
    pairs = zip(stored.cells, fresh.cells, strict=True)
    return [old.id for old, new in pairs if old.cell_type == "code" and not same_outputs(old, new)]


def same_outputs(old, new) -> bool:
    if old.execution_count != new.execution_count or len(old.outputs) != len(new.outputs):
        return False
    pairs = zip(map(apart, old.outputs), map(apart, new.outputs), strict=True)
    return all(before[0] == after[0] and same_picture(before[1], after[1]) for before, after in pairs)


def apart(output) -> tuple[dict, str | None]:
    """An output without its PNG picture, and the picture."""
    data = dict(output.get("data", {}))
    picture = data.pop("image/png", None)
    return {**output, "data": data}, picture


def same_picture(old: str | None, new: str | None) -> bool:
    """Whether two PNG pictures show the same, but for one pixel in a thousand, since rounding moves edges."""
    if old is None or new is None or old == new:
        return old == new
    first, second = (matplotlib.image.imread(io.BytesIO(base64.b64decode(png))) for png in (old, new))
    return first.shape == second.shape and (np.abs(first - second).max(axis=-1) > 0.1).mean() < 1e-3


def archive(page: str) -> bytes:
    """The zip file's content: the same parts give the same bytes."""
    contents = {NOTEBOOK.with_suffix(".html").name: page.encode()}
    for part in PARTS:
        files = [part] if part.is_file() else [file for file in part.rglob("*") if file.is_file()]
        contents |= {file.as_posix(): file.read_bytes() for file in files if not LEFT_OUT.search(file.as_posix())}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name in sorted(contents):
            entry = zipfile.ZipInfo(f"coursework1/{name}")  # dated 1980, whenever it is made
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            zipped.writestr(entry, contents[name])
    return buffer.getvalue()


if __name__ == "__main__":
    with interruption.clearing_away():
        main()
