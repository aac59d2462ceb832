"""Mutation testing: small faults are put into the code, and a test must fail for each.

    make mutants                 a sample of 300 faults, drawn with a fixed seed
    make mutants SAMPLE=all      all of them; a day

cosmic-ray makes the faults and keeps the results (``cr-report``, ``cr-html`` and ``cr-rate`` read
the session). This driver replaces its loop, in which every fault starts a Python, imports torch and
collects the tests: here one process does this once and forks for each fault. The child puts the
fault into the functions that are imported already, and runs the tests that reach the changed
function, the cheap ones of its own room first, until one fails. A fault in what runs at import is
put in by a child of a second process, which imports goodinit anew.

The session, build/mutants/<digest of src and tests>.sqlite, is resumed; a sample of 300 begins
with the faults of a sample of 100.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import gc
import hashlib
import importlib
import importlib.abc
import importlib.util
import json
import math
import os
import pkgutil
import random
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import IO, Any

import pytest
from cosmic_ray.ast import ast_nodes, get_ast_from_path
from cosmic_ray.ast.ast_query import ASTQuery
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec, TestOutcome, WorkerOutcome, WorkItem, WorkResult

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "goodinit"
BUILD = ROOT / "build" / "mutants"
ROOMS = ("streams", "schemes", "dataflow", "anatomy", "plans", "recipes", "findings")
# The Triton kernels run on a GPU alone, the compiler's call at installation: no test here can see.
NOT_TESTED = ("streams/gpu/", "streams/native/build.py")

# One likely slip for each operator. cosmic-ray has all 132 pairs, most of which (a ** b for
# a | b) fail at import and would only flatter the score.
PAIRS = {
    "Add": "Sub", "Sub": "Add", "Mul": "Div", "Div": "Mul", "FloorDiv": "Mul", "Mod": "FloorDiv",
    "Pow": "Mul", "RShift": "LShift", "LShift": "RShift", "BitOr": "BitAnd", "BitAnd": "BitOr",
    "BitXor": "BitOr", "Lt": "LtE", "LtE": "Lt", "Gt": "GtE", "GtE": "Gt", "Eq": "NotEq",
    "NotEq": "Eq", "Is": "IsNot", "IsNot": "Is", "In": "NotIn", "NotIn": "In",
}  # fmt: skip
UNARY = {"Delete_Not", "USub_UAdd", "Delete_Invert"}
# Without its decorator a dataclass or a property is no longer one: it fails at import.
LEFT_OUT = {"RemoveDecorator", "VariableReplacer", "VariableInserter"}

# The tests of these rooms, of the rooms below `signal`, and of whole models. Those of higher rooms
# take minutes and say little about the rooms here: what only they would see is worth a test nearby.
TESTS = [
    *(f"tests/{room}" for room in (*ROOMS, "nn", "trace", "applying", "models", "layouts", "mup")),
    *(f"tests/test_{name}.py" for name in ("contract", "messages", "dataclasses")),
    "src",
]
# What of these is nearest to a room beside its own tests, where some rooms alone are asked for.
NEAREST = {
    "dataflow": ("layouts",),
    "anatomy": ("layouts",),
    "schemes": ("nn",),
    "plans": ("mup", "applying"),
}
# Thousands of random files, and whole models drawn, renamed and drawn again: minutes more.
LONG = ("tests/recipes/test_hostile.py", "tests/plans/test_costly.py", "tests/nn/test_values.py",
        "tests/models/test_renaming.py", "tests/models/test_applied.py")  # fmt: skip
# It compares two clocks: on a busy machine it might fail without a fault.
BY_CLOCK = ("tests/dataflow/test_computed.py::test_a_large_weight_takes_little_time_and_memory",)
# Faults that change no result: file, the line with the fault in it (or the line itself, where no
# fault in it does), and why. They aren't counted.
EQUIVALENT = {
    ("anatomy/attention.py", "yield Attention(query, key, rest[- 0], node.index)"):
        "a product of two has one operand beside the scores",
    ("schemes/fans.py", "return self.inputs[0] if self.transposed else self.outputs[ -1]"):
        "only convolutions have groups, and one axis of outputs; elsewhere an axis of 1 moves",
    ("schemes/fans.py", "return self.inputs[ -1] if self.transposed else self.outputs[0]"):
        "a transposed convolution has one axis of inputs",
    ("schemes/haar.py", "step = 1 if len(starts) >= 1 else -(-count // threads)"):
        "how much a task holds: time, not values",
    (
        "schemes/matrices.py",
        "axis = max(axes, key=lambda n: box[n][1] - box[n][0], default=None)",
    ): "which axis is halved: no value",
    ("schemes/matrices.py", "tied = chosen.sum(0, dtype=torch.int32) >= count"):
        "the stable sort, which ties alone need, gives the same mask",
    ("schemes/request.py", "t = target * hazard(torch.zeros_like(width))"):
        "Newton's method gets there from farther out as well",
    (
        "schemes/quadrature.py",
        "steps = [start + half * (2 * panel + 1 - node) for panel in range(64) for node in nodes]",
    ): "Gauss's nodes and weights are symmetric",
    ("schemes/quadrature.py", "nearest = max(low, 1.0)"): "ten digits don't depend on the point",
    ("streams/spec.py", "term, total, k = x, 1, 0"): "of 2 ** 128: no word is rounded otherwise",
    ("schemes/haar.py", "if some.shape[ 0]:"): "a product with no columns writes nothing",
    (
        "schemes/gains.py",
        ('probe = torch.arange(17, dtype=torch.float64, device="cpu")'
        ".mul(7).remainder(17) / 2.5 - 3.3"),
    ): "any numbers will do for a probe",
    ("schemes/haar.py", "starts = range(0, columns, COLUMNS)[:: +1]"): "any order will do",
    (
        "schemes/quadrature.py",
        ("PANELS = 2001  # at once: more than any smooth function needs, so that noise ends the "
         "halving"),
    ): "2001 panels are as good as 2000",
    (
        "schemes/gains.py",
        ('edges = torch.arange(-each * end, each * end + 0, dtype=torch.float64, device="cpu") '
         "/ each"),
    ): "the last panel has nothing that counts",
    ("schemes/haar.py", "if threads == 1 or len(tasks) == 1:"): "threads change no value",
    ("schemes/matrices.py", "step = max(1, STRIP // rows)"): "how much at a time: no value",
    ("schemes/matrices.py", "start, stop = ( -1, 0) if axis is None else box[axis]"):
        "they are read only where there is an axis",
    ("schemes/matrices.py", "STRIP = 1 << 22"): "how much at a time: no value",
    ("schemes/quadrature.py", "rounds = 1"): "59 halvings resolve what 60 do",
    ("schemes/quadrature.py", "slope = 0.0"): "it is overwritten",
    ("schemes/quadrature.py", "slope = 2.0"): "it is overwritten",
    ("schemes/quadrature.py", "if high < 0:"): "both ways hold where the interval ends at 0",
    ("streams/spec.py", "FARTHEST_CUT = 8.0"): "no word lies beyond 7 either",
    (
        "streams/native/library.py",
        "fill(REQUEST.pack(address, 1, key, coded, kind, instructions, 0, 1, COUNT, 1, 1))",
    ): "no thread is the calling one, as one is",
    ("streams/native/library.py", "kind, lo, width = KINDS[law.kind], 1, 0"):
        "the kernel reads it of truncated laws only",
    ("streams/native/library.py", "kind, lo, width = KINDS[law.kind], 0, 1"):
        "the kernel reads it of truncated laws only",
    ("streams/native/library.py", "kind, width = BOUNDED, 1"): "the kernel doesn't read it",
    ("streams/native/fill.py", "if not size <= LONGEST_RUN:"): "the order of writing: no value",
    ("streams/native/fill.py", "if size < LONGEST_RUN:"): "the order of writing: no value",
    ("streams/stream.py", "MOST_BLOCKS = 256"): "no value depends on it",
    ("streams/stream.py", "CHUNK = 1 << 17"): "no value depends on it",
    ("streams/stream.py", "CHUNK = 1 << 19"): "no value depends on it",
    ("streams/stream.py", "CHUNK = 2 << 18"): "no value depends on it",
    ("streams/stream.py", "first, end = index // 4, (index + run + 4) // 4"):
        "one block more, of which no word is taken",
    ("streams/stream.py", 'touched = torch.arange((run + 7) // 4, device="cpu")'):
        "one block more, of which no word is taken",
    (
        "dataflow/labels.py",
        'left, right = tensors[- 3:][::-1] if call.function == "rmatmul" else tensors[-2:]',
    ): "rmatmul has two operands",
    (
        "anatomy/recurrence.py",
        ("path = {n.index for n in walk_back(graph, _signals(graph, again), _elementwise, "
         "first - 2)}"),
    ): "what comes before the first use isn't on a path from it",
    (
        "dataflow/influence.py",
        "effect, other = _square(a, (-1, zero)), _square(b, (- 2, zero))",
    ): "a scale that rounding is compared with",
    ("schemes/values.py", "values = values if self.factor == 0 else values * self.factor"):
        "times 1",
    (
        "anatomy/added_biases.py",
        "weights = {_weight_before(graph, graph.nodes[use.node]) for use in uses} - {- 2}",
    ): "-1 is then the last call, behind which nothing is",
    ("anatomy/parts.py", "factor = 2.0"): "it stands on both sides of a ratio",
    ("schemes/mimetic.py", "size, head = matrix.shape[ 1], self.head_dim"): "it is square",
    ("dataflow/origins.py", "return Origin(number, +1, axes, tuple((0, size) for size in shape))"):
        "a parameter's origin is asked for no node",
    (
        "dataflow/origins.py",
        ('return "count" if tensor.numel() > 1 and bool((tensor != tensor.flatten()[ 1]).any()) '
         'else ""'),
    ): "two numbers that differ do so from any",
    (
        "dataflow/influence.py",
        "constants = [n for n, s in self.computed.sources.items() if s.param is not None]",
    ): "without constants the numbers at 0 are 0, too",
    (
        "dataflow/uses.py",
        ('fits = self._node.function != "embedding" or index.shape[-1:] <= table.shape[: 2]'),
    ): "one size is compared with the first",
    ("dataflow/influence.py", "effects = (self.at({**off, n: -1}) for n in others)"):
        "the numbers are as far from those at -1 as from those at 0, or as near",
    ("plans/json_file.py", "sign = 1 if not number < len(boxes) else -1"): "both signs turn",
    ("plans/transfer_findings.py", "depth = max((row.depth or 0 for row in rows), default= -1)"):
        "there are no layers either",
    ("dataflow/replay.py", "row = rows[0] if len(rows) == 0 else torch.cat(rows)"):
        "a copy: memory, not values",
    ("anatomy/recurrence.py", "floor, last = -1, +1"): "before the first loop both answers are -1",
    ("streams/native/library.py", "Law.truncated(1.0, 1.0, - 8.0, 9.0),"):
        "no word lies beyond 7: the values have the same digest",
    (
        "streams/spec.py",
        ("return torch.stack((even[0], odd[0], even[1], odd[1]), dim=+1).bitwise_and_(_MASK)"),
    ): "of rows of words, 1 is the last axis",
    ("anatomy/held.py", "yield _comparable(flat.as_strided(( 0,), (1,)))"):
        "one number equals itself",
    (
        "anatomy/held.py",
        'return Held("constant", first) if 1 < abs(first) <= LARGEST and n == 1 else _UNKNOWN',
    ): "no float of four bytes is 1e12",
    (
        "anatomy/attention.py",
        'while index >= inner.index and graph.nodes[index].role in ("view", "cast"):',
    ): "the product itself is no view",
    (
        "anatomy/branches.py",
        "before = max((passed[i] for i in node.inputs if i in passed), default=1)",
    ): "each call inside takes one that is",
    (
        "anatomy/branches.py",
        "before = max((passed[i] for i in node.inputs if i in passed), default=-1)",
    ): "each call inside takes one that is",
    (
        "anatomy/held.py",
        "if epsilon <= COARSE and all(_is_short(value, epsilon) for value in look):",
    ): "no dtype has that epsilon",
    ("anatomy/parts.py", "return factor / of_base if of_base >= 0 else None"): "it isn't 0",
    (
        "schemes/mimetic.py",
        ("if layout is None or len(shape) != 2 or shape[0] != shape[1] or shape[ -1] "
         "% self.head_dim:"),
    ): "it is square",
    (
        "anatomy/gates.py",
        ("place = _place(graph, node.signals[ -1]) if biases and len(node.signals) == 1 "
         "else None"),
    ): "there is one",
    (
        "anatomy/names.py",
        "if not slot.flat is not None:  # two of them may be empty, or one tensor tied",
    ): "an address is a short cut, and an empty tensor has none",
    ("anatomy/recurrence.py", "if node.index <= loop.again"): "a weight is there, and is left out",
}  # fmt: skip
STATED = ("tests/test_contract.py", "tests/test_dataclasses.py")  # constants; what is frozen
BUDGET = 40.0  # seconds of tests for one fault, by their times without it; cheap tests first
STARTING = 0.05  # seconds that any test takes, so that the cheapest killer isn't always first
LIMIT = 3.0  # times what its tests take without the fault, plus 20 s: an endless loop, so killed
RECORDING = 7200.0  # seconds
COLLECTION = 120.0  # seconds, where the tests are collected once more
ASLEEP = 600.0  # seconds without any use of the processor: it waits for what never comes
MEMORY = 16 << 30  # bytes of addresses: with more a fault would take the machine down
FAILED = 1  # pytest's exit code where tests failed
USAGE = 4  # pytest's exit code where a conftest can't be imported, or a file isn't there
# pytest's exit codes: passed, failed, stopped by an error at import, internal error; a crash.
ANSWERS = (0, 1, 2, 3, -signal.SIGSEGV, -signal.SIGABRT)
NOT_HERE = 98  # exit code of a child in which no function has the fault
BROKEN = 99  # exit code of a child in which not the test, but this driver failed
ENOUGH = 0.9  # of the faults killed
# Imported once for all. Not transformers: it needs what tests/conftest.py does first.
THIRD_PARTY = {"torch", "numpy", "scipy", "hypothesis", "sympy"}


def operators() -> Iterator[str]:
    """Names of the operators that make faults."""
    for name in operator_names():
        kind = name.removeprefix("core/")
        pair = re.fullmatch(r"Replace(?:BinaryOperator|ComparisonOperator)_([^_]+)_([^_]+)", kind)
        unary = kind.removeprefix("ReplaceUnaryOperator_")
        likely = PAIRS.get(pair[1]) == pair[2] if pair else kind == unary or unary in UNARY
        if likely and kind not in LEFT_OUT:
            yield name


def faults(rooms: tuple[str, ...]) -> list[MutationSpec]:
    """Every fault in the rooms, in the order of the files."""
    found = []
    for path in sorted(p for room in rooms for p in (SOURCE / room).rglob("*.py")):
        if path.relative_to(SOURCE).as_posix().startswith(NOT_TESTED):
            continue
        nodes = list(ast_nodes(get_ast_from_path(path)))
        for name in operators():
            operator = get_operator(name)()
            places = ((node, *p) for node in nodes for p in operator.mutation_positions(node))
            for number, (node, start, end) in enumerate(places):
                inside = ASTQuery(node).get_definition_name()
                at = path.relative_to(ROOT), name, number, start, end
                found.append(MutationSpec(*at, definition_name=inside))
    return found


def shuffled(found: list[MutationSpec], seed: int, *, places: bool) -> Iterator[MutationSpec]:
    """The faults in a random order, if asked for only one in each place of the code.

    A larger sample begins with a smaller one.
    """
    order = found[:]
    random.Random(seed).shuffle(order)
    taken: set[tuple[Path, tuple[int, int]]] = set()
    for fault in order:
        place = fault.module_path, fault.start_pos
        if not (places and place in taken):
            taken.add(place)
            yield fault


class Bare(ast.NodeTransformer):
    """Code without what changes no result: annotations, slots, and the sizes of caches."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.returns = None
        self.generic_visit(node)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AnnAssign:
        node.annotation = ast.Constant(None)
        self.generic_visit(node)
        return node

    def visit_keyword(self, node: ast.keyword) -> ast.keyword | None:
        return None if node.arg in ("slots", "maxsize") else node

    def visit_If(self, node: ast.If) -> ast.If | None:
        if "TYPE_CHECKING" in ast.unparse(node.test):
            return None
        self.generic_visit(node)
        return node


def matters(fault: MutationSpec) -> bool:
    """Whether a fault is Python, changes more than an annotation, and isn't known to be none."""
    before, after = texts(fault)
    name = fault.module_path.relative_to("src/goodinit").as_posix()
    row, column = fault.start_pos
    lines = [text.splitlines()[row - 1] for text in (before, after)]
    if any((name, line.strip()) in EQUIVALENT for line in lines):
        return False
    if lines[0][:column].endswith("strict=") and lines[0][column:].startswith("True"):
        return False  # of zip: a length that differs would be a bug, which no input has
    try:
        changed = Bare().visit(ast.parse(after))
    except SyntaxError:
        return False
    return ast.dump(Bare().visit(ast.parse(before))) != ast.dump(changed)


def texts(fault: MutationSpec) -> tuple[str, str]:
    """The file's text without the fault and with it."""
    before = (ROOT / fault.module_path).read_text()
    after = mutate_code(before, get_operator(fault.operator_name)(), fault.occurrence)
    assert after is not None
    return before, after


class Replaced(importlib.abc.MetaPathFinder):
    """Imports one module of goodinit from a text, as if its file had it."""

    def __init__(self, path: Path, text: str) -> None:
        parts = path.relative_to("src").with_suffix("").parts
        self.name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        self.path, self.text = str(ROOT / path), text
        self.used = False

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        if name != self.name:
            return None
        finder = self

        class Loader(SourceFileLoader):
            def get_code(self, fullname: str) -> CodeType:
                finder.used = True
                return compile(finder.text, finder.path, "exec", dont_inherit=True)

        loader = Loader(name, self.path)
        return importlib.util.spec_from_file_location(name, self.path, loader=loader)


class Recorder:
    """A pytest plugin: for each test its seconds, and the functions of goodinit that it calls."""

    def __init__(self) -> None:
        self.tests: dict[str, dict[str, object]] = {}
        self.passed: set[str] = set()
        self.called: set[CodeType] = set()

    def trace(self, frame: FrameType, event: str, arg: object) -> None:
        self.called.add(frame.f_code)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.called.clear()
        start = time.process_time()
        sys.settrace(self.trace)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            seconds = time.process_time() - start
            self.tests[item.nodeid] = {"seconds": seconds, "calls": places(self.called)}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self.passed.add(report.nodeid)

    def write(self, file: str) -> None:
        foreign = [name for name in sys.modules if name.partition(".")[0] in THIRD_PARTY]
        tests = {test: entry for test, entry in self.tests.items() if test in self.passed}
        record = {"tests": tests, "modules": foreign}
        Path(file).write_text(json.dumps(record))


def places(called: set[CodeType]) -> list[tuple[str, int]]:
    """File and first line of each function of goodinit among them."""
    found = [(Path(code.co_filename), code.co_firstlineno) for code in called]
    return [(str(path.relative_to(ROOT)), n) for path, n in found if path.is_relative_to(SOURCE)]


class StopAtFailure:
    """A pytest plugin: ends the process at the first test that fails."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            os.write(1, f"{report.nodeid} failed\n{report.longreprtext}\n".encode())
            os._exit(FAILED)


class Collected:
    """A pytest plugin: collects the tests, then forks for each request instead of running them.

    A request is a line of JSON: what `run_here` takes, or `record`, and a limit of CPU seconds.
    """

    def __init__(self, requests: IO[str], replies: IO[str]) -> None:
        self.requests, self.replies = requests, replies
        self.called: set[CodeType] = set()

    def trace(self, frame: FrameType, event: str, arg: object) -> None:
        self.called.add(frame.f_code)

    def pytest_sessionstart(self) -> None:
        sys.settrace(self.trace)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        for module in pkgutil.walk_packages([str(SOURCE)], "goodinit."):
            if module.name not in sys.modules and not module.name.endswith("__main__"):
                importlib.import_module(module.name)
        sys.settrace(None)
        self.session = session
        self.items = {item.nodeid: item for item in session.items}
        gc.unfreeze()  # tests/conftest.py froze them: get_objects would leave them out
        self.functions: dict[str, list[FunctionType]] = defaultdict(list)
        for each in gc.get_objects():
            if type(each) is FunctionType and each.__code__.co_filename.startswith(str(SOURCE)):
                self.functions[each.__code__.co_filename].append(each)
        gc.freeze()
        self.answer(places(self.called))
        for line in self.requests:
            request = json.loads(line)
            act = self.record if len(request) == 2 else self.run_here
            self.answer(in_child(partial(act, *request[:-1]), request[-1]))
        return True

    def answer(self, reply: object) -> None:
        self.replies.write(json.dumps(reply) + "\n")
        self.replies.flush()

    def run(self, items: list[pytest.Item], plugin: object) -> None:
        self.session.config.pluginmanager.register(plugin)
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)

    def record(self, file: str) -> int:
        """Run all tests, and write which calls what."""
        recorder = Recorder()
        self.run(self.session.items, recorder)
        recorder.write(file)
        return 0

    def run_here(self, path: str, before: str, after: str, tests: list[str]) -> int:
        """Put a fault into the functions of a file, and run tests until one fails."""
        old, new = (functions_in(compile(t, path, "exec")) for t in (before, after))
        if len(old) != len(new):
            return NOT_HERE
        pairs = zip(old.items(), new.values(), strict=True)  # in order: lines may have moved
        changed = {name: code for (name, was), code in pairs if code != was or before == after}
        here = [f for f in self.functions[path] if code_name(f.__code__) in changed]
        for function in here:
            function.__code__ = changed[code_name(function.__code__)]
        if not here:
            return NOT_HERE
        self.run([self.items[test] for test in tests], StopAtFailure())
        return 0


def code_name(code: CodeType) -> tuple[str, int]:
    """Which function of its file this is."""
    return code.co_qualname, code.co_firstlineno


def functions_in(code: CodeType) -> dict[tuple[str, int], CodeType]:
    """The code of a file, and of all functions in it."""
    found = {code_name(code): code}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= functions_in(constant)
    return found


class Server:
    """A process in which `Collected` waits for requests."""

    def __init__(self, rooms: tuple[str, ...]) -> None:
        there, requests = os.pipe()
        replies, back = os.pipe()
        if os.fork() == 0:
            os.close(requests)
            os.close(replies)
            log = os.open(BUILD / "server.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(log, 1)
            os.dup2(log, 2)
            try:
                waiting = Collected(os.fdopen(there), os.fdopen(back, "w"))
                # Without capturing: it would swallow which test failed, and so which to try first.
                run_tests([*chosen_tests(rooms), "--assert=plain", "--capture=no"], waiting)
            finally:
                os._exit(0)
        os.close(there)
        os.close(back)
        self.requests, self.replies = os.fdopen(requests, "w"), os.fdopen(replies)
        self.at_import = {(path, line) for path, line in self.reply()}

    def ask(self, *request: object) -> tuple[int | None, str]:
        """Exit code and output of a child that does what is asked for."""
        self.requests.write(json.dumps(request) + "\n")
        self.requests.flush()
        code, output = self.reply()
        return code, output

    def reply(self) -> Any:
        line = self.replies.readline()
        if not line:
            log = (BUILD / "server.log").read_text()
            raise RuntimeError(f"the tests can't be collected:\n{log[-5000:]}")
        return json.loads(line)


class Chosen:
    """A pytest plugin: runs the chosen tests in their order on a replaced module."""

    def __init__(self, tests: list[str], finder: Replaced) -> None:
        self.rank = {test: n for n, test in enumerate(tests)}
        self.finder = finder

    def pytest_sessionstart(self) -> None:
        # Before pytest's own finder, which imports the files that it is called with.
        sys.meta_path.insert(0, self.finder)

    def pytest_sessionfinish(self) -> None:
        if not self.finder.used:
            pytest.exit(f"{self.finder.name} was imported from its file", BROKEN)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if item.nodeid in self.rank]
        items.sort(key=lambda item: self.rank[item.nodeid])


def chosen_tests(rooms: tuple[str, ...]) -> list[str]:
    """What pytest is called with: the tests that may kill a fault in these rooms."""
    tests = [path for path in TESTS if (ROOT / path).exists()]
    if set(rooms) != set(ROOMS):
        folders = {*rooms, *(folder for room in rooms for folder in NEAREST.get(room, ()))}
        tests = [path for path in tests if path.endswith(".py") or path[6:] in folders]
        tests += [f"src/goodinit/{room}" for room in rooms]
    tests += [f"--ignore={path}" for path in LONG]
    return [*tests, *(f"--deselect={test}" for test in BY_CLOCK)]


def run_tests(arguments: list[str], plugin: object) -> int:
    """Run pytest in this process."""
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT / "src"), str(ROOT)]  # the root: some tests import `tools`
    quiet = ["-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    return int(pytest.main([*quiet, *arguments], plugins=[plugin]))


def in_child(act: Callable[[], int], cpu: float) -> tuple[int | None, str]:
    """Exit code (None: out of time) and output of a forked process with a limit of CPU seconds.

    The limit is by the processor's time: a busy machine doesn't end it.
    """
    sys.stdout.flush()  # or the child would print it once more
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)
            resource.setrlimit(resource.RLIMIT_CPU, (int(cpu) + 1, int(cpu) + 10))
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            code = BROKEN
            try:
                code = act()
            except BaseException:
                traceback.print_exc(file=sys.stdout)
            finally:
                sys.stdout.flush()
                os._exit(code)
        code = _wait(child)
        output.seek(0)
        return code, output.read().decode(errors="replace")


def _wait(child: int) -> int | None:
    used, since = 0.0, time.monotonic()
    while time.monotonic() < since + ASLEEP:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return None if code == -signal.SIGXCPU else code
        now = _used(child)
        if now > used:
            used, since = now, time.monotonic()
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _used(child: int) -> float:
    """Ticks of the processor that a process has used, and those it waited for."""
    fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime: man 5 proc


class Record:
    """Which tests call which function, and how long they take."""

    def __init__(self, file: Path) -> None:
        data = json.loads(file.read_text())
        self.modules: list[str] = data["modules"]
        self.seconds = {test: entry["seconds"] for test, entry in data["tests"].items()}
        self.callers: dict[tuple[str, int], set[str]] = defaultdict(set)
        self.killers: dict[Path, Counter[str]] = defaultdict(Counter)
        for test, entry in data["tests"].items():
            for path, line in entry["calls"]:
                self.callers[path, line].add(test)

    def tests(self, fault: MutationSpec) -> list[str]:
        """The tests for a fault: its room's first, then the others, cheap ones first.

        Before them those that killed faults in the same file, most kills per second first.
        """
        room = fault.module_path.relative_to("src/goodinit").parts[0]
        own = (f"tests/{room}/", f"src/goodinit/{room}/")
        line = function_at(ROOT / fault.module_path, fault.start_pos[0])
        # What runs at import, or once for many tests, has no callers or too few.
        found = self.callers.get((str(fault.module_path), line or 0)) or set(self.seconds)
        files = {test.partition("::")[0] for test in found}
        kills = self.killers[fault.module_path]
        ranked = sorted(
            (
                test not in found,
                -kills[test] / (self.seconds[test] + STARTING),
                not test.startswith(own),
                self.seconds[test],
                test,
            )
            for test in self.seconds
            if test.partition("::")[0] in files
        )
        chosen: list[str] = []
        left = BUDGET
        for *_, test in ranked:
            left -= self.seconds[test]
            if left < 0 and chosen:
                break
            chosen.append(test)
        return chosen


def function_at(path: Path, line: int) -> int | None:
    """First line of the innermost function around a line, by which its code object goes."""
    best = None
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and node.body[0].lineno <= line <= node.end_lineno:
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            best = max(best or 0, first)
    return best


def run_against(
    text: str, fault: MutationSpec, record: Record, server: Server, most: int | None = None
) -> tuple[int | None, str]:
    """Run the tests for a fault, or the first few, with this text of its file."""
    tests = record.tests(fault)[:most]
    cpu = LIMIT * sum(record.seconds[test] for test in tests) + 20
    path = ROOT / fault.module_path
    line = function_at(path, fault.start_pos[0])
    if line is not None and (str(fault.module_path), line) not in server.at_import:
        code, output = server.ask(str(path), texts(fault)[0], text, tests, cpu)
        if code != NOT_HERE:
            return code, output
    if line is None and most is None:  # a constant, it may be: the table says so in seconds
        stated = [test for test in record.seconds if test.startswith(STATED)]
        code, output = run_anew(fault, text, stated, cpu)
        if code == FAILED:
            return code, output
    return run_anew(fault, text, tests, cpu)


def run_anew(
    fault: MutationSpec, text: str, tests: list[str], cpu: float
) -> tuple[int | None, str]:
    """Run tests in a process that imports goodinit with this text of the fault's file."""
    finder = Replaced(fault.module_path, text)
    files = list(dict.fromkeys(test.partition("::")[0] for test in tests))

    def act() -> int:
        sys.meta_path.insert(0, finder)  # for what a conftest imports
        return run_tests(["-x", "--no-header", "--tb=line", *files], Chosen(tests, finder))

    return in_child(act, cpu + COLLECTION)


def judged(fault: MutationSpec, record: Record, server: Server) -> WorkResult:
    """Run the tests against one fault."""
    before, after = texts(fault)
    name = str(fault.module_path)
    lines = (text.splitlines() for text in (before, after))
    diff = "\n".join(difflib.unified_diff(*lines, name, name, n=1, lineterm=""))
    code, output = run_against(after, fault, record, server)
    if code is None:
        return WorkResult(WorkerOutcome.NORMAL, "timeout", TestOutcome.KILLED, diff)
    at_import = code == USAGE and "while loading conftest" in output
    if code not in ANSWERS and not at_import:
        raise RuntimeError(f"pytest ended with {code}:\n{output}")
    failed = re.search(r"^(\S+::.+) failed$|^FAILED (\S+::\S+)", output, re.MULTILINE)
    if code == FAILED and failed:
        record.killers[fault.module_path][failed[1] or failed[2]] += 1
    outcome = TestOutcome.SURVIVED if code == 0 else TestOutcome.KILLED
    return WorkResult(WorkerOutcome.NORMAL, output[-2000:], outcome, diff)


def check_driver(fault: MutationSpec, record: Record, server: Server) -> None:
    """Stop unless tests pass with a file replaced by itself."""
    code, output = run_against(texts(fault)[0], fault, record, server, 30)
    if code != 0:
        raise RuntimeError(f"tests for {key(fault)} fail without it: {code}\n{output[-5000:]}")


def digest() -> str:
    """Of the code and the tests: results of others don't count."""
    whole = hashlib.sha256()
    for path in sorted([*SOURCE.rglob("*.py"), *(ROOT / "tests").rglob("*.py")]):
        whole.update(path.read_bytes())
    return whole.hexdigest()[:12]


def report(db: WorkDB) -> float:
    """Print survivors and the score; return the score."""
    killed: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for item, result in db.completed_work_items:
        fault = item.mutations[0]
        room = Path(fault.module_path).relative_to("src/goodinit").parts[0]
        total[room] += 1
        killed[room] += result.is_killed
        if not result.is_killed:
            print(f"\n{result.worker_outcome.value}: {fault.operator_name}\n{result.diff}")
    print()
    for room in sorted(total):
        print(f"{room:10} {killed[room]:5} of {total[room]:5} killed")
    score = sum(killed.values()) / max(1, sum(total.values()))
    error = (score * (1 - score) / max(1, sum(total.values()))) ** 0.5
    print(f"{'all':10} {sum(killed.values()):5} of {sum(total.values()):5} killed: "
          f"{100 * score:.1f} % (standard error {100 * error:.1f})")  # fmt: skip
    return score


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", default="300", help="how many faults, or 'all'")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rooms", default=",".join(ROOMS), help="folders of src/goodinit")
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTEST_XDIST_WORKER": "", "HF_HUB_OFFLINE": "1"}
    BUILD.mkdir(parents=True, exist_ok=True)
    rooms = tuple(options.rooms.split(","))
    name = "-".join([digest(), *(rooms if set(rooms) != set(ROOMS) else ())])
    session, recorded = BUILD / f"{name}.sqlite", BUILD / f"{name}.json"
    server = Server(rooms)
    if not recorded.exists():
        print("which test calls what: the tests once; minutes", flush=True)
        code, output = server.ask(str(recorded), RECORDING)
        if code != 0:
            print(f"the tests could not be run:\n{output[-3000:]}")
            return 1
    record = Record(recorded)
    for name in record.modules:
        importlib.import_module(name)  # into this process once, not into each child
    size = math.inf if options.sample == "all" else int(options.sample)
    found = faults(rooms)
    count, checked = 0, set[str]()
    with use_db(session) as db:
        done = {key(item.mutations[0]) for item, _ in db.completed_work_items}
        for fault in shuffled(found, options.seed, places=size < math.inf):
            if count == size:
                break
            if key(fault) in done:
                count += 1
                continue
            if not matters(fault):
                continue
            room = fault.module_path.parts[2]
            if room not in checked:
                checked.add(room)
                check_driver(fault, record, server)
            start = time.monotonic()
            item, result = WorkItem.single(key(fault), fault), judged(fault, record, server)
            db.add_work_item(item)
            db.set_result(item.job_id, result)
            count += 1
            outcome = f"{result.test_outcome.value}, {time.monotonic() - start:.0f} s"
            print(f"{count:4} of {size}: {item.job_id} {outcome}", flush=True)
        return 0 if report(db) >= ENOUGH else 1


def key(fault: MutationSpec) -> str:
    """A name for a fault: file, line, operator and which of its occurrences."""
    operator = fault.operator_name.removeprefix("core/")
    return f"{fault.module_path}:{fault.start_pos[0]}:{operator}:{fault.occurrence}"


if __name__ == "__main__":
    sys.exit(main())
