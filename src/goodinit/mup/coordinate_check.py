"""`coordinate_check`: train models of several sizes for a few steps, and compare activations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from goodinit._common.progress import progress_line
from goodinit._common.text import without_numbers
from goodinit.anatomy.names import walk
from goodinit.applying.apply import apply_
from goodinit.errors import CallError, SignalError
from goodinit.mup.coordinates import Coordinate, CoordinateCheck, fit
from goodinit.mup.param_groups import param_groups
from goodinit.plans.plan import Plan, plan
from goodinit.recipes.by_name import RecipeLike, as_recipe
from goodinit.recipes.by_name import recipe as recipe_by_name
from goodinit.recipes.recipe import Recipe
from goodinit.signal.batch_axis import batch_of
from goodinit.signal.checks import Loss
from goodinit.streams import Law, Stream
from goodinit.trace import Inputs
from goodinit.trace.calls import tensors_in
from goodinit.trace.run import arguments

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
}
FEWEST = 3  # sizes: a line through two has no error


class _Values(NamedTuple):
    """One trained model: by module, mean squares of output and change, and the last size."""

    initial: dict[str, float]
    change: dict[str, float]
    last: dict[str, int]


@progress_line("checking coordinates")
def coordinate_check(
    factory: Callable[..., nn.Module],
    inputs: Inputs,
    loss: Loss | None = None,
    *,
    widths: Sequence[int],
    depths: Sequence[int] = (),
    steps: int = 4,
    recipe: RecipeLike = "mup",
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw",
    lr: float = 1e-3,
    seeds: int = 2,
) -> CoordinateCheck:
    """Return whether activations, and what training adds to them, keep their size.

    Models of each width (at the smallest depth) and depth (at the smallest width) are drawn by the
    recipe and trained on one batch. In muP the root mean square of each module's first output, and
    of its change, have slope 0 in log-log (Yang et al. 2022, appendix D.1; CompleteP, figure 7).
    Under other recipes all parameters have one learning rate. At small widths a batch of few
    samples, a small head (``law="nanochat"``) and no dropout show it best.

    Args:
        factory: ``factory(width)`` makes the model, with depths ``factory(width, depth)``.
        inputs: a batch, as for ``gi.measure``.
        loss: called with the output; returns a scalar. None: a random projection of the output.
        widths: three or more. The smallest is the base's.
        depths: likewise, or none.
        steps: of training.
        recipe: "mup", "completep" (their base is the smallest model), or any other.
        optimizer: "adamw", "adam" or "sgd", without weight decay.
        lr: of the smallest model.
        seeds: how many draws of each model are trained.

    Raises:
        CallError: fewer than three sizes; another optimizer; a model instead of a function.
        SignalError: the batch is empty, or a loss or an activation isn't finite.

    Example:
        >>> net = lambda width: nn.Sequential(nn.Linear(8, width), nn.Linear(width, 2))
        >>> x = torch.randn(16, 8, generator=torch.manual_seed(0))
        >>> check = coordinate_check(net, x, widths=[64, 256, 1024])
        >>> assert check.ok and abs(check["0:change:width"].slope) < 0.05
        >>> plain = coordinate_check(net, x, widths=[64, 256, 1024], recipe="lecun")
        >>> plain.ok, round(plain.worst.slope, 1)
        (False, 0.8)
    """
    _check_call(factory, inputs, widths, depths, optimizer)
    make = factory if depths else partial(_make_wide, factory)
    small = min(widths), min(depths, default=0)
    chosen = _with_base(recipe, partial(make, *small))
    train = partial(_train, inputs, loss, steps, optimizer, lr)
    rows: list[Coordinate] = []
    for over, sizes in (("width", sorted(set(widths))), ("depth", sorted(set(depths)))):
        runs: list[tuple[int, _Values]] = []
        for size in sizes:
            one = partial(make, *((size, small[1]) if over == "width" else (small[0], size)))
            planned = plan(one(), chosen, inputs=inputs)
            runs += [(size, train(planned, one, seed)) for seed in range(seeds)]
        rows += _coordinates("width" if over == "width" else "depth", runs)
    return CoordinateCheck(tuple(rows), chosen.name, optimizer, steps)


def _check_call(
    factory: object, inputs: Inputs, widths: Sequence[int], depths: Sequence[int], optimizer: str
) -> None:
    if isinstance(factory, nn.Module):
        raise CallError(
            f"factory makes a model of each width, and a {type(factory).__name__} is one model. "
            "Write gi.coordinate_check(lambda width: Net(width), inputs, widths=[64, 128, 256])"
        )
    if batch_of(inputs) == 0:
        raise SignalError("the batch is empty: training needs at least one sample")
    if optimizer not in OPTIMIZERS:
        raise CallError(f"optimizer is one of {', '.join(OPTIMIZERS)}, got {optimizer!r}")
    for name, sizes in (("widths", widths), ("depths", depths)):
        if len(set(sizes)) < FEWEST and (sizes or name == "widths"):
            raise CallError(f"{name} needs {FEWEST} sizes for a line with an error, got {sizes!r}")


def _with_base(recipe: RecipeLike, smallest: Callable[[], nn.Module]) -> Recipe:
    """Return the recipe; muP's without a base has the smallest model."""
    if isinstance(recipe, str) and recipe in ("mup", "completep"):
        return recipe_by_name(recipe, base=smallest)
    return as_recipe(recipe)


def _train(
    inputs: Inputs,
    loss: Loss | None,
    steps: int,
    optimizer: str,
    lr: float,
    planned: Plan,
    make: Callable[[], nn.Module],
    seed: int,
) -> _Values:
    """Draw and train one model; return the size of each module's output and of its change."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make()
    apply_(model, planned, seed=seed)
    groups: Any = list(model.parameters())
    if any(row.rates is not None for row in planned):
        chosen = cast("Literal['adamw', 'adam', 'sgd']", optimizer)
        groups = param_groups(model, planned, lr=lr, optimizer=chosen)
    stepper = OPTIMIZERS[optimizer](groups, lr=lr, weight_decay=0.0)
    args, kwargs = arguments(inputs)
    before, output = _outputs(model, lambda: model(*args, **kwargs))
    for _ in range(steps):
        value = loss(output) if loss is not None else _projection(output)
        if not value.isfinite():
            raise SignalError(f"the loss is {value.item()} after some steps: a smaller lr")
        stepper.zero_grad()
        value.backward()
        stepper.step()
        output = model(*args, **kwargs)
    after, _ = _outputs(model, lambda: model(*args, **kwargs))
    initial = {name: t.square().mean().item() for name, t in before.items()}
    change = {name: (after[name] - t).square().mean().item() for name, t in before.items()}
    return _Values(initial, change, {name: t.shape[-1] for name, t in before.items()})


def _outputs(model: nn.Module, run: Callable[[], Any]) -> tuple[dict[str, Tensor], Any]:
    """Run a model; return the first output of each module that ran, and the model's."""
    found: dict[str, Tensor] = {}

    def note(name: str, _: nn.Module, __: Any, output: Any) -> None:
        floating = [t for t in tensors_in(output) if t.is_floating_point() and t.dim()]
        if floating and name not in found:
            found[name] = floating[0].detach().double().clone()

    # What parametrizations return are weights, whose size does depend on the width.
    lists = [name for name, module in walk(model) if isinstance(module, ParametrizationList)]
    makers = tuple(f"{name}." for name in lists)
    handles = [
        module.register_forward_hook(partial(note, name))
        for name, module in walk(model)
        if not f"{name}.".startswith(makers)
    ]
    try:
        output = run()
    finally:
        for handle in handles:
            handle.remove()
    return found, output


def _projection(output: object) -> Tensor:
    """Return a random projection of the floating outputs, whose gradient stays the same."""
    total = torch.zeros((), device="cpu")
    for number, tensor in enumerate(t for t in tensors_in(output) if t.is_floating_point()):
        target = Stream(0).draw(f"target.{number}", Law.normal(), tuple(tensor.shape))
        samples = tensor.shape[0] if tensor.dim() else 1
        total = total + (tensor.float() * target.to(tensor.device)).sum().cpu() / samples
    return total


def _coordinates(
    over: Literal["width", "depth"], runs: list[tuple[int, _Values]]
) -> Iterable[Coordinate]:
    """Yield a row for each module, or of layers in a deeper model for all of one kind."""
    if not runs:
        return
    first = runs[0][1]
    names = [name for name in first.initial if all(name in run.initial for _, run in runs)]
    if over == "depth":
        names = list(dict.fromkeys(without_numbers(name) for name in first.initial))
    sizes = tuple(size for size, _ in runs)
    for name in names:
        lasts = {run.last[own] for _, run in runs for own in _matching(run.last, name, over)}
        last = len(lasts) == 1 and over == "width"
        kinds: tuple[Literal["initial", "change"], ...] = ("initial", "change")
        for what in kinds:
            values = tuple(_root(getattr(run, what), name, over) for _, run in runs)
            if not all(map(math.isfinite, values)):
                raise SignalError(f"{name or 'the model'} returns values that aren't finite")
            if all(value > 0 for value in values):  # what is 0 has no slope
                judged = over == "width" or "*" not in name
                line = fit(sizes, values)
                yield Coordinate(name, what, over, sizes, values, *line, last, judged)


def _make_wide(factory: Callable[..., nn.Module], width: int, _: int) -> nn.Module:
    return factory(width)


def _matching(values: Iterable[str], name: str, over: str) -> list[str]:
    return [own for own in values if (own if over == "width" else without_numbers(own)) == name]


def _root(values: dict[str, float], name: str, over: str) -> float:
    each = [values[own] for own in _matching(values, name, over)]
    return math.sqrt(math.fsum(each) / len(each)) if each else math.nan
