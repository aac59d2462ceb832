"""Where a reading ends: the nearest model on either side of each bound."""

import pytest
import torch
from torch import Tensor, nn

import goodinit as gi
from goodinit.anatomy import read


@pytest.mark.parametrize(
    ("factor", "name"), [(1.702, "gelu"), (1.4, "silu"), (2.1, "silu"), (None, "silu")]
)
def test_a_gelu_by_a_sigmoid_has_its_factor(factor: float | None, name: str) -> None:
    """x * sigmoid(1.702 x) is gelu's cheap form; with another factor it is a silu."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(8, 8)

        def forward(self, x: Tensor) -> Tensor:
            y = self.linear(x)
            return y * torch.sigmoid(y if factor is None else factor * y)

    plan = gi.plan(Net(), "he", inputs=torch.ones(2, 8))
    assert plan["linear.weight"].activation == name


@pytest.mark.parametrize(("rank", "kind"), [(2, "adapter"), (7, "adapter"), (8, "linear")])
def test_an_adapter_is_narrower_than_what_it_adds_to(rank: int, kind: str) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.base = nn.Linear(8, 8)
            self.down, self.up = nn.Linear(8, rank, bias=False), nn.Linear(rank, 8, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.base(x) + self.up(self.down(x))

    plan = gi.plan(Net(), "standard", inputs=torch.ones(2, 8))
    assert (plan["down.weight"].kind, plan["up.weight"].kind) == (kind, kind)
    assert plan["base.weight"].kind == "linear"


@pytest.mark.parametrize(
    ("squash", "part"),
    [(torch.sigmoid, "gate"), (nn.functional.hardsigmoid, "gate"), (torch.tanh, "weight")],
)
def test_a_signal_scaled_by_a_share_of_itself_is_gated(squash, part: str) -> None:
    """Squeeze and excitation: a factor between 0 and 1 from the signal's own mean."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(4, 8, 3)
            self.squeeze, self.excite = nn.Linear(8, 4), nn.Linear(4, 8)
            self.last = nn.Conv1d(8, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            share = squash(self.excite(torch.relu(self.squeeze(y.mean(-1)))))
            return self.last(y * share[..., None])

    plan = gi.plan(Net(), "standard", inputs=torch.ones(2, 4, 9))
    assert plan["excite.weight"].part == part


@pytest.mark.parametrize("value", [torch.tanh, torch.relu, nn.functional.silu, torch.sigmoid])
@pytest.mark.parametrize("share", [torch.sigmoid, nn.functional.hardsigmoid])
def test_of_two_activations_a_sigmoid_is_the_gate(value, share) -> None:
    """As in WaveNet; of two sigmoids the first is."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.share, self.value = nn.Linear(8, 16), nn.Linear(8, 16)
            self.last = nn.Linear(16, 8)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(share(self.share(x)) * value(self.value(x)))

    plan = gi.plan(Net(), "standard", inputs=torch.ones(2, 8))
    assert (plan["share.weight"].part, plan["value.weight"].part) == ("gate", "weight")


@pytest.mark.parametrize(("normalize", "evidence"), [(True, "norm(x) * p"), (False, "x * p")])
def test_a_scale_says_whether_it_follows_a_norm(normalize: bool, evidence: str) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 8)
            self.scale = nn.Parameter(torch.ones(8))

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            if normalize:
                x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)
            return self.last(x * self.scale)

    row = next(row for row in read(Net(), torch.ones(2, 8)).rows if row.name == "scale")
    assert row.facets.evidence == evidence


def test_of_an_attention_the_values_alone_are_added_to_the_stream() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.v = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
            self.last = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            operands = self.q(x), self.k(x), self.v(x)
            return self.last(x + nn.functional.scaled_dot_product_attention(*operands))

    plan = gi.plan(Net(), "standard", inputs=torch.ones(2, 5, 8))
    ends = [plan[f"{name}.weight"].ends_residual for name in ("q", "k", "v", "last")]
    assert ends == [False, False, True, False]
