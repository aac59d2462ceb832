"""Lines of code are tried on copies, which leave no trace; where that can't be, words say why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest
import torch
from torch import Tensor, nn

import goodinit as gi
from goodinit.applying import trials
from goodinit.applying.copies import copy_of
from goodinit.applying.lines import init_line, untried
from goodinit.applying.trials import Trials
from goodinit.findings import Severity

WORDS = "put a norm between them"
LINE = init_line("he", inputs=False)


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))


def finding(code: str = "GI102", severity: Severity = "warning") -> gi.Finding:
    return gi.Finding(code, severity, "0", "lost", untried(WORDS, [LINE]))


def remedy(
    judge: Callable[[nn.Module], Sequence[gi.Finding]],
    model: nn.Module | None = None,
    found: gi.Finding | None = None,
) -> str:
    (after,) = Trials(model or small(), None, [found or finding()], judge).findings()
    return after.remedy


def answers(*after: Sequence[gi.Finding]) -> Callable[[nn.Module], Sequence[gi.Finding]]:
    """A judge that finds the illness in a plain copy, and then what is given."""
    left: Iterator[Sequence[gi.Finding]] = iter([[finding()], *after])
    return lambda _: next(left)


def test_a_line_that_fixes_with_both_seeds_is_the_remedy() -> None:
    assert remedy(answers([], [])) == 'gi.init_(model, "he", seed=0)'


@pytest.mark.parametrize(
    "after",
    [
        [[finding()]],  # not gone
        [[], [finding()]],  # by luck, with the first seed
        [[finding("GI103")]],  # another one came that is as grave
        [[finding("GI102", "info")]],  # the same, only milder
    ],
)
def test_other_lines_give_way_to_words(after: list[list[gi.Finding]]) -> None:
    assert remedy(answers(*after)) == WORDS


def test_what_an_error_hid_may_come_to_light() -> None:
    found = finding("GI101", "error")
    judge = iter([[found], [finding()], [finding()]])
    assert remedy(lambda _: next(judge), found=found) == LINE.text


def test_each_line_is_tried_once() -> None:
    calls: list[nn.Module] = []

    def judge(copied: nn.Module) -> list[gi.Finding]:
        calls.append(copied)
        return [finding(), finding("GI108")]

    model = small()
    found = Trials(model, None, [finding(), finding("GI108")], judge).findings()
    assert [f.remedy for f in found] == [WORDS, WORDS]
    assert len(calls) == 2  # as it is, and after the line
    assert all(copied is not model for copied in calls)


def test_the_model_stays_as_it_is() -> None:
    x = torch.randn(16, 32, generator=torch.Generator().manual_seed(0))
    layers = [p for _ in range(14) for p in (nn.Linear(32, 32), nn.ReLU(), nn.Dropout(0.1))]
    model = nn.Sequential(*layers, nn.BatchNorm1d(32))
    gi.init_(model, gi.Normal(0.02), seed=0)
    model[0].train(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    versions = [p._version for p in model.parameters()]
    state, modes = torch.get_rng_state(), [module.training for module in model.modules()]
    signal = gi.measure(model, x)
    assert "gi.init_(" in str(signal)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert versions == [p._version for p in model.parameters()]
    assert torch.equal(torch.get_rng_state(), state)
    assert modes == [module.training for module in model.modules()]


class NoCopy(nn.Linear):
    def __deepcopy__(self, memo: object) -> nn.Module:
        raise TypeError("cannot pickle a lock")


class Shared(nn.Linear):
    def __deepcopy__(self, memo: object) -> nn.Module:
        return self


@pytest.mark.parametrize(
    ("model", "why"),
    [(NoCopy(2, 2), "cannot pickle a lock"), (Shared(2, 2), "shares memory")],
)
def test_a_model_that_cannot_be_copied_gets_words(model: nn.Module, why: str) -> None:
    before = model.weight.detach().clone()
    words = remedy(lambda _: [finding()], model)
    assert words.startswith(f"{WORDS} (no line of code was tried: a copy of the model can't be")
    assert why in words
    assert torch.equal(model.weight, before)


def test_a_large_model_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "LARGEST_COPY", 50)
    assert "a copy of the model takes" in remedy(lambda _: [])


def test_inputs_that_were_used_up_get_words() -> None:
    class Once(nn.Module):
        """Takes its batches from an iterator: the second run sees none of them."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, batches: Iterator[Tensor]) -> Tensor:
            return self.layer(next(batches))

    batches = iter([torch.ones(2, 4)])
    model = Once()
    model(batches)

    def judge(copied: nn.Module) -> list[gi.Finding]:
        copied(batches)
        return []

    (after,) = Trials(model, (batches,), [finding()], judge).findings()
    assert "StopIteration" in after.remedy


def test_a_copy_that_behaves_otherwise_proves_nothing() -> None:
    assert "other findings" in remedy(lambda _: [])


def test_a_hooked_weight_can_be_copied() -> None:
    with pytest.warns(FutureWarning):
        net = nn.utils.weight_norm(nn.Linear(4, 4))
    x = torch.ones(2, 4)
    assert torch.equal(copy_of(net)(x), net(x))
