"""What several test modules share: Hypothesis profiles, one execution of the notebook, and the table of marks."""

import sys
from pathlib import Path

import nbformat
import pytest
from hypothesis import HealthCheck, settings

from tools.execute import execute

# The same few examples in every test run; new ones, and many, for `make fuzz`. No deadline and no check of speed: a
# test that measures time would fail on a busy machine.
UNTIMED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow], "print_blob": True}
settings.register_profile("default", max_examples=30, derandomize=True, **UNTIMED)
settings.register_profile("mutants", max_examples=25, derandomize=True, **UNTIMED)
settings.register_profile("fuzz", max_examples=10_000, **UNTIMED)
settings.load_profile("default")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def executed():
    """The notebook, executed once for all tests; do not change it."""
    notebook = nbformat.read(ROOT / "coursework1.ipynb", as_version=4)
    return execute(notebook, ROOT)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty folder in which a tool runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tool"])
    return tmp_path


def pytest_terminal_summary(terminalreporter):
    """Print the marks that tests/test_assignment.py recorded for each solution."""
    reports = terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
    lines = sorted(text for report in reports for name, text in report.user_properties if name == "marks")
    if lines:
        terminalreporter.section("marks of solutions to the blank coursework")
        terminalreporter.write_line("\n".join(lines))
