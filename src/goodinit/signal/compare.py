"""`compare`: one model under several recipes, each drawn with several seeds and measured."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Any, cast

from torch import nn

from goodinit._common.late import late
from goodinit._common.progress import progress_line
from goodinit._common.result import Result
from goodinit._common.text import number
from goodinit.anatomy.writable import check_module
from goodinit.applying.apply import apply_
from goodinit.applying.copies import copy_of
from goodinit.applying.seed_reuse import repeats_allowed
from goodinit.applying.trials import Memo
from goodinit.errors import ModelError, SignalError, TraceError
from goodinit.findings import SEVERITIES, Finding
from goodinit.plans.plan import Plan, plan
from goodinit.recipes.by_name import RecipeLike, as_recipe
from goodinit.recipes.recipe import Recipe
from goodinit.schemes import Scheme
from goodinit.signal.batch_axis import FewerSamples
from goodinit.signal.checks import Loss, check_count
from goodinit.signal.measure import measured, with_tried_remedies
from goodinit.signal.rows import Signal
from goodinit.trace.calls import tensors_in
from goodinit.trace.run import OR_WITHOUT, Inputs

AS_IT_IS = "as it is"  # the label of the weights that the model has
HEAD = ("recipe", "last layer", "over seeds", "samples", "gradient", "loss", "findings")


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """One recipe: medians over its seeds. A number is None where no seed has it.

    Attributes:
        name: of the recipe.
        second: second moment at the last layer.
        lowest: the least over the seeds.
        highest: the greatest.
        across_samples: cosine of two samples at the last layer.
        gradient: the gradient's squared norm at the first layer, over that at the last.
        loss: the first loss.
        seeds: how many draws were measured.
        findings: in how many of them each code was found.
    """

    name: str
    second: float | None
    lowest: float | None
    highest: float | None
    across_samples: float | None
    gradient: float | None
    loss: float | None
    seeds: int
    findings: Mapping[str, int]


@dataclass(frozen=True, repr=False)
class Comparison(Result[ComparisonRow]):
    """One model under several recipes.

    Attributes:
        signals: of each recipe, one per seed.
        plans: of each recipe.
        rows: one per recipe.
        findings: of each recipe, each code once, as the draw has it where it is gravest.

    Example:
        >>> import torch
        >>> import goodinit as gi
        >>> found = gi.compare(nn.Linear(64, 64), torch.ones(8, 64), ["lecun", "he"], seeds=2)
        >>> found, found["he"].seeds, len(found.signals["lecun"])
        (<Comparison: 2 recipes, 0 findings>, 2, 2)
    """

    signals: Mapping[str, Sequence[Signal]]
    plans: Mapping[str, Plan] = field(default_factory=dict[str, Plan])
    rows: tuple[ComparisonRow, ...] = field(init=False)
    findings: tuple[Finding, ...] = field(init=False)

    def __post_init__(self) -> None:
        signals = {name: tuple(drawn) for name, drawn in self.signals.items()}
        rows = tuple(_row(name, drawn) for name, drawn in signals.items())
        findings = tuple(f for name, drawn in signals.items() for f in _gravest(name, drawn))
        values = {"signals": signals, "rows": rows, "findings": findings}
        for name, value in values.items():  # as a frozen dataclass does itself
            object.__setattr__(self, name, value)

    def to_dict(self) -> dict[str, object]:
        """Return each recipe's signals as plain data, ready for strict JSON."""
        return {name: [s.to_dict() for s in signals] for name, signals in self.signals.items()}

    def plot(self) -> Any:
        """Return a matplotlib figure: second moments over depth, forward and backward.

        Raises:
            ReportError: matplotlib isn't installed.
        """
        return late("goodinit.report.image:inline_figure")(self)

    def to_figure(self) -> Any:
        """Return the plots of the page as a plotly figure, which a notebook shows.

        Raises:
            ReportError: plotly isn't installed.
        """
        return late("goodinit.report.plot:interactive_figure")(self)

    def to_html(self, path: str | PathLike[str]) -> None:
        """Write one HTML file that opens offline: plots over depth, findings, rows, plans.

        Raises:
            ReportError: plotly isn't installed.
            OSError: the file can't be written.
        """
        late("goodinit.report.page:write_page")(self, path)

    def to_image(self, path: str | PathLike[str]) -> None:
        """Write the second moments, forward and backward over depth, as .png, .svg or .pdf.

        Raises:
            ReportError: another ending; matplotlib isn't installed.
            OSError: the file can't be written.
        """
        late("goodinit.report.image:write_image")(self, path)

    def to_text(self, *, full: bool = False) -> str:
        """Return the verdict and a line for each recipe; ``full`` adds the findings."""
        return late("goodinit.report.signal_text:comparison_text")(self, full=full)

    def __repr__(self) -> str:
        return f"<Comparison: {len(self)} recipes, {len(self.findings)} findings>"

    def _repr_html_(self) -> str:
        return late("goodinit.report.notebook:comparison_html")(self)


def compare(
    model: nn.Module,
    inputs: Inputs,
    recipes: RecipeLike | Iterable[RecipeLike | None] | Mapping[str, RecipeLike | None],
    *,
    seeds: int = 5,
    loss: Loss | None = None,
) -> Comparison:
    """Initialize copies of a model by several recipes and seeds, and measure their signals.

    The model may be on the meta device. One copy at a time is drawn and measured; the model
    itself is not changed.

    Args:
        model: any module that can be copied.
        inputs: as for ``measure``.
        recipes: several, each as for ``plan``; the keys of a mapping name them. Those of one name
            are labeled with their options, or numbered. None: the weights as they are, measured
            once.
        seeds: number of draws of each recipe, with the seeds 0, 1, ...
        loss: as for ``measure``.

    Returns:
        One signal per recipe and seed. It prints as one line per recipe: the second moment and
        the cosine between samples at the last layer, the gradient's squared norm at the first
        layer over that at the last, the loss (all medians), and how often each finding occurred.

    Raises:
        GoodinitError: as for ``plan``, ``apply_`` and ``measure``.

    Example:
        >>> import torch
        >>> layers = [layer for _ in range(30) for layer in (nn.Linear(64, 64), nn.ReLU())]
        >>> net = nn.Sequential(*layers)
        >>> x = torch.randn(32, 64, generator=torch.manual_seed(0))
        >>> found = compare(net, x, ["he", "xavier"], seeds=2)
        >>> found.signals["he"][0].ok, [f.code for f in found.signals["xavier"][0].findings]
        (True, ['GI102'])
    """
    check_module(model, "compare")
    seeds = check_count(seeds, "seeds", 1, "a comparison")
    if any(True for _ in tensors_in(recipes)):
        raise SignalError(
            "compare takes the inputs before the recipes. Write gi.compare(model, inputs, recipes)"
        )
    by_name = _labeled(recipes)
    if not by_name:
        raise SignalError("a comparison needs at least one recipe")
    plans = _plans(model, inputs, by_name)
    tried: Memo = {}
    fewer = FewerSamples()
    signals: dict[str, list[Signal]] = {name: [] for name in by_name}
    with progress_line("comparing", seeds * len(plans) + len(by_name) - len(plans)) as step:
        for name in by_name:
            for seed in range(seeds if name in plans else 1):
                drawn = _drawn(model, plans[name], seed) if name in plans else model
                signals[name].append(_measure(drawn, inputs, loss, tried, fewer))
                step()
    return Comparison(signals, plans)


def _plans(
    model: nn.Module, inputs: Inputs, by_name: Mapping[str, Recipe | None]
) -> dict[str, Plan]:
    """Return a plan of each recipe; a comparison runs the model, and can't do without inputs."""
    try:
        return {
            name: plan(model, each, inputs=inputs)
            for name, each in by_name.items()
            if each is not None
        }
    except TraceError as error:
        if OR_WITHOUT not in str(error):
            raise
        raise SignalError(str(error).replace(OR_WITHOUT, "")) from error


def _drawn(model: nn.Module, planned: Plan, seed: int) -> nn.Module:
    """Return a copy with the planned values."""
    drawn = _copy(model)
    with repeats_allowed():
        apply_(drawn, planned, seed=seed, materialize="cpu")
    return drawn


def _measure(
    model: nn.Module, inputs: Inputs, loss: Loss | None, tried: Memo, fewer: FewerSamples
) -> Signal:
    """Measure a copy; what is known of a line that draws the whole model holds for all of them."""
    signal = measured(model, inputs, loss, fewer=fewer)
    return with_tried_remedies(signal, model, inputs, loss, shared=tried, fewer=fewer)


def _labeled(recipes: object) -> dict[str, Recipe | None]:
    """Return recipes under labels of their own: name, options, number."""
    if isinstance(recipes, Mapping):
        given = cast("Mapping[object, object]", recipes)
        if all(isinstance(name, str) for name in given):  # types make it a recipe
            return {cast("str", name): _recipe_or_none(of) for name, of in given.items()}
    single = isinstance(recipes, (str, PathLike, Recipe, Scheme, Mapping)) or recipes is None
    several: list[object] = [recipes] if single else list(cast("Iterable[object]", recipes))
    made = [_recipe_or_none(each) for each in several]
    names = [AS_IT_IS if each is None else each.name or "recipe" for each in made]
    labels: dict[str, Recipe | None] = {}
    for each, name in zip(made, names, strict=True):
        label = name
        if each is not None and each.options and names.count(name) > 1:
            label += ":" + ",".join(f"{key}={value}" for key, value in each.options.items())
        number, first = 1, label
        while label in labels:
            number += 1
            label = f"{first} #{number}"
        labels[label] = each
    return labels


def _recipe_or_none(value: object) -> Recipe | None:
    return None if value is None else as_recipe(value)


def _copy(model: nn.Module) -> nn.Module:
    try:
        return copy_of(model)
    except Exception as error:
        raise ModelError(
            f"the model can't be copied ({type(error).__name__}: {error}): draw and measure it "
            "recipe by recipe, with gi.init_ and gi.measure"
        ) from error


def summary(comparison: Comparison) -> list[tuple[str, ...]]:
    """Return a heading and the rows, as text in cells."""
    return [HEAD, *(_cells(row) for row in comparison.rows)]


def _cells(row: ComparisonRow) -> tuple[str, ...]:
    several = row.lowest is not None and row.highest is not None and row.seeds > 1
    codes = (f"{code} {count}/{row.seeds}" for code, count in row.findings.items())
    return (
        row.name,
        number(row.second),
        f"{row.lowest:.2g} to {row.highest:.2g}" if several else "",
        number(row.across_samples),
        number(row.gradient),
        number(row.loss),
        ", ".join(codes) or "none",
    )


def _row(name: str, signals: Sequence[Signal]) -> ComparisonRow:
    layers = [signal.layers for signal in signals]
    last = [rows[-1].forward for rows in layers if rows]
    seconds = [moments.second for moments in last]
    codes = Counter(code for s in signals for code in {f.code for f in s.findings})
    return ComparisonRow(
        name,
        second=_median(seconds),
        lowest=min(seconds, default=None),
        highest=max(seconds, default=None),
        across_samples=_median([moments.across_samples for moments in last]),
        gradient=_median([signal.gradient_change for signal in signals]),
        loss=_median([signal.loss for signal in signals]),
        seeds=len(signals),
        findings=dict(sorted(codes.items())),
    )


def _gravest(name: str, signals: Sequence[Signal]) -> list[Finding]:
    """Return the first of the gravest findings of each code."""
    found: dict[str, Finding] = {}
    for finding in (finding for signal in signals for finding in signal.findings):
        known = found.get(finding.code)
        if known is None or SEVERITIES.index(finding.severity) > SEVERITIES.index(known.severity):
            found[finding.code] = replace(finding, where=f"{name}: {finding.where}")
    return [*found.values()]


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
