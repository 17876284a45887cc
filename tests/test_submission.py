"""What is handed in, as a zip and as one notebook that runs alone, and the sentences with which that is refused."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools import assignment, submission
from tools.execute import execute
from tools.standalone import make_standalone

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def answered():
    """A small coursework: ten answers, and three cells that were executed."""
    sources = ("from helpers.data import load_digits\nlen(load_digits()[0])", "print(1)\nprint(2)", "assert 1 + 1 == 2")
    code = [new_code_cell(source, id=f"cell-{n}") for n, source in enumerate(sources)]
    answer = "An answer in one plain sentence of ten words or more."
    answers = [new_markdown_cell(answer, id=f"{letter}-answer") for letter in "abcdefghij"]
    return execute(new_notebook(cells=[new_markdown_cell("# A title", id="title"), *code, *answers]), ROOT)


@pytest.fixture
def coursework(folder, answered):
    """The small coursework in a folder of its own, which a test may spoil."""
    for name in ("helpers", "data"):
        shutil.copytree(ROOT / name, name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in submission.FILES:
        shutil.copy(ROOT / name, name)
    notebook = nbformat.from_dict(answered)
    nbformat.write(notebook, "coursework1.ipynb")
    return notebook


@pytest.mark.parametrize("tool", [submission, assignment])
@pytest.mark.parametrize("answer", ["", "*Your answer, in 100 to 220 words.*"])
def test_a_missing_answer_is_refused(coursework, tool, answer):
    coursework.cells[7].source = answer
    nbformat.write(coursework, "coursework1.ipynb")
    with pytest.raises(SystemExit, match=r"^Refused: cell d-answer has no answer: write one .* Nothing was written\.$"):
        tool.main()
    assert not Path("build").exists()


def test_a_course_in_which_students_handed_in_is_not_overwritten(coursework):
    work = Path("build/course/submitted/ada")
    work.mkdir(parents=True)
    with pytest.raises(SystemExit, match=r"^Refused: build/course holds what students handed in: move .* first\. Noth"):
        assignment.main()
    assert work.exists()


def test_a_stale_output_is_refused(coursework):
    coursework.cells[2].outputs[0].text = "1\n3\n"
    with pytest.raises(SystemExit, match=r"^Refused: the outputs of cell-1 are not what .*; run `make outputs`"):
        submission.check_notebook(coursework)


def test_a_claim_that_fails_is_refused(coursework):
    coursework.cells[3].source = "assert 1 + 1 == 3, 'the sum is three'"
    with pytest.raises(SystemExit, match=r"^Refused: cell cell-2 fails with AssertionError: the sum is three; mend it"):
        submission.check_notebook(coursework)


def test_altered_data_are_refused(coursework):
    Path("data/digits.npz").write_bytes(b"other digits")
    with pytest.raises(SystemExit, match=r"^Refused: cell cell-0 fails .* data/digits\.npz was altered: restore it"):
        submission.check_notebook(coursework)


@pytest.mark.parametrize("tool", ["submission", "assignment"])
def test_a_missing_package_is_named(tool):
    code = f"import sys; sys.modules['latex2mathml'] = None; import tools.{tool}"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert run.returncode == 1
    assert "Refused: the package latex2mathml" in run.stderr
    assert run.stderr.endswith("is missing; pip install -r requirements.txt. Nothing was written.\n")


def test_a_rewritten_answer_and_what_jupyter_saves_are_accepted(coursework):
    coursework.cells[7].source = "A rewritten answer, which does not open in bold, but is one."
    coursework.metadata.language_info.version = "3.99"
    code = coursework.cells[2]
    code.update(execution_count=17, metadata={"execution": {"iopub.status.idle": "2026"}, "scrolled": True})
    code.outputs = [nbformat.v4.new_output("stream", text=text) for text in ("1\n", "2\n")]
    nbformat.write(coursework, "coursework1.ipynb")
    submission.main()
    alone = Path("build/coursework1-standalone.ipynb").read_bytes()
    with zipfile.ZipFile("build/submission.zip") as archive:
        names = {name.removeprefix("coursework1/") for name in archive.namelist()}
        assert archive.read("coursework1/coursework1-standalone.ipynb") == alone
    assert {"README.txt", "coursework1.ipynb", "coursework1.html", "helpers/batch_norm.py", "data/digits.npz"} <= names
    assert [cell["execution_count"] for cell in json.loads(alone)["cells"] if "outputs" in cell] == [1, 2, 3, 4, 5]


def test_the_notebook_that_stands_alone_brings_every_file_along_byte_for_byte(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    alone = make_standalone(nbformat.read("coursework1.ipynb", as_version=4))
    assert len(nbformat.writes(alone).encode()) <= 2_500_000
    first = [cell.id for cell in alone.cells[:4]]
    assert first == ["title", "standalone-note", "standalone-helpers", "standalone-data"]
    names = {}
    for cell in alone.cells[2:4]:
        assert cell.metadata.jupyter.source_hidden
        exec(cell.source, names)
    for path in [*Path("helpers").glob("*.py"), *Path("data").iterdir()]:
        assert (names["FOLDER"] / path).read_bytes() == path.read_bytes()
