"""The house rules that a machine can check: who imports whom, how long, how heavy, which names."""

import ast
import graphlib
import importlib
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

# From the ground up. A room imports from itself and from the floors below, not from its own
# floor's other rooms. The face, goodinit/__init__.py, is called "".
FLOORS: list[set[str]] = [
    {"errors"},
    {"findings"},
    {"_common"},
    {"streams"},
    {"schemes"},
    {"trace", "nn"},
    {"dataflow"},
    {"anatomy"},
    {"recipes"},
    {"plans"},
    {"applying"},
    {"signal"},
    {"forecasting"},
    {"theory", "explanation", "adapters", "testing", "mup"},
    {"report"},
    {"_face"},
    {""},
    {"demos", "pytest_plugin"},
    {"cli"},
    {"__main__"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

# Methods that hand their object to a higher room: who calls `late`, and for what. An import that
# `late` makes is the only one that may run uphill.
LATE = {
    "goodinit._common.late": {"goodinit._common.late:late"},
    "goodinit.recipes.recipe": {
        "goodinit.applying.apply:init_module_",
        "goodinit.recipes.toml:dumps",
        "goodinit.recipes.toml:load",
        "goodinit.recipes.toml:loads",
    },
    "goodinit.mup.coordinates": {"goodinit.report.coordinate_figure:coordinates_figure"},
    "goodinit.signal.compare": {
        "goodinit.report.image:inline_figure",
        "goodinit.report.image:write_image",
        "goodinit.report.notebook:comparison_html",
        "goodinit.report.page:write_page",
        "goodinit.report.plot:interactive_figure",
        "goodinit.report.signal_text:comparison_text",
    },
    "goodinit.signal.measure": {"goodinit.forecasting.from_file:measured_from_file"},
    "goodinit.signal.rows": {
        "goodinit.report.curves:as_comparison",
        "goodinit.report.image:inline_figure",
        "goodinit.report.image:write_image",
        "goodinit.report.notebook:signal_html",
        "goodinit.report.page:write_page",
        "goodinit.report.plot:interactive_figure",
        "goodinit.report.signal_text:signal_text",
    },
}

# Files that share a name share its meaning.
SHARED_NAMES = {
    "__init__.py": "a room's face",
    "__main__.py": "what `python -m` runs",
    "compare.py": "the function, and the verb that calls it",
    "diff.py": "the function, and the verb that calls it",
    "errors.py": "exception classes: the package's, and those that are torch.nn.init's too",
    "explain.py": "the function, and the verb that calls it",
    "forecast.py": "the function, and the verb that calls it",
    "identify.py": "the function, and the verb that calls it",
    "low_rank.py": "low-rank pairs beside a weight: found, computed, written",
    "plan.py": "the function, and the verb that calls it",
    "fill.py": "a tensor filled by the kernel of this device",
    "rows.py": "the rows of this room's result",
    "shards.py": "what a process holds, and the verb that shows it",
}

LONGEST_FILE = 500  # lines
LONGEST_FUNCTION = 60  # lines, docstring included: a screen
KERNELS = {"goodinit.streams.gpu.kernels"}  # Triton compiles one function, which can't be split


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


@cache
def nodes(source: str) -> list[ast.AST]:
    """All nodes of a file's tree; several rules look at them."""
    return list(ast.walk(ast.parse(source)))


def imports(module: str, source: str, *, is_package: bool = False) -> Iterator[tuple[str, int]]:
    """(goodinit module, line) of each import of goodinit's own, in functions and for types too."""
    for node in nodes(source):
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
            full = [f"{base}.{alias.name}" for alias in node.names]
            targets = [t if t in MODULES or (base == "goodinit" and room(t) in FLOOR) else base
                       for t in full]  # fmt: skip
        for target in targets:
            if target.split(".")[0] == "goodinit":
                yield target, getattr(node, "lineno", 0)


def uphill(module: str, source: str, *, is_package: bool = False) -> list[str]:
    """What a module imports that it must not, each as a sentence."""
    here = room(module)
    return [
        f"{module}, line {line}: imports {target}"
        for target, line in imports(module, source, is_package=is_package)
        if room(target) != here and FLOOR[room(target)] >= FLOOR[here]
    ]


def test_every_room_has_a_floor() -> None:
    rooms = {room(module) for module in MODULES}
    assert rooms == FLOOR.keys()


def test_imports_run_one_way() -> None:
    assert not [
        sentence
        for module, path in MODULES.items()
        for sentence in uphill(module, path.read_text(), is_package=path.name == "__init__.py")
    ]


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("goodinit.trace.calls", "from goodinit.schemes import fans", False),
        ("goodinit.trace.calls", "from goodinit.trace.run import run", False),
        ("goodinit.trace.calls", "from .run import run", False),
        ("goodinit.trace.calls", "from ..errors import TraceError", False),
        ("goodinit.trace.calls", "import torch", False),
        ("goodinit.demos.digits", "import goodinit as gi", False),
        ("goodinit.signal.rows", "def f():\n    from goodinit.report import html", True),
        ("goodinit.signal.rows", "from goodinit.report import html", True),
        ("goodinit.trace.calls", "from goodinit.anatomy import rows", True),
        ("goodinit.trace.calls", "from ..anatomy import rows", True),
        ("goodinit.trace.calls", "from .. import anatomy", True),
        ("goodinit.trace.calls", "import goodinit.plans.plan", True),
        ("goodinit.trace.calls", "def f():\n    from goodinit.recipes import he", True),
        ("goodinit.trace.calls", "if TYPE_CHECKING:\n    from goodinit import Plan", True),
        ("goodinit.recipes.by_name", "from goodinit.signal import measure", True),
        ("goodinit.errors", "from goodinit.findings import Finding", True),
    ],
)
def test_the_test_of_imports_sees(module: str, source: str, wrong: bool) -> None:
    assert bool(uphill(module, source)) == wrong


def test_no_files_import_each_other() -> None:
    # A room's __init__ is its face: importing from it doesn't count as importing all of it.
    graph = {
        module: {
            target
            for target, _ in imports(module, path.read_text(), is_package=False)
            if target != module
        }
        for module, path in MODULES.items()
        if path.name != "__init__.py"
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises a CycleError that shows the circle


def late_calls(source: str) -> set[str]:
    """What a file asks `late` for; "" where that isn't written out."""
    calls = [
        node
        for node in nodes(source)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "late"
    ]
    return {call.args[0].value if isinstance(call.args[0], ast.Constant) else "" for call in calls}


def test_only_listed_methods_open_a_higher_room() -> None:
    found = {module: late_calls(path.read_text()) for module, path in MODULES.items()}
    assert {module: places for module, places in found.items() if places} == {
        module: places for module, places in LATE.items() if module != "goodinit._common.late"
    }


@pytest.mark.parametrize("place", sorted(set().union(*LATE.values())))
def test_what_late_names_is_there(place: str) -> None:
    module, _, function = place.partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_one_file_asks_for_torchs_private_names() -> None:
    asking = [name(path) for path in FILES if re.search(r"\btorch\._C\b", path.read_text())]
    assert not asking  # _common/torch_private.py has them as texts


def test_files_that_share_a_name_are_listed() -> None:
    names = [path.name for path in FILES]
    assert {n for n in names if names.count(n) > 1} == SHARED_NAMES.keys()


@pytest.mark.parametrize(("file", "least"), [("ARCHITECTURE.md", 40), ("DECISIONS.md", 20)])
def test_architecture_names_paths_that_exist(file: str, least: int) -> None:
    text = (Path(__file__).parents[1] / file).read_text()
    paths = re.findall(r"`([\w./]+(?:/|\.py|\.md))`", text)
    roots = (SOURCE, SOURCE.parent, Path(__file__).parents[1])
    missing = [path for path in paths if not any((root / path).exists() for root in roots)]
    assert len(paths) > least
    assert not missing


def test_no_file_is_long() -> None:
    lines = {name(path): len(path.read_text().splitlines()) for path in FILES}
    long = {path: count for path, count in lines.items() if count > LONGEST_FILE}
    assert not long, "split them by what they do"


def test_no_function_is_longer_than_a_screen() -> None:
    lengths = {
        f"{module}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for module in MODULES.keys() - KERNELS
        for node in nodes(MODULES[module].read_text())
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert not {n: lines for n, lines in lengths.items() if lines > LONGEST_FUNCTION}


# Functions of torch that make a tensor where `torch.set_default_device` says.
FACTORIES = set(
    "arange as_tensor empty eye full linspace logspace "
    "ones rand randint randn randperm tensor zeros".split()
)
HAVE_MODELS = {"cli", "demos"}  # these make a model's inputs, where its user wants them


def test_a_new_tensor_names_its_device() -> None:
    """Under another default device, such as meta, goodinit gives the same answers."""
    lines = [
        f"{module}, line {node.lineno}"
        for module in sorted(m for m in MODULES.keys() - KERNELS if room(m) not in HAVE_MODELS)
        for node in nodes(MODULES[module].read_text())
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "torch"
        and node.func.attr in FACTORIES
        and "device" not in {keyword.arg for keyword in node.keywords}
    ]
    assert not lines


STARTS = """
import sys, time
a = time.process_time()
import torch
b = time.process_time()
before = set(sys.modules)
c = time.process_time()
import goodinit
d = time.process_time()
goodinit.plan
e = time.process_time()
print(b - a, d - c, e - d)
print(*(set(sys.modules) - before))
"""


FORGET = """
for name in [name for name in sys.modules if name.partition(".")[0] == "goodinit"]:
    del sys.modules[name]
"""
IMPORTS = f"""
import importlib, pkgutil, sys
{FORGET}
import goodinit
goodinit.nn.init.normal_, goodinit.testing.assert_healthy  # these need no import of their own
names = [module.name for module in pkgutil.walk_packages(goodinit.__path__, "goodinit.")]
for name in names:
    importlib.import_module(name)
for room in sys.argv[1:]:{FORGET.replace(chr(10), chr(10) + "    ")}
    importlib.import_module(f"goodinit.{{room}}")
print(*names)
"""


def printed(code: str, *rooms: str) -> list[str]:
    """What a process of its own prints; a warning is an error."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-W", "error", "-c", code, *rooms]
    done = subprocess.run(command, capture_output=True, check=True, text=True, env=env)
    assert not done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def first_process() -> list[str]:
    """Both scripts, one after the other: a process of its own for each would import torch anew."""
    return printed(STARTS + IMPORTS, "nn")


@pytest.fixture(scope="module")
def starts(first_process: list[str]) -> list[tuple[list[float], list[str]]]:
    """Processes: seconds of torch's import, of ours, of our names; the modules of the last.

    One is enough, unless it is too slow: the first may write bytecode, and others may be busy.

    Processor time, all in one process, so that the machine's speed cancels in a ratio.
    """
    found: list[tuple[list[float], list[str]]] = []
    for number in range(3):
        seconds, modules, *_ = printed(STARTS) if number else first_process
        found.append(([float(each) for each in seconds.split()], modules.split()))
        if not too_long(found):
            break
    return found


def too_long(starts: list[tuple[list[float], list[str]]]) -> list[str]:
    """What takes too long, by the least of each process, since noise only adds."""
    torch_alone, ours, names = (
        min(column) for column in zip(*(seconds for seconds, _ in starts), strict=True)
    )
    # The names themselves take a third of torch's time, half of it a garbage collection that
    # torch's objects bring about. One heavy import (transformers, triton, sympy,
    # torch.distributed.tensor) would take more than half of it.
    limits = [("goodinit", ours, 0.15 * torch_alone), ("its names", names, 0.5 * torch_alone)]
    return [
        f"torch {torch_alone:.2f} s, {what} {seconds:.2f} s more"
        for what, seconds, limit in limits
        if seconds >= limit
    ]


def test_using_a_name_brings_torch_and_nothing_else(starts) -> None:
    foreign = {module.partition(".")[0] for module in starts[0][1]} - {"goodinit", "torch"}
    assert not foreign - sys.stdlib_module_names


def test_import_costs_little(starts) -> None:
    assert not too_long(starts)


def test_each_module_can_be_imported_and_one_room_first(first_process) -> None:
    """A tool walks through all modules; a program may begin with any room."""
    assert set(first_process[2].split()) == MODULES.keys() - {"goodinit"}


# That imports run one way, without circles, all but says that a program may begin with any room.
@pytest.mark.battery
def test_each_room_can_be_imported_first() -> None:
    (names,) = printed(IMPORTS, *sorted(FLOOR.keys() - {"", "__main__"}))
    assert set(names.split()) == MODULES.keys() - {"goodinit"}
