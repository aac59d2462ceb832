"""``goodinit check``."""

from __future__ import annotations

import typer

import goodinit as gi
from goodinit.cli import options
from goodinit.cli.output import (
    CommandError,
    check_page_path,
    print_json,
    print_rendered,
    write_page,
)


def check(
    target: options.TargetText,
    recipe: options.RecipeOrNone = None,
    file: options.Weights = None,
    arg: options.Args = None,
    input_: options.Inputs = None,
    seed: options.Seed = 0,
    html: options.AsHtml = None,
    full: options.Full = False,
    json: options.AsJson = False,
) -> None:
    """Run a model and report whether signal and gradient survive.

        goodinit check timm:resnet50 --recipe he --html resnet50.html
        goodinit check mymodels:make_net --weights weights.safetensors

    By default, the constructor's values. Exit code 1: a warning or an error.
    """
    from goodinit.cli import weights
    from goodinit.cli.building import (
        build_and_plan,
        build_model,
        draw_weights,
        run_measurement,
    )
    from goodinit.cli.targets import find_target
    from goodinit.recipes.by_name import as_recipe
    from goodinit.report import curves, terminal

    if recipe is not None and file is not None:
        raise CommandError("--recipe and --weights exclude each other: pass one of them")
    if html is not None:
        check_page_path(html)
    found = find_target(target, arg or ())
    plan = read = None
    if recipe is not None:
        model, plan = build_and_plan(found, as_recipe(recipe), input_ or (), seed)
        model, plan = draw_weights(found, model, plan, seed)
    else:
        # A file that fills the memory is read tensor by tensor, into a model without any.
        read = file if file is not None and weights.fills_memory(file) else None
        model = build_model(found, seed, skeleton=read is not None)
        if file is not None and read is None:
            weights.load_weights(model, file, found.text)
    signal = run_measurement(
        found, model, input_ or (), lambda inputs: gi.measure(model, inputs, weights=read)
    )
    if json:
        print_json({"target": found.text, "ok": signal.ok, **signal.to_dict()})
    else:
        print_rendered(
            lambda width: terminal.render(curves.as_comparison(signal, plan), width, full=full)
        )
    if html is not None:
        write_page(html, lambda: signal.to_html(html, plan))
    if not signal.ok:
        raise typer.Exit(1)
