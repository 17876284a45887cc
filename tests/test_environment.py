"""The two lists of requirements say the same, and the project's own commands are there."""

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
CONDA_NAMES = {"torch": "pytorch-cpu", "matplotlib": "matplotlib-base"}
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text())


def requirements(name: str) -> dict[str, Requirement]:
    lines = [line for line in (ROOT / name).read_text().splitlines() if re.match(r"\w", line)]
    return {requirement.name: requirement for requirement in map(Requirement, lines)}


def conda_requirements() -> dict[str, Requirement]:
    parsed = [Requirement(text) for text in ENVIRONMENT["dependencies"] if not text.startswith("python=")]
    return {requirement.name: requirement for requirement in parsed}


def test_conda_installs_the_same_packages():
    pip = [CONDA_NAMES.get(name, name) for name in requirements("requirements.txt")]
    assert sorted(pip) == sorted(conda_requirements())


@pytest.mark.parametrize("name", requirements("requirements.txt"))
def test_conda_has_the_same_bounds(name):
    conda = conda_requirements()[CONDA_NAMES.get(name, name)]
    assert conda.specifier == requirements("requirements.txt")[name].specifier


def test_every_requirement_is_bounded_on_both_sides():
    for requirement in (requirements("requirements.txt") | requirements("requirements-dev.txt")).values():
        assert re.search(r"~=|>=.*<|<.*>=", str(requirement.specifier)), requirement


def test_conda_takes_nothing_but_conda_forge():
    assert ENVIRONMENT["channels"] == ["conda-forge", "nodefaults"]


def test_binder_can_read_the_python_version():
    assert ENVIRONMENT["dependencies"][0] == "python=3.12"


def test_torch_stays_at_2_13():
    assert str(requirements("requirements.txt")["torch"].specifier) == "~=2.13.0"


def test_development_adds_to_what_running_needs():
    assert "-r requirements.txt" in (ROOT / "requirements-dev.txt").read_text().splitlines()


@pytest.mark.parametrize("name", [*requirements("requirements.txt"), *requirements("requirements-dev.txt")])
def test_this_environment_satisfies(name):
    requirement = (requirements("requirements.txt") | requirements("requirements-dev.txt"))[name]
    assert requirement.specifier.contains(version(name), prereleases=True)


def test_make_help_names_every_target():
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)[1].split()
    for target in phony:
        assert re.search(rf"^  make {target} ", said, flags=re.MULTILINE), target
    assert len(said.splitlines()) <= 24


@pytest.mark.parametrize("name", ["README.md", "data/README.md"])
def test_local_links_of_a_readme_resolve(name):
    targets = re.findall(r"\]\((?!https://)([^)]+)\)", (ROOT / name).read_text("utf-8"))
    assert not [target for target in targets if not (ROOT / name).parent.joinpath(target).exists()]


def test_this_python_is_one_of_the_supported():
    text = (ROOT / "pyproject.toml").read_text()
    least = re.search(r'requires-python = ">=3\.(\d+)"', text)[1]
    assert sys.version_info >= (3, int(least))
