"""The notebook's own shape: run in order, complete, readable, and the same on every machine."""

import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
PATH = ROOT / "coursework1.ipynb"
NOTEBOOK = nbformat.read(PATH, as_version=4)
CODE = [cell for cell in NOTEBOOK.cells if cell.cell_type == "code"]
PROSE = [cell for cell in NOTEBOOK.cells if cell.cell_type == "markdown"]
FENCED = re.compile(r"^```.*?^```", flags=re.MULTILINE | re.DOTALL)
HEADINGS = [
    (len(marks), text.strip())
    for cell in PROSE
    for marks, text in re.findall(r"^(#+) +(.+)$", FENCED.sub("", cell.source), flags=re.MULTILINE)
]
POINTS = dict.fromkeys("abcdefghij", 2.5)

by_id = {"ids": lambda cell: cell.id}
every_cell = pytest.mark.parametrize("cell", NOTEBOOK.cells, **by_id)
every_code_cell = pytest.mark.parametrize("cell", CODE, **by_id)
every_prose_cell = pytest.mark.parametrize("cell", PROSE, **by_id)
every_letter = pytest.mark.parametrize("letter", POINTS)


def links(cell) -> list[str]:
    """The targets of a cell's links and pictures, [text](target) and <https://...>."""
    text = re.sub(r"`[^`]*`", "", FENCED.sub("", cell.source))
    bracketed = r"\]\(([^()\s]*(?:\([^()\s]*\)[^()\s]*)*)\)"  # DOIs may hold a pair of parentheses
    return re.findall(bracketed, text) + re.findall(r"<(\w+://[^>]*)>", text)


def texts(cell) -> str:
    """Everything that a code cell's outputs say in words."""
    parts = []
    for output in cell.outputs:
        parts.append(output.get("text", ""))
        parts += [value for kind, value in output.get("data", {}).items() if kind.startswith("text/")]
    return "\n".join(parts)


def cell_named(name: str):
    return next(cell for cell in NOTEBOOK.cells if cell.id == name)


def test_it_is_a_valid_notebook_with_cell_ids():
    nbformat.validate(NOTEBOOK)
    assert (NOTEBOOK.nbformat, NOTEBOOK.nbformat_minor) >= (4, 5)


def test_cell_ids_are_unique():
    ids = [cell.id for cell in NOTEBOOK.cells]
    assert sorted(ids) == sorted(set(ids))


def test_every_code_cell_was_run_in_order():
    assert {cell.id: cell.execution_count for cell in CODE} == {cell.id: n for n, cell in enumerate(CODE, 1)}


@every_code_cell
def test_no_output_is_an_error_or_written_to_stderr(cell):
    assert all(output.output_type != "error" and output.get("name") != "stderr" for output in cell.outputs)


@every_code_cell
def test_no_cell_may_fail_or_be_skipped_unnoticed(cell):
    assert not {"raises-exception", "nbval-skip", "nbval-ignore-output"} & set(cell.metadata.get("tags", []))
    assert not re.search(r"# *NBVAL|simplefilter|filterwarnings", cell.source)


@every_code_cell
def test_outputs_name_no_machine(cell):
    assert not re.search(r"0x[0-9a-f]{6,}|(/home/|/Users/|/root/|/tmp/|/work/|[A-Z]:\\\\)", texts(cell))


@every_code_cell
def test_code_cells_have_at_most_20_lines(cell):
    assert len(cell.source.splitlines()) <= 20


@every_cell
def test_metadata_hold_no_timing(cell):
    assert not {"execution", "ExecuteTime"} & set(cell.metadata)


def test_kernel_and_language_name_no_version():
    assert NOTEBOOK.metadata.kernelspec.name == "python3"
    assert NOTEBOOK.metadata.language_info.name == "python"
    assert "version" not in NOTEBOOK.metadata.language_info


def test_the_file_is_below_2_megabytes():
    assert PATH.stat().st_size < 2_000_000


def test_there_is_one_title_and_no_heading_skips_a_level():
    levels = [level for level, _ in HEADINGS]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below <= above + 1 for above, below in pairwise(levels)), HEADINGS


@every_letter
def test_each_question_carries_its_letter_and_points(letter):
    found = [text for level, text in HEADINGS if level == 3 and text.startswith(f"({letter}) ")]
    assert len(found) == 1
    assert found[0].endswith("(2.5 points)")
    assert found[0] in cell_named(f"{letter}-question").source


@pytest.mark.parametrize(("section", "points"), [("1 Warm-up", 25), ("2 ", 15), ("3 ", 25)])
def test_each_section_carries_its_points(section, points):
    found = [text for level, text in HEADINGS if level == 2 and text.startswith(section)]
    assert len(found) == 1
    assert found[0].endswith(f"({points} points)")


def test_the_graded_cells_add_up_to_65_points():
    graded = [cell.metadata.nbgrader for cell in NOTEBOOK.cells if "nbgrader" in cell.metadata]
    by_hand = [cell.points for cell in graded if cell.solution]
    assert by_hand == list(POINTS.values())
    assert sum(cell.points for cell in graded if cell.grade and not cell.solution) == 40
    assert [cell.grade_id for cell in graded if not cell.grade] == ["setup-code"]  # locked: the checks rest on it


@every_letter
def test_an_answer_opens_in_bold_and_has_120_to_250_words(letter):
    answer = cell_named(f"{letter}-answer").source
    assert answer.startswith("**")
    words = re.findall(r"\w[\w'’.,-]*", re.sub(r"\]\([^)]*\)|\$[^$]*\$", " x ", answer))
    assert 120 <= len(words) <= 250


@every_letter
def test_each_answer_has_evidence_that_verifies_a_claim(letter):
    evidence = [cell for cell in CODE if cell.id.startswith(f"{letter}-")]
    assert any(re.search(rf'verify\(\s*"{letter}",', cell.source) for cell in evidence)
    assert any("holds: " in texts(cell) for cell in evidence)


def figures() -> list:
    shown = [
        pytest.param(output, id=cell.id)
        for cell in CODE
        for output in cell.outputs
        if any(kind.startswith("image/") for kind in output.get("data", {}))
    ]
    return shown or pytest.fail("the notebook shows no figure")


@pytest.mark.parametrize("output", figures())
def test_every_figure_is_a_png_with_a_description(output):
    assert "image/svg+xml" not in output.data
    assert len(output.metadata["image/png"]["alt"].split()) >= 5


@every_prose_cell
def test_links_resolve(cell):
    anchors = {text.replace(" ", "-") for _, text in HEADINGS}
    for target in links(cell):
        parts = urlsplit(target)
        if parts.scheme:
            assert parts.scheme == "https", target
            assert re.fullmatch(r"[\w-]+(\.[\w-]+)+", parts.netloc), target
        elif parts.path:
            assert (ROOT / parts.path).exists(), target
        else:
            assert parts.fragment in anchors, target


@every_code_cell
def test_data_files_that_a_cell_names_exist(cell):
    for name in re.findall(r"""["']([\w/.-]+\.(?:json|npz|png|csv))["']""", cell.source):
        assert (ROOT / "data" / name).is_file(), name


@every_prose_cell
def test_mathematics_has_paired_delimiters(cell):
    text = re.sub(r"`[^`]*`|\\\$", "", FENCED.sub("", cell.source))
    assert text.count("$") % 2 == 0


def start_of_the_notebook(prelude: str, folder: Path) -> subprocess.CompletedProcess:
    """Run the set-up cell in a fresh Python, in a folder, after a prelude."""
    environment = {**os.environ, "MPLBACKEND": "agg", "PYTHONPATH": ""}
    command = [sys.executable, "-c", f"{prelude}\n{cell_named('setup-code').source}"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_set_up_cell_runs_beside_helpers():
    run = start_of_the_notebook("", ROOT)
    assert (run.returncode, run.stderr) == (0, "")


def test_the_set_up_cell_says_when_it_is_not_beside_helpers(tmp_path):
    last = start_of_the_notebook("", tmp_path).stderr.splitlines()[-1]
    assert last.startswith("ImportError: No helpers here: start Jupyter in the folder of this notebook")


@pytest.mark.parametrize("package", ["numpy", "torch", "matplotlib"])
@pytest.mark.parametrize("found", ["'1.9.5'", "(_ for _ in ()).throw(metadata.PackageNotFoundError)"])
def test_the_set_up_cell_names_a_package_that_is_old_or_missing(package, found):
    prelude = (
        "from importlib import metadata\nreal = metadata.version\n"
        f"metadata.version = lambda name: {found} if name == '{package}' else real(name)"
    )
    last = start_of_the_notebook(prelude, ROOT).stderr.splitlines()[-1]
    assert re.fullmatch(rf"ImportError: {package} \d+\.\d+ or newer is needed: install requirements.txt", last)
