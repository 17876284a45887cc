"""Mutation testing: plant one small fault at a time in a module and see whether its tests notice.

python -m tools.mutants [--only WORDS ...] [--again] [--figures] [--jobs 2]

Cosmic Ray's operators write the mutants. Importing torch takes longer than most tests, so it is done once: every
mutant is tried in a fork, in a private copy of the checkout. tests/equivalent_mutants.toml lists the mutants that
survive because they compute the same, with the reason. The exit code is 0 when every other mutant is killed, or
reported survivors are below 5 % of all and every one of them is listed there.
"""

import argparse
import difflib
import importlib
import json
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.files import write_atomically
from tools.matrix import THREADS, copy_checkout

ENOUGH = 0.95
MEMORY = 8 * 2**30  # bytes that a mutant may ask for
STILLBORN = 99  # exit code of a mutant that cannot even be imported: no test is needed against it
REPORTS = Path("build/mutants").resolve()
FAULTS = Path("tests/figure_faults.toml")
EQUIVALENT = Path("tests/equivalent_mutants.toml")
PRELOADED = (
    "torch numpy scipy.signal scipy.stats matplotlib.pyplot hypothesis pytest sklearn.datasets cv2 IPython.display"
)
MODULES = {  # the test files, and which of the fuzz tests
    "helpers/interop.py": ("interop batch_norm cross_correlation", "cross_corr or spatial"),
    "helpers/batch_norm.py": ("batch_norm", "batch_norm"),
    "helpers/channel_arithmetic.py": ("batch_norm", "batch_norm"),
    "helpers/cross_correlation.py": ("cross_correlation", "cross_corr"),
    "helpers/correlation_ways.py": ("cross_correlation cost_model", "cross_corr"),
    "helpers/direct_sums.py": ("cross_correlation cost_model", "cross_corr"),
    "helpers/small_sums.py": ("cross_correlation cost_model", "cross_corr"),
    "helpers/cost_model.py": ("cost_model cross_correlation", "cross_corr"),
    "helpers/gradient_check.py": ("gradient_check", "gradient or relative or autograd"),
    "helpers/checked_calls.py": ("gradient_check", "gradient or relative or autograd"),
    "helpers/agreement.py": ("gradient_check", "gradient or relative or autograd"),
    "helpers/central_differences.py": ("gradient_check", "gradient or relative or autograd"),
    "helpers/gradient_hints.py": ("gradient_hints gradient_check", ""),
    "helpers/warmup/learning_rates.py": ("learning_rates", "label"),
}
# One replacement of each operator by its opposite, and of each bound by its neighbor.
SWAPS = {
    "Binary": "Add_Sub Sub_Add Mul_Div Div_Mul FloorDiv_Mul Mod_Mul Pow_Mul LShift_RShift BitAnd_BitOr BitOr_BitAnd",
    "Comparison": "Eq_NotEq NotEq_Eq Lt_LtE Lt_GtE LtE_Lt LtE_Gt Gt_GtE Gt_LtE GtE_Gt GtE_Lt Is_IsNot IsNot_Is",
    "Unary": "USub_UAdd Delete_Not Delete_Invert",
}
OPERATORS = [f"Replace{kind}Operator_{swap}" for kind, swaps in SWAPS.items() for swap in swaps.split()]
OPERATORS += ["ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd", "AddNot"]
OPERATORS += ["ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ZeroIterationForLoop", "ExceptionReplacer"]
OPERATORS += ["NumberReplacer", "RemoveDecorator"]


@dataclass(frozen=True)
class Mutant:
    module: str
    line: int
    operator: str
    occurrence: int  # of the operator in the module

    def source(self) -> str:
        from cosmic_ray.mutating import mutate_code  # noqa: PLC0415
        from cosmic_ray.plugins import get_operator  # noqa: PLC0415

        operator = get_operator(f"core/{self.operator}")()
        return mutate_code(Path(self.module).read_text(encoding="utf-8"), operator, self.occurrence)


@dataclass(frozen=True)
class Planted:
    """A fault in a function that draws, written down in tests/figure_faults.toml."""

    module: str
    function: str
    right: str
    wrong: str

    def source(self) -> str:
        text = Path(self.module).read_text(encoding="utf-8")
        start = text.index(f"\ndef {self.function}(")
        end = text.find("\n\n\n", start) % (len(text) + 1)
        body = text[start:end]
        if body.count(self.right) != 1:
            sys.exit(f"{FAULTS}: {self.function} holds {self.right!r} {body.count(self.right)} times, not once")
        return text[:start] + body.replace(self.right, self.wrong) + text[end:]


@dataclass(frozen=True)
class Survivor:
    module: str
    line: int
    before: str
    after: str

    def text(self) -> str:
        return f"{self.before} -> {self.after}"

    def __str__(self):
        return f"{self.module}:{self.line}\n  - {self.before}\n  + {self.after}"


def main() -> None:
    parser = argparse.ArgumentParser(description="See which small faults the tests notice.")
    parser.add_argument("--only", nargs="+", metavar="WORDS", default=[""], help="modules whose path holds one")
    parser.add_argument("--again", action="store_true", help="only what the last runs have not killed")
    parser.add_argument("--figures", action="store_true", help="plant the faults of the figures instead")
    parser.add_argument("--jobs", type=int, default=2, help="mutants tried at the same time (2)")
    arguments = parser.parse_args()
    # Before they are imported: a fork does not inherit a pool of threads.
    os.environ.update(dict.fromkeys(THREADS, "1"))
    # Python takes bytecode of the same second and size for that of a changed file.
    sys.dont_write_bytecode = True
    os.environ.update(MPLBACKEND="agg", PYTHONDONTWRITEBYTECODE="1", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    for name in PRELOADED.split():
        importlib.import_module(name)
    faults = list_faults()
    every = faults if arguments.figures else MODULES
    chosen = [module for module in every if any(word in module for word in arguments.only)]
    if not chosen:
        sys.exit(f"no module has such a name; there are {', '.join(every)}")
    ok, total = True, Counter()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies = [Path(folder, str(job)) for job in range(arguments.jobs)]
        for copy in copies:
            copy_checkout(copy)
        copy_checkout(original := Path(folder, "original"))
        os.chdir(original)  # so that nothing changes meanwhile
        for module in chosen:
            if arguments.figures:
                ok &= plant(module, faults[module], copies)
            else:
                total += mutate(module, copies, arguments.again)
            for copy in copies:  # which still hold the last fault
                shutil.copy(module, copy / module)
    if total:
        rate = 1 - total["survived"] / total["tested"]
        print(
            f"{total['tested']} mutants, {rate:.1%} killed, {total['unlisted']} survivors are not listed as equivalent"
        )
        ok = rate >= ENOUGH and not total["unlisted"]
    sys.exit(not ok)


def mutate(module: str, copies: list[Path], again: bool) -> Counter:
    """Try every mutant of a module, report, and count those tested, survived, and not accounted for."""
    report = REPORTS / f"{Path(module).stem}.json"
    every = {mutant: survivor(mutant) for mutant in list_mutants(module)}
    # By their text: lines may have moved.
    killed = set(json.loads(report.read_text("utf-8"))) if again and report.exists() else set()
    waiting = [mutant for mutant, change in every.items() if change.text() not in killed]
    start = time.monotonic()
    seconds = enough_seconds(module, copies[0])
    print(
        f"{module}: {len(waiting)} of {len(every)} mutants, its tests take {time.monotonic() - start:.1f} s", flush=True
    )
    REPORTS.mkdir(parents=True, exist_ok=True)
    outcomes, survived = Counter(killed=len(every) - len(waiting)), []
    for mutant, code in tried(waiting, copies, seconds):
        kind = {0: "survived", STILLBORN: "stillborn", -signal.SIGXCPU: "timeout"}.get(code, "killed")
        outcomes[kind] += 1
        if kind == "survived":
            survived.append(every[mutant])
            print(every[mutant], flush=True)
        elif kind != "stillborn":
            killed.add(every[mutant].text())
        killed -= {change.text() for change in survived}  # of two alike
        write_atomically(report, json.dumps(sorted(killed)).encode())  # an interrupted run is taken up --again
        if outcomes.total() % 50 == 0:
            print(f"  {outcomes.total()}/{len(every)} {dict(outcomes)} {time.monotonic() - start:.0f} s", flush=True)
    unlisted = [change for change in survived if not reason(change)]
    tested = outcomes.total() - outcomes["stillborn"]
    rate = 1 - len(survived) / max(1, tested)
    print(
        f"{module}: {tested} mutants, {rate:.1%} killed ({outcomes['timeout']} by the time limit), "
        f"{len(survived)} survived, {len(unlisted)} of them not listed as equivalent:",
        *unlisted, sep="\n", flush=True,
    )  # fmt: skip
    return Counter(tested=tested, survived=len(survived), unlisted=len(unlisted))


def plant(module: str, faults: list[Planted], copies: list[Path]) -> bool:
    """Try the faults written down for a module's figures; every one must be noticed."""
    for fault in faults:
        fault.source()  # ends here where the code has changed; in a copy that would count as noticed
    seconds = enough_seconds(module, copies[0])
    missed = [fault for fault, code in tried(faults, copies, seconds) if code in (0, STILLBORN)]
    print(f"{module}: {len(faults) - len(missed)} of {len(faults)} planted faults noticed", flush=True)
    for fault in missed:
        print(f"  {fault.function}\n  - {fault.right}\n  + {fault.wrong}", flush=True)
    return not missed


def list_faults() -> dict[str, list[Planted]]:
    found = {}
    for stem, functions in tomllib.loads(FAULTS.read_text(encoding="utf-8")).items():
        (module,) = (str(path) for path in Path("helpers").rglob(f"{stem}.py"))
        found[module] = [Planted(module, name, *pair) for name, pairs in functions.items() for pair in pairs]
    return found


def list_mutants(module: str) -> list[Mutant]:
    from cosmic_ray.ast import ast_nodes, get_ast  # noqa: PLC0415 - after the threads are settled
    from cosmic_ray.plugins import get_operator  # noqa: PLC0415

    nodes = list(ast_nodes(get_ast(Path(module).read_text(encoding="utf-8"))))
    found = []
    for name in OPERATORS:
        operator = get_operator(f"core/{name}")()
        lines = [start[0] for node in nodes for start, _ in operator.mutation_positions(node)]
        found += [Mutant(module, line, name, occurrence) for occurrence, line in enumerate(lines)]
    return sorted(found, key=lambda mutant: (mutant.line, mutant.operator, mutant.occurrence))


def survivor(mutant: Mutant) -> Survivor:
    old, new = Path(mutant.module).read_text(encoding="utf-8").splitlines(), mutant.source().splitlines()
    codes = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    _, i, i_end, j, j_end = next((code for code in codes if code[0] != "equal"), ("", 0, 0, 0, 0))
    before, after = (" ".join(map(str.strip, lines)) for lines in (old[i:i_end], new[j:j_end]))
    return Survivor(mutant.module, i + 1, before, after)


def reason(survivor: Survivor) -> str:
    """Why the survivor is equivalent, or nothing: the first entry whose patterns its line and mutant hold."""
    for entry in tomllib.loads(EQUIVALENT.read_text(encoding="utf-8")).get(Path(survivor.module).stem, []):
        if re.search(entry["line"], survivor.before) and re.search(entry.get("mutant", ""), survivor.after):
            return entry["reason"]
    return ""


def tried(every: list, copies: list[Path], seconds: int) -> Iterator[tuple]:
    """Each mutant with the exit code of its tests, as they end; one at a time in each copy."""
    free, running, waiting = list(copies), {}, list(reversed(every))
    while waiting or running:
        while free and waiting:
            mutant, copy = waiting.pop(), free.pop()
            running[fork(mutant, mutant.module, copy, seconds)] = mutant, copy
        process, status = os.wait()
        mutant, copy = running.pop(process)
        free.append(copy)
        yield mutant, os.waitstatus_to_exitcode(status)


def enough_seconds(module: str, copy: Path) -> int:
    """Ten times what the tests take without a fault, of processor time: a busy machine does not add to it."""
    _, status, used = os.wait4(fork(None, module, copy, resource.RLIM_INFINITY), 0)
    if code := os.waitstatus_to_exitcode(status):
        sys.exit(f"{module}: its tests fail without a fault, exit code {code}")
    return 10 + 10 * round(used.ru_utime + used.ru_stime)


def fork(mutant: Mutant | Planted | None, module: str, copy: Path, seconds: int) -> int:
    """Start the tests of a module, with a mutant in its place, in a process of their own."""
    sys.stdout.flush()
    if process := os.fork():
        return process
    code = 1
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        text = Path(module).read_text(encoding="utf-8") if mutant is None else mutant.source()
        (copy / module).write_text(text, encoding="utf-8")
        os.chdir(copy)
        sys.path[0] = str(copy)
        output = os.open(os.devnull, os.O_WRONLY)
        os.dup2(output, 1)
        os.dup2(output, 2)
        code = run_tests(module, mutant.function if isinstance(mutant, Planted) else "")
    finally:
        os._exit(code)


def run_tests(module: str, drawing: str) -> int:
    """The exit code of the module's tests; those that name the drawing first, since they are quickest to notice."""
    import pytest  # noqa: PLC0415

    try:
        importlib.import_module(module.removesuffix(".py").replace("/", "."))
    except Exception:
        return STILLBORN
    files, fuzz = MODULES.get(module) or (Path(module).stem.replace("_drawings", "s"), "")
    files = [f"tests/test_{name}.py" for name in files.split()]
    tests = re.split(r"\ndef (test_\w+)", Path(files[0]).read_text(encoding="utf-8"))[1:]
    first = [name for name, body in zip(tests[::2], tests[1::2], strict=True) if drawing and f"{drawing}(" in body]
    runs = [[files[0], "-k", " or ".join(first)]] if first else []
    runs += [files, *([["tests/test_fuzz.py", "-k", fuzz]] if fuzz and not drawing else [])]
    # What killed the mutant before, a neighbor, comes first.
    options = ["-x", "-q", "--failed-first", "-p", "_hypothesis_pytestplugin", "--hypothesis-profile=mutants"]
    return next((int(code) for run in runs if (code := pytest.main([*options, *run]))), 0)


if __name__ == "__main__":
    main()
