"""`gi.identify`: the recipe of fresh weights by facet, and the ports that draw something else."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from tests.recipes.families import Mixer, megatron, mixer, olmo, siren
from torch import Tensor, nn
from torch.nn import init

import goodinit as gi
from goodinit.errors import MetaModelError, UnknownRecipeError
from goodinit.explanation.tried import library_recipes

TOKENS = torch.ones(2, 8, dtype=torch.long)
IMAGES = torch.zeros(2, 3, 32, 32)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def unscaled_ends(net: nn.Module) -> None:
    """GPT-2 ported without the factor 1/sqrt(2 L) at the ends of residual branches."""
    for name, p in net.named_parameters():
        if name.endswith(("wo.weight", "w2.weight")):
            init.normal_(p, std=0.02)


def torchs_table(net: nn.Module) -> None:
    """An embedding that is left to torch: N(0, 1)."""
    init.normal_(net.tok.weight)


def all_layers_as_the_first(net: nn.Module) -> None:
    """OLMo's law by layer, with one layer's number for all."""
    for layer in net.layers:
        init.trunc_normal_(layer.wo.weight, std=128**-0.5, a=-3 * 128**-0.5, b=3 * 128**-0.5)


def two_at_the_bound(net: nn.Module) -> None:
    """timm's old `trunc_normal_`: rounding put values at its bounds, 100 sigma away."""
    with torch.no_grad():
        net.layers[0].wq.weight[0, 0] = 2.0
        net.layers[1].wq.weight[3, 5] = -2.0


def head_of_torch(net: nn.Module) -> None:
    """Another classifier, put on a pretrained body's code: its constructor's values."""
    net.head = nn.Linear(64, 10)


def cut_at_two(net: nn.Module) -> None:
    """transformers' `lecun_normal_`: corrected for a cut at 2 sigma, and cut at 2."""
    init.trunc_normal_(net.stem.weight, std=(1 / 192) ** 0.5 / 0.87962566103423978)


def without_omega(net: nn.Module) -> None:
    """SIREN's hidden layers without the division by omega."""
    for number in (1, 2):
        init.uniform_(net[number].linear.weight, -((6 / 64) ** 0.5), (6 / 64) ** 0.5)


FAR = dict.fromkeys(
    ("layers.0.wq.weight", "layers.1.wq.weight"), (0.02**2 + 4 / 64**2) ** 0.5 / 0.02
)
ENDS = {f"layers.{n}.{end}.weight" for n in range(3) for end in ("wo", "w2")}
LATER = {f"layers.{n}.wo.weight": (n + 1) ** 0.5 for n in (1, 2)}
HIDDEN = {"1.linear.weight": 30.0, "2.linear.weight": 30.0}


@pytest.mark.parametrize(
    ("build", "bug", "recipe", "inputs", "times"),
    [
        pytest.param(megatron, two_at_the_bound, "gpt2", TOKENS, FAR, marks=pytest.mark.battery),
        (megatron, unscaled_ends, "gpt2", TOKENS, dict.fromkeys(ENDS, 6**0.5)),
        pytest.param(
            megatron, torchs_table, "gpt2", TOKENS, {"tok.weight": 50.0}, marks=pytest.mark.battery
        ),
        pytest.param(
            olmo, all_layers_as_the_first, "olmo", TOKENS, LATER, marks=pytest.mark.battery
        ),
        (mixer, head_of_torch, "mixer", IMAGES, {"head.weight": None, "head.bias": None}),
        pytest.param(
            mixer,
            cut_at_two,
            "mixer",
            IMAGES,
            {"stem.weight": 1 / 0.87962566},
            marks=pytest.mark.battery,
        ),
        (siren, without_omega, "siren", torch.ones(4, 2), HIDDEN),
    ],
)
def test_ports_that_draw_something_else(
    build: Callable[[], nn.Module],
    bug: Callable[[nn.Module], None],
    recipe: str,
    inputs: Tensor,
    times: dict[str, float | None],
) -> None:
    net = build()
    if isinstance(net, Mixer):
        net.stem = nn.Conv2d(3, 64, 8, 8, bias=False)
        std = (1 / 192) ** 0.5 / 0.87962566103423978
        init.trunc_normal_(net.stem.weight, std=std, a=-2 * std, b=2 * std)
    bug(net)
    found = gi.identify(net, inputs, recipe)
    assert {one.name for one in found.deviations} == times.keys()
    assert not found.ok
    for one in found.deviations:
        wanted, n = times[one.name], net.get_parameter(one.name).numel()
        assert (one.times is None) == (wanted is None)
        if wanted is not None:  # five standard errors of a normal law's std
            assert one.times == pytest.approx(wanted, rel=5 / (2 * n) ** 0.5)
            assert one.p is not None
            assert one.p < 1e-12


def test_what_fits_better_is_named_and_what_nearly_does() -> None:
    net = megatron()
    unscaled_ends(net)
    found = gi.identify(net, TOKENS)
    assert found.call == '"llama"'
    assert '"bert"' in found.also
    near = next(one for one in found.near if '"gpt2"' in one.calls)
    assert near.deviations == {"residual ends": tuple(sorted(ENDS, key=_by_place))}
    assert near.weights == (17, 23)
    facets = {row.name: (row.explained, row.drawn) for row in found}
    assert facets == {
        "embeddings": (1, 1), "attention": (9, 9), "feed-forward": (6, 6),
        "residual ends": (6, 6), "head": (1, 1), "norms": (7, 7),
    }  # fmt: skip
    assert '"gpt2"' in found["attention"].also
    assert '"gpt2"' not in found["residual ends"].also
    text = " ".join(str(found).split())
    assert 'nearly "gpt2", "megatron"' in text
    assert "of 23 weights; all but residual ends (6)" in text
    assert json.loads(json.dumps(found.to_dict()))["ok"] is True
    assert "residual ends" in found._repr_html_()


def _by_place(name: str) -> tuple[int, bool]:
    return int(name.split(".")[1]), "w2" in name


def test_numbers_of_a_recipe_are_read_off_the_values() -> None:
    torch.manual_seed(0)
    net = siren(12.0)
    found = gi.identify(net, torch.ones(4, 2))
    assert (found.call, found.ok) == ('gi.recipe("siren", omega=12)', True)
    # A number that explains no more than a recipe without it is no discovery.
    net = nn.Sequential(nn.Linear(2, 64), nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 1))
    gi.init_(net, gi.HeUniform(), seed=0)
    assert gi.identify(net).call == 'gi.recipe("he", distribution="uniform")'


@pytest.mark.parametrize("inputs", [None, torch.ones(2, 8, 64)])
def test_a_family_is_named_where_the_model_has_what_it_has(inputs: torch.Tensor | None) -> None:
    layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
    for p in layer.parameters():  # as nn.Transformer draws it: q, k and v as one matrix
        if p.dim() > 1:
            nn.init.xavier_uniform_(p)
    found = gi.identify(layer, inputs)
    assert (found.call, found.weights) == ("", (4, 4))
    assert found.habit == "xavier_uniform_ for every matrix, by torch's fans"
    assert not [call for call in found.also if "gat" in call]  # it has no vectors of attention
    gi.init_(layer, gi.Normal(0.02), inputs=inputs, seed=0)
    assert gi.identify(layer, inputs).recipe == "llama"  # a part of such a model


def test_what_is_no_recipe() -> None:
    net = nn.Linear(100, 80)
    with torch.no_grad():
        net.weight.copy_(torch.randn(80, 100) ** 3)
    found = gi.identify(net)
    assert (found.recipe, found.call, found.habit, found.ok) == (None, "", "", False)
    assert "no recipe of the library explains most weights" in str(found)


def test_wrong_calls_and_nothing_is_written() -> None:
    net = nn.Linear(4, 4)
    before = net.weight.detach().clone()
    with pytest.raises(UnknownRecipeError, match="gpt2"):
        gi.identify(net, recipe="gpt-2x")
    with pytest.raises(MetaModelError):
        gi.identify(nn.Linear(4, 4, device="meta"))
    state = torch.get_rng_state()
    gi.identify(net)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(net.weight, before)


def test_every_recipe_that_values_can_show_is_tried() -> None:
    tried = {one.name for one in library_recipes()}
    second, of_a_base = {"glorot", "kaiming"}, {"mup", "completep"}
    assert tried == {*gi.recipes.names()} - second - of_a_base
    calls = [one.call for one in library_recipes()]
    assert len(calls) == len({*calls})
    for one in library_recipes():
        made = eval(one.call, {"gi": gi})
        made = gi.recipe(made) if isinstance(made, str) else made
        assert made.rules == one.recipe.rules
