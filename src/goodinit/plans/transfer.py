"""muP and CompleteP: a plan whose laws are those of a smaller model, grown by its width."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import nn

from goodinit._common.text import several
from goodinit.anatomy import Anatomy, read
from goodinit.anatomy.multipliers import multipliers
from goodinit.anatomy.rows import Row
from goodinit.errors import GoodinitError, RecipeError, nearest
from goodinit.findings import Finding
from goodinit.plans.base_by_width import shrunk
from goodinit.plans.growth import Growth, common_rates, growth_of
from goodinit.plans.keep import KeptRows
from goodinit.plans.resolve import resolve
from goodinit.plans.rows import PlanBlock, PlanRow, Rates, common
from goodinit.plans.transfer_findings import Models, find_in_transfer
from goodinit.recipes.base import Base
from goodinit.recipes.recipe import Recipe
from goodinit.schemes import Constant, Scheme, TorchDefault
from goodinit.schemes.dtype_range import check_range
from goodinit.schemes.scheme import FromValues
from goodinit.streams.part import whole_box
from goodinit.trace import Inputs


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Two models: by what factors the larger one is deeper, and multiplies each weight's results.

    Attributes:
        sgd: whether SGD's rates are known; CompleteP is published for Adam.
        layers: number of layers over the base's.
        contract: number after each product, over the base's.
        lookup: number after each row that is looked up, over the base's.
        closing: modules whose norm ends a residual branch.
        within: modules of one weight of a branch, where layers aren't modules.
    """

    sgd: bool
    layers: float
    contract: Mapping[str, float]
    lookup: Mapping[str, float]
    closing: frozenset[str]
    within: frozenset[str]


def transferred(
    model: nn.Module,
    rows: tuple[PlanRow, ...],
    anatomy: Anatomy,
    recipe: Recipe,
    inputs: Inputs | None,
    prefix: str,
) -> tuple[tuple[PlanRow, ...], tuple[Finding, ...]]:
    """Return the rows with the laws and rates of the base model, and what no draw can do.

    Raises:
        RecipeError: the base model can't be built or run, or has other parameters.
    """
    base = recipe.base
    if base is None:
        return rows, ()
    if base.of is None:
        same = Rates(1.0, 1.0 if base.rule == "mup" else None, 1.0)
        return tuple(row if row.buffer else replace(row, rates=same) for row in rows), ()
    if isinstance(base.of, int):
        small, smaller = model, shrunk(anatomy, base)
        _refuse_torch_default(recipe, rows)
    else:
        small, smaller = _read_base(base, inputs, prefix)
    before = _plan_base(small, smaller, recipe)
    others = _counterparts(rows, before, base)
    found = _compare(base, rows, anatomy, others, smaller)
    grown = tuple(
        row if row.buffer else _grown(row, others[row.name], found, known)
        for row, known in zip(rows, anatomy.rows, strict=True)
    )
    models = Models(model, small, anatomy, smaller, {n: r.name for n, r in others.items()})
    return grown, tuple(find_in_transfer(grown, models, found.layers, base))


def _read_base(base: Base, inputs: Inputs | None, prefix: str) -> tuple[nn.Module, Anatomy]:
    try:
        model = base.build(meta=True)
        anatomy = read(model, inputs, prefix)
        if anatomy.how == "module types" and inputs is not None:  # it needs values to run
            model = base.build(meta=False)
            anatomy = read(model, inputs, prefix)
    except RecipeError:  # says so itself
        raise
    except GoodinitError as error:
        raise RecipeError(f"{base.rule}: the base model: {error}") from error
    return model, anatomy


def _plan_base(model: nn.Module, anatomy: Anatomy, recipe: Recipe) -> tuple[PlanRow, ...]:
    plain = Recipe(recipe.rules, recipe.name)
    slots = list(anatomy.slots)
    try:
        return resolve(model, anatomy.rows, slots, plain, KeptRows(), anatomy.how)[0]
    except GoodinitError as error:
        raise RecipeError(f"{recipe.name}: the base model: {error}") from error


def _refuse_torch_default(recipe: Recipe, rows: tuple[PlanRow, ...]) -> None:
    """Raise where a law depends on a module, which can't be made smaller from a width alone."""
    texts = {rule.text for rule in recipe.rules if isinstance(rule.scheme, TorchDefault)}
    for row in rows:
        if row.std and not texts.isdisjoint(row.rule.split("\n")):
            raise RecipeError(
                f"{recipe.name}: {row.name} is drawn as torch does, and what that is at the base's "
                f"width isn't known from a number: pass base=lambda: Net(width=64)"
            )


def _counterparts(
    rows: tuple[PlanRow, ...], before: tuple[PlanRow, ...], base: Base
) -> dict[str, PlanRow]:
    """Return the base's row for each parameter: of that name or, in a deeper model, of a layer's.

    Raises:
        RecipeError: the base has none, or several that differ.
    """
    own = [row for row in before if not row.buffer]
    by_name = {name: row for row in own for name in (row.name, *row.tied)}
    alike: defaultdict[str, list[PlanRow]] = defaultdict(list)
    for row in own:
        for pattern in _patterns(row.name):
            alike[pattern].append(row)
    found: dict[str, PlanRow] = {}
    owners: dict[str, str] = {}  # a bias goes where the weight of its module went
    for row in rows:
        if not row.buffer:
            owner, _, attr = row.name.rpartition(".")
            beside = by_name.get(f"{owners[owner]}.{attr}") if owner in owners else None
            names = (row.name, *row.tied)
            candidates = [by_name[name] for name in names if name in by_name][:1]
            if beside is not None:
                candidates = [beside]
            elif base.rule == "completep" and _plays(row) not in map(_plays, candidates):
                others = [one for pattern in _patterns(row.name) for one in alike[pattern]]
                candidates = [one for one in others if _plays(one) == _plays(row)]
            found[row.name] = _only(row, candidates, base, by_name)
            owners.setdefault(owner, _owner(found[row.name].name))
    used = {row.name for row in found.values()}
    extra = [row.name for row in own if row.name not in used]
    if extra and base.rule == "mup":
        raise RecipeError(f"mup: the base model has {several(extra)}, which this one doesn't have")
    return found


def _only(
    row: PlanRow, candidates: list[PlanRow], base: Base, known: Mapping[str, PlanRow]
) -> PlanRow:
    """Return the only counterpart, or the first of several that are drawn alike."""
    if not candidates or any(len(one.shape) != len(row.shape) for one in candidates):
        near = nearest(row.name, known)
        depth = "" if base.rule == "completep" else ", or for other depths use 'completep'"
        raise RecipeError(
            f"{base.rule}: the base model has no parameter like {row.name}, of shape "
            f"{row.shape}.{near} It must differ in its sizes alone{depth}"
        )
    first = candidates[0]
    for one in candidates:
        if (one.shape, one.parts()) != (first.shape, first.parts()):
            raise RecipeError(
                f"{base.rule}: {row.name} could be {first.name} or {one.name} of the base, "
                f"which are drawn in different ways: give the base as many layers"
            )
    return first


def _patterns(name: str) -> list[str]:
    """Return a name with each of its numbers as a star, one at a time.

    >>> _patterns("layers.3.0.weight")
    ['layers.*.0.weight', 'layers.3.*.weight']
    """
    parts = name.split(".")
    stars = [n for n, part in enumerate(parts) if part.isdigit()]
    return [".".join([*parts[:n], "*", *parts[n + 1 :]]) for n in stars]


def _plays(row: PlanRow) -> tuple[str, str, bool | None]:
    """Return what a parameter does; in a row of layers an index alone doesn't tell."""
    return row.kind, row.part, row.ends_residual


def _compare(
    base: Base,
    rows: tuple[PlanRow, ...],
    anatomy: Anatomy,
    others: Mapping[str, PlanRow],
    smaller: Anatomy,
) -> _Comparison:
    layers = 1.0
    if base.rule == "completep":
        deep = max((row.depth or 1 for row in rows), default=1)
        shallow = max((row.facets.depth or 1 for row in smaller.rows), default=1)
        layers = deep / shallow
        ends = any(row.ends_residual or (row.kind, row.part) == ("norm", "out") for row in rows)
        if layers != 1 and not ends:
            raise RecipeError(
                "completep: it isn't known which weights end a residual branch: pass inputs="
            )

    def ratios(role: str) -> dict[str, float]:
        after, before = multipliers(anatomy, role), multipliers(smaller, role)
        return {
            name: abs(number / before[other.name])
            for name, other in others.items()
            if (number := after.get(name)) and before.get(other.name)
        }

    closing = {_owner(row.name) for row in rows if (row.kind, row.part) == ("norm", "out")}
    sgd = base.rule == "mup"
    within = {_owner(row.name) for row in anatomy.rows if row.facets.branch and not row.raw}
    numbers = ratios("contract"), ratios("lookup")
    return _Comparison(sgd, layers, *numbers, frozenset(closing), frozenset(within))


def _grown(row: PlanRow, base: PlanRow, found: _Comparison, known: Row) -> PlanRow:
    """Return a row with the base's laws, scaled by what grew, and with its learning rates."""
    ends = row.ends_residual is True or known.facets.goes_with == "end"
    ends = ends or known.facets.last_norm
    ends = ends or (row.kind == "norm" and _owner(row.name) in found.closing)
    table = row.layout is not None and row.layout.lookup
    factor = 1.0 if table and row.part != "head" else found.contract.get(row.name, 1.0)
    factor = found.lookup.get(row.name, 1.0) if table and row.part == "head" else factor
    smaller = base.parts()
    by_name = {other.name: other for other in smaller}
    blocks: list[PlanBlock] = []
    rates: list[Rates] = []
    texts: dict[str, None] = {}
    for number, block in enumerate(row.parts()):
        if len(smaller) == len(row.parts()):
            other = smaller[number]
            growth = growth_of(row, block, base, other, factor)
        else:  # some rows are a checkpoint's, or the base has fewer experts
            other = by_name.get(block.name, smaller[0])
            growth = growth_of(row, _whole(row), base, _whole(base), factor)
        growth = growth._replace(branch=1 / found.layers if ends else 1.0)
        scheme, doubt = _scaled(row, block, base, other, growth, known.facets.neutral)
        blocks.append(replace(block, scheme=scheme))
        branch = known.facets.branch is not None or _owner(row.name) in found.within
        inside = (row.layer is not None or branch) and not ends
        rates.append(growth.rates(found.layers, inside, found.sgd))
        texts |= {growth.text(): None} | ({doubt: None} if doubt else {})
    return replace(
        row,
        scheme=common([block.scheme for block in blocks]),
        blocks=tuple(blocks) if row.blocks else (),
        rates=common_rates(rates),
        why="; ".join(filter(None, [row.why, *texts])),
    )


def _whole(row: PlanRow) -> PlanBlock:
    return PlanBlock("", whole_box(row.shape), row.fan_in, row.fan_out, row.parts()[0].scheme)


def _scaled(
    row: PlanRow,
    block: PlanBlock,
    base: PlanRow,
    other: PlanBlock,
    growth: Growth,
    neutral: float | None,
) -> tuple[Scheme, str]:
    """Return a block's scheme with the standard deviation that muP asks for, and a doubt."""
    scheme = block.scheme
    if isinstance(scheme, FromValues) or growth.role == "unknown":
        return scheme, ""
    if isinstance(other.scheme, FromValues):
        return scheme, "the base keeps its value: drawn as if this were the base"
    site = row.site(block)
    (mean, std), (base_mean, base_std) = (
        scheme.moments(site),
        other.scheme.moments(base.site(other)),
    )
    shift = 1 - neutral if row.kind == "norm" and row.part == "out" and neutral is not None else 0.0
    if not std and shift:  # x * (1 + w)
        made: Scheme = Constant((base_mean + shift) * growth.std - shift)
    else:
        size, base_size = (std, base_std) if std else (mean, base_mean)
        ratio = base_size * growth.std / size if size else 1.0
        made = scheme if abs(ratio - 1) < SAME_LAW else scheme.times(ratio)
    made.check(site)
    check_range(made, site, row.dtype)
    return made, ""


SAME_LAW = 1e-9  # of a ratio of two standard deviations: rounding


def _owner(name: str) -> str:
    return name.rpartition(".")[0]
