"""A layout: a small module in which a parameter meets the data in some way, and what is right.

The right answer is derived by hand from a definition, never from what the library says:

- ``gain``: under LeCun E[y^2] = E[x^2] through ``module(x)``, measured over draws and inputs.
- ``keeps``: the parameters named hold after ``init_`` what they held before.
- ``facts``: the rows named have these facets.
- ``holds``: a statement of its own.

A layout is *right*, *marked* (the answer is wrong or missing, and the row says that it is
guessed) or *wrong* (and sure of it). An error that a module causes which runs is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

import goodinit as gi

SEEDS = 16
FEWEST = 8  # seeds; the others are drawn where the standard error of these is above LARGE
LARGE = 0.03
SIGMAS = 5.0
SHARE = 0.05  # The library measures shares of products of parameters itself, on a few draws.
TOO_NOISY = 0.5  # A test that can't tell half from one says nothing.

NOT_TRUE = object()  # False, or None: nobody knows.

Make = Callable[[], nn.Module]
LAYOUTS: dict[str, Layout] = {}


@dataclass(frozen=True)
class Verdict:
    """What a layout got: "right", "marked" or "wrong"; whether its rows are sure; and why."""

    answer: str
    sure: bool
    why: str


@dataclass(frozen=True)
class Layout:
    """One layout. ``draw`` returns inputs of second moment 1, anew for each seed.

    With ``mark_is_enough`` a gain isn't measured where a row says that it is guessed: no ratio
    would be wrong there.
    """

    name: str
    kind: str
    make: Make
    judge: Callable[[Layout], Verdict]
    draw: Callable[[], tuple[Any, ...]]
    undecidable: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    mark_is_enough: bool = False

    def verdict(self) -> Verdict:
        """Judge with random numbers of its own."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(sum(map(ord, self.name)))
            try:
                return self.judge(self)
            except AssertionError:
                raise  # this file's own
            except Exception as error:  # any error is the library's: the module runs
                if isinstance(error, self.options.get("refused", ())):
                    return Verdict("right", True, "refused")
                return Verdict("wrong", True, f"{type(error).__name__}: {error}")


class Net(nn.Module):
    """Parameters, buffers and layers, and a function of these and the inputs."""

    def __init__(self, function: Callable[..., Any], **parts: object) -> None:
        super().__init__()
        for name, part in parts.items():
            if isinstance(part, Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, nn.ModuleList(part) if isinstance(part, list) else part)
        self.function = function

    def forward(self, *inputs: Any) -> Any:
        return self.function(self, *inputs)


def raw(*shape: int, std: float = 0.02) -> nn.Parameter:
    """A parameter as its author drew it: small noise."""
    return nn.Parameter(std * torch.randn(shape))


def full(value: float, *shape: int) -> nn.Parameter:
    """A parameter that holds one constant."""
    return nn.Parameter(torch.full(shape, float(value)))


def inputs_of(given: Any) -> Callable[[], tuple[Any, ...]]:
    """Shapes stand for N(0, 1), functions for what they return."""
    if callable(given):
        return lambda: one if isinstance(one := given(), tuple) else (one,)
    shapes = [given] if isinstance(given[0], int) else given
    return lambda: tuple(torch.randn(s) if isinstance(s, tuple) else s() for s in shapes)


def _layout(judge: Callable[[Layout], Verdict], kind: str, x: Any, **options: Any):
    undecidable = options.pop("undecidable", False)

    def add(make: Make) -> Make:
        name = f"{kind}.{make.__name__}"
        assert name not in LAYOUTS, name
        LAYOUTS[name] = Layout(name, kind, make, judge, inputs_of(x), undecidable, options)
        return make

    return add


def gain(kind: str, x: Any, **options: Any):
    """E[y^2] / E[x^2] = 1.

    Args:
        kind: letter.
        x: shape or shapes of the inputs, of which the first is the signal; or a function.
        options: ``of``, what part of the output counts; ``accepts``, other ratios that are
            right; ``keep``, names that must also be kept; ``undecidable``; ``recipe``; ``refused``,
            the error that is right as well.
    """
    return _layout(judge_gain, kind, x, **options)


def keeps(kind: str, x: Any, *names: str, **options: Any):
    """The parameters named are kept, with inputs and without (if ``blind``)."""
    return _layout(judge_kept, kind, x, names=names, **options)


def facts(kind: str, x: Any, want: dict[str, dict[str, Any]], **options: Any):
    """The rows named have these facets; names may be patterns with ``*``."""
    return _layout(judge_facts, kind, x, want=want, **options)


def holds(kind: str, x: Any, check: Callable[[Layout], Verdict], **options: Any):
    """Something of its own."""
    return _layout(check, kind, x, **options)


def second(x: Tensor) -> float:
    return x.detach().abs().double().square().mean().item()


def sure(plan: gi.Plan, names: Iterator[str] | tuple[str, ...] = ()) -> bool:
    """Whether no row of a parameter, or of those named, is guessed."""
    wanted = set(names)
    rows = [row for row in plan if row.part != "buffer" and (not wanted or row.name in wanted)]
    return not any(row.guessed for row in rows)


def ratios(layout: Layout, module: nn.Module, plan: gi.Plan) -> Tensor:
    """E[y^2] / E[x^2] of each seed."""
    of = layout.options.get("of", lambda y: y)
    found: list[float] = []
    for seed in range(layout.options.get("seeds", SEEDS)):
        if seed == FEWEST and standard_error(torch.tensor(found)) < LARGE:
            break
        gi.apply_(module, plan, seed=seed)
        inputs = layout.draw()
        # Ids look rows up: rows of second moment 1 are right.
        reference = 1.0 if is_index(inputs[0]) else second(inputs[0])
        with torch.no_grad():
            found.append(second(of(module(*inputs))) / reference)
    return torch.tensor(found)


def standard_error(found: Tensor) -> float:
    return found.std().item() / len(found) ** 0.5


def is_index(x: Tensor) -> bool:
    return not (x.is_floating_point() or x.is_complex())


def judge_gain(layout: Layout) -> Verdict:
    module = layout.make()
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    plan = gi.plan(module, layout.options.get("recipe", "lecun"), inputs=layout.draw())
    if layout.mark_is_enough and not sure(plan):
        gi.apply_(module, plan, seed=0)
        module(*layout.draw())
        return Verdict("marked", False, "not measured")
    found = ratios(layout, module, plan)
    mean, error = found.mean().item(), standard_error(found)
    allowed = SIGMAS * error + (0 if layout.kind == "plain" else SHARE)
    assert allowed < TOO_NOISY * max(mean, 1), f"{layout.name}: {mean:.3g} +- {allowed:.2g}"
    lost = [
        name
        for name in layout.options.get("keep", ())
        if not torch.equal(dict(module.named_parameters())[name], before[name])
    ]
    right = any(abs(mean - want) <= allowed for want in layout.options.get("accepts", (1.0,)))
    why = f"{mean:.3g} +- {allowed:.2g}" + (f", {', '.join(lost)} overwritten" if lost else "")
    return graded(right and not lost, sure(plan), why)


def judge_kept(layout: Layout) -> Verdict:
    """Both ways, by both recipes: the worst counts."""
    worst = Verdict("right", True, "")
    order = ("right", "marked", "wrong")
    for inputs in (layout.draw(), None)[: 1 + layout.options.get("blind", True)]:
        for recipe in layout.options.get("recipes", ("standard", "lecun")):
            module = layout.make()
            tensors = dict(module.named_parameters())
            names = layout.options["names"]
            before = {name: tensors[name].detach().clone() for name in names}
            plan = gi.init_(module, recipe, inputs=inputs, seed=0)
            lost = [name for name in names if not torch.equal(tensors[name], before[name])]
            told = f"{', '.join(lost)} -> {', '.join(plan[n].kind for n in lost)}"
            why = f"{told} {'with' if inputs else 'without'} inputs, {recipe}"
            found = graded(not lost, sure(plan, tuple(lost or names)), why if lost else "")
            if order.index(found.answer) > order.index(worst.answer):
                worst = found
    return worst


def judge_facts(layout: Layout) -> Verdict:
    module = layout.make()
    plan = gi.plan(module, "standard", inputs=layout.draw())
    wrong, unknown = [], []
    for name, want in layout.options["want"].items():
        row = plan[name]
        for facet, value in want.items():
            got = getattr(row, facet)
            if got is True if value is NOT_TRUE else got != value:
                (unknown if got is None or row.guessed else wrong).append(f"{name} {facet} {got}")
    if wrong:
        return Verdict("wrong", True, "; ".join(wrong))
    return graded(not unknown, not unknown, "; ".join(unknown))


def graded(right: bool, certain: bool, why: str) -> Verdict:
    answer = "right" if right else "wrong" if certain else "marked"
    return Verdict(answer, certain, why)
