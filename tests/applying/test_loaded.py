"""What a checkpoint brings stays, what it lacks is drawn, what has grown is both."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

import goodinit as gi
from goodinit.errors import CheckpointError, MetaModelError, RecipeError, UnresolvedError


class Net(nn.Module):
    def __init__(self, tokens: int = 50, classes: int = 3, adapter: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(tokens, 8)
        self.body = nn.Linear(8, 8)
        self.adapter = nn.Linear(8, 8) if adapter else None
        self.head = nn.Linear(8, classes)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.body(self.embed(ids)).relu()
        x = x if self.adapter is None else self.adapter(x)
        return self.head(x)


def values(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


@pytest.fixture(params=["state dict", "file as text", "file as path"])
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path):
    """Return a function that stores a state dict in one of the forms that keep takes."""

    def store(state: dict[str, Tensor]):
        if request.param == "state dict":
            return state
        path = tmp_path / "old.safetensors"
        save_file(state, path)
        return str(path) if request.param == "file as text" else path

    return store


def test_only_what_a_checkpoint_lacks_is_drawn(checkpoint) -> None:
    torch.manual_seed(0)
    old, new = Net(), Net(adapter=True)
    plan = gi.load_(new, checkpoint(values(old)), "he", seed=0)
    for name, value in old.state_dict().items():
        assert torch.equal(new.state_dict()[name], value)
        assert plan[name].kept
        assert plan[name].why == "loaded already"
    assert plan["adapter.weight"].scheme == gi.HeNormal()
    drawn = Net(adapter=True)
    gi.init_(drawn, "he", seed=0)
    assert torch.equal(drawn.adapter.weight, new.adapter.weight)  # as if all had been drawn
    assert not new.adapter.bias.any()


def test_a_new_head_is_drawn_though_the_checkpoint_has_one(checkpoint) -> None:
    old, new = Net(classes=1000), Net(classes=10)
    kept = checkpoint(values(old))
    before = values(new)
    with pytest.raises(RecipeError, match=r"head.weight .*draw='head.weight'"):
        gi.load_(new, kept, "he")
    assert all(torch.equal(value, before[name]) for name, value in values(new).items())
    plan = gi.load_(new, kept, "he", draw="head.*", seed=0)
    assert [row.name for row in plan if not row.kept] == ["head.weight", "head.bias"]
    assert torch.equal(new.body.weight, old.body.weight)
    with pytest.raises(CheckpointError, match=r"draw='haed.\*'.*head"):
        gi.load_(new, kept, "he", draw=["haed.*"])


def test_keep_takes_a_file(checkpoint) -> None:
    old, new = Net(), Net(adapter=True)
    new.load_state_dict(old.state_dict(), strict=False)
    plan = gi.init_(new, "he", keep=checkpoint(values(old)), seed=0)
    assert [row.name for row in plan if not row.kept] == ["adapter.weight", "adapter.bias"]
    assert torch.equal(new.body.weight, old.body.weight)


@pytest.mark.parametrize(
    ("wrap", "fix"),
    [
        (lambda state: {"state_dict": state}, r"pass checkpoint\['state_dict'\]$"),
        (lambda state: {f"module.{k}": v for k, v in state.items()}, r"strip_prefix='module.'\)"),
    ],
)
def test_a_new_head_of_a_checkpoint_of_other_names_says_how_to_pass_it(wrap, fix) -> None:
    net = Net()
    with pytest.raises(RecipeError, match=fix):
        gi.load_(net, wrap(Net(classes=5).state_dict()), draw="head.*", seed=0)


def test_new_rows_of_an_embedding_are_drawn_beside_the_old(checkpoint) -> None:
    torch.manual_seed(0)
    old, new = Net(tokens=50), Net(tokens=4050)
    kept = checkpoint(values(old))
    for write in (
        lambda: gi.load_(new, kept, {"embed.weight": gi.Normal(0.5)}, seed=0),
        lambda: gi.init_(new, {"embed.weight": gi.Normal(0.5)}, keep=kept, seed=0),
    ):
        nn.init.constant_(new.embed.weight, 7.0)
        row = write()["embed.weight"]
        assert [(b.name, b.box) for b in row.blocks] == [
            ("old", ((0, 50), (0, 8))),
            ("new", ((50, 4050), (0, 8))),
        ]
        assert row.scheme is None
        assert [b.scheme for b in row.blocks] == [gi.Keep(), gi.Normal(0.5)]
        assert row.grown_from == (50, 8)
        assert torch.equal(new.embed.weight[:50], old.embed.weight)
        drawn = new.embed.weight[50:]
        assert abs(drawn.std().item() / 0.5 - 1) < 5 / (2 * drawn.numel()) ** 0.5
    whole = Net(tokens=4050)
    gi.init_(whole, {"embed.weight": gi.Normal(0.5)}, seed=0)
    assert torch.equal(whole.embed.weight[50:], new.embed.weight[50:])  # by index, as ever


@given(
    old=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    more=st.lists(st.integers(0, 3), min_size=4, max_size=4),
)
def test_whatever_axes_grow_the_corner_is_kept_and_each_other_value_is_new(
    old: list[int], more: list[int]
) -> None:
    now = [n + m for n, m in zip(old, more, strict=False)]

    class Holder(nn.Module):
        def __init__(self, shape: list[int]) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.full(shape, 7.0))

    model = Holder(now)
    plan = gi.load_(model, {"w": torch.full(old, 3.0)}, {"w": gi.Ones()}, seed=0)
    expected = torch.ones(now)
    expected[tuple(slice(0, n) for n in old)] = 3.0
    assert torch.equal(model.w.detach(), expected)
    boxes = torch.zeros(now)
    for block in plan["w"].parts():
        boxes[tuple(slice(a, b) for a, b in block.box)] += 1
    assert boxes.eq(1).all()
    assert gi.Plan.from_dict(plan.to_dict()).digest == plan.digest


def test_new_input_channels_and_whole_new_gates() -> None:
    old, new = nn.Conv2d(3, 8, 3), nn.Conv2d(4, 8, 3)
    row = gi.load_(new, values(old), "he", seed=0)["weight"]
    assert torch.equal(new.weight[:, :3], old.weight)
    assert [b.box[1] for b in row.blocks] == [(0, 3), (3, 4)]
    assert row.fan_in == 36  # of the layer as it is now
    lstm = nn.LSTM(4, 8)
    with pytest.raises(RecipeError, match=r"weight_ih_l0 packs .*which has grown from 24 to 32"):
        gi.plan(lstm, "lstm", keep=values(nn.LSTM(4, 6)))
    gi.load_(lstm, values(nn.LSTM(3, 8)), "lstm", seed=0)  # more inputs: each gate gets columns


def test_a_padding_row_of_the_checkpoint_stays() -> None:
    old, new = nn.Embedding(4, 3), nn.Embedding(6, 3, padding_idx=0)
    last = nn.Embedding(6, 3, padding_idx=5)
    for model, zero in ((new, ()), (last, (5,))):
        plan = gi.load_(model, values(old), "standard", seed=0)
        assert torch.equal(model.weight[:4], old.weight)
        assert plan["weight"].zero_rows == zero
    assert not last.weight[5].any()


class Experts(nn.Module):
    def __init__(self, count: int) -> None:
        super().__init__()
        self.router = nn.Linear(6, count, bias=False)
        self.up = nn.Parameter(torch.randn(count, 400, 6))
        self.down = nn.Parameter(torch.randn(count, 6, 400))

    def forward(self, x: Tensor) -> Tensor:
        each = x.expand(len(self.up), -1, -1) @ self.up.mT
        each = each.relu() @ self.down.mT
        return (each * self.router(x).softmax(-1).T[..., None]).sum(0)


def test_experts_are_copies_with_noise() -> None:
    torch.manual_seed(0)
    model = Experts(4)
    dense = {"up": torch.randn(400, 6), "down": torch.randn(6, 400) * 0.1}
    plan = gi.load_(model, dense, "standard", inputs=torch.randn(5, 6), seed=0)
    assert plan["up"].scheme == gi.AddNoise(0.01)
    assert plan["up"].std is None
    assert "4 copies of the checkpoint's 400x6, with noise" in str(plan)
    for name, old in dense.items():
        noise = getattr(model, name).detach() - old
        size = noise.numel()
        share = noise.std().item() / old.std(correction=0).item()
        assert abs(share / 0.01 - 1) < 5 / (2 * size) ** 0.5 + 1e-4  # 1e-4: rounding of the sum
        assert len({expert.numpy().tobytes() for expert in noise}) == 4
    assert plan["router.weight"].scheme != gi.Keep()
    louder = {"*": gi.AddNoise(0.1), "router.*": gi.Zeros()}
    plan = gi.plan(model, louder, inputs=torch.randn(5, 6), keep=dense)
    assert plan["up"].scheme == gi.AddNoise(0.1)


def test_more_experts_than_before() -> None:
    old, new = Experts(2), Experts(5)
    plan = gi.load_(new, values(old), "standard", inputs=torch.randn(5, 6), seed=0)
    assert torch.equal(new.up[:2], old.up)
    assert torch.equal(new.router.weight[:2], old.router.weight)
    kept = [isinstance(block.scheme, gi.Keep) for block in plan["up"].blocks]
    assert kept == [True, True, False, False, False]


def test_a_second_expert() -> None:
    old, new = Experts(1), Experts(2)
    plan = gi.load_(new, values(old), "standard", inputs=torch.randn(5, 6), seed=0)
    assert torch.equal(new.up[:1], old.up)
    assert [block.name for block in plan["up"].blocks] == ["expert0.old", "expert1.new"]


def test_new_rows_on_another_scale_are_a_finding() -> None:
    old = {"weight": torch.randn(50, 8) * 0.02}
    far = gi.plan(nn.Embedding(60, 8), gi.recipe("standard"), keep=old)
    (finding,) = [f for f in far.findings if f.code == "GI118"]
    assert finding.where == "weight"
    near = gi.recipe("standard").override(gi.Rule("weight", gi.Normal(0.02)))
    assert not gi.plan(nn.Embedding(60, 8), near, keep=old).findings


def test_a_model_on_meta_is_loaded_and_drawn_at_once() -> None:
    torch.manual_seed(0)
    old = Net()
    with gi.skeleton():
        new = Net(tokens=60, adapter=True)
    with pytest.raises(UnresolvedError, match=r"gi\.load_"):
        gi.init_(new, "he", keep=values(old), materialize="cpu")
    with pytest.raises(MetaModelError, match="materialize"):
        gi.load_(new, values(old), "he")
    plan = gi.load_(new, values(old), "gpt2", materialize="cpu", seed=0)
    assert torch.equal(new.body.weight, old.body.weight)
    assert torch.equal(new.embed.weight[:50], old.embed.weight)
    assert not any(p.is_meta for p in new.parameters())
    assert plan["adapter.weight"].std == 0.02


def test_what_is_tied_takes_either_name_and_refuses_two_values() -> None:
    model = nn.Sequential(nn.Embedding(6, 4), nn.Linear(4, 6, bias=False))
    model[1].weight = model[0].weight
    one, other = torch.randn(6, 4), torch.randn(6, 4)
    gi.load_(model, {"1.weight": one}, "standard")
    assert torch.equal(model[0].weight, one)
    gi.load_(model, {"0.weight": other, "1.weight": other.clone()}, "standard")
    assert torch.equal(model[0].weight, other)
    with pytest.raises(CheckpointError, match=r"^0.weight is one .* 0.weight and 1.weight differ"):
        gi.load_(model, {"0.weight": one, "1.weight": other}, "standard")
    assert torch.equal(model[0].weight, other)


def test_buffers_parametrizations_dtypes_and_prefixes() -> None:
    old = nn.Sequential(weight_norm(nn.Linear(4, 4)), nn.BatchNorm1d(4))
    old(torch.randn(9, 4))
    new = nn.Sequential(weight_norm(nn.Linear(4, 4)), nn.BatchNorm1d(4), nn.Linear(4, 2))
    gi.load_(new, values(old), "standard")
    for name, value in old.state_dict().items():
        assert torch.equal(new.state_dict()[name], value)
    with pytest.raises(CheckpointError, match=r"original0 has shape .*can't grow"):
        gi.load_(nn.Sequential(weight_norm(nn.Linear(4, 5))), values(old), "standard")
    half = nn.Linear(4, 2).to(torch.bfloat16)
    gi.load_(half, {"part.weight": torch.ones(2, 4)}, "he", prefix="part")
    assert half.weight.eq(1).all()
    gi.load_(half, {"weight": torch.zeros(2, 4)}, "he", prefix="part")
    assert not half.weight.any()


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({}, CheckpointError, "with values in it"),
        ({"x": torch.ones(1)}, RecipeError, "no parameter of this model"),
        ({"weight": torch.ones(3, 4, 1)}, RecipeError, "can't have grown from that shape"),
        ({"weight": torch.ones(3, 4, device="meta")}, CheckpointError, "on meta"),
        ("nowhere.safetensors", CheckpointError, r"can't be read: No such file"),
        (Path("nowhere.pt"), CheckpointError, r"can't be read: No such file"),
    ],
)
def test_what_is_no_checkpoint_is_refused_before_anything_is_written(given, error, says) -> None:
    model = nn.Linear(4, 3)
    before = values(model)
    with pytest.raises(error, match=says):
        gi.load_(model, given, "he")
    assert all(torch.equal(value, before[name]) for name, value in values(model).items())


def test_a_file_that_is_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    save_file(values(nn.Linear(4, 3)), path)
    for length in (0, 4, 20, path.stat().st_size - 1):
        cut = tmp_path / f"{length}.safetensors"
        cut.write_bytes(path.read_bytes()[:length])
        with pytest.raises(CheckpointError, match=f"{length}.safetensors is cut short"):
            gi.load_(nn.Linear(4, 3), cut, "he")
