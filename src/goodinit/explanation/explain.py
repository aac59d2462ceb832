"""``explain``: which initialization has a model got, what is wrong with it, what mends it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from goodinit.anatomy import read
from goodinit.anatomy.heads import head_factors
from goodinit.anatomy.writable import check_module
from goodinit.errors import nearest
from goodinit.explanation import table
from goodinit.explanation.candidates import Candidate, candidates, level_of
from goodinit.explanation.chains import chains_by_flow, chains_by_type
from goodinit.explanation.common_practice import meant_by
from goodinit.explanation.context import Case, Verdict
from goodinit.explanation.reading import Seen, check_memory, see
from goodinit.explanation.recognition import TRAINED, Look, look
from goodinit.explanation.rows import ExplainedRow, explained_row
from goodinit.explanation.scale_findings import scales
from goodinit.explanation.value_findings import broken
from goodinit.findings import Finding
from goodinit.plans.resolve import own_laws
from goodinit.schemes import Scheme
from goodinit.trace import Inputs

__all__ = ["Explanation", "explain"]

SEVERITIES = ("error", "warning", "info")


@dataclass(frozen=True)
class Explanation:
    """Which initialization a model has, what is wrong with it, and what would mend it.

    Attributes:
        recipe: name of the library's recipe that the values look like; None where none explains
            most of them, or a habit more.
        habit: what people often draw and no recipe of the library does, in words; "" where the
            values don't look like one either.
        call: how the recipe is written: ``"he"`` in quotes, or ``gi.recipe("he", ...)``.
        also: other recipes and habits that draw the same laws on this model.
        rows: one for each parameter, in registration order.
        matrices: (how many weights the recipe explains, how many it speaks of).
        parameters: the same of all parameters.
        findings: what is wrong, the worst first.
        remedy: one line of code that mends it, with ``gi``, ``model`` and, if they were given,
            ``inputs``; "" where nothing is wrong, or no line would do.
        how: how the model was read: "module types", "meta", "real".
    """

    recipe: str | None
    habit: str
    call: str
    also: tuple[str, ...]
    rows: tuple[ExplainedRow, ...]
    matrices: tuple[int, int]
    parameters: tuple[int, int]
    findings: tuple[Finding, ...]
    remedy: str
    how: str

    @property
    def ok(self) -> bool:
        """Whether no finding is an error or a warning."""
        return all(finding.severity == "info" for finding in self.findings)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[ExplainedRow]:
        return iter(self.rows)

    def __getitem__(self, name: str) -> ExplainedRow:
        """Return the row of that name.

        Raises:
            KeyError: there is none.
        """
        for row in self.rows:
            if name in (row.name, *row.tied):
                return row
        near = nearest(str(name), [row.name for row in self.rows])
        raise KeyError(f"there is no row {name!r}.{near}")

    def to_dict(self) -> dict[str, object]:
        """Return everything as plain data, ready for JSON."""
        return table.plain(self)

    def __str__(self) -> str:
        return table.text(self)

    def __repr__(self) -> str:
        return (
            f"<Explanation {self.recipe!r}: {len(self.rows)} rows, {len(self.findings)} findings>"
        )

    def _repr_html_(self) -> str:
        return table.html(self)


def explain(model: nn.Module, inputs: Inputs | None = None) -> Explanation:
    """Return which initialization a model has, what is wrong with it, and what mends it.

    Only values are read: nothing is trained, measured or written, and no random number is drawn.
    Each recipe of the library is planned on the model and held against its values, block by
    block, at a level of 0.001 for all of the tests together; the one that explains most weights
    is named.

    Args:
        model: any module with its values; of a large tensor, 131,072 elements at even steps are
            read for its moments, and all of them for the least and the greatest.
        inputs: a tensor, a tuple, or a dict of keyword arguments, as for ``plan``: tell fans,
            activations, residual ends and which weights follow one another. The model is run on
            meta, as for a plan.

    Raises:
        MetaModelError: a parameter on meta: there are no values.
        LazyParameterError: a lazy module, whose shapes aren't known.
        TraceError: the model raised on these inputs.

    Example:
        >>> import torch
        >>> layers = [m for _ in range(20) for m in (nn.Linear(64, 64), nn.ReLU())]
        >>> with torch.random.fork_rng():
        ...     told = explain(nn.Sequential(*layers))
        >>> told.recipe, told["0.weight"].looks
        ('torch_default', "kaiming_uniform_(a=sqrt(5)), torch's default")
        >>> told.findings[0].code, told.remedy
        ('GI125', 'gi.init_(model, {"*.weight": gi.HeNormal()})')
    """
    check_module(model, "explain")
    anatomy = read(model, inputs)
    check_memory(anatomy)
    seen = see(anatomy)
    ranked = candidates(model, seen)
    best = _best(ranked, seen)
    level = level_of(seen)
    own = own_laws(model)
    looks = {one.row.name: _look(best, one, own(one.slot), level) for one in seen}
    graph = anatomy.graph
    by_name = {one.row.name: one for one in seen}
    numbered = {
        number: by_name[slot.name]
        for number, slot in enumerate(anatomy.slots)
        if slot.name in by_name
    }
    case = Case(
        model=model,
        seen=seen,
        looks=looks,
        best=best,
        standard=next(c for c in ranked if c.call == '"standard"'),
        chains=chains_by_type(model, seen) if graph is None else chains_by_flow(graph, numbered),
        heads=head_factors(anatomy),
        inputs=inputs is not None,
        level=level,
    )
    buffers = [slot for slot in anatomy.slots if slot.buffer]
    verdicts = [*broken(case, buffers), *scales(case)]
    verdicts.sort(key=lambda found: SEVERITIES.index(found.finding.severity))
    return Explanation(
        recipe=best.recipe.name if best is not None and best.call else None,
        habit=best.recipe.name if best is not None and not best.call else "",
        call="" if best is None else best.call,
        also=() if best is None else _also(best, ranked),
        rows=tuple(_row(one, best, looks[one.row.name], verdicts) for one in seen),
        matrices=_counts(best, seen, matrices=True),
        parameters=_counts(best, seen, matrices=False),
        findings=tuple(found.finding for found in verdicts),
        remedy=_remedy(case, verdicts),
        how=anatomy.how,
    )


def _best(ranked: list[Candidate], seen: list[Seen]) -> Candidate | None:
    """Return the recipe that explains most, if that is most of what it speaks of."""
    best = ranked[0]
    explained, told = _counts(best, seen, matrices=True)
    every = sum(one.matrix for one in seen)
    if not every:  # norms alone, say
        explained, told = _counts(best, seen, matrices=False)
    return best if 2 * explained > told and 4 * explained >= every and explained else None


def _counts(best: Candidate | None, seen: list[Seen], matrices: bool) -> tuple[int, int]:
    if best is None:
        return 0, sum(one.matrix or not matrices for one in seen)
    held = [
        best.holds[one.row.name]
        for one in seen
        if one.row.name in best.holds and (one.matrix or not matrices)
    ]
    return sum(held), len(held)


def _also(best: Candidate, ranked: list[Candidate]) -> tuple[str, ...]:
    """Return the recipes that can't be told from the best one here."""
    same = [c for c in ranked if c.rank == best.rank and c.holds == best.holds]
    return tuple(c.call or c.recipe.name for c in same if c is not best)


def _look(best: Candidate | None, seen: Seen, own: Scheme | None, level: float) -> Look:
    by_shape = meant_by(best.recipe) if best is not None else None
    if best is None or by_shape is not None:
        return look(seen, own, None, level, by_shape)
    return look(seen, own, best.rows.get(seen.row.name), level)


def _row(seen: Seen, best: Candidate | None, looks: Look, verdicts: list[Verdict]) -> ExplainedRow:
    name = seen.row.name
    codes = (v.finding.code for v in verdicts if name in v.names)
    planned = None if best is None else best.rows.get(name)
    holds = None if best is None else best.holds.get(name)
    return explained_row(seen, looks, planned, holds, tuple(dict.fromkeys(codes)))


def _remedy(case: Case, verdicts: list[Verdict]) -> str:
    """Return the one line that mends all warnings, or else the worst of them."""
    lines = [
        v.finding.remedy
        for v in verdicts
        if v.finding.severity != "info" and v.finding.remedy.startswith(("gi.", "model."))
    ]
    if len(set(lines)) < 2 or any(case.look(one).text == TRAINED for one in case.seen):
        return lines[0] if lines else ""
    return case.init('"standard"')
