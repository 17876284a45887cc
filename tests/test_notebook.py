"""The notebook's own shape: complete, short, readable, and the same on every machine."""

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
CELLS = {cell.id: cell for cell in NOTEBOOK.cells}
TEXT = [cell for cell in PROSE if cell.id != "references"]
OUTPUTS = [(cell.id, output) for cell in CODE for output in cell.outputs]
FIGURES = [pytest.param(output, id=name) for name, output in OUTPUTS if "image/png" in output.get("data", {})]
CAPTIONS = [
    (name, output.data["text/markdown"]) for name, output in OUTPUTS if "text/markdown" in output.get("data", {})
]

by_id = {"ids": lambda cell: cell.id}
every_code_cell = pytest.mark.parametrize("cell", CODE, **by_id)
every_prose_cell = pytest.mark.parametrize("cell", PROSE, **by_id)
every_letter = pytest.mark.parametrize("letter", "abcdefghij")


def without_code(source: str) -> str:
    return re.sub(r"^```.*?^```|`[^`\n]*`", " x ", source, flags=re.MULTILINE | re.DOTALL)


def plain_words(source: str) -> str:
    """Prose as it is read: a formula or a link counts for its words, tables and displayed formulas for nothing."""
    text = re.sub(r"\$\$.*?\$\$|^\|[^\n]*$", "\n\n", without_code(source), flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"\$[^$]*\$", "x", re.sub(r"\]\([^)]*\)", "", text))
    return re.sub(r"[*_\[\]]", "", text)


def sentences(source: str) -> list[str]:
    parts = re.split(r"(?<=[.!?:])\s+|\n\s*\n|\n\s*(?:[-#]|\d+\.)\s", plain_words(source))
    return [part.strip() for part in parts if part.strip()]


def links(source: str) -> list[str]:
    """The targets of links, [text](target) and <https://...>; a DOI may hold a pair of parentheses."""
    text = without_code(source)
    return re.findall(r"\]\(([^()\s]*(?:\([^()\s]*\)[^()\s]*)*)\)", text) + re.findall(r"<(\w+://[^>]*)>", text)


HEADINGS = [
    (len(marks), text.strip())
    for cell in PROSE
    for marks, text in re.findall(r"^(#+) +(.+)$", without_code(cell.source), flags=re.MULTILINE)
]


def test_it_is_a_valid_notebook_with_unique_cell_ids():
    nbformat.validate(NOTEBOOK)
    assert len(CELLS) == len(NOTEBOOK.cells)


def test_it_has_at_most_95_cells_5500_words_before_the_references_and_1_5_megabytes():
    assert len(NOTEBOOK.cells) <= 95
    assert sum(len(plain_words(cell.source).split()) for cell in TEXT) <= 5500
    assert PATH.stat().st_size < 1_500_000


@pytest.mark.parametrize(("name", "text"), [(cell.id, cell.source) for cell in TEXT] + CAPTIONS)
def test_no_sentence_of_the_text_or_a_caption_has_more_than_40_words(name, text):
    assert [sentence for sentence in sentences(text) if len(sentence.split()) > 40] == []


@every_code_cell
def test_a_code_cell_has_at_most_20_lines_of_100_characters(cell):
    lines = cell.source.splitlines()
    assert len(lines) <= 20
    assert [line for line in lines if len(line) > 100] == []


def test_every_code_cell_was_run_once_and_in_order():
    assert [cell.execution_count for cell in CODE] == list(range(1, len(CODE) + 1))


@every_code_cell
def test_no_output_is_an_error_or_names_a_machine_or_a_time(cell):
    for output in cell.outputs:
        assert output.output_type != "error"
        assert output.get("name") != "stderr"
        text = output.get("text", "") + "".join(str(v) for k, v in output.get("data", {}).items() if "text/" in k)
        assert not re.search(r"0x[0-9a-f]{6,}|/(home|Users|root|tmp|usr|opt)/|[A-Z]:\\\\", text)
        assert not re.search(r"\b\d+(\.\d+)? ?([mµn]s|s|seconds)\b", text)


@every_code_cell
def test_no_cell_may_fail_or_be_skipped_unnoticed(cell):
    assert not {"raises-exception", "nbval-skip", "nbval-ignore-output"} & set(cell.metadata.get("tags", []))
    assert not re.search(r"# *NBVAL|simplefilter|filterwarnings", cell.source)


def test_there_is_one_title_and_no_heading_skips_a_level():
    levels = [level for level, _ in HEADINGS]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below <= above + 1 for above, below in pairwise(levels)), HEADINGS


@every_letter
def test_a_question_carries_its_letter_and_points(letter):
    found = [text for level, text in HEADINGS if level == 3 and text.startswith(f"({letter}) ")]
    assert len(found) == 1
    assert found[0].endswith("(2.5 points)")
    assert found[0] in CELLS[f"{letter}-question"].source


def test_the_graded_cells_add_up_to_65_points():
    graded = [cell.metadata.nbgrader for cell in NOTEBOOK.cells if "nbgrader" in cell.metadata]
    assert [cell.points for cell in graded if cell.solution] == [2.5] * 10
    assert sum(cell.points for cell in graded if cell.grade and not cell.solution) == 40


@every_letter
def test_an_answer_opens_in_bold_and_has_100_to_235_words(letter):
    answer = CELLS[f"{letter}-answer"].source
    assert answer.startswith("**")
    assert 100 <= len(plain_words(answer).split()) <= 235


@every_letter
def test_an_answer_has_evidence_that_verifies_a_claim(letter):
    printed = "".join(output.get("text", "") for name, output in OUTPUTS if name.startswith(f"{letter}-"))
    assert "holds: " in printed


@every_prose_cell
def test_links_resolve(cell):
    anchors = {text.replace(" ", "-") for _, text in HEADINGS}
    for target in links(cell.source):
        parts = urlsplit(target)
        if parts.scheme:
            assert parts.scheme == "https", target
            assert re.fullmatch(r"[\w-]+(\.[\w-]+)+", parts.netloc), target
        elif parts.path:
            assert (ROOT / parts.path).exists(), target
        else:
            assert parts.fragment in anchors, target


def test_every_source_cited_is_listed_and_every_source_listed_is_cited():
    cited = {link for cell in TEXT for link in links(cell.source) if link.startswith("https:")}
    assert cited == set(links(CELLS["references"].source))


@every_prose_cell
def test_mathematics_has_paired_delimiters(cell):
    assert without_code(cell.source).replace(r"\$", "").count("$") % 2 == 0


@pytest.mark.parametrize("package", ["numpy", "torch", "matplotlib"])
@pytest.mark.parametrize("found", ["'1.9.5'", "(_ for _ in ()).throw(metadata.PackageNotFoundError)"])
def test_the_set_up_cell_names_a_package_that_is_too_low_or_missing(package, found):
    prelude = (
        "from importlib import metadata\nreal = metadata.version\n"
        f"metadata.version = lambda name: {found} if name == '{package}' else real(name)\n"
    )
    command = [sys.executable, "-c", prelude + CELLS["setup-code"].source]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    words = rf"ImportError: {package} [\d.]+ or newer is needed: .*requirements\.txt"
    assert re.fullmatch(words, run.stderr.splitlines()[-1])
