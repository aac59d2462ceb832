"""Lightning's configure_model needs no adapter: gi.skeleton and gi.init_ do."""

import warnings
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import goodinit as gi


class Net(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))
        self.register_buffer("table", torch.arange(3), persistent=False)


def lightning() -> Any:
    """Imported where it is used: collecting the tests takes each process long enough without."""
    return pytest.importorskip("lightning")


@cache
def lit() -> type[Any]:
    class Lit(lightning().LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net: Any = None
            self.plans: list[gi.Plan] = []

        def configure_model(self) -> None:
            if self.net is None:
                with gi.skeleton():
                    self.net = Net()
                self.plans.append(gi.init_(self.net, "he", seed=0, materialize="cpu"))

        def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
            return self.net(batch[0]).square().mean()

        def validation_step(self, batch: list[torch.Tensor]) -> None:
            self.net(batch[0])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.net.parameters(), lr=self.rate)

        rate = 0.0

    return Lit


def fit(model: Any, folder: Path) -> Any:
    x = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x), batch_size=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on workers and loggers
        trainer = lightning().Trainer(
            accelerator="cpu", max_steps=1, logger=False, enable_progress_bar=False,
            enable_model_summary=False, default_root_dir=folder,
        )  # fmt: skip
        trainer.fit(model, data, data)
    return trainer


def test_the_hook_draws_once_and_the_values_are_those_of_init(tmp_path: Path) -> None:
    model = lit()()
    fit(model, tmp_path)
    whole = Net()
    gi.init_(whole, "he", seed=0)
    assert len(model.plans) == 1  # the hook is called in each of fit, validate, test
    assert all(
        torch.equal(first, second)
        for first, second in zip(model.net.parameters(), whole.parameters(), strict=True)
    )
    assert model.net.table.tolist() == [0, 1, 2]


def test_it_trains_and_a_checkpoint_comes_back(tmp_path: Path) -> None:
    model = lit()()
    model.rate = 0.1
    trainer = fit(model, tmp_path)
    path = tmp_path / "last.ckpt"
    trainer.save_checkpoint(path)
    again = lit().load_from_checkpoint(path)
    first, second = again.state_dict(), model.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in second)
    fresh = lit()()
    fresh.configure_model()
    assert not torch.equal(again.net[0].weight, fresh.net[0].weight)
