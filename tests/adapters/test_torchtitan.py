"""torchtitan's init_states, on a stand-in for its protocol.

torchtitan 0.3.0 can't be imported without triton, so the classes here repeat what its
protocols/module.py, protocols/model.py, models/common/decoder.py and rope.py do. OldNet is as
its models were before init_states.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import goodinit as gi
from goodinit import adapters
from goodinit.errors import MetaModelError, ModelError, RecipeError


class Module(nn.Module):
    """torchtitan.protocols.module.Module."""

    def init_states(self, *, buffer_device: torch.device | None = None) -> None:
        for child in self.children():
            if isinstance(child, Module):
                child.init_states(buffer_device=buffer_device)
        reset = getattr(self, "reset_parameters", None)
        if reset is not None:
            reset()
        self._init_self_buffers(buffer_device=buffer_device)

    def _init_self_buffers(self, *, buffer_device: torch.device | None = None) -> None:
        pass


class BaseModel(Module):
    """torchtitan.protocols.model.BaseModel."""

    def init_weights(self, **kwargs: Any) -> None:
        self.init_states(buffer_device=kwargs.get("buffer_device"))


class Linear(nn.Linear, Module):
    pass


class Embedding(nn.Embedding, Module):
    pass


class ModuleDict(nn.ModuleDict, Module):
    pass


class Rope(Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("cache", self.precompute(), persistent=False)

    def precompute(self) -> torch.Tensor:
        return torch.polar(torch.ones(4), torch.arange(4.0))  # complex, as in torchtitan

    def _init_self_buffers(self, *, buffer_device: torch.device | None = None) -> None:
        with torch.device(self.cache.device if buffer_device is None else buffer_device):
            self.cache = self.precompute()


class Block(Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down, self.rope = Linear(8, 32), Linear(32, 8), Rope()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(torch.relu(self.up(x)))


class Decoder(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.tok_embeddings = Embedding(9, 8)
        self.layers = ModuleDict({str(i): Block() for i in range(3)})
        self.lm_head = Linear(8, 9, bias=False)
        self.tok_embeddings.weight = self.lm_head.weight

    def init_states(self, *, buffer_device: torch.device | None = None) -> None:
        self.tok_embeddings.weight = self.lm_head.weight  # to_empty unties
        super().init_states(buffer_device=buffer_device)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.tok_embeddings(tokens)
        for layer in self.layers.values():
            x = layer(x)
        return self.lm_head(x)


TOKENS = torch.arange(9)


def trained(cls: Any, hook: str = "init_weights", *args: Any, **kwargs: Any) -> Any:
    """What torchtitan's trainer does."""
    with torch.device("meta"):
        model = cls()
    model.to_empty(device="cpu")
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.detach().fill_(float("nan"))
    with torch.no_grad():
        getattr(model, hook)(*args, **kwargs)
    return model


@pytest.mark.parametrize("hook", ["init_weights", "init_states"])
@pytest.mark.parametrize("device", [None, torch.device("cpu")])
def test_the_whole_model_after_to_empty(hook: str, device: torch.device | None) -> None:
    class Net(Decoder):
        init_states = adapters.torchtitan("gpt2", seed=2, inputs=TOKENS)

    model = trained(Net, hook, buffer_device=device)
    whole = Decoder()
    plan = gi.init_(whole, "gpt2", seed=2, inputs=TOKENS)
    state, expected = model.state_dict(), whole.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in state)
    assert model.tok_embeddings.weight is model.lm_head.weight
    assert torch.equal(model.layers["1"].rope.cache, Rope().cache)
    assert model.init_plan["layers.0.down.weight"].std == plan["layers.0.down.weight"].std < 0.01


def test_what_the_recipe_keeps_is_as_torchtitan_makes_it() -> None:
    class Net(Decoder):
        init_states = adapters.torchtitan({"layers.1.up.weight": gi.Ones()})

    model = trained(Net)
    assert (model.layers["1"].up.weight == 1).all()
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert model.layers["0"].up.weight.std() > 0


class OldNet(nn.Module):
    """torchtitan's models before init_states, such as 0.1's Transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.register_buffer("freqs_cis", torch.arange(4.0), persistent=False)

    def init_weights(self, buffer_device: torch.device | None = None) -> None:
        with torch.device(buffer_device or self.freqs_cis.device):
            self.freqs_cis = torch.arange(4.0)
        nn.init.trunc_normal_(self.fc.weight, std=0.02)
        nn.init.zeros_(self.fc.bias)


def test_init_weights_of_older_versions() -> None:
    class Net(OldNet):
        init_weights = adapters.torchtitan("xavier", seed=0)

    model = trained(Net, "init_weights", torch.device("cpu"))
    whole = OldNet()
    gi.init_(whole, "xavier", seed=0)
    assert torch.equal(model.fc.weight, whole.fc.weight)
    assert model.freqs_cis.tolist() == [0, 1, 2, 3]


def test_torch_manual_seed_rules_without_a_seed() -> None:
    class Net(Decoder):
        init_states = adapters.torchtitan("he")

    models = []
    for seed in (7, 7, 8):
        torch.manual_seed(seed)
        models.append(trained(Net))
    heads = [model.lm_head.weight for model in models]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_a_stage_of_a_pipeline_draws_its_part() -> None:
    class Stage(Decoder):
        init_states = adapters.torchtitan("he", seed=5)

        def __init__(self) -> None:
            super().__init__()
            del self.layers["0"], self.layers["1"]

    whole = Decoder()
    gi.init_(whole, "he", seed=5)
    assert torch.equal(trained(Stage).layers["2"].up.weight, whole.layers["2"].up.weight)


def test_a_stage_with_the_plan_of_the_whole_has_its_depth() -> None:
    with torch.device("meta"):
        plan = gi.plan(Decoder(), "gpt2", inputs=TOKENS)

    class Stage(Decoder):
        init_states = adapters.torchtitan(plan, seed=5)

        def __init__(self) -> None:
            super().__init__()
            del self.layers["0"]

    stage, whole = trained(Stage), Decoder()
    gi.apply_(whole, plan, seed=5)
    state = whole.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in stage.state_dict().items())
    assert stage.init_plan["layers.2.down.weight"].depth == 3


def test_errors() -> None:
    with pytest.raises(RecipeError, match="a recipe is"):
        adapters.torchtitan(3)  # pyright: ignore[reportArgumentType]

    class Alone(nn.Module):
        init_states = adapters.torchtitan("he")

    with pytest.raises(ModelError, match="Alone inherits no init_states or init_weights"):
        Alone().init_states()

    class Net(Decoder):
        init_states = adapters.torchtitan("he", seed=0)

    with torch.device("meta"):
        model = Net()
    with pytest.raises(MetaModelError, match="on meta"):
        model.init_states()
