"""``goodinit explain``."""

from __future__ import annotations

import goodinit as gi
from goodinit.cli import options
from goodinit.cli.output import end_with


def explain(
    target: options.TargetText,
    file: options.Weights = None,
    arg: options.Args = None,
    input_: options.Inputs = None,
    seed: options.Seed = 0,
    full: options.Full = False,
    json: options.AsJson = False,
) -> None:
    """Report how a model was initialized, and what is wrong with it.

        goodinit explain torchvision:resnet18
        goodinit explain mymodels:make_net --weights weights.safetensors

    Without --weights, the constructor's values are explained. The exit code is 1
    if a finding is a warning or an error.
    """
    from goodinit.cli.building import read_target

    explanation = read_target(target, arg, file, input_, seed, gi.explain)
    end_with(explanation, full=full, json=json)
