"""Which matrices are computed together: an expert's, an attention's. A module has them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from goodinit.errors import SchemeError
from goodinit.plans.rows import PlanRow
from goodinit.schemes import Scheme
from goodinit.schemes.grown import DropUnits
from goodinit.schemes.mimetic import ROLES, Mimetic

MODEL = "the model"  # the name of the module that is planned, where names begin inside of it


def with_experts(rows: tuple[PlanRow, ...]) -> tuple[PlanRow, ...]:
    """Return the rows, where ``DropUnits`` of a matrix has the module that is its expert.

    It is the smallest one that has a projection to hidden units and one from them.

    Raises:
        SchemeError: a module that has several of these, or none.
    """
    axes = {
        row.name: row.scheme.axis
        for row in rows
        if isinstance(row.scheme, DropUnits) and len(row.shape) == 2
    }
    if not axes:
        return rows
    inside: dict[str, dict[str, str]] = {}
    for name, axis in axes.items():
        for module in _modules_around(name):
            inside.setdefault(module, {})[name] = axis
    experts = {
        name: next((m for m in _modules_around(name) if len({*inside[m].values()}) > 1), "")
        for name in axes
    }
    for name, expert in experts.items():
        if [*inside.get(expert, {}).values()].count("inputs") != 1:
            raise SchemeError(
                f"{name}: no module has its expert's weights alone, with one projection from the "
                f"hidden units: stack the experts, or give each a module, such as experts.0"
            )
    return tuple(_of_expert(row, experts.get(row.name, "")) for row in rows)


def with_attentions(rows: tuple[PlanRow, ...]) -> tuple[PlanRow, ...]:
    """Return the rows, where ``Mimetic`` has the module whose four matrices share their numbers.

    It is the smallest one that has all four.

    Raises:
        SchemeError: a matrix is missing, or there are two of a kind.
    """
    roles = {
        row.name: [part.scheme.role for part in row.parts() if isinstance(part.scheme, Mimetic)]
        for row in rows
        if not row.kept
    }
    roles = {name: found for name, found in roles.items() if found}
    inside: dict[str, list[str]] = {}
    for name, found in roles.items():
        for module in (*_modules_around(name), MODEL):
            inside.setdefault(module, []).extend(found)
    attention: dict[str, str] = {}
    for name in roles:
        around = (*_modules_around(name), MODEL)
        module = next((m for m in around if {*inside[m]} == {*ROLES}), MODEL)
        if sorted(inside[module]) != sorted(ROLES):
            raise SchemeError(
                f"{name}: no module has the four matrices of its attention, q, k, v and out, alone"
            )
        attention[name] = module
    return tuple(
        _of_attention(row, attention[row.name]) if row.name in attention else row for row in rows
    )


def _of_attention(row: PlanRow, attention: str) -> PlanRow:
    def named(scheme: Scheme) -> Scheme:
        return replace(scheme, attention=attention) if isinstance(scheme, Mimetic) else scheme

    blocks = tuple(replace(block, scheme=named(block.scheme)) for block in row.blocks)
    scheme = None if row.scheme is None else named(row.scheme)
    return replace(row, blocks=blocks, scheme=scheme)


def _of_expert(row: PlanRow, expert: str) -> PlanRow:
    if not expert or not isinstance(row.scheme, DropUnits):
        return row
    return replace(row, scheme=replace(row.scheme, expert=expert))


def _modules_around(name: str) -> Iterator[str]:
    """Yield the modules that a parameter is in, the smallest first.

    >>> list(_modules_around("experts.0.up.weight"))
    ['experts.0.up', 'experts.0', 'experts']
    """
    while name := name.rpartition(".")[0]:
        yield name
