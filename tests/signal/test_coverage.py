"""Every floating call on a path from an input to an output has a row."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.models import zoo, zoo_hf
from torch import Tensor, nn

from goodinit.anatomy.names import walk
from goodinit.signal.batch_axis import Keys, floating
from goodinit.signal.measure import measured
from goodinit.trace.calls import Call, tensors_in
from goodinit.trace.real_run import real_run
from goodinit.trace.run import arguments

MODELS = [
    *(pytest.param(zoo, name, id=name, marks=zoo.marks(name)) for name in zoo.PLAIN),
    *(pytest.param(zoo_hf, name, id=f"hf-{name}", marks=zoo_hf.marks(name)) for name in zoo_hf.HF),
]


class Storages:
    """Follows memory, not tensors: what lies where an input's numbers went depends on it."""

    def __init__(self) -> None:
        self.keys = Keys()
        self.calls: list[tuple[str | None, set[int], set[int]]] = []
        self.alive: list[object] = []  # no memory is used twice

    def source(self, original: Tensor, stand_in: Tensor) -> None: ...
    def enter(self, path: str, module: nn.Module, args: tuple[Any, ...]) -> None: ...
    def leave(self, path: str, module: nn.Module, result: object) -> None: ...

    def call(self, call: Call) -> None:
        self.alive.append((call.args, call.kwargs, call.result))
        written = call.args[:1] if call.inplace else ()
        result = floating((call.result, written))
        key = None if result is None else self.keys.next_key(call)
        # Memory that isn't written yet has a shape of an input's, and nothing else.
        taken = set() if "empty" in call.function else places((call.args, dict(call.kwargs)))
        self.calls.append((key, taken, places((call.result, written))))


def places(value: object) -> set[int]:
    return {t.untyped_storage().data_ptr() for t in tensors_in(value) if t.numel()}


def on_the_way(model: nn.Module, inputs: Any) -> list[str]:
    """Keys of the floating calls that an input leads to and that lead to an output."""
    seen = Storages()
    args, kwargs = arguments(inputs)
    names = {id(module): path for path, module in reversed(list(walk(model)))}
    with real_run(model) as run:
        output = run(seen, names, lambda: model(*args, **kwargs))
    reached, own = places((args, dict(kwargs))), places(list(model.parameters()))
    forth: list[tuple[str | None, set[int], set[int]]] = []
    for key, taken, made in seen.calls:
        if (taken - own) & reached:
            reached |= made
            forth.append((key, taken, made))
    wanted, found = places(output), list[str]()
    for key, taken, made in reversed(forth):
        if made & wanted:
            wanted |= taken
            if key is not None:
                found.append(key)
    return found


@pytest.mark.parametrize(("where", "name"), MODELS)
def test_every_call_has_a_row(where: Any, name: str) -> None:
    model, inputs = where.build(name)
    torch.manual_seed(0)
    expected = on_the_way(model, inputs)
    torch.manual_seed(0)
    signal = measured(model, inputs, backward=False)
    rows = {row.key for row in signal.rows}
    missing = [key for key in expected if key not in rows]
    assert len(expected) > 4
    assert len(missing) <= 0.01 * len(expected), missing
    assert not missing, missing
