"""The notebook in JupyterLab and the HTML page, in a real browser."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Page, sync_playwright

from tools.page import html_page

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = nbformat.read(ROOT / "coursework1.ipynb", as_version=4)
OUTPUTS = [output for cell in NOTEBOOK.cells for output in cell.get("outputs", [])]
ALTS = [o.metadata["image/png"].alt for o in OUTPUTS if "image/png" in o.get("data", {})]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
INSTALL = "no Chromium; on Debian: apt-get update && apt-get install chromium"
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
MINUTES = 60_000  # Playwright counts in milliseconds


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    """A browser with a profile of its own."""
    if not CHROMIUM:
        assert "BROWSER_REQUIRED" not in os.environ, INSTALL
        pytest.skip(INSTALL)
    profile = tmp_path_factory.mktemp("profile")
    with sync_playwright() as playwright:
        size = {"width": 1300, "height": 1000}
        browser = playwright.chromium.launch_persistent_context(
            profile, executable_path=CHROMIUM, headless=True, args=FLAGS, viewport=size
        )
        yield browser
        browser.close()


@pytest.fixture
def lab(tmp_path):
    """The address of a JupyterLab of its own, on a copy of the coursework."""
    course = tmp_path / "course"
    course.mkdir()
    shutil.copy(ROOT / "coursework1.ipynb", course)
    for folder in ("helpers", "data"):
        shutil.copytree(ROOT / folder, course / folder)
    kernel = tmp_path / "data" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": command, "display_name": "Python 3 (ipykernel)", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    # Every cell is in the page, whether or not it is in view.
    settings = tmp_path / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    private = {f"JUPYTER_{kind}_DIR": str(tmp_path / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    private |= {"JUPYTER_PATH": str(tmp_path / "data"), "IPYTHONDIR": str(tmp_path / "ipython")}
    private |= {
        "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(tmp_path / "workspaces"),
    }
    options = [f"--IdentityProvider.token={token}", f"--ServerApp.port={port}", "--ServerApp.ip=127.0.0.1"]
    options += ["--no-browser", "--allow-root", "--ServerApp.port_retries=0", "--LabApp.news_url=None"]
    options += ["--LabApp.expose_app_in_browser=True"]
    options += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    log = (tmp_path / "lab.log").open("w")
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *options],
        cwd=course,
        env={**os.environ, **private},
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/api?token={token}", server, tmp_path / "lab.log")
        yield f"{address}/lab/tree/coursework1.ipynb?token={token}"
    finally:
        server.terminate()
        server.wait(60)
        log.close()


def wait_for(address: str, server: subprocess.Popen, log: Path) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, TimeoutError):
            assert server.poll() is None, log.read_text()
            time.sleep(0.1)
    pytest.fail(f"JupyterLab did not start\n{log.read_text()}")


def test_jupyterlab_runs_every_cell_without_an_error(context, lab, tmp_path):
    page = context.new_page()
    page.goto(lab)
    code = page.locator(".jp-Notebook .jp-CodeCell")
    code.nth(sum(cell.cell_type == "code" for cell in NOTEBOOK.cells) - 1).wait_for(timeout=2 * MINUTES)
    page.evaluate(
        """async () => {
            const { sessionContext } = jupyterapp.shell.currentWidget;
            await sessionContext.ready;
            await sessionContext.session.kernel.info;
        }"""
    )
    for command in ("notebook:clear-all-cell-outputs", "notebook:run-all-cells"):
        page.evaluate("command => void jupyterapp.commands.execute(command)", command)
    prompts = page.locator(".jp-CodeCell .jp-InputPrompt")
    count = prompts.count()
    numbers = [f"[{n}]:" for n in range(1, count + 1)]
    page.wait_for_function(
        """count => [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')]
            .filter(prompt => /^\\[\\d+\\]:$/.test(prompt.textContent.trim())).length === count
            || document.querySelector('.jp-OutputArea-output[data-mime-type*="error"]')""",
        arg=count,
        timeout=5 * MINUTES,
    )
    page.screenshot(path=tmp_path / "lab.png")
    errors = page.locator('.jp-OutputArea-output[data-mime-type*="error"], [data-mime-type*="stderr"]')
    assert errors.all_text_contents() == []
    assert prompts.all_text_contents() == numbers
    # JupyterLab does not hand on the descriptions: they are in the notebook's metadata and on the HTML page.
    assert len(figures_loaded(page, ".jp-RenderedImage img")) == len(ALTS)
    headings = page.locator(".jp-Notebook h1").all_text_contents()
    assert len(headings) == 1


def figures_loaded(page: Page, selector: str) -> list[str]:
    """The descriptions of the pictures of a page that have loaded."""
    return page.evaluate(
        """async selector => {
            const pictures = [...document.querySelectorAll(selector)];
            await Promise.all(pictures.map(picture => picture.decode()));
            return pictures.filter(picture => picture.naturalWidth > 0).map(picture => picture.alt);
        }""",
        selector,
    )


def test_the_page_shows_every_figure_and_needs_no_network(context, tmp_path):
    path = tmp_path / "coursework1.html"
    path.write_text(html_page(NOTEBOOK), encoding="utf-8")
    page, said, asked = context.new_page(), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    assert figures_loaded(page, "img") == ALTS
    page.screenshot(path=tmp_path / "whole.png", full_page=True)  # the whole page is laid out and painted
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
