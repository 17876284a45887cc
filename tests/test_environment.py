"""The lists of requirements say the same, and the project's own commands and files are there."""

import ast
import re
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
CONDA = {"pytorch-cpu": "torch", "matplotlib-base": "matplotlib"}


def read_requirements(lines) -> dict[str, Requirement]:
    parsed = [Requirement(line) for line in lines if re.match(r"\w", line)]
    return {CONDA.get(requirement.name, requirement.name): requirement for requirement in parsed}


def lines_of(name: str) -> list[str]:
    return (ROOT / name).read_text("utf-8").splitlines()


RUN = read_requirements(lines_of("requirements.txt"))
DEVELOP = read_requirements(lines_of("requirements-dev.txt"))


def test_conda_installs_the_same_packages_within_the_same_bounds():
    first, *others = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))["dependencies"]
    assert first.startswith("python=")
    conda = read_requirements(others)
    assert {name: found.specifier for name, found in conda.items()} == {n: r.specifier for n, r in RUN.items()}


def test_an_installation_of_the_project_takes_requirements_txt():
    assert PYPROJECT["tool"]["setuptools"]["dynamic"]["dependencies"] == {"file": ["requirements.txt"]}
    assert PYPROJECT["project"]["dynamic"] == ["dependencies"]
    assert set(PYPROJECT["tool"]["uv"]["constraint-dependencies"]) <= set(lines_of("constraints.txt"))


def test_the_set_up_cell_asks_for_the_lower_bounds_of_requirements_txt():
    cells = nbformat.read(ROOT / "coursework1.ipynb", as_version=4).cells
    source = next(cell.source for cell in cells if cell.id == "setup-code")
    asked = next(ast.literal_eval(node) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Dict))
    for name, least in asked.items():
        assert f">={least}" in str(RUN[name].specifier).split(",")


@pytest.mark.parametrize("name", [*RUN, *DEVELOP])
def test_a_requirement_has_bounds_that_this_environment_and_the_pins_meet(name):
    requirement = (RUN | DEVELOP)[name]
    assert {specifier.operator for specifier in requirement.specifier} == {">=", "<"}
    assert requirement.specifier.contains(version(name), prereleases=True)
    pinned = dict(line.split("==") for line in lines_of("constraints.txt"))
    assert requirement.specifier.contains(pinned[name])


def test_make_help_names_every_target():
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)[1].split()
    assert phony == re.findall(r"^  make (\w+) +\S", said, re.MULTILINE)


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "data/README.md", "tests/README.md"])
def test_local_links_resolve(name):
    targets = re.findall(r"\]\((?!https://)([^)#]+)\)", (ROOT / name).read_text("utf-8"))
    assert [target for target in targets if not (ROOT / name).parent.joinpath(target).exists()] == []


def test_no_library_is_used_by_a_private_name():
    sources = [*(ROOT / "helpers").glob("*.py"), *(ROOT / "tools").glob("*.py"), ROOT / "coursework1.ipynb"]
    for path in sources:
        found = re.findall(r"\b(?:torch|np|numba|plt|matplotlib)(?:\.\w+)*\._\w*", path.read_text("utf-8"))
        assert found == [], path.name


def test_the_citation_names_title_authors_version_and_license():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == PYPROJECT["project"]["version"]
    assert {"cff-version", "message", "title", "authors", "license"} <= set(citation)
