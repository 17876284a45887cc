"""Run the tests and re-execute the notebook under many circumstances, each time in a private copy.

python -m tools.matrix [--list] [--only WORDS ...] [--repeats 20] [-- PYTEST ARGUMENTS]
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tools import interruption

SECONDS = 1800  # what takes longer hangs
LOGS = Path("build/matrix")
IN_ORDER = ("-p", "no:randomly", "--nbval", "--nbval-current-env", "tests", "coursework1.ipynb")
# Without the cache of pytest itself, the one thing that wants to write into the checkout.
READ_ONLY = 'mount --bind . . && mount -o remount,ro,bind . && cd "$PWD" && exec "$@"'
NO_NETWORK = 'ip link set lo up && exec "$@"'
LEVEL = """import os, torch
assert torch.backends.cpu.get_cpu_capability().lower() == os.environ['ATEN_CPU_CAPABILITY'], 'not supported'"""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Row:
    """One circumstance: what is set, where it runs, and some Python that fails where it cannot be had."""

    name: str
    environment: dict[str, str] = field(default_factory=dict)
    pytest: tuple[str, ...] = IN_ORDER
    namespaces: str = ""  # of unshare, in which a shell prepares the ground with `script` and runs "$@"
    script: str = ""
    folder: str = "checkout"
    versions: str = ""  # "lowest" or "highest" that the requirements admit
    possible: str = ""


def table(repeats: int) -> list[Row]:
    mkl, onednn = (f"import torch; assert torch.backends.{name}.is_available()" for name in ("mkl", "mkldnn"))
    locale = "import locale; locale.setlocale(locale.LC_ALL, '')"
    return [
        *(Row(f"threads {n}", dict.fromkeys(THREADS, n)) for n in "12"),
        *(Row(f"ATen {isa}", {"ATEN_CPU_CAPABILITY": isa}, possible=LEVEL) for isa in ("default", "avx2")),
        *(Row(f"oneDNN {isa}", {"ONEDNN_MAX_CPU_ISA": isa}, possible=onednn) for isa in ("SSE41", "AVX2")),
        *(Row(f"MKL {isa}", {"MKL_ENABLE_INSTRUCTIONS": isa}, possible=mkl) for isa in ("SSE4_2", "AVX2")),
        Row("MKL compatible", {"MKL_CBWR": "COMPATIBLE"}, possible=mkl),
        Row("OpenBLAS Nehalem", {"OPENBLAS_CORETYPE": "Nehalem"}),
        *(Row(f"locale {name}", {"LANG": name, "LC_ALL": name}, possible=locale) for name in ("C", "C.UTF-8")),
        *(Row(f"time zone {zone}", {"TZ": zone}) for zone in ("Asia/Kathmandu", "America/St_Johns")),
        *(Row(f"hash seed {seed}", {"PYTHONHASHSEED": seed}) for seed in ("0", "1", "4294967295")),
        # nbval's cells have one order; only the tests are shuffled.
        *(Row(f"random order {seed}", pytest=(f"--randomly-seed={seed}", "tests")) for seed in (1, 2, 3)),
        Row("path with spaces and letters", folder="der Übung 第一 zweite Lösung/ñ & co"),
        Row("read-only", pytest=("-p", "no:cacheprovider", *IN_ORDER), namespaces="--mount", script=READ_ONLY),
        Row("no network", namespaces="--net", script=NO_NETWORK),
        Row("lowest versions", versions="lowest"),
        Row("highest versions", versions="highest"),
        *(Row(f"repeat {n}") for n in range(1, repeats + 1)),
    ]


def main() -> None:
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    parser = argparse.ArgumentParser(description="Run tests and notebook under many circumstances.")
    parser.add_argument("--list", action="store_true", help="name the rows and stop")
    parser.add_argument("--only", nargs="+", metavar="WORDS", default=[""], help="rows whose name holds one of these")
    parser.add_argument("--repeats", type=int, default=20, help="plain repeats (20)")
    arguments = parser.parse_args(sys.argv[1:split])
    chosen = [row for row in table(arguments.repeats) if any(word in row.name for word in arguments.only)]
    if arguments.list:
        return print(*(row.name for row in chosen), sep="\n")
    if not chosen:
        sys.exit("no row has such a name; --list shows them")
    results = []
    with tempfile.TemporaryDirectory(prefix="matrix-") as folder:
        copy_checkout(source := Path(folder, "source"))  # so that nothing changes meanwhile
        for row in chosen:
            print(f"[{len(results) + 1}/{len(chosen)}] {row.name} ...", flush=True)
            results.append(run(row, source, sys.argv[split + 1 :]))
            print(f"    {results[-1]}", flush=True)
    width = max(len(row.name) for row in chosen)
    print("", *(f"{row.name:{width}}  {result}" for row, result in zip(chosen, results, strict=True)), sep="\n")
    counts = {word: sum(result.startswith(word) for result in results) for word in ("pass", "FAIL", "not here")}
    print("\n" + ", ".join(f"{count} {word}" for word, count in counts.items()))
    sys.exit(counts["FAIL"] > 0)


def run(row: Row, source: Path, extra: list[str]) -> str:
    """The row's outcome in a line: pass, FAIL, or "not here" with the reason."""
    environment = os.environ | row.environment
    python, reason = interpreter(row)
    if reason:
        return reason
    prefix = []
    if row.namespaces:
        users = [] if os.geteuid() == 0 else ["--map-root-user"]
        prefix = ["unshare", *users, row.namespaces, "sh", "-c", row.script, "sh"]
    with tempfile.TemporaryDirectory(prefix="matrix-") as folder:
        checkout = Path(folder, row.folder)
        shutil.copytree(source, checkout)
        try:
            trial = [*prefix, python, "-c", row.possible]
            subprocess.run(trial, cwd=checkout, env=environment, check=True, capture_output=True, text=True)
        except FileNotFoundError as error:
            return f"not here: there is no {error.filename}"
        except subprocess.CalledProcessError as error:
            return f"not here: {(error.stderr.strip() or 'impossible').splitlines()[-1]}"
        command = [*prefix, python, "-m", "pytest", "-q", *row.pytest, *extra]
        return judged(command, checkout, environment, LOGS / (re.sub(r"[^\w.]+", "-", row.name) + ".txt"))


def judged(command: list[str], folder: Path, environment: dict[str, str], log: Path) -> str:
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code = process.wait(SECONDS)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            return f"FAIL  after {SECONDS} s: {log}"
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    counts = re.findall(r"\d+ (?:passed|failed|errors?|skipped|xfailed|xpassed|warnings?)", lines[-1] if lines else "")
    summary = f"{', '.join(counts) or f'exit code {code}'} in {time.monotonic() - start:.0f} s"
    return f"pass  {summary}" if code == 0 else f"FAIL  {summary}: {log}"


def copy_checkout(target: Path) -> None:
    """Copy what is or could be committed, as it lies in the work tree."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, check=True).stdout
    for name in sorted(set(os.fsdecode(listed).split("\0")) - {""}):
        if Path(name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(name, target / name)


def interpreter(row: Row) -> tuple[str, str]:
    """The Python that the row runs with, and the row's outcome already where there is none."""
    if not row.versions:
        return sys.executable, ""
    if row.versions == "lowest" and sys.version_info >= (3, 13):
        return "", "not here: the lowest releases are built for Python 3.11 and 3.12"
    folder = Path("build", f"venv-{row.versions}").resolve()
    folder.parent.mkdir(exist_ok=True)
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    bounds = folder / "bounds.txt"
    text = "".join(Path(name).read_text("utf-8") for name in ("requirements.txt", "requirements-dev.txt"))
    lowest = re.findall(r"^([\w-]+)(?:>=|~=)([\w.]+)", text, re.MULTILINE) if row.versions == "lowest" else []
    bounds.write_text("".join(f"{name}=={version}\n" for name, version in lowest), encoding="utf-8")
    newest = [] if lowest else ["--upgrade", "--upgrade-strategy", "eager"]
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *newest, "-c", bounds]
    installed = subprocess.run([*pip, "-r", "requirements-dev.txt"], check=False)
    return str(python), "" if installed.returncode == 0 else "FAIL  these versions cannot be installed"


if __name__ == "__main__":
    with interruption.clearing_away():
        main()
