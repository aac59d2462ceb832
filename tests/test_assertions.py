"""An assertion accepts one answer: a check of the tests themselves.

An ``or`` in an assertion lets a wrong value pass as well as the right one, and so does a literal
list of the values that would do. What holds in some cases only is asserted in these cases only.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
FILES = sorted(TESTS.rglob("*.py"))

# Where more than one answer is right: file, function, and why.
EXCEPTIONS = {
    ("nn/test_arguments.py", "test_what_is_no_tensor"): "torch's functions raise either of two",
    ("streams/test_streams_dieharder.py", "test_dieharder"): "dieharder calls chance WEAK",
}


def two_answers(source: str) -> Iterator[tuple[str, str]]:
    """(name of the test, what it accepts) of each assertion that accepts several answers."""
    waiting: list[tuple[str, ast.AST]] = [("", ast.parse(source))]
    for name, node in waiting:  # which grows
        inside = node.name if isinstance(node, ast.FunctionDef) else name
        waiting += [(inside, child) for child in ast.iter_child_nodes(node)]
        if isinstance(node, ast.Assert):
            yield from ((name, ast.unparse(part)) for part in several(node.test))
        elif isinstance(node, ast.Call) and is_raises(node.func):
            if any(isinstance(kind, ast.Tuple) for kind in node.args):
                yield name, ast.unparse(node)
            for pattern in (keyword.value for keyword in node.keywords):
                if isinstance(pattern, ast.Constant) and "|" in str(pattern.value):
                    yield name, ast.unparse(node)


def is_raises(called: ast.expr) -> bool:
    return (
        isinstance(called, ast.Attribute)
        and called.attr == "raises"
        and isinstance(called.value, ast.Name)
        and called.value.id == "pytest"
    )


def several(test: ast.expr) -> Iterator[ast.expr]:
    """The parts of an assertion that leave a choice."""
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or):
        yield test
    for node in ast.walk(test):
        if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
            last = node.values[-1]
            if node is not test and isinstance(last, ast.Constant) and last.value != "":
                yield node  # `depth or 1`: None would do as well
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In):
            wanted = node.comparators[0]
            if isinstance(wanted, ast.Tuple | ast.List | ast.Set) and not any(
                isinstance(item, ast.Starred) for item in wanted.elts
            ):
                yield node


def test_each_assertion_accepts_one_answer() -> None:
    names = {path: path.relative_to(TESTS).as_posix() for path in FILES}
    assert not [
        (name, function, text)
        for path, name in names.items()
        for function, text in two_answers(path.read_text())
        if (name, function) not in EXCEPTIONS
    ]


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("assert code == 1", False),
        ("assert not (a or b)", False),
        ("assert name in names", False),
        ("assert '>>>' in (function.__doc__ or '')", False),
        ("assert code in (0, 1)", True),
        ("assert (row.depth or 1) == 1", True),
        ("assert 'a' in text or 'b' in text", True),
        ("with pytest.raises(ValueError, match='this|that'): pass", True),
        ("with pytest.raises(ValueError, match='this'): pass", False),
        ("with pytest.raises((ValueError, TypeError)): pass", True),
    ],
)
def test_the_check_sees(line: str, wrong: bool) -> None:
    assert bool(list(two_answers(f"def test():\n    {line}"))) == wrong
