"""What the text says against what is so, and every cell against the state in which it was last read."""

import ast
import re
import zlib
from pathlib import Path

import pytest
import torch
from test_architectures import NETWORKS, TOTALS
from test_notebook import CAPTIONS, CELLS, CODE, FIGURES, NOTEBOOK, PROSE, every_code_cell

APPROVED = Path(__file__).with_name("cells.txt").read_text("ascii").splitlines()
TEXT = {cell.id: cell.source for cell in PROSE if cell.id != "references"}
TEXT |= {name: text for name, text in CAPTIONS if text.startswith("*Figure.*")}
LINK = re.compile(r"\[([^\]]*)\]\(([^()\s]*(?:\([^()\s]*\)[^()\s]*)*)\)")
YEAR = re.compile(r"\b(?:19|20)\d\d\b")


def test_the_cells_are_in_their_order():
    assert [cell.id for cell in NOTEBOOK.cells] == [line.split()[0] for line in APPROVED]


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_is_as_it_was_when_it_was_last_read(name):
    line = f"{name} {zlib.crc32(CELLS[name].source.encode()):08x}"
    assert line in APPROVED, f"Read cell {name} once more. If it is right, its line in tests/cells.txt is\n{line}"


@pytest.mark.parametrize("output", FIGURES)
def test_a_figure_has_its_caption_as_alternative_text(output):
    said = [re.sub(r"\\(.)", r"\1", text) for _, text in CAPTIONS]
    assert f"*Figure.* {output.metadata['image/png']['alt']}" in said


def test_a_year_in_a_link_is_that_of_the_reference():
    references = CELLS["references"].source.split("\n- ")[1:]
    years = {re.search(r"<(.*)>", line)[1]: YEAR.findall(line)[:1] for line in references}
    for text in TEXT.values():
        for words, target in LINK.findall(text):
            assert YEAR.findall(words) in ([], years.get(target)), words


@pytest.mark.parametrize(("section", "points"), [("xcorr", 15), ("bn", 25)])
def test_a_task_says_how_many_points_each_check_gives(section, points):
    said = re.findall(r"\((\d+)(?: points)?\)", TEXT[f"{section}-task"].partition("**What the checks ask.**")[2])
    given = [cell.metadata.nbgrader.points for cell in CODE if cell.id.startswith(f"{section}-check-")]
    assert [float(number) for number in said] == given
    assert sum(given) == points


def test_numbers_that_can_be_computed_are_right():
    for name in ("AlexNet", "VGG-16", "GoogLeNet", "ResNet-50"):
        weights, products, _, depth = TOTALS[name]
        assert f"| {name} | {depth} | {weights / 1e6:.1f} M | {products / 1e9:.2f} G |" in TEXT["h-answer"]
    convolutions = sum(layer.kind == "conv" for layer in NETWORKS["VGG-16"])
    assert f"has {convolutions} convolutions in five stages" in TEXT["h-answer"]
    weights, _, outputs, _ = TOTALS["VGG-16"]
    assert f"weights take {4e-9 * weights:.2f} GB" in TEXT["c-answer"]
    assert f"256 images {4e-9 * 256 * outputs:.1f} GB" in TEXT["c-answer"]
    x = torch.linspace(-3, 0, 3001)
    assert f"smooth, dips to ${torch.nn.functional.gelu(x).min():.2f}$" in TEXT["f-answer"]
    assert f"smooth, dips to ${torch.nn.functional.silu(x).min():.3f}$" in TEXT["f-answer"]
    for terms, total in re.findall(r"&= (.*?) = (\d+)", TEXT["xcorr-by-hand"]):
        assert eval(terms.replace(r"\cdot", "*")) == int(total)


def list_claims(cell) -> list[list[str]]:
    """The source of the words and of the condition of each call of verify; a name stands for its last value."""
    nodes = list(ast.walk(ast.parse(cell.source)))
    values = {ast.unparse(node.targets[0]): node.value for node in nodes if isinstance(node, ast.Assign)}
    calls = [node.args[1:] for node in nodes if isinstance(node, ast.Call) and ast.unparse(node.func) == "verify"]
    return [[ast.get_source_segment(cell.source, values.get(ast.unparse(p), p)) for p in call] for call in calls]


BOUNDS = re.compile(r"\b(over|above|more than|under|below|less than) (\d[\d.]*(?:e-?\d+)?)( %| points)?")


@every_code_cell
def test_the_words_of_a_claim_name_the_bounds_that_its_condition_tests(cell):
    for words, condition in list_claims(cell):
        for word, number, unit in BOUNDS.findall(words):
            sign = "<" if word in ("under", "below", "less than") else ">"
            bound = f"{float(number) / 100:g}" if unit else number
            assert re.search(rf"{sign} {re.escape(bound)}(?![\d.])", condition), (words, condition)
        for low, high in re.findall(r"(?:between|:) ([\d.]+) (?:and|to) ([\d.]+)", words):
            assert re.search(rf"(?<![\d.]){re.escape(low)} < .* < {re.escape(high)}(?![\d.])", condition), words
        if re.search(r"\b(each|every|all)\b", words):
            assert not re.search(r"\bany\(|\bmax\(.*>|\bmin\(.*<", condition), (words, condition)
