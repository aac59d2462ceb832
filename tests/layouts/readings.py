"""How each layout is read, whole: digests in readings.txt, where a change is made on purpose.

That a reading is right is held by ``test_layouts.py``, by a definition; here it is held
whole, so that a facet that no definition asks for doesn't change unseen. After a change on purpose:

    python -m tests.layouts.readings        # the rows of layouts that only the battery runs stay
    python -m tests.layouts.readings --all  # minutes: these as well
"""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from goodinit.anatomy import Anatomy
from goodinit.anatomy.rows import Facets, Row
from goodinit.plans import plan as plans
from goodinit.schemes import Layout as Axes

FILE = Path(__file__).parent / "readings.txt"
FOUND: dict[str, str] = {}
"""The first reading with inputs of each layout that was judged in this process."""


@contextmanager
def noted(name: str) -> Iterator[None]:
    """Note how a model is read in the meantime."""
    read = plans.read

    def noting(model: torch.nn.Module, inputs: object = None, prefix: str = "") -> Anatomy:
        anatomy = read(model, inputs, prefix)
        if inputs is not None:
            FOUND.setdefault(name, text_of(anatomy))
        return anatomy

    plans.read = noting
    try:
        yield
    finally:
        plans.read = read


def text_of(anatomy: Anatomy) -> str:
    return "".join(f"  {line(row)}\n" for row in anatomy.rows)


def line(row: Row) -> str:
    shown = [f"{n}={v}" for n, v in own_fields(row.facets) if n not in ("kind", "part")]
    flags = [name for name in ("buffer", "frozen", "raw") if getattr(row, name)]
    flags += [f"tied={row.tied}"] * bool(row.tied) + [f"meant={row.meant!r}"] * bool(row.meant)
    what = f"{row.facets.kind} {row.facets.part} {'x'.join(map(str, row.shape))}"
    return f"{row.name}: {'; '.join([what, *flags, *shown])}"


def own_fields(of: Facets | Axes) -> Iterator[tuple[str, object]]:
    """The fields that aren't as they are by default."""
    for one in dataclasses.fields(of):
        value = getattr(of, one.name)
        if value == one.default:
            continue
        if isinstance(value, Axes):
            value = " ".join(f"{n}={v}" for n, v in own_fields(value))
        elif one.name == "blocks":  # without fans, some of which are measured
            value = [f"{block.name} {block.box}" for block in value]
        yield one.name, value


def digest(name: str) -> str:
    """Twelve digits that change with anything in a reading; the texts would take a megabyte."""
    return hashlib.sha256(FOUND[name].encode()).hexdigest()[:12]


def written() -> dict[str, str]:
    """Return the file's digests by name; none of another torch, whose calls have other names."""
    version, *lines = FILE.read_text().splitlines()
    pairs = (line.split() for line in lines)
    return dict(pairs) if torch.__version__.startswith(version) else {}


if __name__ == "__main__":
    from . import readings  # the module that test_layouts.py imports
    from .test_layouts import LAYOUTS, SLOW, verdict

    torch.set_num_threads(1)
    before = {} if "--all" in sys.argv else written()  # none of another torch
    for name in LAYOUTS:
        if name not in SLOW or name not in before:
            verdict(name)
    kept = {name: before[name] for name in LAYOUTS if name in before}
    digests = kept | {name: readings.digest(name) for name in readings.FOUND}
    version = ".".join(torch.__version__.split(".")[:2])
    FILE.write_text("\n".join([version, *map(" ".join, sorted(digests.items()))]) + "\n")
