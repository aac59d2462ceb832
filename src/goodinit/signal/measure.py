"""`measure`: a model run for real on a batch, and what became of the signal and the gradient."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from goodinit.anatomy.names import Slot, slots, walk
from goodinit.anatomy.writable import check_module
from goodinit.errors import MetaModelError, SignalError
from goodinit.signal.batch_axis import batch_of, shapes_with
from goodinit.signal.meter import Meter
from goodinit.signal.paths import runs
from goodinit.signal.rows import Gradient, Signal
from goodinit.signal.signal_findings import find_in_signal
from goodinit.streams import Law, Stream
from goodinit.trace.calls import tensors_in
from goodinit.trace.real_run import gradients_restored, real_run, tensors_restored
from goodinit.trace.run import Inputs, arguments

__all__ = [
    "Loss",
    "backward_error",
    "check_graph",
    "checked",
    "line_of",
    "loss_of",
    "measure",
    "scalar",
    "unwrapped",
    "whole",
]

Loss = Callable[[Any], Tensor]
FROZEN = (
    "nothing that the model returns depends on a parameter that requires a gradient: measure with "
    "backward=False, or call model.requires_grad_()"
)


def measure(
    model: nn.Module,
    inputs: Inputs,
    loss: Loss | None = None,
    backward: bool = True,
    *,
    rank: bool = False,
) -> Signal:
    """Run a model on a batch and return what became of the signal, a row a call.

    The model is run as it is: in its mode, with its dropout, under the caller's autocast.
    Parameters, buffers, gradients, random state, attributes and mode are as before afterwards, also
    if the model raises. No activation is kept beyond what the backward pass keeps.

    Args:
        model: with weights, on any device; compiled or wrapped for data parallelism is unwrapped.
        inputs: a tensor, a tuple of positional arguments or a mapping of keyword arguments; the
            batch along the first axis. The cosine across samples needs two.
        loss: called with the output; returns a scalar. Without one the gradient comes from a
            random projection of all floating outputs, so that its size means nothing, only how
            it changes.
        backward: whether to measure gradients.
        rank: whether to measure the effective rank of each row as well, which costs more.

    Returns:
        Rows in execution order, gradients of parameters, and findings.

    Raises:
        MetaModelError: the model has no weights.
        SignalError: the model or the loss raised, the loss is no scalar, nothing floating comes
            out, or nothing of it depends on a parameter.

    Example:
        >>> import goodinit as gi
        >>> net = nn.Sequential(*[nn.Linear(256, 256, bias=False), nn.ReLU()] * 1)
        >>> plan = gi.init_(net, "he", seed=0)
        >>> signal = gi.measure(net, torch.randn(64, 256, generator=torch.manual_seed(0)))
        >>> [(row.key, round(row.forward.second, 1)) for row in signal.rows]
        [('0:linear', 2.0), ('1:relu', 1.0)]
        >>> signal.ok
        True
    """
    model = unwrapped(model)
    everything = checked(model, inputs)
    names = {id(module): path for path, module in reversed(list(walk(model)))}
    found = [slot for slot in everything if not slot.buffer]
    batch = batch_of(inputs)
    with tensors_restored(model, ()):  # set_() passes by a trace unseen
        fewer = shapes_with(model, inputs, batch, names)
    args, kwargs = arguments(inputs)
    given = list(tensors_in((args, dict(kwargs))))
    meter = Meter(everything, given, batch, fewer, rank)
    signal = Signal(meter.rows, batch=batch)
    output = total = None
    try:
        with real_run(model, grad=backward, inputs=given) as run:
            raised = "the model"
            try:
                output = run(meter, names, lambda: model(*args, **kwargs))
                meter.returned(output)
                raised, meter.last = "the loss", ""
                total = loss_of(output, loss, run, meter, names) if backward or loss else None
            except SignalError:
                raise
            except Exception as error:
                where = f" in {meter.last}" if meter.last else ""
                raise SignalError(f"{raised} raised{where}: {line_of(error)}") from error
            if backward and total is not None:
                check_graph(total, output, FROZEN)
                signal.gradients = _gradients(total, found, given)
        unset = list(_unset_norms(model))
        signal.notes = [*_notes(batch, fewer, meter, total), *unset]
        if loss is not None and total is not None:
            signal.loss = total.item()
    finally:
        output = total = None
        meter.release()
    ways = runs(meter.rows)
    for row, way in zip(meter.rows, ways, strict=True):
        row.spread = math.sqrt(way.variance)
    params = {slot.name: t for slot in found for t in slot.tensors}
    signal.findings = find_in_signal(signal, meter, ways, params, bool(unset))
    return signal


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model inside of torch.compile and data parallelism.

    >>> net = nn.Linear(2, 2)
    >>> unwrapped(nn.DataParallel(net)) is net
    True
    """
    inner: object = getattr(model, "_orig_mod", None)
    if inner is None and isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        inner = cast("object", model.module)
    return unwrapped(inner) if isinstance(inner, nn.Module) else cast("nn.Module", model)


def checked(model: nn.Module, inputs: Inputs) -> list[Slot]:
    """Return the model's parameters and buffers if there is something to run, and to run it on.

    Raises:
        LazyParameterError: a lazy module.
        MetaModelError: a parameter or an input has no memory.
        ModelError: it is no module.
        SignalError: the batch is empty, an input is nested, or something was made under
            ``torch.inference_mode``.
    """
    found = slots(check_module(model, "measuring"))
    for name, tensor in model.named_parameters():
        if tensor.is_meta:
            raise MetaModelError(
                f"{name} is on the meta device, and measuring needs weights: "
                "gi.apply_(model, plan, materialize='cpu') first"
            )
    if torch.is_inference_mode_enabled():
        raise SignalError("nothing can be differentiated under torch.inference_mode: leave it")
    given = list(tensors_in(arguments(inputs)))
    if any(t.is_meta for t in given):
        raise MetaModelError(
            "an input is on the meta device: measuring needs values, torch.randn say"
        )
    if any(t.is_nested for t in given):
        raise SignalError(
            "an input is a nested tensor, and measuring needs samples of one size: pad it, as "
            "torch.nested.to_padded_tensor does"
        )
    if any(t.is_inference() for t in (*model.parameters(), *model.buffers(), *given)):
        raise SignalError(
            "a tensor of the model or the inputs was made under torch.inference_mode, where "
            "nothing can be differentiated: make it outside, or clone it"
        )
    if batch_of(inputs) == 0:
        raise SignalError("the batch is empty: measuring needs at least one sample")
    return found


def loss_of(
    output: object, loss: Loss | None, run: Any, meter: Meter, names: Mapping[int, str]
) -> Tensor:
    """Return the loss, or a random projection of the floating outputs."""
    if loss is not None:
        return scalar(run(meter, names, lambda: loss(output)))
    returned = list(tensors_in(output))
    outputs = [t for t in returned if t.is_floating_point() and t.numel()]
    if not outputs:
        kind = (
            "only complex tensors" if any(map(torch.is_complex, returned)) else "no floating tensor"
        )
        raise SignalError(
            f"the model returns {kind}, which no gradient can start from: measure takes loss=, a "
            "function of what it returns that returns a real number"
        )
    total = torch.zeros((), device=outputs[0].device)
    for number, tensor in enumerate(outputs):
        signs = Stream(0).draw(f"output.{number}", Law.normal(), tuple(tensor.shape))
        total = total + (tensor.float() * signs.to(tensor.device)).sum()
    return total


def scalar(total: object) -> Tensor:
    """Return the loss; raise SignalError unless it is one number."""
    if not isinstance(total, Tensor) or total.numel() != 1:
        said = tuple(total.shape) if isinstance(total, Tensor) else type(total).__name__
        raise SignalError(f"loss must return a scalar, and returned {said}: take its mean")
    return total


def whole(value: object, name: str, least: int, why: str) -> int:
    """Return a number of times; raise SignalError unless it is an int that is large enough."""
    try:
        number = operator.index(cast("int", value))
    except TypeError:
        raise SignalError(f"{name}={value!r} is no whole number: pass an int") from None
    if number < least:
        raise SignalError(f"{name}={number}: {why} needs at least {least}")
    return number


def check_graph(total: Tensor, output: object, otherwise: str) -> None:
    """Raise SignalError if no gradient starts from the loss; ``otherwise`` if from no output."""
    if total.requires_grad:
        return
    if any(t.requires_grad for t in tensors_in(output)):
        raise SignalError(
            "the loss doesn't depend on the model's output in a way that can be differentiated: "
            "leave out detach(), item(), argmax() and integers between the two"
        )
    raise SignalError(otherwise)


def backward_error(error: Exception, do: str = "") -> SignalError:
    """Return what is said of an error that a model's backward pass raised, and what to do."""
    said = line_of(error)
    if "checkpoint" in f"{type(error).__name__} {error}".lower():
        do = "gradient checkpointing must be off"
    return SignalError(f"the backward pass raised: {said}" + (f"; {do}" if do else ""))


def _gradients(total: Tensor, found: Iterable[Slot], given: list[Tensor]) -> list[Gradient]:
    """Run the backward pass, which the rows' hooks watch, and read the parameters' gradients."""
    wanted = [(slot, t) for slot in found for t in slot.tensors if t.requires_grad]
    tensors = [t for _, t in wanted]
    try:
        if _is_reentrant(total):
            gradients = _by_backward(total, tensors, given)
        else:
            gradients = torch.autograd.grad(total, tensors, allow_unused=True)
    except SignalError:
        raise
    except Exception as error:
        raise backward_error(error, "measure with backward=False leaves it out") from error
    ratios: list[Gradient] = []
    for (slot, tensor), gradient in zip(wanted, gradients, strict=True):
        if gradient is None:
            ratios.append(Gradient(slot.name, None))
            continue
        g, w = _norm(gradient), _norm(tensor)
        ratio = g / w if w else math.inf if g else 0.0
        ratios.append(Gradient(slot.name, ratio if math.isfinite(g) else math.nan, g))
    return ratios


def _is_reentrant(total: Tensor) -> bool:
    """Whether a reentrant checkpoint is on the way back, which ``autograd.grad`` refuses."""
    return any("Checkpoint" in node.name() for node in _nodes(total))


def _nodes(total: Tensor) -> Iterator[Any]:
    """Yield the nodes of the graph that a backward pass goes through."""
    nodes, seen = [total.grad_fn], set[object]()
    while nodes:
        node = nodes.pop()
        if node is not None and node not in seen:
            seen.add(node)
            yield node
            nodes += [before for before, _ in node.next_functions]


def _by_backward(
    total: Tensor, tensors: list[Tensor], inputs: list[Tensor]
) -> tuple[Tensor | None, ...]:
    """Return gradients as ``backward()`` leaves them: reentrant checkpoints know no other way."""
    # What an input was made from gets a gradient too, by a graph that is the caller's.
    leaves = [node.variable for node in _nodes(total) if hasattr(node, "variable")]
    touched = [*tensors, *inputs, *leaves]
    if any(getattr(t, "_post_accumulate_grad_hooks", None) for t in touched):
        raise SignalError(
            "reentrant checkpoints beside hooks that run when a gradient is there (an optimizer in "
            "the backward pass?): use checkpoint(..., use_reentrant=False)"
        )
    with gradients_restored(touched):
        total.backward(retain_graph=any(t.grad_fn is not None for t in inputs))
        return tuple(t.grad for t in tensors)


def _norm(tensor: Tensor) -> float:
    tensor = tensor.detach()
    if not tensor.is_complex() and tensor.dtype != torch.float64:
        tensor = tensor.float()
    norm = cast("Tensor", torch.linalg.vector_norm(tensor)).item()
    if 1e-15 < norm < 1e15 or not tensor.numel():
        return norm
    largest = tensor.abs().amax().item()  # squares may have left float32
    if not 0 < largest < math.inf:
        return largest
    return largest * cast("Tensor", torch.linalg.vector_norm(tensor / largest)).item()


def _notes(
    batch: int, fewer: Mapping[str, tuple[int, ...]], meter: Meter, total: Tensor | None
) -> Iterator[str]:
    if meter.empty_inputs:
        yield "All inputs are 0: what is measured is what the biases make."
    if batch < 2:
        yield "One sample: cosines across samples and errors need two or more."
    elif not fewer:
        yield (
            "The model can't be run on meta with fewer samples: the first axis is that of the "
            "samples where its size is the batch's."
        )
    if meter.unseen:
        listed = ", ".join(meter.unseen)
        yield f"Made by code that shows no calls (scripted, a custom Function): {listed}."
    if total is not None and _is_reentrant(total):
        yield "Reentrant checkpoints hide the gradients inside: checkpoint(use_reentrant=False)."


def _unset_norms(model: nn.Module) -> Iterator[str]:
    for name, module in walk(model):
        if isinstance(module, _BatchNorm) and not module.training:
            counted, mean = module.num_batches_tracked, module.running_mean
            # A file without the counter leaves it at 0; a mean that isn't was taken.
            if counted is not None and not counted and (mean is None or not mean.any()):
                yield (
                    f"{name} is in eval mode, where it divides by running statistics, and none "
                    "have been taken, so that the signal has no findings: model.train() shows "
                    "what training starts from."
                )
                return


def line_of(error: Exception) -> str:
    """Return the type and the first line of an error."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
