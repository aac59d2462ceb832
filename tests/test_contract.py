"""What users and other code rely on, in two tables: a change is made on purpose, there too.

contract/signatures.txt has what each public name takes, with its defaults; contract/constants.txt
the numbers and names by which the code decides, each of which has its reason where it stands. After
a change on purpose, run this file: it writes both.
"""

import ast
import enum
import importlib
import inspect
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

import goodinit as gi

FOLDER = Path(__file__).parent / "contract"
SOURCE = Path(gi.__file__).parent
# Rooms that decide; the others show, or are for the maintainers.
ROOMS = (
    *("_common", "anatomy", "applying", "dataflow", "explanation", "findings", "forecasting"),
    *("mup", "plans", "recipes", "report", "schemes", "signal", "streams", "theory", "trace"),
)
SENTENCE = 40  # characters: longer texts are for reading, and decide nothing
# Of a GPU, or long and compared with torch elsewhere.
LEFT_OUT = ("streams/gpu/", "streams/native/build.py", "_common/torch_private.py")


def signatures() -> Iterator[str]:
    """Each public function, and each class with what its own public methods take."""
    for name in sorted(gi.__all__):
        value = getattr(gi, name)
        if isinstance(value, types.ModuleType):
            for inner in sorted(getattr(value, "__all__", ())):
                yield from of(f"{name}.{inner}", getattr(value, inner))
        else:
            yield from of(name, value)


def of(name: str, value: object) -> Iterator[str]:
    if isinstance(value, type):
        if issubclass(value, Exception):
            yield f"{name}({', '.join(base.__name__ for base in value.__bases__)})"
            return
        yield f"{name}{arguments(value.__init__)}"
        for attr, method in sorted(vars(value).items()):
            function = method.__func__ if isinstance(method, classmethod | staticmethod) else method
            if not attr.startswith("_") and inspect.isfunction(function):
                yield f"{name}.{attr}{arguments(function)}"
    elif callable(value):
        yield f"{name}{arguments(value)}"


def arguments(function: object) -> str:
    """Names, kinds and defaults, without the annotations."""
    try:
        signature = inspect.signature(function)
    except ValueError:
        return "(...)"
    bare = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in signature.parameters.values()
    ]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))


def constants() -> Iterator[str]:
    """Module-level names in capitals that hold numbers and names."""
    for path in sorted(path for room in ROOMS for path in (SOURCE / room).rglob("*.py")):
        place = path.relative_to(SOURCE).as_posix()
        if place.startswith(LEFT_OUT):
            continue
        parts = ("goodinit", *path.relative_to(SOURCE).with_suffix("").parts)
        module = importlib.import_module(".".join(parts).removesuffix(".__init__"))
        for name in assigned(ast.parse(path.read_text())):
            shown = plain(vars(module).get(name))
            if shown:
                yield f"{place} {name} = {shown}"


def assigned(tree: ast.Module) -> Iterator[str]:
    """The names to which a module assigns what is written out there."""
    for node in tree.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or not is_written_out(node.value):
            continue
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            yield from (n.id for n in names if isinstance(n, ast.Name) and n.id.isupper())


def is_written_out(value: ast.expr | None) -> bool:
    """Whether a value is the same on every machine: no attribute, no call but of a few."""
    known = ("frozenset", "split", "log", "sqrt", "math", "fromkeys", "dict", "union")
    return value is not None and all(
        (node.attr if isinstance(node, ast.Attribute) else getattr(node.func, "id", "frozenset"))
        in known
        for node in ast.walk(value)
        if isinstance(node, ast.Attribute | ast.Call)
    )


def plain(value: object) -> str:
    """A number, a text, or a collection of these as text; "" for anything else."""
    match value:
        case enum.Enum():
            return ""
        case str() if len(value) > SENTENCE:
            return ""
        case bool() | int() | float() | str():
            return repr(value)
        case frozenset() | set():
            inner = [plain(item) for item in value]
            return f"{{{', '.join(sorted(inner))}}}" if all(inner) else ""
        case tuple() | list():
            inner = [plain(item) for item in value]
            return f"({', '.join(inner)})" if all(inner) else ""
        case dict():
            pairs = [(plain(k), plain(v)) for k, v in value.items()]
            whole = all(k and v for k, v in pairs)
            return f"{{{', '.join(f'{k}: {v}' for k, v in pairs)}}}" if whole else ""
        case _:
            return ""


TABLES = {"signatures": signatures, "constants": constants}


@pytest.mark.parametrize("table", TABLES)
def test_it_is_as_the_table_says(table: str) -> None:
    assert list(TABLES[table]()) == (FOLDER / f"{table}.txt").read_text().splitlines()


def test_help_and_editors_see_what_a_scheme_takes() -> None:
    for scheme in (value for value in vars(gi.schemes).values() if isinstance(value, type)):
        shown = [*inspect.signature(scheme).parameters]
        assert shown == [*inspect.signature(scheme.__init__).parameters][1:], scheme


if __name__ == "__main__":
    for table, lines in TABLES.items():
        (FOLDER / f"{table}.txt").write_text("".join(f"{line}\n" for line in lines()))
