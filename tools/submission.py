"""Write what is handed in to build/, as a zip and as one notebook that runs alone: python -m tools.submission"""

import io
import sys
import tempfile
import zipfile
from pathlib import Path

try:
    import nbformat

    from tools.execute import execute, write_whole
    from tools.page import html_page
    from tools.pictures import same_picture
    from tools.standalone import make_standalone
except ModuleNotFoundError as error:
    sys.exit(f"Refused: the package {error.name} is missing; pip install -r requirements.txt. Nothing was written.")

FILES = ("conftest.py", "environment.yml", "requirements.txt", "LICENSE")
LEAST_WORDS = 10  # An answer of fewer words is a placeholder or was deleted by mistake.
CURE = "run `make outputs` (without make: `python -m tools.execute --in-place`), then this again"


def main() -> None:
    notebook = nbformat.read("coursework1.ipynb", as_version=4)
    standalone = nbformat.writes(check_notebook(notebook)).encode()
    contents = {
        "README.txt": Path(__file__).with_name("submission-readme.txt").read_bytes(),
        "coursework1.ipynb": nbformat.writes(notebook).encode(),
        "coursework1.html": html_page(notebook).encode(),
        "coursework1-standalone.ipynb": standalone,
    }
    for path in [*map(Path, FILES), *Path("helpers").glob("*.py"), *Path("data").iterdir()]:
        contents[path.as_posix()] = path.read_bytes()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(f"coursework1/{name}", content)
    write_whole(Path("build/submission.zip"), buffer.getvalue())
    write_whole(Path("build/coursework1-standalone.ipynb"), standalone)


def check_notebook(notebook):
    """Return the standalone copy of a notebook, executed in an empty folder.

    Exits with one sentence that names the cell and the cure if an answer is missing, a cell fails (since a claim does
    not hold or a file of data was altered), or the outputs stored are not those of this execution. What Jupyter changes
    when it saves is no fault.
    """
    sources = {cell.id: cell.source for cell in notebook.cells}
    for letter in "abcdefghij":
        if len(sources.get(f"{letter}-answer", "").split()) < LEAST_WORDS:
            refuse(f"cell {letter}-answer has no answer: write one of {LEAST_WORDS} words or more")
    print("Executing the notebook, to compare its outputs with what it computes now", flush=True)
    try:
        with tempfile.TemporaryDirectory() as empty:
            executed = execute(make_standalone(notebook), Path(empty))
    except RuntimeError as error:
        refuse(f"{error}; mend it, then {CURE}")
    fresh = {cell.id: cell for cell in executed.cells}
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    stale = [cell.id for cell in code if not same_outputs(cell, fresh[cell.id])]
    if stale:
        refuse(f"the outputs of {', '.join(stale)} are not what the code computes now; {CURE}")
    return executed


def refuse(reason: str) -> None:
    sys.exit(f"Refused: {reason}. Nothing was written.")


def same_outputs(first, second) -> bool:
    """Whether a reader sees the same below two cells: the same text, and pictures that differ by a bit at most."""
    old = read_pictures(first)
    new = read_pictures(second)
    return read_text(first) == read_text(second) and len(old) == len(new) and all(map(same_picture, old, new))


def read_text(cell) -> list:
    """Return what a cell printed, in one piece, then the text of what it displayed."""
    printed = "".join(output.text for output in cell.outputs if output.output_type == "stream")
    displayed = [output.data for output in cell.outputs if "data" in output]
    return [printed, *({kind: text for kind, text in data.items() if kind != "image/png"} for data in displayed)]


def read_pictures(cell) -> list[str]:
    """Return the pictures that a cell shows, in base64."""
    return [output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {})]


if __name__ == "__main__":
    main()
