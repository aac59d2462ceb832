"""What a plan's table says of one row: its cells, its rules and the remarks below it."""

from __future__ import annotations

from dataclasses import replace

from goodinit._common.text import number, several, shape_text
from goodinit.plans.rows import PlanBlock, PlanRow
from goodinit.schemes import Constant, Keep, Normal, Ones, Scheme, Uniform, VarianceScaling, Zeros

MOST_NAMES = 4  # of blocks or rows in one remark; more would break the line


def rules_of(row: PlanRow) -> list[str]:
    """Return the rules that won, as text; if there are none, the reason."""
    return row.rule.splitlines() or [f"no rule: {row.why}"]


def what_text(row: PlanRow) -> str:
    """Return the kind, with the part unless it is the usual one."""
    return row.kind if row.part in (row.kind, "table", "weight") else f"{row.kind} {row.part}"


def fans_text(row: PlanRow) -> str:
    """Return both fans; "by block" where blocks differ."""
    return _fans_text(row.fan_in, row.fan_out) or ("by block" if row.layout else "")


def drawn_text(row: PlanRow) -> str:
    """Return how a row is drawn."""
    return "by block" if row.scheme is None else _scheme_text(row.scheme)


def remarks(row: PlanRow) -> list[str]:
    """Return the lines under a row: blocks that differ, and marks."""
    groups: dict[str, list[str]] = {}
    for block in row.blocks if row.scheme is None else ():
        groups.setdefault(_block_text(row, block), []).append(block.name)
    out = [f"{several(names, MOST_NAMES)}: {drawn}" for drawn, names in groups.items()]
    path = f"{row.name.rpartition('.')[0]}."
    stored = several([name.removeprefix(path) for name in row.stored], MOST_NAMES)
    blocks = [block.name for block in row.blocks]
    by_block = row.layout is not None and row.scheme is not None and len(blocks) > 1
    marks = {
        f"each of {several(blocks, MOST_NAMES)}": by_block,
        f"tied with {several(row.tied, MOST_NAMES)}": row.tied,
        "frozen": row.frozen and not row.buffer,
        "guessed by its shape": row.guessed,
        f"rows {several(map(str, row.zero_rows), MOST_NAMES)} stay zero": row.zero_rows,
        _growth_text(row): row.grown_from,
        f"stored as {stored}": row.stored,
        "UNRESOLVED: no memory, and nothing here can compute it": row.unresolved,
    }
    shown = [mark for mark, holds in marks.items() if holds]
    return [*out, ", ".join(shown)] if shown else out


def _growth_text(row: PlanRow) -> str:
    old = shape_text(row.grown_from)
    if len(row.grown_from) < len(row.shape):
        return f"{row.shape[0]} copies of the checkpoint's {old}, with noise"
    return f"the first {old} from the checkpoint"


def _scheme_text(scheme: Scheme) -> str:
    match scheme:
        case Zeros():
            return "0"
        case Ones():
            return "1"
        case Constant(value):
            return f"{value:g}"
        case Keep():
            return "kept"
        case Normal():  # its own column has the std
            return f"Normal(mean={scheme.mean:g})" if scheme.mean else "Normal"
        case VarianceScaling():  # likewise
            return repr(replace(scheme, scale=1.0)).replace("()", "")
        case Uniform(low, high) if low == -high:
            return f"Uniform(±{number(high)})"
        case _:
            return repr(scheme).replace("()", "")


def _block_text(row: PlanRow, block: PlanBlock) -> str:
    """Return a block's scheme, standard deviation and fans, as the columns have them."""
    std = block.scheme.moments(row.site(block))[1]
    shown = number(std) if std > 0 else ""  # NaN where values are kept
    cells = (_scheme_text(block.scheme), shown, _fans_text(block.fan_in, block.fan_out))
    return " ".join(cell for cell in cells if cell)


def _fans_text(fan_in: float | None, fan_out: float | None) -> str:
    return "" if fan_in is None or fan_out is None else f"{fan_in:g}>{fan_out:g}"
