"""`forecast`: the signal of a model whose weights were never drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from torch import nn

from goodinit._common.progress import progress_line
from goodinit.anatomy.names import Slot, slots
from goodinit.applying.planned_values import PlannedValues
from goodinit.applying.validate import check_match
from goodinit.errors import PlanError
from goodinit.forecasting.call_arguments import device_of_inputs
from goodinit.forecasting.implicit_weights import Again, ImplicitWeights
from goodinit.forecasting.streamed import StreamedWeights
from goodinit.plans.plan import Plan
from goodinit.plans.rows import PlanRow
from goodinit.schemes.fields import one_line
from goodinit.signal.checks import Loss, check_runnable, unwrapped
from goodinit.signal.measure import measured_with
from goodinit.signal.rows import Signal
from goodinit.streams.stream import stream_of
from goodinit.trace.run import Inputs


def forecast(
    model: nn.Module,
    inputs: Inputs,
    plan: Plan | None = None,
    *,
    seed: int | None = 0,
    loss: Loss | None = None,
    backward: bool = True,
    exact: bool = False,
) -> Signal:
    """Measure the signal and the gradient of a model without its weights in memory.

    The model runs for real, once. Each parameter is drawn by the plan at the call that takes it,
    used and dropped, and drawn again for the backward pass. A large matrix of independent numbers
    isn't drawn at all: its products with the few vectors of a batch are sampled from their exact
    law, given all that was asked of it before.

    Args:
        model: any module; its parameters may be on meta, its buffers may not
            (``with gi.skeleton():`` builds such a model).
        inputs: as for ``measure``.
        plan: what the parameters would hold. If None, they hold what the model has.
        seed: of the draws, as for ``init_``.
        loss: as for ``measure``.
        backward: whether to measure gradients.
        exact: draw every weight. Then all rows are, bit for bit, those of ``gi.init_`` with this
            seed and ``gi.measure``; else those of another draw by the same plan.

    Returns:
        The signal; its ``notes`` say where the parameters came from. Remedies are not tried.

    Raises:
        PlanError: the plan was made for another model.
        MetaModelError: a buffer on meta; a parameter on meta without a plan.
        UnresolvedError: parameters on meta whose values the plan keeps.
        SignalError: as for ``measure``; the model writes to its parameters while it runs.

    Example:
        >>> import torch
        >>> import goodinit as gi
        >>> with gi.skeleton():
        ...     net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))
        >>> x = torch.randn(32, 64, generator=torch.manual_seed(0))
        >>> signal = gi.forecast(net, x, gi.plan(net, "he"), exact=True)
        >>> drawn = gi.init_(net, "he", seed=0, materialize="cpu")
        >>> signal.rows == gi.measure(net, x).rows
        True
    """
    model = unwrapped(model)
    found = check_runnable(model, inputs, loss, weights=False)
    device, stream = device_of_inputs(inputs), stream_of(seed)
    values = PlannedValues(found, rows_by_slot(model, plan, found), stream, device)
    run = partial(measured_with, model=model, inputs=inputs, loss=loss, backward=backward)
    takes = sum(len(s.tensors) for s in found if not s.buffer) * (1 + backward)
    with progress_line("forecasting", takes) as step:
        if exact:
            return run(StreamedWeights(found, values, device, step))
        make = partial(ImplicitWeights, found, values, device, step, stream=stream)
        return _until_it_holds(make, run, kept=backward)


def _until_it_holds(
    make: Callable[..., ImplicitWeights], run: Callable[..., Signal], kept: bool
) -> Signal:
    """Run until no matrix whose products were sampled is asked for more than its products."""
    drawn: dict[str, str] = {}
    while True:
        try:
            return run(make(drawn=drawn, kept=kept))
        except Again as again:
            kept = kept or not again.name
            drawn |= {again.name: again.why} if again.name else {}


def rows_by_slot(
    model: nn.Module, plan: Plan | None, found: Sequence[Slot]
) -> Mapping[str, PlanRow]:
    """Return the plan's rows by the names that a measurement uses, without the plan's prefix."""
    if plan is None:
        return {}
    if not isinstance(plan, Plan):  # pyright: ignore[reportUnnecessaryIsInstance]
        recipe = f"{plan!r}" if isinstance(plan, str) else "recipe"
        raise PlanError(
            f"forecast takes a Plan, got {one_line(plan)}. Write "
            f"gi.forecast(model, inputs, gi.plan(model, {recipe}))"
        )
    named = slots(model, plan.prefix)
    check_match(plan, {slot.name: slot for slot in named})
    return {slot.name: plan[long.name] for slot, long in zip(found, named, strict=True)}
