"""A callback for transformers' Trainer that logs what becomes of the signal during training."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from goodinit.adapters.monitor import Monitor
from goodinit.errors import SignalError
from goodinit.trace import Inputs

SAMPLES = 8  # of the batch that is measured: cosines need several, and each costs memory


def trainer_callback(trainer: Any, every: int = 500, *, inputs: Inputs | None = None) -> Any:
    """Return a TrainerCallback that measures at step 0 and every ``every`` steps.

    The numbers of ``signal.scalars()`` go to all that the trainer reports to (``report_to=``), and
    to ``trainer.state.log_history``. Each measurement uses the same batch, so that they can be
    compared. Warnings and errors found at step 0 go to Python's ``logging``.

    Args:
        trainer: a ``transformers.Trainer``, to which the callback is added afterwards.
        every: number of steps between two measurements.
        inputs: keyword arguments of the model, as for ``gi.measure``. If None, the first 8 samples
            of the training set, collated; with labels the loss is the model's own.

    Raises:
        SignalError: ``every`` isn't a positive whole number.

    Example:
        >>> trainer.add_callback(trainer_callback(trainer, every=500))  # doctest: +SKIP
    """
    from transformers.trainer_callback import PrinterCallback, ProgressCallback, TrainerCallback

    monitor = Monitor(every)

    class SignalCallback(TrainerCallback):
        """Measures at the start of a step; the trainer's reporters get the numbers."""

        _batch: Inputs | None = inputs

        def on_step_begin(
            self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any
        ) -> None:
            step = state.global_step
            if not monitor.is_due(step):
                return
            if self._batch is None:
                self._batch = _first_samples(kwargs["train_dataloader"], args.device)
            has_loss = isinstance(self._batch, Mapping) and bool(
                self._batch.keys() & {*trainer.label_names}
            )
            loss = _own_loss if has_loss else None
            scalars = monitor.scalars(step, model, self._batch, loss)
            if not scalars:
                return
            state.log_history.append({**scalars, "step": step})
            for callback in trainer.callback_handler.callbacks:
                if not isinstance(callback, (PrinterCallback, ProgressCallback)):
                    callback.on_log(args, state, control, logs=dict(scalars), model=model)

    return SignalCallback()


def _first_samples(loader: Any, device: torch.device) -> Inputs:
    """Return the first samples as a batch, without a sampler, which would take random numbers.

    Raises:
        SignalError: the data set can't be indexed, or its collator returns no mapping.
    """
    data = loader.dataset
    if not hasattr(data, "__getitem__") or not hasattr(data, "__len__"):
        raise SignalError(
            "the training set is a stream: pass inputs=, a batch as the model takes it, such as "
            "next(iter(trainer.get_train_dataloader()))"
        )
    state = random.getstate()
    with torch.random.fork_rng(devices=[]):  # a collator may mask at random
        batch = loader.collate_fn([data[n] for n in range(min(SAMPLES, len(data)))])
    random.setstate(state)
    if not isinstance(batch, Mapping):
        raise SignalError(
            f"the collator returns {type(batch).__name__}: pass inputs=, a batch as the model "
            "takes it"
        )
    named = cast("Mapping[str, Any]", batch)
    return {k: v.to(device) if isinstance(v, Tensor) else v for k, v in named.items()}


def _own_loss(output: Any) -> Tensor:
    """Return the loss as the Trainer reads it."""
    key = "loss" if isinstance(output, Mapping) else 0
    return cast("dict[object, Tensor]", output)[key]
