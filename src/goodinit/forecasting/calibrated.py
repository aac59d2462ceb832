"""`calibrated`: a plan whose scales were found on a batch, for a model without weights."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from goodinit._common.progress import progress_line
from goodinit.applying.planned_values import PlannedValues
from goodinit.errors import PlanError, SchemeError
from goodinit.forecasting.call_arguments import device_of_inputs
from goodinit.forecasting.forecast import rows_by_slot
from goodinit.forecasting.streamed import StreamedWeights
from goodinit.plans.plan import Plan
from goodinit.plans.rows import PlanRow
from goodinit.schemes import Scheme
from goodinit.schemes.fields import one_line
from goodinit.signal.calibrate import calibrated_factors
from goodinit.signal.checks import check_runnable, unwrapped
from goodinit.streams.stream import stream_of
from goodinit.trace.run import Inputs


@progress_line("calibrating")
def calibrated(plan: Plan, model: nn.Module, inputs: Inputs, *, seed: int | None = None) -> Plan:
    """Return a plan whose draws ``calibrate_`` would leave as they are.

    The factors that ``calibrate_`` would write into the weights are written into the plan's
    schemes, ``scheme.times(factor)``, with the reason. The model may be on meta: it runs for real,
    and each parameter is drawn at the call that takes it, used and dropped, as in ``forecast``. So
    it takes the memory of the largest parameter and of the activations, and draws every parameter
    some four times. The model isn't changed.

    Factors are of these very draws: apply the plan with the same seed. In deep plain networks
    those of another seed may be far off.

    Args:
        plan: what the parameters would hold.
        model: that the plan was made for; its buffers may not be on meta
            (``with gi.skeleton():`` builds such a model).
        inputs: a batch like those that it is trained on, as for ``measure``.
        seed: of the draws. If None, the one with which the plan was applied, else 0.

    Returns:
        A copy of the plan. What it keeps, and what ``calibrate_`` leaves alone, is as it was.

    Raises:
        PlanError: the plan was made for another model.
        MetaModelError: a buffer on meta.
        UnresolvedError: parameters on meta whose values the plan keeps.
        SignalError: as for ``calibrate_``; the model writes to its parameters while it runs.

    Example:
        >>> import torch
        >>> import goodinit as gi
        >>> with gi.skeleton():
        ...     net = nn.Sequential(nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 8))
        >>> x = torch.randn(128, 64, generator=torch.manual_seed(0))
        >>> plan = gi.calibrated(gi.plan(net, "lecun"), net, x)
        >>> plan = gi.apply_(net, plan, seed=0, materialize="cpu")
        >>> gi.calibrate_(net, x)["0.weight"].factor
        1.0
    """
    model = unwrapped(model)
    if not isinstance(plan, Plan):  # pyright: ignore[reportUnnecessaryIsInstance]
        line = "gi.calibrated(gi.plan(model, 'he'), model, inputs)"
        raise PlanError(f"calibrated takes a Plan, got {one_line(plan)}. Write {line}")
    found = check_runnable(model, inputs, weights=False)
    rows = rows_by_slot(model, plan, found)
    device = device_of_inputs(inputs)
    stream = stream_of((plan.seed or 0) if seed is None else seed)
    weights = StreamedWeights(found, PlannedValues(found, rows, stream, device), device)
    kept = {name: why for name, row in rows.items() if (why := _kept(row))}
    _, factors, _ = calibrated_factors(weights, model, inputs, "forward", kept)
    by_row = {rows[name].name: factor for name, factor in factors.items()}
    scaled = (_times(row, by_row[row.name]) if row.name in by_row else row for row in plan)
    return replace(plan, rows=tuple(scaled))


def _kept(row: PlanRow) -> str:
    """Return why a row can't be multiplied; "" if it can."""
    if row.kept:
        return "the plan keeps it"
    try:
        _times(row, 2.0)
    except SchemeError as error:
        return f"its scheme can't be multiplied: {error}"
    return ""


def _times(row: PlanRow, factor: float) -> PlanRow:
    why = "; ".join(filter(None, (row.why, f"times {factor:.4g}, calibrated on a batch")))
    scheme: Scheme | None = None if row.scheme is None else row.scheme.times(factor)
    blocks = tuple(replace(b, scheme=b.scheme.times(factor)) for b in row.blocks)
    return replace(row, scheme=scheme, blocks=blocks, why=why)
