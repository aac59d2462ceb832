"""What is put around a run: hooks that see which module runs, and the state that is put back."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from threading import get_ident
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as hooks

from goodinit._common.module_tree import modules_of
from goodinit.trace.attributes import Attributes
from goodinit.trace.calls import Observer
from goodinit.trace.process import ONE_RUN, RandomNumbers, process_restored

_HIDDEN: set[int] = set()
"""Threads whose modules run for goodinit itself."""


@contextmanager
def module_stack(
    running: list[str], observer: Observer, names: Mapping[int, str]
) -> Generator[None]:
    """Follow which module is running, by global hooks: no module is changed.

    The hooks see every thread's modules; those of other threads are left out.
    """
    thread = get_ident()

    def enter(module: nn.Module, args: tuple[Any, ...]) -> None:
        if get_ident() != thread or thread in _HIDDEN:
            return
        path = names.get(id(module), running[-1])
        running.append(path)
        observer.enter(path, module, args)

    def leave(module: nn.Module, _: tuple[Any, ...], result: object) -> None:
        if get_ident() == thread and thread not in _HIDDEN:
            observer.leave(running.pop(), module, result)

    with ExitStack() as stack:
        for handle in (
            hooks.register_module_forward_pre_hook(enter),
            hooks.register_module_forward_hook(leave),
        ):
            stack.callback(handle.remove)
        yield


@contextmanager
def modules_hidden() -> Generator[None]:
    """Let this thread run modules that an observer of the model's run doesn't see."""
    thread = get_ident()
    inside = thread in _HIDDEN
    _HIDDEN.add(thread)
    try:
        yield
    finally:
        if not inside:
            _HIDDEN.discard(thread)


@contextmanager
def state_restored(
    model: nn.Module, devices: Iterable[torch.device] = ()
) -> Generator[RandomNumbers]:
    """Put back the attributes of every module, the process's state and random generators.

    Models keep things on themselves while they run: a cached mask, the last attention map.
    What a run on meta kept would break the next real one.
    """
    with ONE_RUN:
        attributes = Attributes(modules_of(model))
        with process_restored(attributes.values, devices) as numbers:
            try:
                yield numbers
            finally:
                attributes.put_back()
