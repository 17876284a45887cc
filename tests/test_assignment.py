"""The blank coursework: honest solutions get full marks, a slip loses what it is worth, and nbgrader marks both."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from solutions import BATCH_NORM_SLIPS, BATCH_NORM_TUPLE, CROSS_CORRELATION_SLIPS, DOUBLE_LOOP_TORCH, RIGHT, plant

from tools.assignment import write_assignment

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = nbformat.read(ROOT / "coursework1.ipynb", as_version=4)
POINTS = {
    cell.id: cell.metadata["nbgrader"]["points"]
    for cell in NOTEBOOK.cells
    if cell.cell_type == "code" and cell.metadata.get("nbgrader", {}).get("grade")
}
SECTIONS = {"cross_correlation": ("xcorr-", 15), "batch_norm": ("bn-", 25)}
BOTH = {"cross_correlation": DOUBLE_LOOP_TORCH, "batch_norm": BATCH_NORM_TUPLE}
SLIPS = [("cross_correlation", name) for name in CROSS_CORRELATION_SLIPS]
SLIPS += [("batch_norm", name) for name in BATCH_NORM_SLIPS]
# What the first message names, so that a student knows where to look.
HINTS = {
    "kernel flipped": "flip",
    "kernel transposed": "transpos",
    "output one short": "shape",
    "unbiased variance": "m - 1",
    "eps forgotten": "eps",
    "eps outside the root": "eps",
    "momentum swapped": "momentum",
    "running variance that starts at one": "starts at zero",
    "running_mean updated in test mode": "leaves running_mean",
    "syntax error": "SyntaxError",
    "torch's own operation": "own",
    "SciPy's own operation": "scipy",
    "integer output": "integer",
    "kernel changed": "stays as it was",
    "input changed": "changes x",
}


@pytest.fixture(scope="module")
def blank(tmp_path_factory) -> Path:
    """The folder that students are given; nbgrader's course is beside it."""
    build = tmp_path_factory.mktemp("build")
    write_assignment(NOTEBOOK, build)
    return build / "assignment"


@pytest.fixture(scope="module")
def marks(blank, tmp_path_factory) -> dict:
    """For each solution the points and the message of each check; all solutions are marked in one process."""
    solutions = {name: {**BOTH, **modules} for name, modules in RIGHT.items()}
    for module, name in SLIPS:
        slips = CROSS_CORRELATION_SLIPS if module == "cross_correlation" else BATCH_NORM_SLIPS
        solutions[f"{module}: {name}"] = {**BOTH, module: plant(BOTH[module], *slips[name])}
    file = tmp_path_factory.mktemp("solutions") / "solutions.json"
    file.write_text(json.dumps(solutions), "utf-8")
    copy = shutil.copytree(blank, file.parent / "coursework1")
    command = [sys.executable, str(ROOT / "tests" / "mark_solutions.py"), str(copy), str(file)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def sum_points(marks: dict, prefix: str) -> float:
    return sum(points for check, (points, _) in marks.items() if check.startswith(prefix))


@pytest.mark.parametrize("name", RIGHT)
def test_an_honest_solution_gets_40_of_40(marks, name, record_property):
    record_property("marks", f"{name}: {sum_points(marks[name], ''):g} of 40")
    assert {check: points for check, (points, _) in marks[name].items()} == POINTS, marks[name]


@pytest.mark.parametrize(("module", "name"), SLIPS)
def test_a_slip_loses_some_points_of_its_section_only_and_is_told_why(marks, module, name, record_property):
    prefix, full = SECTIONS[module]
    result = marks[f"{module}: {name}"]
    got = sum_points(result, prefix)
    first = next(message for _, message in result.values() if message)
    record_property("marks", f"{module}: {name}: {got:g} of {full}: {first.splitlines()[0]}")
    whole = name == "syntax error" or "own" in name
    assert got == 0 if whole else 0 < got < full, result
    assert sum(points for points, _ in result.values()) - got == 40 - full
    assert HINTS.get(name, "") in first


def test_the_blank_notebook_is_a_students(blank):
    cells = {cell.id: cell for cell in nbformat.read(blank / "coursework1.ipynb", as_version=4).cells}
    for letter in "abcdefghij":
        assert cells[f"{letter}-answer"].source == "*Your answer, in 100 to 220 words.*"
    assert "image/png" in cells["e-question"].attachments["figure.png"]
    caption = cells["e-question"].source.splitlines()[-1]
    assert caption.rstrip(".") in next(c for c in NOTEBOOK.cells if c.id == "e-plots").outputs[1].data["text/markdown"]
    assert "image/png" in cells["f-question"].attachments["figure.png"]
    assert "did not come" not in "".join(cell.source for cell in cells.values())
    assert not any(cell.get("outputs") for cell in cells.values())
    assert "autoreload" in cells["autoreload"].source


def test_nothing_of_the_solution_is_handed_out(blank):
    files = {path.relative_to(blank).as_posix() for path in blank.rglob("*") if path.is_file()}
    assert {"coursework1.ipynb", "README.md", "requirements.txt", "helpers/gradient_check.py"} <= files
    assert not files & {"helpers/loops.py", "helpers/transforms.py", "helpers/architectures.py"}
    for name in ("cross_correlation", "batch_norm"):
        assert (blank / "helpers" / f"{name}.py").read_text("utf-8").count("raise NotImplementedError") in (1, 4)


def test_nbgrader_marks_two_submissions_from_an_empty_course_folder(blank, tmp_path):
    course = shutil.copytree(blank.parent / "course", tmp_path / "course")
    warns = {"cross_correlation": "import warnings\nwarnings.warn('This costs no points.')\n" + DOUBLE_LOOP_TORCH}
    submissions = {"right": BOTH | warns, "broken": {**BOTH, "batch_norm": "def batchnorm_forward(:"}}
    (tmp_path / "submissions.json").write_text(json.dumps(submissions), "utf-8")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # nbgrader calls alembic by name.
    environment = {**os.environ, "PATH": path, "JUPYTER_PREFER_ENV_PATH": "1"}
    command = [sys.executable, str(ROOT / "tests" / "run_nbgrader.py"), str(tmp_path / "submissions.json")]
    run = subprocess.run(command, cwd=course, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    scores = json.loads(run.stdout.splitlines()[-1])
    assert {name: scores["right"][name] for name in POINTS} == POINTS
    assert {name: scores["broken"][name] for name in POINTS} == {
        name: points if name.startswith("xcorr-") else 0 for name, points in POINTS.items()
    }
    assert set(scores["right"]) - set(POINTS) == {f"{letter}-answer" for letter in "abcdefghij"}
    assert (course / "feedback" / "right" / "coursework1" / "coursework1.html").is_file()
