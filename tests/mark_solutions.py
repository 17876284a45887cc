"""Mark solutions with the checks of a blank coursework: python mark_solutions.py FOLDER SOLUTIONS.json

FOLDER is the blank coursework. SOLUTIONS.json maps a name to the modules that a student wrote. Prints, as JSON, for
each name and each check the points and the message. One process marks all, so torch is imported once.
"""

import json
import sys
from pathlib import Path

import matplotlib as mpl
import nbformat


def mark(folder: Path, solution: dict[str, str]) -> dict:
    """The points and the message of every check, with the modules of a solution in place of the stubs."""
    stubs = {name: (folder / "helpers" / f"{name}.py").read_text("utf-8") for name in solution}
    for name, source in solution.items():
        (folder / "helpers" / f"{name}.py").write_text(source, "utf-8")
    for name in [name for name in sys.modules if name.split(".")[0] == "helpers"]:
        del sys.modules[name]
    results, names = {}, {"__name__": "__main__"}
    for cell in nbformat.read(folder / "coursework1.ipynb", as_version=4).cells:
        about = cell.metadata.get("nbgrader", {})
        if cell.cell_type != "code" or not about.get("locked"):
            continue
        try:
            exec(compile(cell.source, cell.id, "exec"), names)
            points, message = about.get("points"), ""
        except Exception as error:
            points, message = 0, f"{type(error).__name__}: {error}"
        if about["grade"]:
            results[cell.id] = points, message
    for name, source in stubs.items():
        (folder / "helpers" / f"{name}.py").write_text(source, "utf-8")
    return results


if __name__ == "__main__":
    mpl.use("agg")
    sys.dont_write_bytecode = True  # A module that is replaced within a second would look unchanged.
    folder, solutions = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text("utf-8"))
    sys.path.insert(0, str(folder))
    output, sys.stdout = sys.stdout, sys.stderr
    marks = {name: mark(folder, solution) for name, solution in solutions.items()}
    print(json.dumps(marks), file=output)
