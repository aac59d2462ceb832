"""Whether two draws of the same parameter come from one law."""

import copy

import torch
from scipy import stats
from tests.recipes.families import Family
from torch import Tensor, nn

import goodinit as gi
from goodinit.explanation.tried import Tried
from goodinit.recipes.by_name import ALIASES

LEVEL = 1e-3  # of a false alarm, for all parameters of all families together
MOST = 20_000  # values of a parameter that are compared: enough to see 3 % of a std
COMPARISONS = 27_000  # two for each parameter of all families: more than there are


def planned(family: Family, upstream: nn.Module) -> tuple[nn.Module, gi.Plan]:
    """Upstream's model, filled with noise, as the family's recipe draws it."""
    mine = copy.deepcopy(upstream)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in mine.parameters():
            if p.requires_grad:  # no value is left that could stand, as a single 3 would
                noise = (3 if p.numel() > 1 else 0.3) * torch.randn(p.shape, generator=generator)
                noise.view(-1)[0].abs_().neg_()  # nor large ones of one sign, as a log prior's
                noise.view(-1)[-1].abs_()
                p.copy_(noise)
    recipe = gi.recipe(family.recipe, **family.options)
    return mine, gi.init_(mine, recipe, inputs=family.inputs(), seed=2)


def drawn_as_upstream(family: Family) -> gi.Plan:
    """Assert that the recipe draws a family as upstream does, and return its plan."""
    torch.manual_seed(0)
    upstream = family.build()
    mine, plan = planned(family, upstream)
    assert differences(upstream, mine) == {}
    assert not [f for f in plan.findings if f.severity == "error"]
    return plan


def identified(family: Family) -> None:
    """Assert that upstream's values show the recipe, and no parameter deviates."""
    torch.manual_seed(0)
    found = gi.identify(family.build(), family.inputs())
    name, more = ALIASES.get(family.recipe, (family.recipe, {}))
    options = {**more, **family.options}
    wanted = Tried(name, options, gi.recipe(name, **options)).call
    assert wanted in (found.call, *found.also)
    assert found.ok


def unresolved_on_meta(family: Family) -> list[gi.PlanRow]:
    """The parameters to which a plan on meta gives no value."""
    with torch.device("meta"):
        model = family.build()
    recipe = gi.recipe(family.recipe, **family.options)
    plan = gi.plan(model, recipe, inputs=family.inputs())
    return [row for row in plan if row.unresolved and not row.buffer]


def differences(upstream: nn.Module, mine: nn.Module) -> dict[str, str]:
    """Name -> what differs, of parameters that don't follow one law."""
    drawn = dict(mine.named_parameters())
    found = {name: _difference(p, drawn[name]) for name, p in upstream.named_parameters()}
    return {name: text for name, text in found.items() if text}


@torch.no_grad()
def _difference(theirs: Tensor, ours: Tensor) -> str:
    if theirs.std(correction=0) == 0 or ours.std(correction=0) == 0:
        same = torch.equal(theirs, ours)
        return "" if same else f"{theirs.flatten()[0]:g} there, {ours.flatten()[0]:g} here"
    a, b = (t.flatten()[:MOST].double() for t in (theirs, ours))
    stds = f"std {a.std():.4g} there, {b.std():.4g} here"
    if stats.ks_2samp(a.numpy(), b.numpy()).pvalue < LEVEL / COMPARISONS:
        return f"another law: {stds}"
    # KS is slow to see a narrow law. Second moments: z by the spread of the squares.
    squares = [t.square() for t in (a, b)]
    error = sum(s.var() / len(s) for s in squares) ** 0.5
    z = (squares[0].mean() - squares[1].mean()).abs() / error
    return f"another scale: {stds}" if 2 * stats.norm.sf(z.item()) < LEVEL / COMPARISONS else ""
