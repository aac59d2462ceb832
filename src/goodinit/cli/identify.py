"""``goodinit identify``."""

from __future__ import annotations

import goodinit as gi
from goodinit.cli import options
from goodinit.cli.output import end_with


def identify(
    target: options.TargetText,
    file: options.Weights = None,
    recipe: options.RecipeOrNone = None,
    arg: options.Args = None,
    input_: options.Inputs = None,
    seed: options.Seed = 0,
    full: options.Full = False,
    json: options.AsJson = False,
) -> None:
    """Say which recipe fresh weights follow, and where they deviate.

        goodinit identify timm:resnet18
        goodinit identify mymodels:make_gpt --recipe gpt2

    With --recipe, deviations are those from it: is a port true to its paper's code?
    The exit code is 1 if no recipe was found, or if a parameter deviates.
    """
    from goodinit.cli.building import read_target

    identified = read_target(
        target, arg, file, input_, seed, lambda model, given: gi.identify(model, given, recipe)
    )
    end_with(identified, full=full, json=json)
