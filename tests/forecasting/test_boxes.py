"""Large tables and matrices in a forecast: a few rows at a time, with what the whole would give."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import goodinit as gi
from goodinit.anatomy.names import slots
from goodinit.applying.planned_values import PlannedValues
from goodinit.forecasting import boxes
from goodinit.forecasting.forecast import rows_by_slot
from goodinit.forecasting.streamed import StreamedWeights
from goodinit.signal.measure import measured_with
from goodinit.streams import Stream

WORDS, WIDTH = 400, 32
TOKENS = torch.tensor([[3, 4, 5, 3], [9, 0, 399, 7]])


class Net(nn.Module):
    def __init__(self, tied: bool = False, padding: int | None = None) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH, padding_idx=padding)
        self.body = nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, WORDS)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(torch.tanh(self.body(self.embed(tokens))))


def squares(y: Tensor) -> Tensor:
    return y.square().mean()


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boxes, "LARGE", WORDS * WIDTH)
    monkeypatch.setattr("goodinit.forecasting.streamed.LARGE", WORDS * WIDTH)
    monkeypatch.setattr(boxes, "BOX", 7 * WIDTH)


def agree(ours: gi.Signal, theirs: gi.Signal, bits: bool) -> None:
    assert [row.key for row in ours] == [row.key for row in theirs]
    for a, b in zip(ours, theirs, strict=True):
        if bits:
            assert a == b
        else:
            assert a.forward.second == pytest.approx(b.forward.second, rel=1e-5)
            assert a.backward.second == pytest.approx(b.backward.second, rel=1e-5)
    for a, b in zip(ours.gradients, theirs.gradients, strict=True):
        assert a.size == pytest.approx(b.size, rel=1e-5)
        assert a.ratio == pytest.approx(b.ratio, rel=1e-5)
    assert [str(f) for f in ours.findings] == [str(f) for f in theirs.findings]


@pytest.mark.parametrize(
    "make",
    [Net, lambda: Net(tied=True), lambda: Net(padding=3), lambda: Net(tied=True, padding=3)],
    ids=["own", "tied", "padding", "tied, padding"],
)
@pytest.mark.parametrize("exact", [True, False])
def test_rows_are_those_of_the_whole(make: Callable[[], nn.Module], exact: bool) -> None:
    with gi.skeleton():
        net = make()
    plan = gi.plan(net, {"*.weight": gi.Normal(0.3), "*.bias": gi.Normal(0.1)}, inputs=TOKENS)
    ours = gi.forecast(net, TOKENS, plan, exact=exact, loss=squares)
    assert "Implicit" not in str(ours.notes)
    gi.apply_(net, plan, seed=0, materialize="cpu")
    agree(ours, gi.measure(net, TOKENS, loss=squares), bits=exact)


def largest(make: Callable[[], nn.Module]) -> tuple[int, int]:
    """Return the most numbers that were drawn at once, and how many there were in all."""
    with gi.skeleton():
        net = make()
    found, plan = slots(net), gi.plan(net, "standard")
    most = [0]

    class Counted(StreamedWeights):
        def _count(self, value: Tensor) -> None:
            most[0] = max(most[0], value.numel())
            super()._count(value)

    rows, device = rows_by_slot(net, plan, found), torch.device("cpu")
    weights = Counted(found, PlannedValues(found, rows, Stream(0), device), device)
    measured_with(weights, net, TOKENS, squares, backward=True)
    return most[0], weights.drawn


class Lookup(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.embed(tokens)


def test_a_lookup_draws_a_box_at_a_time() -> None:
    most, drawn = largest(Lookup)
    assert most == boxes.BOX
    assert drawn == (WORDS + len(TOKENS.unique())) * WIDTH


def test_a_lookup_that_torch_refuses_raises_what_torch_says() -> None:
    with gi.skeleton():
        net = Lookup()
    with pytest.raises(gi.GoodinitError, match="index out of range"):
        gi.forecast(net, torch.tensor([WORDS]), gi.plan(net, "standard"), exact=True)


def test_rows_of_a_file_are_read_alone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Net()
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    with torch.device("meta"):
        empty = Net()
    ours = gi.measure(empty, TOKENS, squares, weights=tmp_path / "w.safetensors")
    agree(ours, gi.measure(net, TOKENS, squares), bits=True)
