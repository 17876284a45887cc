"""What pytest does with the notebook, whatever plugins are installed and whatever options are given.

The cells of a notebook run in their order, in one piece, and in the Python that runs pytest.
"""

import matplotlib.font_manager  # noqa: F401  Caches the fonts, and says so, before a kernel would.
import pytest


def pytest_configure(config):
    """Use this Python's own kernel, and let pytest-xdist hand out whole files instead of single cells."""
    if not getattr(config.option, "nbval_kernel_name", None):
        config.option.nbval_current_env = True
    if getattr(config.option, "dist", None) == "load":
        config.option.dist = "loadfile"


# This hook wraps all others, those of pytest-randomly, pytest-random-order and pytest-reverse among them.
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items):
    """Put the cells of every notebook back into their order, behind the tests."""
    result = yield
    cells = [item for item in items if item.path.suffix == ".ipynb"]
    tests = [item for item in items if item.path.suffix != ".ipynb"]
    cells.sort(key=lambda cell: (cell.path, cell.cell_num))
    items[:] = tests + cells
    return result
