"""``goodinit compare``."""

from __future__ import annotations

from typing import Annotated

import typer

import goodinit as gi
from goodinit.cli import options
from goodinit.cli.output import check_page_path, print_json, print_rendered, write_page


def compare(
    target: options.TargetText,
    recipes: Annotated[
        str, typer.Option("--recipes", metavar="R,R,...", help="each as for --recipe")
    ],
    seeds: Annotated[
        int, typer.Option("--seeds", metavar="N", min=1, help="draws of each recipe")
    ] = 5,
    arg: options.Args = None,
    input_: options.Inputs = None,
    html: options.AsHtml = None,
    full: options.Full = False,
    json: options.AsJson = False,
) -> None:
    """Initialize a model by several recipes and compare the signals.

        goodinit compare demo:gpt --recipes gpt2,standard --html gpt.html

    Seeds are 0, 1, ... The exit code is 1 if a draw has a finding that is a
    warning or an error.
    """
    from goodinit.cli.building import build_model, parse_recipes, run_measurement
    from goodinit.cli.targets import find_target
    from goodinit.report import terminal

    chosen = parse_recipes(recipes)
    if html is not None:
        check_page_path(html)
    found = find_target(target, arg or ())
    model = build_model(found, 0)
    comparison = run_measurement(
        found, model, input_ or (), lambda inputs: gi.compare(model, inputs, chosen, seeds=seeds)
    )
    if json:
        data = {"target": found.text, "ok": comparison.ok, "recipes": comparison.to_dict()}
        print_json(data)
    else:
        print_rendered(lambda width: terminal.render(comparison, width, full=full))
    if html is not None:
        write_page(html, lambda: comparison.to_html(html))
    if not comparison.ok:
        raise typer.Exit(1)
