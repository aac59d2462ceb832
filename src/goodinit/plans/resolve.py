"""Rules against rows: which rule wins, and its scheme with numbers for that row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import nn

from goodinit.anatomy.held import recorded
from goodinit.anatomy.names import Slot, type_of, walk
from goodinit.anatomy.rows import Block, Row
from goodinit.anatomy.shared_memory import overlapping
from goodinit.anatomy.writable import (
    check_writable,
    fixes_scale,
    is_number,
    is_shard,
    normalizes,
)
from goodinit.errors import (
    DtypeError,
    ExpandedParameterError,
    FanError,
    ParametrizationError,
    SchemeError,
    UncoveredError,
    UnusedRuleError,
)
from goodinit.plans.authors_value import authors_reason, gates_reason
from goodinit.plans.defaults import torch_default
from goodinit.plans.keep import Growth, KeptRows, grow_blocks
from goodinit.plans.rows import PlanBlock, PlanRow, common, renamed
from goodinit.plans.together import with_attentions, with_experts
from goodinit.plans.unused_rules import unused_message
from goodinit.recipes.deferred import Deferred
from goodinit.recipes.reasons import NO_LAW, NOTHING_KNOWN, after_function
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import Rule, Selector
from goodinit.schemes import (
    Keep,
    Normal,
    Ones,
    Scaled,
    Scheme,
    Site,
    TorchDefault,
    TruncatedNormal,
    Zeros,
)
from goodinit.schemes.complex_numbers import complex_parts
from goodinit.schemes.dtype_range import check_range
from goodinit.schemes.grown import DropUnits, FromOld
from goodinit.schemes.variance import share_gain

RUNNING: dict[str, Scheme] = {
    "running_mean": Zeros(),
    "running_var": Ones(),
    "num_batches_tracked": Zeros(),
}
Wins = dict[int, int]
"""How many blocks each rule won, by its number; a rule that matched none is absent."""

Default = Callable[[Slot], Scheme | None]


def resolve(
    model: nn.Module,
    rows: tuple[Row, ...],
    slots: list[Slot],
    recipe: Recipe,
    kept: KeptRows,
    how: str,
) -> tuple[tuple[PlanRow, ...], Wins]:
    """Return the planned rows, and how many blocks each rule won.

    Raises:
        RecipeError: an unused rule, an uncovered parameter.
        SchemeError: a scheme that doesn't fit.
        ModelError: a parameter that can't be written.
    """
    by_name = {slot.name: slot for slot in slots}
    matcher = Matcher(recipe)
    default = torch_laws(model)
    trains = any(not row.frozen and not row.buffer for row in rows)
    planned = tuple(
        resolve_row(
            row,
            by_name[row.name],
            matcher,
            default,
            own=authors_reason(row, trains),
            held=kept.why(row.name),
            grown=kept.grown.get(row.name),
        )
        for row in rows
    )
    for number, rule in enumerate(recipe.rules):
        if not rule.optional and number not in matcher.wins:
            raise UnusedRuleError(unused_message(rule, rows, how))
    _check_separate(planned, slots)
    return with_attentions(with_experts(planned)), matcher.wins


def _check_separate(rows: tuple[PlanRow, ...], slots: list[Slot]) -> None:
    """Raise where two rows are drawn into the same memory: the second draw changes the first."""
    drawn = {row.name for row in rows if not row.kept}
    for first, second in overlapping(slot for slot in slots if slot.name in drawn):
        raise ExpandedParameterError(
            f"{first.name} and {second.name} overlap in memory, so that drawing one changes the "
            f"other: give each its own memory, nn.Parameter(p.detach().clone()), or name one of "
            f"them in keep="
        )


class Matcher:
    """Finds the rules that match, and counts those that win.

    The rules that match by type, kind, part or block are remembered for all rows equal in these,
    so that a row costs only the rules that match by name.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.rules = recipe.rules
        self.wins: Wins = {}
        self._by_name: list[tuple[int, Selector]] = []
        self._by_facets: list[int] = []
        for number, rule in enumerate(self.rules):
            if rule.where.aspects & {"name", "attr", "row"}:
                self._by_name.append((number, rule.where))
            else:
                self._by_facets.append(number)
        self._known: dict[object, list[int]] = {}
        self._fit: set[tuple[Scheme, Site, torch.dtype]] = set()
        self.planned: dict[object, PlanRow] = {}  # by what _alike returns

    def match(self, row: Row, block: Block) -> list[int]:
        """Return the numbers of the rules that match, in order; the last one wins."""
        f = row.facets
        facets = (f.kind, f.part, f.activation, f.ends_residual, f.last_norm, f.goes_with)
        role = f.adapter.role if f.adapter else ""
        key = (row.owner, *facets, role, block.name, row.buffer)
        found = self._known.get(key)
        if found is None:
            found = [n for n in self._by_facets if rule_matches(self.rules[n], row, block)]
            self._known[key] = found
        named = [n for n, where in self._by_name if where.matches(row, block)]
        if named and row.buffer:
            named = [n for n in named if self.rules[n].where.reaches_buffers]
        matched = sorted(found + named) if named else found
        for number in matched:
            self.wins.setdefault(number, 0)
        if matched:
            self.wins[matched[-1]] += 1
        return matched

    def check(self, scheme: Scheme, site: Site, dtype: torch.dtype) -> None:
        """Raise if a scheme doesn't fit; equal layers are checked once."""
        if (scheme, site, dtype) not in self._fit:
            scheme.check(site)
            check_range(scheme, site, dtype)
            self._fit.add((scheme, site, dtype))


def rule_matches(rule: Rule, row: Row, block: Block) -> bool:
    """Return whether a rule applies to a block; to a buffer only where it names buffers."""
    return (not row.buffer or rule.where.reaches_buffers) and rule.where.matches(row, block)


def resolve_row(
    row: Row,
    slot: Slot,
    matcher: Matcher,
    default: Default,
    *,
    own: str = "",
    held: str = "",
    grown: Growth | None = None,
) -> PlanRow:
    """Return the plan for one row.

    ``own`` says why its class's value stands against rules of the library; a checkpoint may have
    all of it (``held`` says so) or a part.
    """
    sites = row.sites()
    matched = [matcher.match(row, block) for block, _ in sites]
    rules = [matcher.rules[numbers[-1]] if numbers else None for numbers in matched]
    owns = [own or gates_reason(row, block, slot.tensor) for block, _ in sites]
    chosen = [
        _choose(row, slot, rule, held, reason) for rule, reason in zip(rules, owns, strict=True)
    ]
    if not slot.tensor.numel() and not is_shard(slot):
        chosen = [(Keep(), "holds no values") for _ in chosen]
    if not all(isinstance(scheme, Keep) for scheme, _ in chosen):
        check_writable(slot)
        if not row.buffer:
            _check_dtype(row.name, row.dtype)
    key = row.name if held or grown is not None else _alike(row, slot, rules, matched, owns)
    if key in matcher.planned:
        return renamed(matcher.planned[key], row.name)
    blocks: list[PlanBlock] = []
    whys: list[str] = []
    for (block, site), (scheme, why), rule in zip(sites, chosen, rules, strict=True):
        law, because = scheme, why
        if isinstance(scheme, TorchDefault):
            known = default(slot)
            if known is None:
                because = f"{NO_LAW} in {type_of(slot.owner).__name__}"
            law = Keep() if known is None else known
        library = rule is not None and rule.optional
        numbers, more = _numbers_for(row, block, site, law, library, matcher)
        blocks.append(PlanBlock(block.name, block.box, block.fan_in, block.fan_out, numbers))
        whys += [because, more]
    blocks = _grown(row, blocks, grown, matcher)
    if fix := fixes_scale(slot):
        whys.append(f"{fix}, so that the scale of the draw is lost")
    if not all(isinstance(b.scheme, Keep) for b in blocks):
        whys.append(row.facets.doubt)
    if grown is None:
        _check_norm(row, slot, blocks, sites)
    lost = {matcher.rules[n].text: None for numbers in matched for n in numbers[:-1]}
    texts = {rule.text: None for rule in rules if rule is not None and not held}
    planned = _plan_row(row, slot, blocks, tuple(lost), list(texts), whys)
    matcher.planned[key] = planned
    if grown is None:
        return planned
    kept = 0 if grown.copies else grown.shape[0]  # the checkpoint's rows stay
    zero_rows = tuple(number for number in planned.zero_rows if number >= kept)
    return replace(planned, zero_rows=zero_rows, grown_from=grown.shape)


def _alike(
    row: Row,
    slot: Slot,
    rules: Sequence[Rule | None],
    matched: Sequence[Sequence[int]],
    owns: Sequence[str],
) -> object:
    """Return what equal layers have in common, whose rows differ by their names alone.

    The name where something else of the slot counts: hooks, aliases, values that a module has.
    """
    if slot.how != "plain" or row.buffer or row.tied or row.stored or 0 in row.shape:
        return row.name
    if any(rule is None or isinstance(rule.scheme, TorchDefault) for rule in rules):
        return row.name
    lost = slot.tensor.is_meta and recorded(slot.tensor) is None
    own = (row.shape, row.dtype, row.owner, row.facets, row.frozen, lost)
    return (*own, tuple(owns), tuple(map(tuple, matched)))


def _check_dtype(name: str, dtype: torch.dtype) -> None:
    """Refuse to draw integers and booleans."""
    if not is_number(dtype):
        raise DtypeError(f"{name} is {dtype}, which has no law to draw from: {_leave(name)}")


def _leave(name: str) -> str:
    return f"keep={name!r} leaves it alone, or give it a rule with gi.Keep()"


def _grown(
    row: Row, blocks: list[PlanBlock], grown: Growth | None, matcher: Matcher
) -> list[PlanBlock]:
    """Return the blocks of a parameter, split where a checkpoint's values end."""
    _check_grown(row, blocks, grown)
    if grown is None:
        return blocks
    blocks = grow_blocks(blocks, grown)
    for b in blocks:
        site = Site(b.shape, row.facets.layout, b.fan_in, b.fan_out)
        matcher.check(b.scheme, site, row.dtype)
    return blocks


def _check_grown(row: Row, blocks: list[PlanBlock], grown: Growth | None) -> None:
    """Refuse a scheme for new rows where a checkpoint brings no old ones."""
    for block in blocks:
        stacked = isinstance(block.scheme, DropUnits) and len(row.shape) > 2
        if stacked and not (grown is not None and grown.copies):
            raise SchemeError(
                f"{row.name}: {block.scheme!r} is for a stack of copies of one layer, and a "
                f"checkpoint brings none: gi.load_(model, checkpoint, {{{row.name!r}: ...}})"
            )
        if not isinstance(block.scheme, FromOld):
            continue
        if grown is None or grown.copies or row.facets.blocks:
            raise SchemeError(
                f"{row.name}: {block.scheme!r} is for new rows beside a checkpoint's old ones, and "
                f"there are none: gi.load_(model, checkpoint, {{{row.name!r}: ...}}), with a "
                f"checkpoint that has fewer rows"
            )
        try:
            block.scheme.check_grown(grown.shape, tuple(row.shape))
        except SchemeError as error:
            raise SchemeError(f"{row.name}: {error}") from error


def _plan_row(
    row: Row,
    slot: Slot,
    blocks: list[PlanBlock],
    lost: tuple[str, ...],
    rules: list[str],
    whys: list[str],
) -> PlanRow:
    f = row.facets
    scheme = common([block.scheme for block in blocks])
    fans_in, fans_out = {b.fan_in for b in blocks}, {b.fan_out for b in blocks}
    return PlanRow(
        name=row.name,
        shape=tuple(row.shape),
        dtype=row.dtype,
        owner=row.owner.__name__,
        kind=f.kind,
        part=f.part,
        scheme=scheme,
        blocks=tuple(blocks) if len(blocks) > 1 else (),  # a single block has the fans of the whole
        layout=f.layout,
        fan_in=fans_in.pop() if len(fans_in) == 1 else None,
        fan_out=fans_out.pop() if len(fans_out) == 1 else None,
        layer=f.layer,
        depth=f.depth,
        activation=f.activation,
        ends_residual=f.ends_residual,
        rule="\n".join(rules),
        why="; ".join(dict.fromkeys(why for why in whys if why)),
        shadowed=lost,
        tied=row.tied,
        stored=row.stored,
        zero_rows=f.zero_rows,
        guessed=f.guessed or (normalizes(slot) and bool(fixes_scale(slot))),
        frozen=row.frozen,
        buffer=row.buffer,
        unresolved=isinstance(scheme, Keep)
        and slot.tensor.is_meta
        and recorded(slot.tensor) is None,
    )


def _choose(row: Row, slot: Slot, rule: Rule | None, held: str, own: str) -> tuple[Scheme, str]:
    """Return the scheme for a block, as the rule has it, and why."""
    if held:
        return Keep(), held
    if rule is not None:
        if own and rule.library:
            return Keep(), own
        if is_number(row.dtype) or row.buffer or not rule.optional:
            left = rule.library and rule.why == NOTHING_KNOWN
            return rule.scheme, after_function(row.facets.evidence) if left else rule.why
        return Keep(), f"{row.dtype} isn't floating, so nothing is drawn"
    if row.buffer:
        if row.facets.kind == "norm" and slot.attr in RUNNING:
            return RUNNING[slot.attr], "statistics start again"
        return Keep(), "the module's own buffer"
    raise UncoveredError(
        f"no rule of the recipe covers {row.name}, a {row.facets.kind} {row.facets.part} of "
        f"{row.owner.__name__} with shape {tuple(row.shape)}: add a rule for it, or a general "
        f"one first, Rule(sel.all(), ...); gi.Keep() leaves it as it is"
    )


def _numbers_for(
    row: Row, block: Block, site: Site, scheme: Scheme, library: bool, matcher: Matcher
) -> tuple[Scheme, str]:
    """Return the scheme with numbers for this row, and remarks about it."""
    why = ""
    if isinstance(scheme, Deferred):
        scheme, why = scheme.on(row)
    f = row.facets
    facts: dict[str, float | None] = {"depth": f.depth, "layer": f.layer, "width": f.width}
    facts |= {"fan_in": site.fan_in, "fan_out": site.fan_out}
    if library and f.depth is None and _scales_by("depth", scheme):
        facts["depth"] = 1.0  # there is at least one layer
        why = "depth unknown, taken as 1"
    if library and f.layer is None and _scales_by("layer", scheme):
        facts["layer"] = 0.0
        why = "layer unknown, taken as the first"
    try:
        if isinstance(scheme, Scaled):
            scheme = scheme.resolve(facts)
        if f.factors > 1 and (law := share_gain(scheme, f.factors)) is not scheme:
            scheme, why = law, why or f"{f.factors} weights share its gain"
        if row.dtype.is_complex:
            complex_parts(scheme)
        matcher.check(scheme, site, row.dtype)
        _refuse_equal_units(row, scheme)
    except DtypeError as error:
        raise DtypeError(f"{row.name} is {row.dtype}: {error}. {_leave(row.name)}") from error
    except SchemeError as error:
        at = f"{row.name} (block {block.name})" if block.name else row.name
        fix = ""
        if isinstance(error, FanError) and f.part == "bias":
            weights = row.name.removesuffix("bias") + "weight"
            fix = f". It is a bias. Write {{{weights!r}: gi.{scheme!r}, {row.name!r}: gi.Zeros()}}"
        raise type(error)(f"{at}: {error}{fix}") from error
    return scheme, why


def _scales_by(fact: str, scheme: Scheme) -> bool:
    return isinstance(scheme, Scaled) and fact in dict(scheme.powers)


def _refuse_equal_units(row: Row, scheme: Scheme) -> None:
    """Refuse a std of 0 for a weight: it is a slip, such as torch's order (mean, std).

    All units of the layer would be the same, and stay so. ``Constant`` says that it is meant.
    """
    if not isinstance(scheme, (Normal, TruncatedNormal)) or scheme.std > 0:
        return
    if row.facets.layout is not None and row.facets.part != "bias":
        raise SchemeError(
            f"{scheme!r} gives all units of this layer the same weights: gi.Normal(std=0.02) "
            f"draws them, gi.Constant({scheme.mean:g}) says that this is meant"
        )


def _check_norm(
    row: Row, slot: Slot, blocks: list[PlanBlock], sites: tuple[tuple[Block, Site], ...]
) -> None:
    if not normalizes(slot):
        return
    for block, (_, site) in zip(blocks, sites, strict=True):
        if block.scheme.moments(site) == (0.0, 0.0):
            raise ParametrizationError(
                f"{row.name} is divided by its own norm, and with {block.scheme!r} that is 0/0: "
                f"draw it from a distribution, or set the factor that scales it to 0"
            )


def torch_laws(model: nn.Module) -> Default:
    """Return a function from a slot to torch's own law; an ``nn.Transformer`` above changes it."""
    tops = [m for _, m in walk(model) if isinstance(m, nn.Transformer)]
    inside = {id(m): (top,) for top in tops for _, m in walk(top)}
    return lambda slot: torch_default(slot.owner, slot.attr, inside.get(id(slot.owner), ()))
