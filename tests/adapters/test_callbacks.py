"""The callbacks measure at step 0 and every n steps, and training goes on as without them."""

import warnings
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import TestCase

import pytest
import torch
from torch import nn

import goodinit as gi
from goodinit.adapters.lightning_callback import inputs_of
from goodinit.errors import SignalError

transformers = pytest.importorskip("transformers")

STEPS, EVERY = 5, 2


def lightning() -> Any:
    """Imported where it is used: collecting the tests takes each process long enough without."""
    return pytest.importorskip("lightning")


@cache
def made() -> SimpleNamespace:
    class Lit(lightning().LightningModule):
        """As many are: no forward, the network is an attribute."""

        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 2))
            gi.init_(self.net, "he", seed=0)

        def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    class Kept(lightning().pytorch.loggers.logger.DummyLogger):
        """A logger that keeps what it gets."""

        def __init__(self) -> None:
            super().__init__()
            self.logged: dict[int, dict[str, float]] = {}

        def log_metrics(self, metrics: dict[str, float], step: int) -> None:
            self.logged[step] = metrics

    return SimpleNamespace(Lit=Lit, Kept=Kept)


def fit(model: Any, folder: Path, callbacks: list[Any], **options: Any) -> dict[int, Any]:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(32, 8, generator=generator), torch.arange(32) % 2
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=4)
    kept = made().Kept()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on workers
        torch.manual_seed(0)
        trainer = lightning().Trainer(
            accelerator="cpu", max_steps=STEPS, logger=kept, callbacks=callbacks,
            enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
            default_root_dir=folder, log_every_n_steps=100, **options,
        )  # fmt: skip
        trainer.fit(model, data)
    return {step: found for step, found in kept.logged.items() if "signal/errors" in found}


def test_lightning_logs_and_trains_the_same(tmp_path: Path) -> None:
    measured, plain = made().Lit(), made().Lit()
    plain.load_state_dict(measured.state_dict())
    logged = fit(measured, tmp_path, [gi.adapters.lightning_callback(every=EVERY)])
    assert not fit(plain, tmp_path, [])
    assert list(logged) == [0, 2, 4]
    assert {"signal_second_moment/0.linear", "signal_gradient/3.linear"} < logged[0].keys()
    pairs = zip(measured.parameters(), plain.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)  # also the dropout's random numbers


def test_lightning_measures_once_a_step(tmp_path: Path) -> None:
    calls: list[int] = []

    def inputs(batch: Any) -> Any:
        calls.append(1)
        return batch[0]

    callback = gi.adapters.lightning_callback(every=1, inputs=inputs)
    logged = fit(made().Lit(), tmp_path, [callback], accumulate_grad_batches=2)
    assert list(logged) == [*range(STEPS)]
    assert len(calls) == STEPS


def test_findings_at_the_start_are_told_and_later_errors_end_no_training(
    tmp_path: Path,
) -> None:
    count = 0

    def inputs(batch: Any) -> Any:
        nonlocal count
        count += 1
        return batch[0] if count == 1 else "nothing that a model takes"

    model = made().Lit()
    nn.init.constant_(model.net[0].bias, torch.nan)
    with TestCase().assertLogs("goodinit", "WARNING") as logs:
        logged = fit(model, tmp_path, [gi.adapters.lightning_callback(1, inputs=inputs)])
    assert list(logged) == [0]
    messages = [record.getMessage() for record in logs.records]
    assert messages[0].startswith("step 0: error: ")
    assert sum("isn't measured" in message for message in messages) == STEPS - 1


def test_the_first_error_ends_it_before_training(tmp_path: Path) -> None:
    callback = gi.adapters.lightning_callback(1, inputs=lambda batch: "no batch")
    with pytest.raises(SignalError):
        fit(made().Lit(), tmp_path, [callback])
    with pytest.raises(SignalError, match="every=0"):
        gi.adapters.lightning_callback(0)


def test_what_a_batch_gives_to_forward() -> None:
    class Model(nn.Module):
        def forward(self, ids: Any, mask: Any = None) -> Any: ...

    x = torch.ones(2)
    model = Model()
    assert inputs_of(x, model) is x
    assert inputs_of((x, 1), model) is x
    assert inputs_of([{"ids": x, "labels": 1}, 2], model) == {"ids": x}
    with pytest.raises(SignalError, match="pass inputs="):
        inputs_of("text", model)


class Tokens(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    def __len__(self) -> int:
        return 16

    def __getitem__(self, n: int) -> dict[str, torch.Tensor]:
        ids = (torch.arange(8) * (n + 1)) % 20
        return {"input_ids": ids, "labels": ids}


def language_model() -> Any:
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        n_layer=1, n_embd=8, n_head=2, vocab_size=20, n_positions=8, bos_token_id=0, eos_token_id=0
    )
    return transformers.GPT2LMHeadModel(config)


def train(folder: Path, *, measured: bool) -> Any:
    model = language_model()
    arguments = transformers.TrainingArguments(
        str(folder), max_steps=STEPS, per_device_train_batch_size=2, report_to="none",
        use_cpu=True, save_strategy="no", disable_tqdm=True, seed=0, logging_steps=100,
    )  # fmt: skip
    trainer = transformers.Trainer(model, arguments, train_dataset=Tokens())
    if measured:
        trainer.add_callback(gi.adapters.trainer_callback(trainer, every=EVERY))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # transformers' and accelerate's deprecations
        trainer.train()
    return trainer


def test_what_reports_gets_the_numbers_and_what_prints_does_not() -> None:
    seen: list[tuple[str, dict[str, float]]] = []

    class Reporter(transformers.TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            seen.append((type(self).__name__, logs))

    class Bar(Reporter, transformers.ProgressCallback): ...

    handler = SimpleNamespace(callbacks=[Bar(), Reporter()])
    trainer = SimpleNamespace(label_names=["labels"], callback_handler=handler)
    callback = gi.adapters.trainer_callback(trainer, every=EVERY)
    assert isinstance(callback, transformers.TrainerCallback)
    data = torch.utils.data.DataLoader(Tokens(), collate_fn=transformers.default_data_collator)
    args, state = SimpleNamespace(device=torch.device("cpu")), transformers.TrainerState()
    model = language_model()
    before = torch.get_rng_state()
    for step in range(STEPS):
        state.global_step = step
        callback.on_step_begin(args, state, None, model=model, train_dataloader=data)
    assert torch.equal(torch.get_rng_state(), before)
    assert [name for name, _ in seen] == ["Reporter"] * 3
    assert [entry["step"] for entry in state.log_history] == [0, 2, 4]
    assert seen[0][1]["signal/loss"] == pytest.approx(torch.tensor(20.0).log().item(), rel=0.05)
    assert "signal_second_moment/transformer.h.0.attn.c_attn.addmm" in seen[0][1]


def test_the_trainer_logs_and_trains_the_same(tmp_path: Path) -> None:
    pytest.importorskip("accelerate", reason="transformers' Trainer needs accelerate")
    measured, plain = train(tmp_path, measured=True), train(tmp_path, measured=False)
    logged = [entry for entry in measured.state.log_history if "signal/loss" in entry]
    assert [entry["step"] for entry in logged] == [0, 2, 4]
    pairs = zip(measured.model.parameters(), plain.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_stream_of_samples_needs_inputs() -> None:
    class Stream(torch.utils.data.IterableDataset[int]):
        def __iter__(self) -> Any: ...

    from goodinit.adapters.trainer_callback import _first_samples

    with pytest.raises(SignalError, match="pass inputs="):
        _first_samples(torch.utils.data.DataLoader(Stream()), torch.device("cpu"))
