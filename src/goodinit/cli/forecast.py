"""``goodinit forecast``."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

import goodinit as gi
from goodinit._common.progress import progress_line
from goodinit._common.text import number, table
from goodinit.cli import options
from goodinit.cli.output import (
    check_page_path,
    print_json,
    print_rendered,
    print_result,
    write_page,
)
from goodinit.errors import MetaModelError, UnresolvedError

if TYPE_CHECKING:
    from torch import nn

    from goodinit.cli.targets import Target


def forecast(
    target: options.TargetText,
    recipe: options.Recipe,
    exact: Annotated[
        bool, typer.Option("--exact", help="draw every weight as init does, sample no product")
    ] = False,
    arg: options.Args = None,
    input_: options.Inputs = None,
    seed: options.Seed = 0,
    seeds: Annotated[
        int, typer.Option("--seeds", metavar="N", min=1, help="show mean and spread over N seeds")
    ] = 1,
    html: options.AsHtml = None,
    full: options.Full = False,
    json: options.AsJson = False,
) -> None:
    """Report signal and gradient before any weight is in memory.

        goodinit forecast demo:gpt --recipe gpt2 --exact --seeds 5

    The exit code is 1 if a finding is a warning or an error.
    """
    from goodinit.cli.building import build_and_plan
    from goodinit.cli.targets import find_target
    from goodinit.recipes.by_name import as_recipe
    from goodinit.report import curves, terminal

    if html is not None:
        check_page_path(html)
    found = find_target(target, arg or ())
    model, plan = build_and_plan(found, as_recipe(recipe), input_ or (), seed)
    signals = _signals(found, model, plan, input_ or (), range(seed, seed + seeds), exact)
    comparison = gi.Comparison({recipe: signals}, {recipe: plan})
    if json:
        over_seeds = [asdict(row) for row in _over_seeds(signals)]
        drawn = [signal.to_dict() for signal in signals]
        facts = {"target": found.text, "ok": comparison.ok, "rows": over_seeds}
        print_json(facts | {"signals": drawn})
    else:
        shown = comparison if seeds > 1 else curves.as_comparison(signals[0], plan)
        print_rendered(lambda width: terminal.render(shown, width, full=full))
    if seeds > 1 and not json:
        print_result("\n".join(["", *_table(signals)]))
    if html is not None:
        write_page(html, lambda: comparison.to_html(html))
    if not comparison.ok:
        raise typer.Exit(1)


def _signals(
    target: Target,
    model: nn.Module,
    plan: gi.Plan,
    specs: Sequence[str],
    seeds: Sequence[int],
    exact: bool,
) -> list[gi.Signal]:
    """Return one signal for each seed; of a built model where the plan keeps built values."""
    from goodinit.cli.building import build_model, run_measurement

    def all_seeds(of: nn.Module) -> list[gi.Signal]:
        def each(inputs: gi.Inputs) -> list[gi.Signal]:
            with progress_line(f"forecasting {target.text}", len(seeds)) as step:
                found: list[gi.Signal] = []
                for seed in seeds:
                    found.append(gi.forecast(of, inputs, plan, seed=seed, exact=exact))
                    step()
                return found

        return run_measurement(target, of, specs, each)

    try:
        return all_seeds(model)
    except (MetaModelError, UnresolvedError):
        return all_seeds(build_model(target, seeds[0]))


@dataclass(frozen=True, slots=True)
class _OverSeeds:
    """A call over several seeds: mean and standard deviation of two second moments."""

    key: str
    second: float
    second_spread: float
    gradient: float | None
    gradient_spread: float | None


def _over_seeds(signals: Sequence[gi.Signal]) -> list[_OverSeeds]:
    found: list[_OverSeeds] = []
    by_key = [{row.key: row for row in signal} for signal in signals]
    for row in signals[0]:
        same = [rows[row.key] for rows in by_key if row.key in rows]
        backward = [other.backward.second for other in same if other.backward is not None]
        moments = _mean_and_spread([other.forward.second for other in same])
        gradient = _mean_and_spread(backward) if backward else (None, None)
        found.append(_OverSeeds(row.key, *moments, *gradient))
    return found


def _mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def _table(signals: Sequence[gi.Signal]) -> list[str]:
    """Return the mean and the spread of the calls along the depth."""
    from goodinit.report.curves import as_comparison
    from goodinit.report.signal_text import chosen_calls

    keys = {row.key for row in chosen_calls(as_comparison(signals[0]))}
    lines = [
        (row.key, *map(number, (row.second, row.second_spread, row.gradient, row.gradient_spread)))
        for row in _over_seeds(signals)
        if row.key in keys
    ]
    return table(("call", "second moment", "spread", "gradient", "spread"), lines, {1, 2, 3, 4})
