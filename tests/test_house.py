"""The house rules that a machine can check: who imports whom, how long, how heavy."""

import ast
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# From the ground up. A room imports from itself and from the floors below, not from its own
# floor's other rooms. The face, goodinit/__init__.py, is called "".
FLOORS: list[set[str]] = [
    {"errors", "files", "threads"},
    {"findings"},
    {"streams"},
    {"schemes"},
    {"trace", "nn"},
    {"anatomy"},
    {"planning"},
    {"recipes", "signal"},
    {"explanation", "adapters", "testing"},
    {"report"},
    {""},
    {"demos"},
    {"cli"},
    {"__main__"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

# Rooms that a function (not a module) may import from any floor: `signal.to_html()` opens the
# report, which is imported when it is asked for and not before.
LAZY = {"report"}

LONGEST = 500  # lines


def find_source() -> Path:
    spec = importlib.util.find_spec("goodinit")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


SOURCE = find_source()
FILES = sorted(SOURCE.rglob("*.py"))


def name(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def room(module: str) -> str:
    """`goodinit.trace.calls` -> `trace`, `goodinit` -> the empty string."""
    return [*module.split("."), ""][1]


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in FILES:
        parts = ("goodinit", *path.relative_to(SOURCE).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(module: str, tree: ast.AST, *, is_package: bool) -> Iterator[tuple[str, int, bool]]:
    """(goodinit module, line, whether inside a function) of each import of goodinit's own."""
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        targets: list[str] = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".") if is_package else module.split(".")[:-1]
                package = package[: len(package) - (node.level - 1)]
                base = ".".join([*package, *filter(None, [base])])
            # `from goodinit import trace` names a room, `from goodinit import plan` the face.
            rooms = [f"{base}.{alias.name}" for alias in node.names]
            targets = [r if base == "goodinit" and room(r) in FLOOR else base for r in rooms]
        for target in targets:
            if target.split(".")[0] == "goodinit":
                yield target, getattr(node, "lineno", 0), id(node) in inside


def uphill(module: str, source: str, *, is_package: bool = False) -> list[str]:
    """What a module imports that it must not, each as a sentence."""
    here = room(module)
    wrong = []
    for target, line, inside in imports(module, ast.parse(source), is_package=is_package):
        there = room(target)
        if there == here or (inside and there in LAZY):
            continue
        if FLOOR[there] >= FLOOR[here]:
            wrong.append(f"{module}, line {line}: imports {target}")
    return wrong


def test_every_room_has_a_floor() -> None:
    rooms = {room(module) for module in MODULES}
    assert rooms <= FLOOR.keys(), f"give these a place in FLOORS: {rooms - FLOOR.keys()}"


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_one_way(module: str) -> None:
    path = MODULES[module]
    assert not uphill(module, path.read_text(), is_package=path.name == "__init__.py")


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("goodinit.trace.calls", "from goodinit.schemes import fans", False),
        ("goodinit.trace.calls", "from goodinit.trace.run import run", False),
        ("goodinit.trace.calls", "from .run import run", False),
        ("goodinit.trace.calls", "from ..errors import TraceError", False),
        ("goodinit.trace.calls", "import torch", False),
        ("goodinit.demos.digits", "import goodinit as gi", False),
        ("goodinit.signal.rows", "def f():\n    from goodinit.report import html", False),
        ("goodinit.signal.rows", "from goodinit.report import html", True),
        ("goodinit.trace.calls", "from goodinit.anatomy import rows", True),
        ("goodinit.trace.calls", "from ..anatomy import rows", True),
        ("goodinit.trace.calls", "from .. import anatomy", True),
        ("goodinit.trace.calls", "import goodinit.planning.plan", True),
        ("goodinit.trace.calls", "def f():\n    from goodinit.recipes import he", True),
        ("goodinit.trace.calls", "if TYPE_CHECKING:\n    from goodinit import Plan", True),
        ("goodinit.recipes.vision", "from goodinit.signal import measure", True),
        ("goodinit.errors", "from goodinit.findings import Finding", True),
    ],
)
def test_the_test_of_imports_sees(module: str, source: str, wrong: bool) -> None:
    assert bool(uphill(module, source)) == wrong


@pytest.mark.parametrize("path", FILES, ids=name)
def test_no_file_is_long(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= LONGEST, f"{name(path)} has {lines} lines: split it by what it does"


def loaded_by(statement: str) -> set[str]:
    """Top-level names in sys.modules after a statement, in a fresh interpreter."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    return {module.partition(".")[0] for module in json.loads(out.stdout)}


def test_import_brings_torch_and_nothing_else() -> None:
    extra = loaded_by("import goodinit") - loaded_by("import torch") - {"goodinit"}
    foreign = extra - sys.stdlib_module_names
    assert not foreign, f"`import goodinit` also imports {sorted(foreign)}"


def test_import_costs_little_more_than_torch() -> None:
    # Processor time, not wall time; both in one process, so that the machine's speed cancels;
    # the least of three, since noise only adds. The first run, not counted, writes bytecode.
    # "Little" is a quarter: the package alone takes a few per cent of torch's time, and one
    # heavy import (transformers, triton, sympy, torch.distributed.tensor) more than half of it.
    code = (
        "import time\n"
        "a = time.process_time()\nimport torch\n"
        "b = time.process_time()\nimport goodinit\n"
        "c = time.process_time()\nprint(b - a, c - b)"
    )
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    runs = []
    for _ in range(4):
        out = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True, text=True, env=env
        )
        runs.append([float(number) for number in out.stdout.split()])
    torch_alone, ours = (min(run[i] for run in runs[1:]) for i in (0, 1))
    assert ours < torch_alone / 4, f"torch {torch_alone:.2f} s, goodinit {ours:.2f} s more"
