"""Results on meta that are remembered are those that torch computes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from goodinit.trace import trace
from goodinit.trace.calls import Call, NullObserver
from goodinit.trace.known_results import KnownResults


class Facts(NullObserver):
    """Keeps what each call returned."""

    def __init__(self) -> None:
        self.found: list[object] = []

    def call(self, call: Call) -> None:
        result = call.result
        if isinstance(result, Tensor):
            self.found.append((call.function, result.shape, result.stride(), result.dtype))


CALLS: list[Callable[[Tensor, Tensor], Tensor]] = [
    lambda x, w: x * w,
    lambda x, w: x.transpose(0, 1) * 2,
    lambda x, w: x[:1] + w,
    lambda x, w: x.to(torch.bfloat16) * w,
    lambda x, w: torch.softmax(x, -1, dtype=torch.float64),
    lambda x, w: torch.sum(x, (0,), keepdim=True),
    lambda x, w: x.sum(),
    lambda x, w: x.long().mean(0, dtype=torch.float32) @ w.t(),
    lambda x, w: functional.layer_norm(x, (6,)) - w[0],
    lambda x, w: x.long() * 0.5,  # the default dtype
    lambda x, w: x.long() * 5,
    lambda x, w: torch.clamp(x, min=w[0]),
    lambda x, w: functional.silu(x, inplace=False),
    lambda x, w: functional.relu(x, inplace=True) + w[0],
]


class Net(nn.Module):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.number, self.weight = number, nn.Parameter(torch.ones(6, 6))

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            y = CALLS[self.number](x, self.weight)
        return y


@pytest.mark.parametrize("number", range(len(CALLS)))
@pytest.mark.parametrize("default", [torch.float32, torch.float64])
def test_a_repeated_call_returns_the_same_shape_as_alone(number: int, default: torch.dtype) -> None:
    net, x = Net(number), torch.zeros(6, 6)
    torch.set_default_dtype(default)
    try:
        run, observer = trace(net, x, Facts, {})
        alone = CALLS[number](x.to("meta"), net.weight.to("meta"))
    finally:
        torch.set_default_dtype(torch.float32)
    assert run.how == "meta"
    *_, last = observer.found
    assert last[1:] == (alone.shape, alone.stride(), alone.dtype)
    assert observer.found[-len(observer.found) // 3 :] == observer.found[: len(observer.found) // 3]


@torch.no_grad()
def test_what_shares_memory_is_not_remembered() -> None:
    known, x = KnownResults(), torch.zeros(3, device="meta")
    key, result = known.result("mul", torch.mul, (x, 2), {})
    assert key is not None
    assert result is None
    known.note(key, x[:2], [x])
    assert known.result("mul", torch.mul, (x, 2), {})[1] is None
    known.note(key, torch.mul(x, 2), [x])
    assert known.result("mul", torch.mul, (x, 2), {})[1].shape == (3,)
    assert known.result("mul", torch.mul, (x, 2.0), {})[1] is None
    assert known.result("mul", torch.mul, (x, True), {})[1] is None


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "func", "args"),
    [
        ("view", Tensor.view, (torch.zeros(2, device="meta"), 2)),
        ("mul", lambda a, b: a * b, (torch.zeros(2, device="meta"), 2)),  # not torch's own
        ("mul", torch.mul, (torch.zeros(2), 2)),
        ("mul", torch.mul, (torch.zeros(2, device="meta"), 2j)),
        ("sum", torch.sum, (2,)),
    ],
)
def test_what_is_not_asked_for(name: str, func: Callable[..., Tensor], args: tuple) -> None:
    assert KnownResults().result(name, func, args, {}) == (None, None)


def test_other_states_of_torch_are_not_mixed_up() -> None:
    known, x = KnownResults(), torch.zeros(2, 2, device="meta")
    args = ("matmul", torch.matmul, (x, x), {})
    assert known.result(*args) == (None, None)  # gradients
    with torch.no_grad():
        with torch.autocast("cpu"):
            assert known.result(*args) == (None, None)
        asked: list[object] = []
        torch.vmap(lambda one: asked.append(known.result("mul", torch.mul, (one, 2), {})) or one)(x)
        assert asked == [(None, None)]
