"""One seed and name for several parts of one model: a warning, once, and no false alarm."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

import goodinit as gi
from goodinit.applying import seed_reuse


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seed_reuse, "_STATE", seed_reuse._State({}))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(8, 16), nn.Linear(16, 8)


def net() -> nn.Sequential:
    return nn.Sequential(Block(), Block(), nn.Linear(8, 8), nn.Linear(8, 8))


def layers_of_a_list() -> object:
    layers = [nn.Linear(8, 8) for _ in range(2)]
    for layer in layers:
        gi.init_(layer, "he", seed=0)
    return layers


def layers_of_other_shapes() -> object:
    layers = [nn.Linear(8, 16), nn.Linear(16, 4)]
    for layer in layers:
        gi.init_(layer, gi.Normal(0.02), seed=0)
    return layers


def layers_of_a_model() -> object:
    model = net()
    for module in model.modules():
        if isinstance(module, nn.Linear):
            gi.init_(module, "he", seed=0)
    return model


def blocks_of_a_model() -> object:
    model = net()
    for block in model[:2]:
        gi.init_(block, "he", seed=0)
    return model


def blocks_by_their_plans() -> object:
    model = net()
    for block in model[:2]:
        gi.apply_(block, gi.plan(block, "he"), seed=0)
    return model


def parameters_one_by_one() -> object:
    model = net()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            gi.init_(parameter, "he", seed=0)
    return model


def layers_in_constructors() -> object:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(8, 8)
            gi.init_(self.fc, "he", seed=0)

    return nn.Sequential(Own(), Own(), Own())


@pytest.mark.parametrize(
    "draw",
    [
        layers_of_a_list,
        layers_of_other_shapes,
        layers_of_a_model,
        blocks_of_a_model,
        blocks_by_their_plans,
        parameters_one_by_one,
        layers_in_constructors,
    ],
)
def test_parts_with_one_seed_warn_once(draw: Callable[[], object]) -> None:
    with pytest.warns(UserWarning, match=r"was drawn from seed 0 before.*prefix=") as caught:
        kept = [draw(), draw()]
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert kept


def test_a_model_is_found_in_a_thread_beside_others() -> None:
    with ThreadPoolExecutor(1) as pool, pytest.warns(UserWarning, match="was drawn from seed 0"):
        assert pool.submit(blocks_of_a_model).result()


def test_a_model_is_found_from_a_method_of_its_trainer() -> None:
    class Trainer:
        def __init__(self, model: nn.Sequential) -> None:
            self.model = model

        def start(self, blocks: list[nn.Module]) -> None:
            for block in blocks:
                gi.init_(block, "he", seed=0)

    trainer = Trainer(net())
    with pytest.warns(UserWarning, match="was drawn from seed 0"):
        trainer.start(list(trainer.model[:2]))


def the_same_model_again() -> object:
    model = net()
    for _ in range(4):
        gi.init_(model, "he", seed=0)
        gi.init_(model[2], "he", seed=0)
    return model


def two_models_side_by_side() -> object:
    models = [net() for _ in range(4)]  # with the same draw, for one optimizer each
    for model in models:
        gi.init_(model, "he", seed=0)
    return models


def layers_by_two_recipes() -> object:
    he, xavier = nn.Linear(8, 8), nn.Linear(8, 8)
    gi.init_(he, "he", seed=0)
    gi.init_(xavier, "xavier", seed=0)
    return he, xavier


def an_ensemble() -> object:
    models = [nn.Linear(8, 8) for _ in range(4)]
    for seed, model in enumerate(models):
        gi.init_(model, "he", seed=seed)
    return models


def parts_by_their_names() -> object:
    model = net()
    for name, part in model.named_children():
        gi.init_(part, "he", seed=0, prefix=name)
    return model


def without_a_seed() -> object:
    layers = [nn.Linear(8, 8) for _ in range(3)]
    for layer in layers:
        torch.manual_seed(0)
        gi.init_(layer, "he")
    return layers


def constants() -> object:
    norms = [nn.LayerNorm(8) for _ in range(3)]
    for norm in norms:
        gi.init_(norm, "he", seed=0)
    return norms


def one_after_the_other() -> object:
    for _ in range(4):
        layer = nn.Linear(8, 8)
        gi.init_(layer, "he", seed=0)
        del layer
    return None


def compared() -> object:
    layer, x = nn.Linear(8, 8), torch.randn(4, 8)
    gi.init_(layer, "he", seed=0)
    return gi.compare(layer, x, ["he", "kaiming", "he"], seeds=2)


def two_models_with_seeds_inside() -> object:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(8, 8)
            gi.init_(self.fc, "he", seed=0)

    return Own(), Own()


@pytest.mark.parametrize(
    "draw",
    [
        the_same_model_again,
        two_models_side_by_side,
        layers_by_two_recipes,
        an_ensemble,
        parts_by_their_names,
        without_a_seed,
        constants,
        one_after_the_other,
        compared,
        two_models_with_seeds_inside,
    ],
)
def test_no_false_alarm(draw: Callable[[], object]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept = draw()
    del kept
    gc.collect()
    assert seed_reuse._STATE.drawn == {}  # nothing is kept alive, and nothing is left behind


def test_a_drawn_tensor_can_be_swapped() -> None:
    layer = nn.Linear(4, 4)
    gi.init_(layer, "he", seed=0)
    torch.utils.swap_tensors(layer.weight, nn.Parameter(torch.zeros(4, 4)))
    assert not layer.weight.any()
