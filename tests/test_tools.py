"""The tools that execute, submit and hand out the notebook."""

import ast
import asyncio
import contextlib
import io
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import nbformat
import psutil
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools import assignment, interruption, submission
from tools.execute import execute, run_until_done_or_interrupted
from tools.files import write_atomically
from tools.page import html_page

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ("tools.execute", "tools.submission", "tools.assignment")
NOTEBOOK = nbformat.read(ROOT / "coursework1.ipynb", as_version=4)
FIGURE = """import matplotlib.pyplot as plt
from helpers.notebook import show
figure, axes = plt.subplots()
axes.plot([{}, 2, 3])
show(figure, "A line that rises from one to three")"""


def notebook_of(*sources: str):
    cells = [new_code_cell(source, id=f"cell-{n}") for n, source in enumerate(sources)]
    title = new_markdown_cell("# A title\n\n$x^2$ and\n$$\n\\frac{1}{2}\n$$", id="title")
    return new_notebook(cells=[title, *cells])


def run_tool(*arguments: str, **how) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, **how)


# Executing


@pytest.fixture(scope="module")
def executed():
    said = []
    sources = ("print(1)\nprint(2)", "import sys\nprint(sys.executable)", "", FIGURE.format(1))
    notebook = notebook_of(*sources)
    notebook.cells[1].metadata.update(execution={"iopub.execute_input": "2026"}, ExecuteTime={"start_time": "2026"})
    return execute(notebook, ROOT, report=said.append), said


def test_cells_are_numbered_in_order_and_an_empty_one_is_gone(executed):
    assert [cell.get("execution_count") for cell in executed[0].cells[1:]] == [1, 2, 3]


def test_output_of_several_prints_is_one_piece(executed):
    assert [output.text for output in executed[0].cells[1].outputs] == ["1\n2\n"]


def test_progress_names_each_cell_and_its_heading(executed):
    assert executed[1] == [f"cell {n} of 3: A title" for n in (1, 2, 3)]


def test_no_timing_and_no_version_is_stored(executed):
    assert not any(cell.metadata for cell in executed[0].cells)
    assert "version" not in executed[0].metadata.language_info
    assert executed[0].metadata.kernelspec.name == "python3"


def test_the_kernel_is_this_python_whatever_is_installed_as_python3(tmp_path, monkeypatch):
    other = tmp_path / "kernels" / "python3"
    other.mkdir(parents=True)
    (other / "kernel.json").write_text(json.dumps({"argv": ["false"], "display_name": "other", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    ran = execute(notebook_of("import sys\nprint(sys.executable)"), tmp_path)
    assert ran.cells[1].outputs[0].text == f"{sys.executable}\n"


def test_a_failing_cell_leaves_the_notebook_as_it_was(tmp_path):
    path = tmp_path / "small.ipynb"
    nbformat.write(notebook_of("1 / 0"), path)
    before = path.read_bytes()
    run = run_tool("tools.execute", "--in-place", str(path), cwd=tmp_path)
    assert run.returncode == 1
    assert "ZeroDivisionError" in run.stderr
    assert "A cell failed; nothing was written" in run.stderr
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["small.ipynb"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("option", ["", "--in-place"])
def test_a_signal_in_the_middle_leaves_every_file_as_it_was(tmp_path, number, option):
    cell = "import os, time\nopen('kernel', 'w').write(str(os.getpid()))\nos.rename('kernel', 'started')"
    cell += "\ntime.sleep(600)"
    nbformat.write(notebook_of(cell), tmp_path / "small.ipynb")
    (tmp_path / "build").mkdir()
    for name in ("small.ipynb", "small.html"):
        (tmp_path / "build" / name).write_text("made before")
    before = files_in(tmp_path)
    process = start_tool("tools.execute", *filter(None, [option]), "small.ipynb", cwd=tmp_path)
    while not (tmp_path / "started").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == (-number if number == signal.SIGKILL else 1)
    assert number == signal.SIGKILL or "nothing was written" in said
    kernel = int((tmp_path / "started").read_text())
    (tmp_path / "started").unlink()
    assert files_in(tmp_path) == before
    assert ends(kernel)


@pytest.mark.parametrize("number", interruption.SIGNALS)
@pytest.mark.parametrize("step", ["async_start_new_kernel", "async_start_new_kernel_client"])
def test_a_signal_while_the_kernel_starts_cancels_and_leaves_no_kernel(number, step):
    kernels = []

    async def interrupted(client, **kwargs):
        kernels.extend([client.km.provisioner.process] if client.km.has_kernel else [])
        os.kill(os.getpid(), number)
        await asyncio.sleep(5)
        pytest.fail("it went on")

    manager = AsyncKernelManager(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    client = type("Starting", (NotebookClient,), {step: interrupted})(notebook_of("1"), km=manager)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(run_until_done_or_interrupted(client))
    assert [kernel.wait(timeout=10) for kernel in kernels] == [-signal.SIGKILL] * (step[-6:] == "client")
    assert not os.path.exists(manager.connection_file)


@pytest.mark.parametrize("number", interruption.SIGNALS)
def test_a_signal_that_a_wait_loses_cancels_all_the_same(number):
    class Losing(NotebookClient):
        async def async_execute(self, **kwargs):
            os.kill(os.getpid(), number)
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(5)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(run_until_done_or_interrupted(Losing(notebook_of("1"), km=AsyncKernelManager())))


def test_a_second_signal_while_the_kernel_stops_prints_no_traceback(tmp_path):
    to_tool = f"os.kill(os.getppid(), {signal.SIGTERM:d})"
    cell = f"import os, time\ntry:\n    {to_tool}\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    {to_tool}"
    nbformat.write(notebook_of(cell), tmp_path / "small.ipynb")
    run = run_tool("tools.execute", "small.ipynb", cwd=tmp_path)
    assert run.returncode == 1
    assert run.stderr.endswith("nothing was written.\n")
    assert run.stderr.count("\n") == 1


def test_executing_gives_the_handlers_of_signals_back(monkeypatch):
    async def nothing(client):
        for number in interruption.SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, print)

    monkeypatch.setattr("tools.execute.run_until_done_or_interrupted", nothing)
    before = [signal.signal(number, interruption.leave) for number in interruption.SIGNALS]
    try:
        execute(NOTEBOOK, ROOT)
        assert [signal.getsignal(number) for number in interruption.SIGNALS] == [interruption.leave] * 2
    finally:
        for number, handler in zip(interruption.SIGNALS, before, strict=True):
            signal.signal(number, handler)


@pytest.mark.parametrize("tool", TOOLS)
def test_ctrl_c_during_the_imports_prints_no_traceback(tmp_path, tool):
    (tmp_path / "nbformat.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n1 / 0")
    run = run_tool(tool, cwd=tmp_path)
    assert (run.returncode, run.stderr) == (-signal.SIGINT, "")


@pytest.mark.parametrize("number", interruption.SIGNALS)
@pytest.mark.parametrize("tool", TOOLS)
def test_a_signal_before_the_execution_leaves_one_line_and_no_files(tmp_path, tool, number):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_notebook.py").write_text("def test_shape():\n    pass\n")
    (tmp_path / "build").mkdir()
    os.mkfifo(tmp_path / "coursework1.ipynb")
    process = start_tool(tool, cwd=tmp_path)
    handle = open_for_its_reader(tmp_path / "coursework1.ipynb", process)
    process.send_signal(number)
    os.close(handle)  # a signal that comes just before the read is seen only after it
    _, said = process.communicate(timeout=120)
    assert (process.returncode, said.count("\n")) == (1, 1)
    assert said.startswith("Interrupted")
    assert os.listdir(tmp_path / "build") == []


def open_for_its_reader(pipe: Path, reader: subprocess.Popen) -> int:
    """A pipe's other end, once a process reads it: the process then waits for a word."""
    while reader.poll() is None:
        with contextlib.suppress(OSError):
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.05)
    return pytest.fail(reader.stderr.read())


@pytest.mark.parametrize("number", interruption.SIGNALS)
def test_a_signal_ends_the_tests_of_the_shape_too(tmp_path, number):
    (tmp_path / "tests").mkdir()
    shape = f"import os, time\nopen('pid', 'w').write(str(os.getpid()))\nos.kill(os.getppid(), {number:d})\n"
    (tmp_path / "tests" / "test_notebook.py").write_text(f"{shape}time.sleep(60)\n")
    run = run_tool("tools.submission", cwd=tmp_path)
    assert (run.returncode, run.stderr.count("\n")) == (1, 1)
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


def test_a_second_signal_does_not_disturb_the_clearing_away():
    code = """import os, signal
from tools.interruption import clearing_away
with clearing_away():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        print("cleared away")"""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (1, "cleared away\n")


def test_an_interruption_that_a_library_swallowed_is_remembered_before_a_file_is_replaced(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    code = """import contextlib, os, pathlib, signal
from tools.files import write_atomically
from tools.interruption import clearing_away
with clearing_away():
    with contextlib.suppress(SystemExit):
        os.kill(os.getpid(), signal.SIGTERM)
    write_atomically(pathlib.Path(os.environ["FILE"]), b"new")"""
    environment = {**os.environ, "FILE": str(tmp_path / "file")}
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=False)
    assert (run.returncode, files_in(tmp_path)) == (1, {"file": b"old"})


def start_tool(*arguments: str, cwd: Path) -> subprocess.Popen:
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL, "text": True}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-m", *arguments], cwd=cwd, env=environment, **pipes)


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def ends(process: int) -> bool:
    """Whether a process that is not our own comes to its end."""
    for _ in range(600):
        try:
            if psutil.Process(process).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.1)
    return False


def test_a_notebook_that_was_changed_meanwhile_is_kept(tmp_path):
    nbformat.write(notebook_of("open('small.ipynb', 'a').write('  ')"), tmp_path / "small.ipynb")
    before = (tmp_path / "small.ipynb").read_bytes()
    run = run_tool("tools.execute", "--in-place", "small.ipynb", cwd=tmp_path)
    assert run.returncode == 1
    assert "small.ipynb was changed while it was executed; nothing was written" in run.stderr
    assert files_in(tmp_path) == {"small.ipynb": before + b"  "}


def test_a_kill_in_the_middle_of_a_write_leaves_a_whole_file(tmp_path):
    path = tmp_path / "file"
    write_forever = f"""import itertools, pathlib
from tools.files import write_atomically
for letter in itertools.cycle((b"a", b"b")):
    write_atomically(pathlib.Path({str(path)!r}), letter * 5_000_000)"""
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-c", write_forever], cwd=ROOT)
        before = path.stat().st_ino if path.exists() else 0
        while not path.exists() or path.stat().st_ino == before:
            time.sleep(0.001)
        process.kill()
        process.wait()
        assert path.read_bytes() in (b"a" * 5_000_000, b"b" * 5_000_000)


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def interrupted(*paths):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def interrupted(line: int, function, *arguments) -> bool:
    """Call a function and interrupt it before the given one of the lines that it runs; whether it runs as many."""
    lines = itertools.count(1)

    def trace(frame, event, argument):
        if frame.f_code is not function.__code__:
            return None
        if event == "line" and next(lines) == line:
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function(*arguments)
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.filterwarnings("ignore:unclosed file")  # interrupted where it would be closed
def test_a_write_interrupted_at_any_line_leaves_one_whole_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    for line in itertools.count(1):
        goes_on = interrupted(line, write_atomically, path, b"new")
        assert path.read_bytes() in {b"new", b"old"}
        assert os.listdir(tmp_path) == ["file"]
        if not goes_on:
            break
    assert line > 5
    assert path.read_bytes() == b"new"


def test_make_clean_removes_what_a_killed_write_left_and_no_more(tmp_path):
    for name in ("Makefile", "a.part", ".coursework1.ipynb.1.part", "data/digits.npz", "data/.digits.npz.1.part"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / "Makefile").read_bytes())
    subprocess.run(["make", "clean"], cwd=tmp_path, capture_output=True, check=True)
    assert set(files_in(tmp_path)) == {"Makefile", "a.part", "data/digits.npz"}


def test_two_runs_write_the_same_copy_and_page(tmp_path):
    nbformat.write(notebook_of("print(1)", FIGURE.format(1)), tmp_path / "small.ipynb")
    written = []
    for _ in range(2):
        run = run_tool("tools.execute", "small.ipynb", cwd=tmp_path)
        assert run.returncode == 0, run.stderr
        written.append([(tmp_path / "build" / f"small.{kind}").read_bytes() for kind in ("ipynb", "html")])
    assert re.search(r"[\d.]+ s in all. Written:\n  build/small.ipynb\n  build/small.html\n", run.stdout)
    assert written[0] == written[1]


# The page


def test_the_page_keeps_the_description_of_a_figure(executed):
    assert 'alt="A line that rises from one to three"' in html_page(executed[0])


def test_the_page_has_mathematics_as_mathml(executed):
    page = html_page(executed[0])
    assert "<msup>" in page
    assert '<math display="block"' in page.replace('xmlns="http://www.w3.org/1998/Math/MathML" ', "")
    assert "<mfrac>" in page


def test_the_page_loads_nothing_from_elsewhere():
    page = html_page(NOTEBOOK)
    assert not re.findall(r"<script[^>]*src|<link[^>]*href|<img[^>]*src=\"(?!data:)|@import", page)


@pytest.mark.parametrize("cell", [c for c in NOTEBOOK.cells if c.cell_type == "markdown"], ids=lambda c: c.id)
def test_every_formula_of_the_notebook_becomes_mathml(cell):
    page = html_page(new_notebook(cells=[new_markdown_cell("# Title"), cell], metadata=NOTEBOOK.metadata))
    formulas = "".join(re.findall(r"<math.*?</math>", page, flags=re.DOTALL))
    assert "\\" not in re.sub(r"<mo>(\\|&#x0005C;)</mo>", "", formulas)  # a command that was not understood
    prose = re.sub(r"(?s)<head>.*?</head>|<(math|code|pre)\b.*?</\1>", "", page)
    assert "$" not in prose


# The submission


@pytest.mark.parametrize("change", ["print(2)", "print(1)\nprint(1)", "1", "pass"])
def test_a_cell_whose_output_changed_is_stale(change):
    stored = execute(notebook_of("print(1)"), ROOT)
    assert submission.stale_cells(stored, execute(notebook_of(change), ROOT)) == ["cell-0"]


def test_outputs_that_are_fresh_are_not_stale(executed):
    sources = [cell.source for cell in executed[0].cells[1:]]
    assert submission.stale_cells(executed[0], execute(notebook_of(*sources), ROOT)) == []


def test_a_figure_that_changed_is_stale(executed):
    sources = [cell.source for cell in executed[0].cells[1:-1]]
    assert submission.stale_cells(executed[0], execute(notebook_of(*sources, FIGURE.format(0)), ROOT)) == ["cell-3"]


def test_a_shape_that_fails_is_refused(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_notebook.py").write_text("def test_shape():\n    assert False\n")
    run = run_tool("tools.submission", cwd=tmp_path)
    assert run.returncode == 1
    assert "Refused: the notebook's shape" in run.stderr
    assert not (tmp_path / "build").exists()


def test_stale_outputs_are_refused(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_notebook.py").write_text("def test_shape():\n    pass\n")
    stored = execute(notebook_of("print(1)"), tmp_path)
    stored.cells[1].source = "print(2)"
    nbformat.write(stored, tmp_path / "coursework1.ipynb")
    run = run_tool("tools.submission", cwd=tmp_path)
    assert run.returncode == 1
    assert "Refused: the outputs of cell-0 are stale" in run.stderr
    assert "run `make outputs`" in run.stderr
    assert not (tmp_path / "build").exists()


def test_a_submission_runs_where_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    (tmp_path / "submission.zip").write_bytes(submission.archive("<html></html>"))
    with zipfile.ZipFile(tmp_path / "submission.zip") as zipped:
        zipped.extractall(tmp_path)
    unpacked = tmp_path / "coursework1"
    assert {path.name for path in unpacked.iterdir()} == {
        *("coursework1.ipynb", "coursework1.html", "helpers", "data", "environment.yml", "requirements.txt")
    }
    stored = nbformat.read(unpacked / "coursework1.ipynb", as_version=4)
    fresh = execute(stored, unpacked)
    pictured = [cell.id for cell in stored.cells if any(map(picture, cell.get("outputs", [])))]
    assert submission.stale_cells(stored, fresh) in ([], pictured)  # all, where another Matplotlib draws the letters
    for before, after in zip(stored.cells, fresh.cells, strict=True):
        texts = [[submission.apart(output)[0] for output in cell.get("outputs", [])] for cell in (before, after)]
        assert texts[0] == texts[1]


def picture(output) -> str | None:
    return submission.apart(output)[1]


def test_the_same_submission_has_the_same_bytes(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert submission.archive("page") == submission.archive("page")


@pytest.mark.parametrize("name", ["data/.digits.npz.x1.part", ".ipynb_checkpoints/a.ipynb", "__pycache__/a.pyc"])
def test_a_submission_holds_neither_bytecode_nor_hidden_files(tmp_path, monkeypatch, name):
    for kept in ("data/digits.npz", f"helpers/{name}", name):
        (tmp_path / kept).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / kept).write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(submission, "PARTS", (Path("data"), Path("helpers")))
    names = zipfile.ZipFile(io.BytesIO(submission.archive("page"))).namelist()
    assert names == ["coursework1/coursework1.html", "coursework1/data/digits.npz"]


# The blank coursework


@pytest.fixture(scope="module")
def blank(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "assignment"
    assignment.write_assignment(ROOT, folder)
    return folder


def everything_in(folder: Path) -> str:
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix not in {".npz", ".png"}]
    return "\n".join(path.read_text("utf-8") for path in files)


def graded(notebook) -> dict[str, tuple]:
    cells = [cell for cell in notebook.cells if "nbgrader" in cell.metadata]
    return {cell.id: tuple(sorted(cell.metadata.nbgrader.items())) for cell in cells}


def test_the_blank_coursework_asks_the_same_questions_for_the_same_points(blank):
    handed_out = nbformat.read(blank / "coursework1.ipynb", as_version=4)
    questions = [[c.source for c in nb.cells if c.id.endswith("-question")] for nb in (NOTEBOOK, handed_out)]
    assert len(questions[0]) >= 10
    assert questions[0] == questions[1]
    assert graded(NOTEBOOK) == graded(handed_out)


def test_its_checks_are_those_of_the_worked_notebook_and_locked(blank):
    handed_out = {c.id: c for c in nbformat.read(blank / "coursework1.ipynb", as_version=4).cells}
    checks = [cell for cell in NOTEBOOK.cells if "-check-" in cell.id]
    assert len(checks) == 6
    for cell in checks:
        assert handed_out[cell.id].source == cell.source
        assert handed_out[cell.id].metadata.editable is False


def test_it_holds_no_output(blank):
    code = [c for c in nbformat.read(blank / "coursework1.ipynb", as_version=4).cells if c.cell_type == "code"]
    assert [(cell.outputs, cell.execution_count) for cell in code] == [([], None)] * len(code)


def test_it_holds_no_sentence_of_an_answer(blank):
    text = " ".join(everything_in(blank).split())
    for cell in NOTEBOOK.cells:
        if cell.id.endswith(("-answer", "-reading")):
            for line in map(str.strip, cell.source.splitlines()):
                assert len(line) < 10 or json.dumps(line)[1:-1] not in text, line


@pytest.mark.parametrize("name", assignment.OPERATIONS)
def test_it_holds_no_line_of_an_operation_but_signatures_and_docstrings(blank, name):
    source = (ROOT / "helpers" / name).read_text("utf-8")
    docstrings = "".join(
        ast.get_docstring(node, clean=False) or ""
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.Module)
    )
    stub_text = (blank / "helpers" / name).read_text("utf-8")
    signatures = [line for line in stub_text.splitlines() if line.startswith(("def ", "from ", "import "))]
    text = everything_in(blank)
    for line in map(str.strip, source.splitlines()):
        handed_out = line.strip('"') in docstrings or any(line in known for known in signatures)
        if len(line) > 30 and not handed_out:
            assert line not in text, line
    stub = ast.parse((blank / "helpers" / name).read_text("utf-8"))
    functions = [node for node in stub.body if isinstance(node, ast.FunctionDef)]
    assert functions
    for function in functions:
        assert ast.get_docstring(function)
        to_do = f"{function.name} is still to be written, in helpers/{name}"
        assert ast.unparse(function.body[1:]) == f"raise NotImplementedError({to_do!r})"


def test_it_sets_the_tasks_of_both_operations(blank):
    handed_out = {c.id: c.source for c in nbformat.read(blank / "coursework1.ipynb", as_version=4).cells}
    for name, points in (("xcorr-task", 15), ("bn-task", 25)):
        assert f"({points} points)" in handed_out[name]


def test_its_data_names_every_file_and_no_command_that_is_missing(blank):
    text = (blank / "data" / "README.md").read_text("utf-8")
    files = {path.name for path in (blank / "data").iterdir()} - {"README.md", "SHA256SUMS"}
    assert set(re.findall(r"^## (\S+)", text, flags=re.MULTILINE)) == files
    assert "python -m" not in text


def test_it_does_not_give_the_formula_of_the_backward_pass(blank):
    assert "dx = " in (ROOT / "helpers" / "batch_norm.py").read_text("utf-8")
    assert "dx = " not in everything_in(blank)


def test_it_gives_the_curves_of_question_e_without_their_learning_rates(blank):
    text = (blank / "data" / "learning_rate_curves.json").read_text()
    assert {tuple(curve) for curve in json.loads(text)["curves"].values()} == {("loss",)}


def test_it_holds_neither_history_nor_tests_nor_evidence(blank):
    names = {path.name for path in blank.rglob("*")}
    assert not names & {".git", "tests", "tools", "warmup", "build", "benchmarks", "__pycache__"}


def test_it_runs_until_the_first_function_that_is_to_be_written(blank):
    with pytest.raises(CellExecutionError, match="NotImplementedError"):
        execute(nbformat.read(blank / "coursework1.ipynb", as_version=4), blank)


def test_its_checks_pass_with_the_worked_operations(blank, tmp_path):
    solved = tmp_path / "solved"
    assignment.write_assignment(ROOT, solved)
    for path in (ROOT / "helpers").glob("[a-z]*.py"):
        (solved / "helpers" / path.name).write_bytes(path.read_bytes())
    ran = execute(nbformat.read(solved / "coursework1.ipynb", as_version=4), solved)
    assert all(cell.outputs for cell in ran.cells if "-check-" in cell.id)


def test_an_interruption_at_any_line_leaves_the_earlier_folder_or_the_new_one(tmp_path):
    target, new, before = (tmp_path / name for name in ("target", "new", "before"))
    for line in itertools.count(1):
        for folder in (target, new):
            folder.mkdir(exist_ok=True)
        (target / "old").touch()
        goes_on = interrupted(line, assignment.replace_folder, target, new, before)
        assert target.is_dir()
        assert (target / "old").exists() == goes_on
        if not goes_on:
            break
    assert line > 3
