"""Coordinate checks: flat under muP and CompleteP, and as published under other recipes."""

from __future__ import annotations

from functools import partial

import pytest
from tests.mup.networks import IMAGES, NUMBERS, TOKENS, Cnn, Gpt, Mlp
from torch import nn

import goodinit as gi
from goodinit.errors import CallError, RecipeError, SignalError
from goodinit.mup.coordinates import MOST_ROWS

# Few samples, so that in narrow models what they have in common is more than chance.
SMALL = [(Mlp, NUMBERS[:4]), (Gpt, TOKENS[:2, :4]), (Cnn, IMAGES[:2])]
WIDTHS, DEPTHS = [64, 128, 256, 512, 1024], [2, 4, 8, 16, 32, 64]


def net(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
                         nn.Linear(width, 2))  # fmt: skip


def test_flat_in_mup_and_steep_without() -> None:
    check = partial(gi.coordinate_check, net, NUMBERS, widths=[64, 256, 1024], lr=1e-3)
    mup, plain = check(), check(recipe="standard")
    assert mup.ok
    assert abs(mup["2:change:width"].slope) < 0.05
    assert not plain.ok
    # Measured: .871 +- .015, five of these. TP V, figure 5, has .78 for another model.
    assert plain["2:change:width"].slope == pytest.approx(0.871, abs=0.075)
    assert mup[":initial:width"].slope < -0.3  # muP's first outputs fall, and that is right
    assert "all slopes are 0 within 0.05" in mup.to_text()
    assert "not 0" in plain.to_text()
    axes = plain.plot().axes
    assert [a.get_title() for a in axes] == ["before training", "change by training"]


def test_depth() -> None:
    recipe = gi.recipe("completep", base=lambda: Mlp(64, 2), law="nanochat")
    sizes = {"widths": [64, 72, 80], "depths": [2, 4, 8]}
    rows = gi.coordinate_check(Mlp, NUMBERS[:4], recipe=recipe, **sizes)
    assert rows["norm:change:depth"].ok
    assert not rows["down.*:change:depth"].judged
    assert rows["down.*:change:depth"].slope == pytest.approx(-1, abs=0.1)  # 1/m_L each
    with pytest.raises(RecipeError, match="completep"):
        gi.coordinate_check(Mlp, NUMBERS[:4], **sizes)


def test_weights_that_parametrizations_return_are_no_activations() -> None:
    def normed(width: int) -> nn.Sequential:
        norm = nn.utils.parametrizations.weight_norm
        return nn.Sequential(norm(nn.Linear(8, width)), nn.ReLU(), nn.Linear(width, 2))

    check = gi.coordinate_check(normed, NUMBERS, widths=[16, 32, 64], steps=1, seeds=1)
    assert not [row.key for row in check if "parametrizations" in row.key]
    assert "0:change:width" in {row.key for row in check}
    assert check._repr_html_().count("<tr>") == 1 + len(check) <= MOST_ROWS + 1


def test_misuse() -> None:
    with pytest.raises(CallError, match="3 sizes"):
        gi.coordinate_check(net, NUMBERS, widths=[64, 128])
    with pytest.raises(CallError, match="one of adamw"):
        gi.coordinate_check(net, NUMBERS, widths=[4, 8, 16], optimizer="lion")
    with pytest.raises(
        CallError, match=r"a Linear is one model. Write .*lambda width: Net\(width\)"
    ):
        gi.coordinate_check(nn.Linear(8, 2), NUMBERS, widths=[4, 8, 16])  # type: ignore[arg-type]
    with pytest.raises(
        CallError, match=r"\(lambda width: Net\(width\), inputs, widths=\[8, 16, 32\]"
    ):
        gi.coordinate_check(nn.Linear(8, 2), [8])  # type: ignore[arg-type, call-arg]
    with pytest.raises(SignalError, match="the batch is empty"):
        gi.coordinate_check(net, NUMBERS[:0], widths=[4, 8, 16])


@pytest.mark.accuracy
@pytest.mark.parametrize(("make", "inputs"), SMALL)
def test_slopes_over_widths_and_depths(make, inputs) -> None:
    recipe = gi.recipe("completep", base=partial(make, 64, 2), law="nanochat")
    check = partial(gi.coordinate_check, make, inputs, widths=WIDTHS, depths=DEPTHS, seeds=3)
    flat, plain = check(recipe=recipe), check(recipe="standard")
    print(f"\n{make.__name__}: worst {flat.worst}; standard's {plain.worst}")
    judged = [row for row in flat if row.judged and not (row.what == "initial" and row.last)]
    assert all(abs(row.slope) < 0.05 for row in judged), flat.to_text(full=True)
    assert max(abs(row.slope) for row in plain if row.judged) > 0.5
