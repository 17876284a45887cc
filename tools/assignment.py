"""Write the blank coursework and a course for nbgrader that hands it out to build/: python -m tools.assignment

The questions, the tasks and the checks stay. The folder assignment/ holds the rest of what students are given.
"""

import base64
import re
import shutil
import sys
from pathlib import Path

try:
    import nbformat

    from tools.submission import FILES, check_notebook, read_pictures, refuse
except ModuleNotFoundError as error:
    sys.exit(f"Refused: the package {error.name} is missing; pip install -r requirements.txt. Nothing was written.")

ROOT = Path(__file__).resolve().parent.parent
GIVEN = ROOT / "assignment"
HELPERS = ("__init__.py", "arrays.py", "gradient_check.py", "notebook.py", "data.py")
PLOTS = "Gray: the loss of each batch of 4 digits. Blue: its mean over the last 20 steps. C has a much longer axis."
# The cells handed out: questions, answers (cleared), tasks and checks, and what stands around them.
KEPT = re.compile(r"title|setup-code|autoreload|.+-question|.+-answer|(xcorr|bn)-task|checks-setup|.+-check-.+")


def main() -> None:
    if Path("build/course/submitted").exists():  # Then marks may be there too, in gradebook.db.
        refuse("build/course holds what students handed in: move that folder out of build/ first")
    notebook = nbformat.read("coursework1.ipynb", as_version=4)
    check_notebook(notebook)
    for folder in ("build/assignment", "build/course"):
        shutil.rmtree(folder, ignore_errors=True)
        print(f"Written: {folder}")
    write_assignment(notebook, Path("build"))


def write_assignment(notebook, build: Path) -> None:
    """Write into the folder build what a student gets, and a course for nbgrader, whose source it is."""
    target = build / "assignment"
    shutil.copytree(GIVEN / "helpers", target / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "data", target / "data")
    shutil.copy(GIVEN / "README.md", target)
    for name in (*FILES, *(f"helpers/{module}" for module in HELPERS)):
        shutil.copy(ROOT / name, target / name)
    nbformat.write(make_blank(notebook), target / "coursework1.ipynb")
    shutil.copytree(target, build / "course" / "source" / "coursework1")
    shutil.copy(GIVEN / "nbgrader_config.py", build / "course")


def make_blank(notebook):
    """Return a copy of the notebook with its questions, tasks and checks only, for a student to read."""
    blank = nbformat.from_dict(notebook)  # a copy
    cells = {cell.id: cell for cell in blank.cells}
    cells["title"].source = (GIVEN / "title.md").read_text("utf-8").rstrip()
    attach(cells["e-question"], read_pictures(cells["e-plots"])[0], "The four plots, A to D.", PLOTS)
    activation = base64.b64encode((GIVEN / "activation.png").read_bytes()).decode()
    attach(cells["f-question"], activation, "The activation function.")
    autoreload = nbformat.v4.new_code_cell("%load_ext autoreload\n%autoreload 2", id="autoreload")
    blank.cells.insert(blank.cells.index(cells["setup-code"]) + 1, autoreload)
    blank.cells = [cell for cell in blank.cells if KEPT.fullmatch(cell.id)]
    for cell in blank.cells:
        clear(cell)
    return blank


def attach(cell, png: str, text: str, *caption: str) -> None:
    """Put a picture into a question, in place of the paragraph that says that the sheet's own did not come with it."""
    paragraphs = [part for part in cell.source.split("\n\n") if "did not come" not in part]
    cell.source = "\n\n".join([*paragraphs, f"![{text}](attachment:figure.png)", *caption])
    cell.attachments = {"figure.png": {"image/png": png}}


def clear(cell) -> None:
    """Clear an answer or an output and lock a check, as nbgrader does for a release."""
    about = cell.metadata.get("nbgrader", {})
    if about.get("solution"):
        cell.source = "*Your answer, in 100 to 220 words.*"
    if about.get("locked"):
        cell.metadata.update(editable=False, deletable=False)
    if cell.cell_type == "code":
        cell.update(outputs=[], execution_count=None)


if __name__ == "__main__":
    main()
