"""The notebook as one file that runs anywhere: it brings `helpers` and `data` along in two folded cells."""

import base64
import copy
from pathlib import Path

from nbformat.v4 import new_code_cell, new_markdown_cell

NOTE = """**This copy of the notebook stands alone.** The next two cells are folded. They hold the modules of the folder
`helpers` and the files of the folder `data`, and unpack both into a temporary folder that is removed at the end."""
UNPACK = """# @title The folder helpers
import atexit, base64, shutil, sys, tempfile
from pathlib import Path

FOLDER = Path(tempfile.mkdtemp(prefix="coursework1-"))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
sys.path.insert(0, str(FOLDER))
(FOLDER / "helpers").mkdir()
(FOLDER / "data").mkdir()
"""
FOLDED = {"jupyter": {"source_hidden": True}, "cellView": "form", "tags": ["hide-input"]}


def make_standalone(notebook):
    """Return a copy of a notebook with the folders `helpers` and `data` inside, behind its title."""
    modules = [UNPACK, *map(write_statement, sorted(Path("helpers").glob("*.py")))]
    data = ["# @title The folder data", *map(write_statement, sorted(Path("data").iterdir()))]
    standalone = copy.deepcopy(notebook)
    standalone.cells[1:1] = [
        new_markdown_cell(NOTE, id="standalone-note"),
        new_code_cell("\n".join(modules), id="standalone-helpers", metadata=FOLDED),
        new_code_cell("\n".join(data), id="standalone-data", metadata=FOLDED),
    ]
    return standalone


def write_statement(path: Path) -> str:
    """Return a statement that writes a file again: a module from its text, anything else from base64."""
    if path.suffix != ".py":
        content = f"base64.b64decode('{base64.b64encode(path.read_bytes()).decode()}')"
    else:
        content = f"r'''{path.read_text('utf-8')}'''.encode()"  # No module holds ''' itself.
    return f"_ = (FOLDER / '{path.as_posix()}').write_bytes({content})"
