"""Print build/coursework1.html to build/coursework1.pdf with Chromium or Chrome: python -m tools.pdf"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PAGE = Path("build/coursework1.html")
ON_A_MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge", ON_A_MAC)


def main() -> None:
    browser = find_browser() or sys.exit(f"No Chromium or Chrome was found: install one, or print {PAGE} by hand.")
    PAGE.is_file() or sys.exit(f"{PAGE} is missing: `python -m tools.execute` writes it. Nothing was written.")
    # Chromium's sandbox does not run as root. The page is our own and loads nothing.
    options = ["--headless", "--disable-gpu", "--no-sandbox", "--no-pdf-header-footer", "--log-level=3"]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options += [f"--user-data-dir={profile}", f"--print-to-pdf={PAGE.resolve().with_suffix('.pdf')}"]
        subprocess.run([browser, *options, PAGE.resolve().as_uri()], check=True, timeout=300)


def find_browser() -> str | None:
    """Return the path of the first browser found."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


if __name__ == "__main__":
    main()
