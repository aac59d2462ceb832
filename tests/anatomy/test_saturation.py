"""Saturated activations by the size of the weights, as a run of drawn weights has them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from goodinit.anatomy import Anatomy, read
from goodinit.anatomy.saturation import Saturated, saturated_by_law
from goodinit.anatomy.sizes import Size

WIDTH = 256


class Net(nn.Module):
    """Matrices a to f and a bias, of which a function says which activations it takes."""

    def __init__(self, run: Callable[..., Tensor]) -> None:
        super().__init__()
        self.run = run
        self.shares: list[float] = []
        for name in "abcdef":
            setattr(self, name, nn.Parameter(torch.randn(WIDTH, WIDTH)))
        self.p = nn.Parameter(torch.randn(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)

    def tanh(self, x: Tensor) -> Tensor:
        """Note the share beyond 0.99 of what is finite, on meta of nothing."""
        y = x.tanh()
        if not x.is_meta:
            self.shares.append((y.abs() > 0.99).double().mean().item())
        return y


def sizes(gain: float, mean: float = 0.0, bias: float = 0.0) -> Callable[[str], Size | None]:
    """Weights of a gain, and a bias of a mean and a variance."""
    weight = Size(0.0, gain**2 / WIDTH, WIDTH)
    return lambda name: Size(mean, bias) if name == "p" else weight


def deep(m: Net, x: Tensor) -> Tensor:
    for weight in (m.a, m.b, m.c, m.d, m.e):
        x = m.tanh(x @ weight)
    return x @ m.f


def shallow(m: Net, x: Tensor) -> Tensor:
    return m.tanh(m.tanh(m.tanh(x @ m.a) @ m.b) @ m.c) @ m.d


def biased(m: Net, x: Tensor) -> Tensor:
    return m.tanh(x @ m.a + m.p) @ m.b


def doubled(m: Net, x: Tensor) -> Tensor:
    return m.tanh(2 * (x @ m.a + m.p)) @ m.b


def added(m: Net, x: Tensor) -> Tensor:
    return m.tanh(m.tanh(x @ m.a) @ m.b + 2 * (x @ m.c)) @ m.d


def beside(m: Net, x: Tensor) -> Tensor:
    y = m.tanh(m.tanh(x @ m.a) @ m.b)
    return m.tanh(m.tanh(y @ m.c) @ m.d + x @ m.e) @ m.f


def found(run: Callable[..., Tensor], size_of: Callable[[str], Size | None]) -> Saturated | None:
    anatomy: Anatomy = read(Net(run), torch.randn(4, WIDTH))
    return saturated_by_law(anatomy, size_of)


@pytest.mark.parametrize(
    ("run", "gain", "mean", "variance", "layers", "names"),
    [
        (deep, 3.0, 0.0, 0.0, 5, "abcde"),
        (deep, 2.6, 0.0, 0.0, 5, "abcde"),
        (shallow, 6.0, 0.0, 0.0, 3, "abc"),
        (biased, 1.0, 4.0, 0.0, 1, "a"),
        (biased, 1.0, 0.0, 25.0, 1, "a"),
        (biased, 4.2, 0.0, 0.0, 1, "a"),
        (doubled, 1.0, 0.0, 4.0, 1, "a"),
        (doubled, 0.5, 2.0, 0.0, 1, "a"),
        (added, 2.7, 0.0, 0.0, 2, "bc"),
        (beside, 3.0, 0.0, 0.0, 4, "abcde"),
    ],
)  # fmt: skip
def test_the_share_of_the_first_is_that_of_a_run(
    run: Callable[..., Tensor], gain: float, mean: float, variance: float, layers: int, names: str
) -> None:
    result = found(run, sizes(gain, mean, variance))
    assert result is not None
    assert (result.function, result.layers, "".join(result.names)) == ("tanh", layers, names)
    net, random = Net(run), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            drawn = torch.randn(parameter.shape, generator=random)
            parameter.copy_(mean + variance**0.5 * drawn if name == "p" else
                            drawn * gain / WIDTH**0.5)  # fmt: skip
        net(torch.randn(512, WIDTH, generator=random))
    first = "abcdef".index(names[0])
    # Inputs of a few units share a length, known to 1 / sqrt(2 * 256) = 4 %: 0.02 of a share.
    assert result.share == pytest.approx(net.shares[first], abs=0.02 if variance == 0 else 0.1)


@pytest.mark.parametrize(
    ("run", "gain"),
    [(deep, 2.4), (shallow, 3.6), (biased, 3.6), (beside, 1.0), (added, 1.2)],
)
def test_others_are_not_saturated(run: Callable[..., Tensor], gain: float) -> None:
    assert found(run, sizes(gain)) is None


def test_sums_with_unknown_sizes_are_taken_for_any_signal() -> None:
    result = found(deep, lambda name: None if name == "a" else sizes(4.0)(name))
    assert result is not None
    assert (result.layers, result.names) == (4, ("b", "c", "d", "e"))


@pytest.mark.parametrize(
    ("run", "saturated"),
    [
        (lambda m, x: (x @ m.a).sigmoid(), True),
        (lambda m, x: (x @ m.a + m.p).sigmoid(), False),  # on one side, as a prior has it
        (lambda m, x: (x @ m.a + m.p).sigmoid() @ m.b, True),
        (lambda m, x: (x @ m.a).sigmoid() * (x @ m.b), False),  # a gate
        (lambda m, x: nn.functional.hardsigmoid(x @ m.a) @ m.b, True),
        (lambda m, x: (x @ m.a).relu() @ m.b, False),
    ],
)
def test_sigmoids_are_gates_and_heads_too(run: Callable[..., Tensor], saturated: bool) -> None:
    assert (found(run, sizes(20.0, -60.0)) is not None) is saturated


def test_a_gate_hides_no_activation_behind_it() -> None:
    result = found(lambda m, x: ((x @ m.a).sigmoid() * (x @ m.b) @ m.c).tanh() @ m.d, sizes(20.0))
    assert result is not None
    assert (result.function, result.names) == ("tanh", ("c",))


def test_what_a_glu_gives_is_taken_for_any_signal() -> None:
    result = found(
        lambda m, x: m.tanh(nn.functional.glu(x @ m.a) @ m.b[: WIDTH // 2]) @ m.c, sizes(4.2)
    )
    one = found(biased, sizes(4.2))
    assert result is not None
    assert one is not None
    assert result.names == ("b",)
    assert result.share == one.share


def test_rows_of_a_table_are_as_large_as_they_are() -> None:
    def run(m: Net, x: Tensor) -> Tensor:
        return (nn.functional.embedding(x, m.a) @ m.b).tanh() @ m.c

    anatomy = read(Net(run), torch.zeros(2, 3, dtype=torch.long))
    for second, saturated in ((0.01, False), (100.0, True)):
        size_of = lambda name, s=second: Size(0.0, s) if name == "a" else sizes(1.0)(name)  # noqa: E731
        assert (saturated_by_law(anatomy, size_of) is not None) is saturated
