"""timm's named_apply, and one module at a time in general."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import goodinit as gi
from goodinit import adapters
from goodinit.applying.apply import apply_own_
from goodinit.errors import MetaModelError, ModelError, PlanError, UnknownRecipeError


def named_apply(fn: Any, module: nn.Module, name: str = "", include_root: bool = False) -> None:
    """timm.models.named_apply, from timm/models/_manipulate.py, depth first."""
    for child_name, child in module.named_children():
        path = f"{name}.{child_name}" if name else child_name
        named_apply(fn=fn, module=child, name=path, include_root=True)
    if include_root:
        fn(module=module, name=name)


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(
        torch.equal(p, q)
        for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


class Net(nn.Module):
    """Raw, tied, recurrent, parametrized and shared parameters, and running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 6))
        self.embed = nn.Embedding(9, 6, padding_idx=0)
        self.blocks = nn.Sequential(nn.Linear(6, 6), nn.LSTM(6, 6), nn.BatchNorm1d(6))
        self.normed = parametrizations.weight_norm(nn.Conv1d(6, 6, 3))
        self.shared = nn.ModuleList([self.blocks[0], nn.Linear(6, 6)])
        self.head = nn.Linear(6, 9, bias=False)
        self.head.weight = self.embed.weight


RECIPES = {
    "he": gi.recipe("he"),
    "by name": gi.recipe("lstm").override(
        gi.Rule("token", gi.Normal(3.0)),
        gi.Rule("blocks.0.weight", gi.Orthogonal()),
        gi.Rule("head.weight", gi.Uniform(-1, 1)),
    ),
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_module_by_module_is_the_whole(recipe: gi.Recipe) -> None:
    torch.manual_seed(0)
    net, whole = Net(), Net()
    whole.load_state_dict(net.state_dict())
    named_apply(adapters.timm(net, recipe, seed=4), net, include_root=True)
    gi.init_(whole, recipe, seed=4)
    assert same(net, whole)
    assert net.head.weight is net.embed.weight
    net.blocks[1](torch.ones(2, 6))[0].sum().backward()


def test_the_root_is_written_only_where_it_is_asked_for() -> None:
    net = Net()
    token = net.token.detach().clone()
    fn = adapters.timm(net, gi.recipe("he").override(gi.Rule("token", gi.Ones())), seed=0)
    named_apply(fn, net)
    assert torch.equal(net.token, token)
    fn(net)
    assert (net.token == 1).all()


def test_a_part_alone_gets_its_part() -> None:
    net, whole = Net(), Net()
    before = net.head.weight.detach().clone()
    named_apply(adapters.timm(net, "he", seed=1), net.blocks, include_root=True)
    gi.init_(whole, "he", seed=1)
    assert same(net.blocks, whole.blocks)
    assert torch.equal(net.head.weight, before)


def test_the_seed() -> None:
    nets = []
    for seed in (7, 7, 8):
        torch.manual_seed(seed)
        nets.append(nn.Sequential(nn.Linear(4, 4)))
        named_apply(adapters.timm(nets[-1], "he"), nets[-1])
    assert same(nets[0], nets[1])
    assert not same(nets[0], nets[2])


def test_depth_and_activation_are_seen() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.down = nn.Linear(8, 32), nn.Linear(32, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.down(torch.relu(self.up(x)))

    net, whole = (nn.Sequential(*(Block() for _ in range(3))) for _ in range(2))
    x = torch.zeros(2, 8)
    named_apply(adapters.timm(net, "standard", inputs=x, seed=0), net)
    plan = gi.init_(whole, "standard", inputs=x, seed=0)
    assert plan["0.down.weight"].ends_residual
    assert same(net, whole)


def test_errors_come_before_writing() -> None:
    net = Net()
    with pytest.raises(UnknownRecipeError):
        adapters.timm(net, "hee")
    with pytest.raises(ModelError, match=r"torch\.nn\.Module"):
        adapters.timm(Net, "he")
    fn = adapters.timm(net, "he", seed=0)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net.new = nn.Linear(2, 2)
    with pytest.raises(ModelError, match="new, a Linear, isn't part of the Net that was planned"):
        fn(net.new, "new")
    with pytest.raises(ModelError, match=r"torch\.nn\.Module"):
        fn(net.token, "token")
    net.blocks[0].weight = nn.Parameter(torch.zeros(2, 6))
    with pytest.raises(PlanError, match=r"blocks\.0\.weight: shape"):
        fn(net.blocks[0], "blocks.0")
    net.blocks[0].extra = nn.Parameter(torch.zeros(2))
    with pytest.raises(PlanError, match=r"no row 'blocks\.0\.extra'"):
        fn(net.blocks[0], "blocks.0")
    net.shared[1].to("meta")
    with pytest.raises(MetaModelError, match=r"shared\.1\.weight is on meta"):
        fn(net.shared[1], "shared.1")
    after = net.state_dict()
    assert all(
        torch.equal(before[k], after[k])
        for k in before
        if after[k].shape == before[k].shape and not after[k].is_meta
    )


def test_children_come_back_after_an_error() -> None:
    net = Net()
    plan = gi.plan(net, "he")
    with pytest.raises(PlanError):
        apply_own_(net, plan, "elsewhere", seed=0)
    assert list(dict(net.named_children())) == "embed blocks normed shared head".split()


def test_timms_own_models() -> None:
    timm = pytest.importorskip("timm")
    from timm.models import named_apply as upstream

    def build() -> nn.Module:
        return timm.create_model(
            "vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=24, depth=2,
            num_heads=2, num_classes=5,
        )  # fmt: skip

    net, whole = build(), build()
    assert upstream(adapters.timm(net, "vit", seed=2), net, include_root=True) is net
    gi.init_(whole, "vit", seed=2)
    assert same(net, whole)
    resnets = [timm.create_model("resnet18", num_classes=3) for _ in range(2)]
    upstream(adapters.timm(resnets[0], "he", seed=2), resnets[0])
    gi.init_(resnets[1], "he", seed=2)
    assert same(*resnets)
