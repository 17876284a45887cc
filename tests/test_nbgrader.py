"""The real nbgrader, on the notebook itself and on one with a planted fault."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbgrader.api import Gradebook

from tools.assignment import OPERATIONS, write_assignment

ROOT = Path(__file__).resolve().parent.parent
CHECKS = {
    "xcorr-check-forward": 8,
    "xcorr-check-shapes-errors": 4,
    "xcorr-check-gradient": 3,
    "bn-check-forward-train": 9,
    "bn-check-test-mode": 4,
    "bn-check-backward": 12,
}
PARTS = ("helpers", "data")
FAULT = """

right_{name} = {name}


def {name}(dout, cache):
    dx, dgamma, dbeta = right_{name}(dout, cache)
    return dx * 1.001, dgamma, dbeta
"""


@pytest.fixture(scope="module")
def scores(tmp_path_factory) -> dict[str, dict[str, float]]:
    """Of each student: the points of each graded cell, given by nbgrader's own commands."""
    course = tmp_path_factory.mktemp("course")
    private = private_jupyter(course / ".jupyter")
    assignment = course / "source" / "coursework1"
    students = {name: course / "submitted" / name / "coursework1" for name in ("right", "faulty", "sly")}
    for folder in students.values():
        folder.mkdir(parents=True)
        shutil.copy(ROOT / "coursework1.ipynb", folder)
        for part in PARTS:
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    write_assignment(ROOT, assignment)
    for name in OPERATIONS:  # what stands in source overwrites what was submitted
        (assignment / "helpers" / name).unlink()
    boast(students["sly"] / "coursework1.ipynb")
    plant_a_fault(students["sly"] / "helpers" / "batch_norm.py")
    plant_a_fault(students["faulty"] / "helpers" / "batch_norm.py")
    for step in ("generate_assignment", "autograde"):
        command = [sys.executable, "-m", "nbgrader", step, "coursework1", "--ExecutePreprocessor.timeout=600"]
        command += ["--create"] if step == "autograde" else []
        run = subprocess.run(command, cwd=course, env=private, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        return {name: points_of(gradebook, name) for name in students}


def private_jupyter(folder: Path) -> dict[str, str]:
    """An environment whose only kernel is this Python's."""
    kernel = folder / "kernels" / "python3"
    kernel.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": command, "display_name": "Python 3 (ipykernel)", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    kinds = {f"JUPYTER_{kind}_DIR": str(folder / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # nbgrader calls alembic
    return {**os.environ, **kinds, "JUPYTER_PATH": str(folder), "PATH": path}


def plant_a_fault(module: Path) -> None:
    """Make dx wrong by a thousandth."""
    with module.open("a", encoding="utf-8") as file:
        for name in ("batchnorm_backward", "spatial_batchnorm_backward"):
            file.write(FAULT.format(name=name))


def boast(notebook: Path) -> None:
    """Let the set-up cell say of every claim that it holds."""
    content = nbformat.read(notebook, as_version=4)
    next(cell for cell in content.cells if cell.id == "setup-code").source += "\nverify = lambda *claim: print(claim)"
    nbformat.write(content, notebook)


def points_of(gradebook: Gradebook, student: str) -> dict[str, float]:
    submission = gradebook.find_submission("coursework1", student)
    return {grade.cell.name: grade.auto_score for book in submission.notebooks for grade in book.grades}


def test_the_worked_notebook_gets_40_of_40(scores):
    given = {name: scores["right"][name] for name in CHECKS}
    assert given == CHECKS
    assert sum(given.values()) == 40


def test_the_written_answers_are_left_to_the_marker(scores):
    by_hand = set(scores["right"]) - set(CHECKS)
    assert by_hand == {f"{letter}-answer" for letter in "abcdefghij"}
    assert {scores["right"][name] for name in by_hand} == {None}


def test_a_fault_in_the_backward_pass_loses_the_points_for_it_alone(scores):
    assert {name: scores["faulty"][name] for name in CHECKS} == {**CHECKS, "bn-check-backward": 0}


def test_a_changed_set_up_cell_gains_nothing(scores):
    assert scores["sly"] == scores["faulty"]
