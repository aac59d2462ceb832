"""The tests that depend on versions, on several versions of Python and of torch.

    make compat                                     every pair in PAIRS
    python tools/compat.py --torch 2.4.1 2.15.0     some of them
    python tools/compat.py --here --torch 2.8.0     this Python, with that torch
    python tools/compat.py --smoke                  the examples in the wheel's docstrings
    make compat-extras                              the lowest versions that the extras allow

Each pair has a virtual environment in build/compat, which is kept: PyPI's torch for Linux takes a
download of a gigabyte. It is installed without NVIDIA's packages; tools/torch_stubs.py replaces
their libraries by empty ones. goodinit is installed from a wheel, and the tests run outside of the
tree. Prints the table of docs/compatibility.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "compat"

# The oldest torch, the newest, and some between; each Python at least once. `make test` is 2.13.
PAIRS = (
    ("3.10", "2.4.1"),
    ("3.11", "2.6.0"),
    ("3.12", "2.8.0"),
    ("3.13", "2.10.0"),
    ("3.11", "2.15.0"),
)
# What the tests below import; --no-deps leaves torch's own requirements to us as well.
NEEDED = (
    *("hypothesis", "matplotlib", "numpy", "pillow", "plotext", "plotly", "pytest>=9", "rich"),
    *("pytest-xdist", "safetensors", "scikit-learn", "scipy", "setuptools", "typer"),
)
# What depends on torch or on Python, and the golden values of the streams. The other tests ask
# statistics, or more models, of the same functions.
TESTS = [
    *("tests/nn", "tests/trace", "tests/applying", "tests/forecasting", "tests/test_installed.py"),
    *(f"tests/dataflow/test_{name}.py" for name in ("flow", "norms")),
    *(f"tests/streams/test_{name}.py" for name in ("native", "streams_spec", "streams_draw")),
    *(f"tests/schemes/test_{name}.py" for name in ("values", "matrices")),
    *(f"tests/signal/test_{name}.py" for name in ("as_before", "measure")),
    *(f"tests/signal/test_{name}.py" for name in ("calibrate", "sharded")),
    *(f"tests/plans/test_{name}.py" for name in ("json_file", "dcp_folder")),
    *(f"tests/cli/test_{name}.py" for name in ("start", "forecast", "shards")),
    *("tests/theory/test_jacobian.py", "tests/mup", "tests/recipes/test_lora.py"),
    "tests/adapters/test_fsdp.py",
    # These ask the compiler, which knows nothing of torch.
    "--deselect=tests/streams/test_native.py::test_contraction_is_noticed",
    "--deselect=tests/streams/test_native.py::test_fast_math_does_not_compile",
]
# What a wheel must do on each Python: import its modules, open its files, run their examples.
# Triton, which that one module imports, is in no environment.
SMOKE = ["--pyargs", "goodinit", "--ignore-glob=/*/streams/gpu/kernels.py"]
# The command line, the reports and the demo, on the oldest Python and torch.
# Old versions of these packages meet new ones of what they need, which warn.
OF_EXTRAS = ["tests/cli", "tests/report", "tests/test_demo.py", "-W", "ignore::DeprecationWarning"]
# Variables that the tests don't get. Without bytecode, which is not written when the packages are
# installed, each process that a test starts would compile torch anew.
UNWANTED = ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")
EXTRAS = ("cli", "demo", "report")  # what users install; the other extras are for developers


@dataclass(frozen=True)
class Outcome:
    """What one pair's tests gave."""

    python: str
    torch: str
    passed: int
    failed: int
    skipped: int
    seconds: float

    def row(self) -> str:
        """Return a line of the Markdown table."""
        cells = self.python, self.torch, self.passed, self.failed, self.skipped
        return f"| {' | '.join(map(str, cells))} | {self.seconds / 60:.0f} min |"


def main() -> None:
    """Run the pairs, print the table; exit code 1 if a test failed or a Python is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch", nargs="*", help="these versions of torch only")
    parser.add_argument("--here", action="store_true", help="with the Python that runs this")
    parser.add_argument(
        "--extras", action="store_true", help="the lowest versions that the extras allow"
    )
    parser.add_argument("--smoke", action="store_true", help="the wheel's examples only")
    args = parser.parse_args()
    if args.here and not args.torch:
        parser.error("--here needs --torch")
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    pairs = [(own, torch) for torch in args.torch] if args.here else PAIRS
    pairs = [pair for pair in pairs if not args.torch or pair[1] in args.torch]
    pairs, pins, tests = (
        (PAIRS[:1], lowest_versions(), OF_EXTRAS)
        if args.extras
        else (pairs, [], SMOKE if args.smoke else TESTS)
    )
    wheel = build_wheel()
    outcomes: list[Outcome] = []
    missing: list[str] = []
    for python, torch in pairs:
        executable = sys.executable if args.here else find_python(python)
        if executable is None:
            missing.append(python)
            continue
        print(f"== Python {python}, torch {torch}", flush=True)
        environment = make_environment(executable, python, torch, wheel, pins)
        outcomes.append(run_tests(environment, python, torch, tests))
    print("\n| Python | torch | passed | failed | skipped | time |\n|---|---|---|---|---|---|")
    print("\n".join(outcome.row() for outcome in outcomes))
    for python in missing:
        print(f"Python {python} was not found: install it, or put python{python} on the PATH")
    bad = any(outcome.failed or not outcome.passed for outcome in outcomes)
    sys.exit(int(bad or bool(missing)))


def find_python(version: str) -> str | None:
    """Return an executable of this version, on the PATH or of pyenv."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    installed = sorted(root.glob(f"versions/{version}.*/bin/python"))
    return str(installed[-1]) if installed else shutil.which(f"python{version}")


def build_wheel() -> Path:
    """Build the wheel anew; its version doesn't change with the code."""
    dist = BUILD / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    environment = BUILD / "builder"
    python = executable_in(environment)
    if not python.exists():
        run([sys.executable, "-m", "venv", environment])
        pip(environment, "build", "hatchling")
    run([python, "-m", "build", "--no-isolation", "--wheel", "--outdir", dist, ROOT])
    return next(dist.glob("*.whl"))


def lowest_versions() -> list[str]:
    """Return, for each package that users' extras ask for, the least version that they allow."""
    import tomllib  # since Python 3.11, and only the extras need it

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = {each for extra in EXTRAS for each in project["optional-dependencies"][extra]}
    return [re.sub(r">=([\d.]+).*", r"==\1", each) for each in sorted(asked) if ">=" in each]


def make_environment(
    executable: str, python: str, torch: str, wheel: Path, pins: list[str]
) -> Path:
    """Return the folder of a virtual environment with this torch, goodinit's wheel and the pins."""
    environment = BUILD / f"python{python}-torch{torch}{'-lowest' if pins else ''}"
    stamp = environment / "made.stamp"
    if not stamp.exists():
        shutil.rmtree(environment, ignore_errors=True)
        run([executable, "-m", "venv", environment])
        pip(environment, "--no-deps", f"torch=={torch}")
        pip(environment, *requirements_of_torch(environment), *NEEDED)
        if pins:
            pip(environment, *pins)
        if platform.system() == "Linux":
            run([sys.executable, ROOT / "tools" / "torch_stubs.py", site_packages(environment)])
        stamp.touch()
    extra = ("tomli",) if python == "3.10" else ()
    pip(environment, *extra, "--no-deps", "--force-reinstall", str(wheel))
    return environment


def requirements_of_torch(environment: Path) -> list[str]:
    """Return what the installed torch asks for, but for GPU packages."""
    code = "import importlib.metadata as m; print('\\n'.join(m.requires('torch')))"
    lines = run([executable_in(environment), "-c", code], capture=True).splitlines()
    kept = [line for line in lines if not re.match(r"nvidia|triton|pytorch-triton|cuda", line)]
    return [line for line in kept if "extra ==" not in line]


def run_tests(environment: Path, python: str, torch: str, tests: list[str]) -> Outcome:
    """Run the tests on a copy of them, outside of the tree."""
    copy = BUILD / "tree"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(parents=True)
    for folder in ("tests", "docs"):
        shutil.copytree(ROOT / folder, copy / folder)
    for file in ("pyproject.toml", "README.md", "ARCHITECTURE.md", "DECISIONS.md"):
        shutil.copy(ROOT / file, copy)
    start = time.monotonic()
    command = [executable_in(environment), "-m", "pytest", "-q", "-n", "auto", "--tb=short"]
    command += ["--show-capture=no", "--continue-on-collection-errors", *tests]
    log = environment.parent / f"{environment.name}.log"
    print(f"the tests write to {log}", flush=True)
    with log.open("w", encoding="utf-8") as out:
        run(command, out=out, check=False, folder=copy)
    text = log.read_text(encoding="utf-8", errors="replace")
    last = text.strip().rpartition("\n")[2]
    bad = [line for line in text.splitlines() if line.startswith(("FAILED", "ERROR"))]
    print("\n".join([*bad, last]), flush=True)
    counts = {what: int(n) for n, what in re.findall(r"(\d+) (passed|failed|skipped|error)", last)}
    failed = counts.get("failed", 0) + counts.get("error", 0)
    numbers = counts.get("passed", 0), failed, counts.get("skipped", 0)
    return Outcome(python, torch, *numbers, time.monotonic() - start)


def executable_in(environment: Path) -> Path:
    """Return the Python of a virtual environment."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def site_packages(environment: Path) -> str:
    """Return where an environment's packages are."""
    code = "import sysconfig; print(sysconfig.get_path('platlib'))"
    return run([executable_in(environment), "-c", code], capture=True).strip()


def pip(environment: Path, *arguments: str) -> None:
    """Install quietly; a resolver that misses NVIDIA's packages may complain."""
    command = [executable_in(environment), "-m", "pip", "install", "-q", "--no-compile"]
    run([*command, "--disable-pip-version-check", *arguments])


def run(
    command: list[str | Path],
    *,
    capture: bool = False,
    out: IO[str] | None = None,
    check: bool = True,
    folder: Path = ROOT,
) -> str:
    """Run a command; return its output if it is captured, or else write it to a file if given."""
    clean = {name: value for name, value in os.environ.items() if name not in UNWANTED}
    to = subprocess.PIPE if capture else out
    done = subprocess.run(command, check=check, stdout=to, text=True, cwd=folder, env=clean)
    return done.stdout or ""


if __name__ == "__main__":
    main()
