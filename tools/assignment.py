"""Write the blank coursework to build/assignment/: the questions and the checks, without a solution.

nbgrader clears the written answers, locks the checks and removes the outputs; the operations become stubs.
"""

from tools import interruption

if __name__ == "__main__":
    interruption.end_at_once()

import ast
import hashlib
import json
import re
import shutil
import tempfile
from pathlib import Path

import nbformat
from nbgrader.preprocessors import CheckCellMetadata, ClearOutput, ClearSolutions, LockCells
from traitlets.config import Config

from helpers.data import FOLDER, load_json, verified

OPERATIONS = ("cross_correlation.py", "batch_norm.py")
TOOLS = ("interop", "gradient_check", "notebook", "data")  # handed out whole, with what they import
FILES = ("requirements.txt", "environment.yml")
FREE = ("digits.npz", "photograph.png")
CURVES = "learning_rate_curves.json"
# The cells handed out: questions, answers (cleared), checks, and what stands around them.
KEPT = re.compile(r"title|setup|setup-code|warm-up|(xcorr|bn)-task|.+-question|.+-answer|.+-check-.+")
TITLE = """# Coursework 1: deep learning for vision

Ten written warm-up questions (25 points), two-dimensional cross-correlation (15 points) and spatial batch
normalization, forward and backward (25 points): 65 points in all.

Write your answers into this notebook, 120 to 250 words each, and your code into `cross_correlation.py` and
`batch_norm.py` in the folder `helpers`: their docstrings say what each function promises. The checks test
your code and are locked. `helpers/gradient_check.py` tests a backward pass against numerical gradients.
Restart the kernel after you have changed a module, and hand in the whole folder."""
PLOTS = """from helpers.data import load_json

figure, axes = plt.subplots(1, 4, figsize=(9, 2.5), layout="constrained", sharey=True)
for axis, (name, curve) in zip(axes, load_json("learning_rate_curves.json")["curves"].items(), strict=True):
    axis.plot(curve["loss"])
    axis.set(title=name, xlabel="step", ylim=(0, 4))
axes[0].set_ylabel("training loss (nats)")
show(figure, "The training losses of one network at four learning rates, one plot each")"""
PLOTTED = f"""
## {CURVES}

The training losses of four runs of one network on the digits, four significant digits a loss; CC BY 4.0, as the digits.
"""
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
        replace_folder(target, Path(made, "assignment"), before=Path(made, "before"))
    print(f"Written: {target}")


def replace_folder(target: Path, new: Path, before: Path) -> None:
    """Put a new folder in a target's place; when that does not come to its end, the old one is back."""
    try:
        if target.exists():
            target.rename(before)
        new.rename(target)
    except BaseException:
        if before.exists() and not target.exists():
            before.rename(target)
        raise


def write_assignment(source: Path, target: Path) -> None:
    """Write the blank coursework made from the worked one."""
    (target / "helpers").mkdir(parents=True)
    blank = blank_notebook(nbformat.read(source / "coursework1.ipynb", as_version=4))
    nbformat.write(blank, target / "coursework1.ipynb")
    for name in OPERATIONS:
        (target / "helpers" / name).write_text(stubs((source / "helpers" / name).read_text("utf-8"), name), "utf-8")
    for name in with_imports(TOOLS, source):
        shutil.copy(source / "helpers" / f"{name}.py", target / "helpers")
    there = {path.stem for path in (target / "helpers").iterdir()}
    names = package_names((source / "helpers" / "__init__.py").read_text("utf-8"), there)
    (target / "helpers" / "__init__.py").write_text(names, "utf-8")
    for name in FILES:
        shutil.copy(source / name, target / name)
    write_data(target / "data")
    (target / "Makefile").write_text(MAKEFILE, "utf-8")


def package_names(source: str, modules: set[str]) -> str:
    """The package's own list of names, without those of modules that are not handed out."""
    tree = ast.parse(source)
    gone = [n for n in tree.body if isinstance(n, ast.ImportFrom) and n.module.split(".")[1] not in modules]
    names = {alias.asname or alias.name for node in gone for alias in node.names}
    tree.body = [node for node in tree.body if node not in gone]
    for node in ast.walk(tree):
        if isinstance(node, ast.List):  # __all__
            node.elts = [name for name in node.elts if name.value not in names]
    return ast.unparse(tree) + "\n"


def write_data(target: Path) -> None:
    """Write the data, the recorded curves of question (e) without their learning rates."""
    target.mkdir()
    for name in FREE:
        shutil.copy(verified(name), target / name)
    curves = {name: {"loss": curve["loss"]} for name, curve in load_json(CURVES)["curves"].items()}
    (target / CURVES).write_text(json.dumps({"curves": curves}), "utf-8")
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(target.iterdir())]
    (target / "SHA256SUMS").write_text("".join(lines), "ascii")
    sections = re.split(r"^(?=## )", (FOLDER / "README.md").read_text("utf-8"), flags=re.MULTILINE)
    kept = [re.sub("^- Command:.*\n", "", part, flags=re.MULTILINE) for part in sections if part[3:].startswith(FREE)]
    (target / "README.md").write_text("".join(["# Data\n\n", *kept, PLOTTED]), "utf-8")


def with_imports(modules, source: Path) -> set[str]:
    """Modules of helpers, and the modules of helpers that they import."""
    found, waiting = set(), list(modules)
    while waiting:
        found.add(name := waiting.pop())
        text = (source / "helpers" / f"{name}.py").read_text("utf-8")
        for node in (node for node in ast.parse(text).body if isinstance(node, ast.ImportFrom)):
            package, _, module = node.module.partition(".")
            names = [module] if module else [alias.name for alias in node.names]
            waiting += set(names) - found if package == "helpers" else ()
    return found


def blank_notebook(notebook):
    """The notebook with its questions and checks only, as nbgrader hands it out."""
    notebook.cells = [cell for cell in notebook.cells if KEPT.fullmatch(cell.id)]
    notebook.cells[0].source = TITLE
    after = next(n for n, cell in enumerate(notebook.cells, 1) if cell.id == "e-question")
    notebook.cells.insert(after, nbformat.v4.new_code_cell(PLOTS, id="e-plots"))
    config = Config(ClearSolutions={"text_stub": ANSWER})
    for preprocessor in (ClearSolutions, LockCells, ClearOutput, CheckCellMetadata):
        notebook, _ = preprocessor(config=config).preprocess(notebook, {})
    return notebook


def stubs(source: str, name: str) -> str:
    """A module's public functions, each with its signature and docstring and no body."""
    tree, lines = ast.parse(source), source.splitlines()
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name[0] != "_"]
    heads = [head(node, lines) for node in functions]
    for node in tree.body:
        if isinstance(node, ast.ClassDef):  # what passes from forward to backward is the student's own choice
            heads = [re.sub(rf"\b{node.name}\b", "object", text) for text in heads]
    signatures = " ".join(f"{ast.unparse(node.args)} {ast.unparse(node.returns)}" for node in functions)
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    for node in imports:
        node.names = [alias for alias in node.names if alias.name in re.findall(r"\w+", signatures)]
    needed = "\n".join(ast.unparse(node) for node in imports if node.names)
    bodies = [
        f'{text}\n    raise NotImplementedError("{node.name} is still to be written, in helpers/{name}")\n'
        for node, text in zip(functions, heads, strict=True)
    ]
    return "\n\n".join([f'"""To be written."""\n\n{needed}\n', *bodies])


def head(function: ast.FunctionDef, lines: list[str]) -> str:
    """A function's signature and docstring; of a backward pass without its formula, which is asked for."""
    signature = lines[function.lineno - 1 : function.body[0].lineno - 1]
    docstring = lines[function.body[0].lineno - 1 : function.body[0].end_lineno]
    if function.name.endswith("_backward") and len(docstring) > 1:
        errors = next(n for n, line in enumerate(docstring) if line.startswith("    Raises"))
        docstring = [docstring[0], "", *docstring[errors:]]
    return "\n".join(signature + docstring)


if __name__ == "__main__":
    with interruption.clearing_away():
        main()
