"""The tools that execute the notebook, try its seeds and make its page and its PDF."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools import execute, pdf, seeds
from tools.page import html_page

ROOT = Path(__file__).resolve().parent.parent
FIGURE = """import matplotlib.pyplot as plt
from helpers.notebook import show
figure, axes = plt.subplots()
axes.plot([1, 2, 3])
show(figure, "A line that rises from one to three")"""


def notebook_of(*sources: str):
    cells = [new_code_cell(source, id=f"cell-{n}") for n, source in enumerate(sources)]
    title = new_markdown_cell("# A title\n\n$x^2$ and\n$$\n\\frac{1}{2}\n$$\n## A part with $y$", id="title")
    return new_notebook(cells=[title, *cells])


@pytest.fixture(scope="module")
def small():
    """A small notebook, executed; what was reported; the notebook that was given."""
    listing = "from helpers.notebook import show_source, verify\nshow_source(verify)"
    notebook = notebook_of("print(1)\nprint(2)", "import sys\nprint(sys.executable)", "", FIGURE, listing)
    notebook.cells[1].metadata.update(execution={"iopub.execute_input": "2026"})
    said = []
    return execute.execute(notebook, ROOT, report=said.append), said, notebook


def test_cells_are_numbered_in_order_reported_by_name_stored_without_timing_and_an_empty_one_is_gone(small):
    assert [cell.execution_count for cell in small[0].cells[1:]] == [1, 2, 3, 4]
    assert small[1] == [f"cell {n} of 5: cell-{k}" for n, k in ((2, 0), (3, 1), (4, 3), (5, 4))]
    assert not any(cell.metadata for cell in small[0].cells)


def test_the_kernel_is_this_python_and_the_output_of_several_prints_is_one_piece(small):
    assert [output.text for output in small[0].cells[1].outputs] == ["1\n2\n"]
    assert small[0].cells[2].outputs[0].text == f"{sys.executable}\n"


def test_the_notebook_that_was_given_is_left_as_it_was(small):
    assert [cell.outputs for cell in small[2].cells[1:]] == [[]] * 5


def test_a_cell_that_fails_is_named_with_its_error_and_nothing_is_written(folder, monkeypatch, capsys):
    nbformat.write(notebook_of("1 + 1", "1 / 0"), "coursework1.ipynb")
    before = Path("coursework1.ipynb").read_bytes()
    monkeypatch.setattr(sys, "argv", ["tool", "--in-place"])
    with pytest.raises(SystemExit, match=r"cell cell-1 fails with ZeroDivisionError: division by zero\nNothing was wr"):
        execute.main()
    assert Path("coursework1.ipynb").read_bytes() == before
    assert os.listdir() == ["coursework1.ipynb"]


def test_a_run_writes_a_copy_and_a_page_to_build(folder):
    nbformat.write(notebook_of("print(1)"), "coursework1.ipynb")
    execute.main()
    executed = nbformat.read("build/coursework1.ipynb", as_version=4)
    assert executed.cells[1].outputs[0].text == "1\n"
    assert Path("build/coursework1.html").read_text("utf-8") == html_page(executed)


def test_a_seed_that_fails_is_told_with_the_cell_and_the_claim(folder, monkeypatch):
    nbformat.write(notebook_of("SEED = 0", "assert SEED != 3, 'not three'"), "coursework1.ipynb")
    monkeypatch.setattr(seeds, "SEEDS", (2, 3))
    with pytest.raises(SystemExit, match=r"^SEED = 3: cell cell-1 fails with AssertionError: not three$"):
        seeds.main()


def test_a_write_that_fails_leaves_the_previous_file(folder, monkeypatch):
    execute.write_whole(Path("build/file"), b"before")
    monkeypatch.setattr(Path, "write_bytes", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        execute.write_whole(Path("build/file"), b"after")
    assert Path("build/file").read_bytes() == b"before"


def test_make_clean_removes_what_a_killed_write_left_and_no_more(tmp_path):
    for name in ("Makefile", ".part-coursework1.ipynb", "build/b", "data/digits.npz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / "Makefile").read_bytes())
    subprocess.run(["make", "clean"], cwd=tmp_path, capture_output=True, check=True)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"Makefile", "data/digits.npz"}


def test_the_page_has_alternative_texts_mathematics_as_mathml_and_folded_listings(small):
    page = html_page(small[0])
    assert 'alt="A line that rises from one to three"' in page
    assert "<msup>" in page
    assert "<mfrac>" in page
    assert re.search(r"<details class=\"listing\">\s*<summary>Source code \(\d+ lines\)</summary>", page)


def test_the_page_has_contents_that_lead_to_the_headings(small):
    page = html_page(small[0])
    anchor = re.search(r'<li class="level2"><a href="#([^"]*)">A part with <math', page)[1]
    assert f'<h2 id="{anchor}">' in page
    assert page.count(f'id="{anchor}"') == 1


def test_the_page_of_the_coursework_loads_nothing_from_elsewhere_and_every_formula_becomes_mathml():
    page = html_page(nbformat.read(ROOT / "coursework1.ipynb", as_version=4))
    assert re.findall(r"<script|<link|<img[^>]*src=\"(?!data:)|@import|url\(", page) == []
    formulas = "".join(re.findall(r"<math.*?</math>", page, flags=re.DOTALL))
    assert re.findall(r"\\|<mi>&amp;", formulas) == []  # What was not understood would stand there.
    prose = re.sub(r"(?s)<head>.*?</head>|<(math|code|pre)\b.*?</\1>|<img[^>]*>|<em>Figure.*?</p>", "", page)
    assert "$" not in prose


@pytest.mark.parametrize(("browser", "advice"), [(None, "No Chromium or Chrome was found"), ("chromium", "is missing")])
def test_without_a_browser_or_a_page_the_pdf_ends_with_advice(browser, advice, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pdf.shutil, "which", lambda name: browser)
    with pytest.raises(SystemExit, match=advice):
        pdf.main()
