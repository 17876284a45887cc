"""Write the blank coursework to build/assignment/: the questions and the checks, without a solution.

nbgrader clears the written answers, locks the checks and removes the outputs; the operations become stubs.
"""

import ast
import re
import shutil
import tempfile
from pathlib import Path

import nbformat
from nbgrader.preprocessors import CheckCellMetadata, ClearOutput, ClearSolutions, LockCells
from traitlets.config import Config

OPERATIONS = ("cross_correlation.py", "batch_norm.py")
TOOLS = (
    "__init__",
    "interop",
    "gradient_check",
    "notebook",
    "data",
)  # handed out whole, with what they import
FILES = ("requirements.txt", "environment.yml")
# The cells handed out: questions, answers (cleared), checks, and what stands around them.
KEPT = re.compile(r"title|setup|setup-code|warm-up|.+-question|.+-answer|.+-task|.+-check-.+")
TITLE = """# Coursework 1: deep learning for vision

Ten written warm-up questions (25 points), two-dimensional cross-correlation (15 points) and spatial batch
normalization, forward and backward (25 points): 65 points in all.

Write your answers into this notebook, 120 to 250 words each, and your code into `cross_correlation.py` and
`batch_norm.py` in the folder `helpers`: their docstrings say what each function promises. The checks test
your code and are locked. `helpers/gradient_check.py` tests a backward pass against numerical gradients."""
ANSWER = "*Your answer, in 120 to 250 words.*"
MAKEFILE = """# make lab: install into .venv and open the coursework in JupyterLab
PYTHON ?= python3

lab: .venv/.run
	.venv/bin/python -m jupyterlab coursework1.ipynb

.venv/.run: requirements.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install -r requirements.txt
	touch $@
"""


def main() -> None:
    target = Path("build", "assignment")
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as made:
        write_assignment(Path(), Path(made, "assignment"))
        shutil.rmtree(target, ignore_errors=True)
        Path(made, "assignment").rename(target)
    print(f"Written: {target}")


def write_assignment(source: Path, target: Path) -> None:
    """Write the blank coursework made from the worked one."""
    (target / "helpers").mkdir(parents=True)
    blank = blank_notebook(nbformat.read(source / "coursework1.ipynb", as_version=4))
    nbformat.write(blank, target / "coursework1.ipynb")
    for name in OPERATIONS:
        (target / "helpers" / name).write_text(stubs((source / "helpers" / name).read_text("utf-8")), "utf-8")
    for name in with_imports(TOOLS, source):
        shutil.copy(source / "helpers" / f"{name}.py", target / "helpers")
    for name in FILES:
        shutil.copy(source / name, target / name)
    shutil.copytree(source / "data", target / "data")
    (target / "Makefile").write_text(MAKEFILE, "utf-8")


def with_imports(modules, source: Path) -> set[str]:
    """Modules of helpers, and the modules of helpers that they import."""
    found, waiting = set(), list(modules)
    while waiting:
        found.add(name := waiting.pop())
        text = (source / "helpers" / f"{name}.py").read_text("utf-8")
        waiting += set(re.findall(r"^from helpers\.(\w+) import", text, flags=re.MULTILINE)) - found
    return found


def blank_notebook(notebook):
    """The notebook with its questions and checks only, as nbgrader hands it out."""
    notebook.cells = [cell for cell in notebook.cells if KEPT.fullmatch(cell.id)]
    notebook.cells[0].source = TITLE
    config = Config(ClearSolutions={"text_stub": ANSWER})
    for preprocessor in (ClearSolutions, LockCells, ClearOutput, CheckCellMetadata):
        notebook, _ = preprocessor(config=config).preprocess(notebook, {})
    return notebook


def stubs(source: str) -> str:
    """A module's public functions, each with its signature and docstring and no body."""
    tree, lines = ast.parse(source), source.splitlines()
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name[0] != "_"]
    heads = ["\n".join(lines[node.lineno - 1 : node.body[0].end_lineno]) for node in functions]
    for node in tree.body:
        if isinstance(node, ast.ClassDef):  # what passes from forward to backward is the student's own choice
            heads = [re.sub(rf"\b{node.name}\b", "object", head) for head in heads]
    signatures = " ".join(f"{ast.unparse(node.args)} {ast.unparse(node.returns)}" for node in functions)
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    for node in imports:
        node.names = [alias for alias in node.names if alias.name in re.findall(r"\w+", signatures)]
    needed = "\n".join(ast.unparse(node) for node in imports if node.names)
    bodies = [f"{head}\n    raise NotImplementedError\n" for head in heads]
    return "\n\n".join([f'"""{ast.get_docstring(tree)}"""\n\n{needed}\n', *bodies])


if __name__ == "__main__":
    main()
