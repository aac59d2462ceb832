"""What a run changes for the whole process: random numbers, warnings, compiled code.

Runs take turns. Other threads keep their warnings, and the numbers that they draw from torch's
default generator unless the run draws from it too.
"""

from __future__ import annotations

import random
import sys
import threading
import warnings
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

import torch

from goodinit.trace.calls import tensors_in

ONE_RUN = threading.RLock()
"""Held by the thread that runs a model; a run may start another one inside."""

_TAKING_A_GENERATOR = frozenset(
    "rand randn randint randperm normal bernoulli multinomial poisson binomial uniform exponential "
    "geometric cauchy log_normal random".split()
)
_DRAWING = _TAKING_A_GENERATOR | frozenset(
    "rand_like randn_like randint_like _standard_gamma _sample_dirichlet dropout dropout1d "
    "dropout2d dropout3d alpha_dropout feature_alpha_dropout feature_dropout native_dropout rrelu "
    "rrelu_with_noise gumbel_softmax fractional_max_pool2d fractional_max_pool3d "
    "multi_head_attention_forward scaled_dot_product_attention lstm gru rnn_tanh rnn_relu "
    "kaiming_uniform kaiming_normal xavier_uniform xavier_normal trunc_normal orthogonal sparse "
    "svd_lowrank pca_lowrank lobpcg".split()
)
"""Functions that may draw from torch's default generator."""


class RandomNumbers:
    """How a run draws from torch's default CPU generator.

    Args:
        own: what draws in its place; None to continue it in a copy.

    Attributes:
        shared: whether it drew from the generator itself, so that its state must be put back.
    """

    def __init__(self, own: torch.Generator | None = None) -> None:
        self.shared = False
        self._own = own

    def drawn_apart(
        self, name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> object:
        """Call a function; what it draws continues the generator, which stays as it is."""
        if not _may_draw(name, args, kwargs):
            return func(*args, **kwargs)
        tensors = list(tensors_in((args, kwargs)))
        if any(t.is_meta for t in tensors):
            return func(*args, **kwargs)
        default = torch.default_generator
        if self._own is None:
            self._own = default.clone_state()
        devices = {*(t.device for t in tensors), torch.device(kwargs.get("device") or "cpu")}
        on_cpu = devices == {torch.get_default_device()} == {default.device}
        if on_cpu and name in _TAKING_A_GENERATOR:
            return func(*args, **kwargs, generator=self._own)
        before = default.get_state()
        default.set_state(self._own.get_state())
        try:
            return func(*args, **kwargs)
        finally:
            self._own.set_state(default.get_state())
            default.set_state(before)

    @contextmanager
    def noticed(
        self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Generator[None]:
        """Let a call draw from the generator itself, and note whether it did."""
        if self.shared or not _may_draw(name, args, kwargs):
            yield
            return
        before = torch.default_generator.get_state()
        try:
            yield
        finally:
            self.shared = not torch.equal(torch.default_generator.get_state(), before)


def _may_draw(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether a call may draw from the default generator; dropouts outside of training don't."""
    if name not in _DRAWING or kwargs.get("generator") is not None:
        return False
    training = kwargs.get("training", args[2] if "dropout" in name and len(args) > 2 else True)
    return training is not False


@contextmanager
def process_restored(
    owned: Iterable[object], devices: Iterable[torch.device]
) -> Generator[RandomNumbers]:
    """Hold the lock, ignore warnings, run compiled code eagerly, and restore random states."""
    numpy: Any = sys.modules.get("numpy")
    with ExitStack() as stack:
        stack.enter_context(ONE_RUN)
        stack.enter_context(_warnings_ignored())
        stack.enter_context(_generators_restored(owned))
        stack.callback(random.setstate, random.getstate())
        if numpy:
            stack.callback(numpy.random.set_state, numpy.random.get_state())
        for device in devices:
            stack.callback(torch.cuda.set_rng_state, torch.cuda.get_rng_state(device), device)
        if "torch._dynamo" in sys.modules and hasattr(torch.compiler, "set_stance"):  # torch 2.6
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield stack.enter_context(_torch_generator_restored())


@contextmanager
def _torch_generator_restored() -> Generator[RandomNumbers]:
    """Put torch's default CPU generator back if the run changed it, not if another thread did.

    Code that torch functions don't show may draw as well. A state that differs though no
    function drew is taken for another thread's doing, if there is one.
    """
    generator = torch.default_generator
    before, seed = generator.get_state(), generator.initial_seed()
    numbers = RandomNumbers()
    try:
        yield numbers
    finally:
        seeded = generator.initial_seed() != seed  # the model called torch.manual_seed
        if numbers.shared or seeded or threading.active_count() == 1:
            generator.set_state(before)


@contextmanager
def _generators_restored(values: Iterable[object]) -> Generator[None]:
    """Put back the state of each value that is a generator: torch's, Python's or numpy's."""
    restorers = [restore for value in values if (restore := _restorer(value)) is not None]
    try:
        yield
    finally:
        for restore in restorers:
            restore()


def _restorer(value: object) -> Callable[[], object] | None:
    """Return a function that restores the state; None if the value isn't a generator."""
    numpy: Any = sys.modules.get("numpy")
    kept: Any = value
    if isinstance(value, torch.Generator):
        return partial(value.set_state, value.get_state())
    if isinstance(value, random.SystemRandom):
        return None  # it has no state
    if isinstance(value, random.Random):
        return partial(value.setstate, value.getstate())
    if numpy and isinstance(value, numpy.random.RandomState):
        return partial(kept.set_state, kept.get_state())
    if numpy and isinstance(value, numpy.random.Generator):
        return partial(setattr, kept.bit_generator, "state", kept.bit_generator.state)
    return None


class _ThisThread:
    """The pattern of a warning filter that matches whatever the current thread warns about."""

    def __init__(self) -> None:
        self._thread: int | None = threading.get_ident()

    def match(self, _text: str) -> bool:
        return self._thread == threading.get_ident()

    def end(self) -> None:
        """Match nothing from now on: another thread may have copied the list of filters."""
        self._thread = None


@contextmanager
def _warnings_ignored() -> Generator[None]:
    """Ignore this thread's warnings: the model warns again when its user runs it.

    ``warnings.catch_warnings`` would silence every thread.
    """
    filters: Any = warnings.filters
    before = list(filters)
    pattern = _ThisThread()
    own = ("ignore", pattern, Warning, None, 0)
    filters.insert(0, own)
    try:
        yield
    finally:
        pattern.end()
        with suppress(ValueError):
            filters.remove(own)
        if filters != before:  # the model set filters
            filters[:] = before
