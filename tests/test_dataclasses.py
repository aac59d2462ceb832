"""Which dataclasses can be changed; all others are frozen, but what is private to a file."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path

import goodinit

ROOMS = ("streams", "schemes", "dataflow", "anatomy", "plans", "recipes", "findings")

# Filled while a model is read; nobody outside of `anatomy` and `dataflow` keeps one.
CHANGED = {
    *("dataflow.nodes.Node", "dataflow.nodes.Span", "dataflow.nodes.Use", "dataflow.nodes.Value"),
    *("dataflow.origins.Base", "dataflow.tape.Tape"),
    *("anatomy.names.Slot", "anatomy.recurrence.Loop"),
    *("anatomy.roles.Roles", "anatomy.roles.Stream", "anatomy.zeros.Parameter"),
}


def dataclasses() -> Iterator[tuple[str, type]]:
    root = Path(goodinit.__file__).parent
    for path in sorted(path for room in ROOMS for path in (root / room).rglob("*.py")):
        if path.stem == "__init__" or path.parent.name == "gpu":  # which needs Triton
            continue
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        for value in vars(importlib.import_module(f"goodinit.{name}")).values():
            here = isinstance(value, type) and value.__module__ == f"goodinit.{name}"
            if here and is_dataclass(value) and not value.__name__.startswith("_"):
                yield f"{name}.{value.__qualname__}", value


def test_only_what_is_filled_step_by_step_can_be_changed() -> None:
    changed = {name for name, cls in dataclasses() if not cls.__dataclass_params__.frozen}
    assert changed == CHANGED
