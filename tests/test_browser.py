"""The notebook in JupyterLab and the HTML page, in a real browser."""

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import sync_playwright

from tools.page import html_page
from tools.pdf import find_browser

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = nbformat.read(ROOT / "coursework1.ipynb", as_version=4)
MINUTE = 60_000  # Playwright counts in milliseconds.
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
# JupyterLab's own objects tell when the kernel is ready and whether the notebook counts as modified.
OPENED = """() => {
    const panel = window.jupyterapp?.shell.currentWidget;
    return panel?.context?.isReady && panel.sessionContext?.session?.kernel?.status === 'idle';
}"""
DIRTY = "() => jupyterapp.shell.currentWidget.context.model.dirty"
RUN_AND_SAVE = """async () => {
    await jupyterapp.commands.execute('notebook:run-all-cells');
    await jupyterapp.commands.execute('docmanager:save');
}"""


@pytest.fixture(scope="module")
def browser():
    path = find_browser()
    if path is None:
        assert "BROWSER_REQUIRED" not in os.environ
        pytest.skip("no Chromium; on Debian: apt-get update && apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def course(tmp_path):
    """A copy of the coursework that Jupyter may save into, last executed with this Python.

    JupyterLab writes the kernel's Python version into every notebook that it opens; another version is a modification.
    """
    folder = tmp_path / "course"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", "build", "__pycache__"))
    notebook = nbformat.read(folder / "coursework1.ipynb", as_version=4)
    notebook.metadata.language_info.version = platform.python_version()
    nbformat.write(notebook, folder / "coursework1.ipynb")
    return folder


@pytest.fixture
def lab(course, tmp_path):
    """The address of a JupyterLab of its own in the course's folder."""
    private = {f"JUPYTER_{kind}_DIR": str(tmp_path / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    private |= {f"JUPYTERLAB_{kind}_DIR": str(tmp_path / kind.lower()) for kind in ("SETTINGS", "WORKSPACES")}
    private |= {"IPYTHONDIR": str(tmp_path / "ipython"), "JUPYTER_PREFER_ENV_PATH": "1"}
    options = ["--no-browser", "--allow-root", "--ServerApp.port=0", "--LabApp.expose_app_in_browser=True"]
    options += ["--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    log = tmp_path / "lab.log"
    with log.open("w") as out:
        command = [sys.executable, "-m", "jupyterlab", *options]
        server = subprocess.Popen(command, cwd=course, env=os.environ | private, stdout=out, stderr=out)
    try:
        while not (found := list((tmp_path / "runtime").glob("jpserver-*.json"))):
            assert server.poll() is None, log.read_text()
            time.sleep(0.1)
        address = json.loads(found[0].read_text())
        yield f"{address['url']}lab/tree/coursework1.ipynb?token={address['token']}"
    finally:
        server.terminate()
        server.wait(60)


def text_outputs(notebook) -> dict:
    """What nbval compares: the text of every output, by cell."""
    return {
        cell.id: [output.get("text") or output.get("data", {}).get("text/markdown", "") for output in cell.outputs]
        for cell in notebook.cells
        if cell.cell_type == "code"
    }


def test_opened_run_and_saved_by_jupyterlab_the_notebook_still_passes(browser, lab, course):
    page = browser.new_page()
    page.goto(lab)
    page.wait_for_function(OPENED, timeout=2 * MINUTE)
    page.evaluate("async () => void await jupyterapp.shell.currentWidget.sessionContext.session.kernel.info")
    assert not page.evaluate(DIRTY), "opening marks the notebook as modified"
    page.set_default_timeout(5 * MINUTE)
    page.evaluate(RUN_AND_SAVE)
    saved = nbformat.read(course / "coursework1.ipynb", as_version=4)
    assert text_outputs(saved) == text_outputs(NOTEBOOK)
    shape = [sys.executable, "-m", "pytest", "-q", "tests/test_notebook.py"]
    run = subprocess.run(shape, cwd=course, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout


@pytest.mark.parametrize("width", [1100, 400])
def test_the_page_shows_every_figure_within_the_screen_and_asks_for_nothing(browser, tmp_path, width):
    (tmp_path / "page.html").write_text(html_page(NOTEBOOK), encoding="utf-8")
    page = browser.new_page(viewport={"width": width, "height": 900})
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "page.html").as_uri())
    widths = page.evaluate("[...document.images].map(image => image.naturalWidth && image.clientWidth)")
    overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert len(widths) > 10
    assert min(widths) >= 400
    assert overflow <= 0
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
