"""A Lightning callback that logs what becomes of the signal during training."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any, cast

from torch import Tensor, nn

from goodinit.adapters.monitor import Monitor
from goodinit.errors import SignalError
from goodinit.trace import Inputs

PACKAGES = ("lightning.pytorch", "pytorch_lightning")  # two names of the same library


def lightning_callback(every: int = 1000, *, inputs: Callable[[Any], Inputs] | None = None) -> Any:
    """Return a Lightning callback that measures at step 0 and every ``every`` steps.

    The numbers of ``signal.scalars()`` go to all loggers of the trainer. The callback measures the
    module's ``forward`` on the batch of that step, under the trainer's precision; if the module
    defines no ``forward``, that of its only submodule with parameters. It costs a forward and a
    backward pass and leaves training unchanged. Warnings and errors found at step 0 go to Python's
    ``logging``.

    Args:
        every: number of steps between two measurements.
        inputs: a function from a batch to what ``forward`` takes, as for ``gi.measure``. If None,
            the batch if it is a tensor, the first item of a tuple or a list, and of a dict what
            ``forward`` has parameters for.

    Raises:
        ImportError: neither lightning nor pytorch_lightning is installed.
        SignalError: ``every`` isn't a positive whole number.

    Example:
        >>> import lightning  # doctest: +SKIP
        >>> callback = lightning_callback(every=500)  # doctest: +SKIP
        >>> trainer = lightning.Trainer(callbacks=[callback])  # doctest: +SKIP
    """
    monitor = Monitor(every)

    class SignalCallback(_library().Callback):
        """Measures at the start of a batch; the loggers get the numbers."""

        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, *_: Any) -> None:
            step = trainer.global_step
            if not monitor.is_due(step):
                return
            model = _with_forward(pl_module)
            given = inputs_of(batch, model) if inputs is None else inputs(batch)
            with trainer.precision_plugin.forward_context():
                scalars = monitor.scalars(step, model, given, None)
            for logger in trainer.loggers if scalars else ():
                logger.log_metrics(scalars, step=step)

    return SignalCallback()


def _library() -> Any:
    """Return the library under the name that the program uses."""
    name = next((name for name in PACKAGES if name in sys.modules), None)
    found = (name for name in PACKAGES if importlib.util.find_spec(name.partition(".")[0]))
    name = name or next(found, None)
    if name is None:
        raise ImportError("Lightning isn't installed: pip install lightning")
    return importlib.import_module(name)


def _with_forward(module: nn.Module) -> nn.Module:
    """Return the module, or the only part that has parameters if it defines no ``forward``.

    Raises:
        SignalError: there are several such parts.
    """
    if type(module).forward.__qualname__ != "LightningModule.forward":
        return module
    parts = [child for child in module.children() if next(child.parameters(), None) is not None]
    if len(parts) == 1:
        return parts[0]
    raise SignalError(
        f"{type(module).__name__} defines no forward, and {len(parts)} of its parts have "
        "parameters: define forward, the call that is to be measured"
    )


def inputs_of(batch: Any, model: nn.Module) -> Inputs:
    """Return what ``forward`` takes of a batch: the inputs, and not the targets.

    Raises:
        SignalError: it isn't a tensor, a tuple, a list or a mapping.
    """
    if isinstance(batch, Tensor):
        return batch
    if isinstance(batch, (tuple, list)):
        return inputs_of(next(iter(cast("list[Any]", batch)), None), model)
    if isinstance(batch, Mapping):
        taken = inspect.signature(model.forward).parameters
        named = cast("Mapping[str, Any]", batch)
        return {name: value for name, value in named.items() if name in taken}
    raise SignalError(
        f"a batch is of type {type(batch).__name__}: pass inputs=, a function from a batch to what "
        "forward takes"
    )
