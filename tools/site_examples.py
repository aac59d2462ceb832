"""Examples of docstrings, with the imports that a reader needs to copy them.

In the source an example uses the names of its module; on the site it stands alone.
"""

from __future__ import annotations

import ast
import builtins
import doctest
import importlib
import inspect
import sys
from collections.abc import Iterator
from types import ModuleType

import goodinit as gi

ROOMS = ("schemes", "recipes", "theory", "mup", "adapters", "testing", "errors", "nn.init")


def with_imports(lines: list[str], value: object) -> list[str]:
    """Return a docstring's lines with the imports of its example before the first ``>>>``."""
    first = next((i for i, line in enumerate(lines) if line.lstrip().startswith(">>> ")), None)
    module = inspect.getmodule(getattr(value, "fget", value))
    if first is None or module is None:
        return lines
    indent = lines[first][: len(lines[first]) - len(lines[first].lstrip())]
    needed = [name for name in unbound("\n".join(lines)) if hasattr(module, name)]
    added = sorted({import_line(name, module) for name in needed}, key=order)
    return [*lines[:first], *(f"{indent}>>> {line}" for line in added), *lines[first:]]


def unbound(docstring: str) -> list[str]:
    """Return the names that an example uses before it binds them."""
    known, found = set(vars(builtins)), dict[str, None]()
    for example in doctest.DocTestParser().get_examples(inspect.cleandoc(docstring)):
        tree = ast.parse(example.source)
        inside = {name for node in ast.walk(tree) for name in bound_inside(node)}
        names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
        used = [node.id for node in names if isinstance(node.ctx, ast.Load)]
        found |= dict.fromkeys(name for name in used if name not in known | inside)
        known |= {node.id for node in names if isinstance(node.ctx, ast.Store)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                known |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                known.add(node.name)
    return list(found)


def bound_inside(node: ast.AST) -> Iterator[str]:
    """Yield the names that hold within a node only: arguments, and what a loop inside it runs."""
    if isinstance(node, ast.FunctionDef | ast.Lambda):
        arguments = node.args
        for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            yield one.arg
    if isinstance(node, ast.ExceptHandler) and node.name:
        yield node.name
    if isinstance(node, ast.FunctionDef | ast.For | ast.With | ast.Try | ast.comprehension):
        names = [name for name in ast.walk(node) if isinstance(name, ast.Name)]
        yield from (name.id for name in names if isinstance(name.ctx, ast.Store))


def order(line: str) -> tuple[bool, bool, str]:
    """Sort torch before goodinit, and modules before names."""
    return "goodinit" in line, line.startswith("from"), line


def import_line(name: str, module: ModuleType) -> str:
    """Return the import that gives a module's name, from where it is public if it is."""
    value = getattr(module, name)
    if inspect.ismodule(value):
        folder, _, last = value.__name__.rpartition(".")
        if not folder or name not in (last, value.__name__):
            return f"import {value.__name__}" + (f" as {name}" if name != value.__name__ else "")
        return f"from {folder} import {last}"
    if name in gi.__all__:
        return f"from goodinit import {name}"
    for room in ROOMS:
        if getattr(importlib.import_module(f"goodinit.{room}"), name, None) is value:
            return f"from goodinit.{room} import {name}"
    home = getattr(value, "__module__", None) or module.__name__
    public = hasattr(sys.modules.get(home), name)
    return f"from {home if public else module.__name__} import {name}"
