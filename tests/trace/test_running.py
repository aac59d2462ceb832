"""Models that are hard to run without weights: values asked for, wrappers, autocast, meta."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import goodinit as gi
from goodinit.anatomy import read
from goodinit.errors import GoodinitError, TraceError


def kinds(anatomy):
    return {row.name: (row.facets.kind, row.facets.part) for row in anatomy.rows}


class Masked(nn.Module):
    """Asks for values of what depends on integers alone."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 8)
        self.linear = nn.Linear(8, 8)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        mask = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
        if mask.all() or (bool(mask.any()) and int(lengths.max().item()) > 0):
            x = self.embed(tokens)
        x = x * mask[..., None]
        x = torch.cat([x[i, :n] for i, n in enumerate(lengths.tolist())])
        kept = tokens[mask]
        assert len(kept) == len(x)
        return self.linear(x)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_an_activation_may_be_indexed_by_a_mask_of_integers(device):
    """How many rows are left is known, for the mask has values though the activation has none."""

    class Picks(nn.Linear):
        def forward(self, x, mask):
            return super().forward(x)[mask] * 2

    anatomy = read(Picks(4, 4).to(device), (torch.randn(3, 4), torch.tensor([True, False, True])))
    assert (anatomy.how, anatomy.reason) == ("meta", "")


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_values_that_do_not_depend_on_weights_can_be_asked_for(device):
    model = Masked().to(device)
    anatomy = read(model, (torch.randint(0, 10, (2, 5)), torch.tensor([5, 3])))
    assert anatomy.how == "meta"
    assert kinds(anatomy)["linear.weight"] == ("linear", "head")


class EagerMoE(nn.Module):
    """Sends each token to its expert: how many tokens depends on the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(8, 3, bias=False)
        self.experts = nn.ModuleList(
            [nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8)) for _ in range(3)]
        )

    def forward(self, x: Tensor) -> Tensor:
        weight, chosen = self.router(x).softmax(-1).topk(2, dim=-1)
        y = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            token, slot = torch.where(chosen == number)
            y.index_add_(0, token, expert(x[token]) * weight[token, slot, None])
        return x + y


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_every_expert_is_seen_whatever_the_router_would_choose(device):
    anatomy = read(EagerMoE().to(device), torch.randn(32, 8))
    assert (anatomy.how, anatomy.reason) == ("meta", "")
    found = {row.name: row.facets for row in anatomy.rows}
    assert (found["router.weight"].kind, found["router.weight"].part) == ("router", "router")
    for number in range(3):
        first, last = found[f"experts.{number}.0.weight"], found[f"experts.{number}.2.weight"]
        assert (first.part, first.activation, first.ends_residual) == ("in", "relu", False)
        assert (last.part, last.ends_residual) == ("out", True)


class Halting(nn.Linear):
    """Applies itself until its output says stop: a number that only values give."""

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = super().forward(x).tanh()
            if x.mean().item() > 10:
                break
        return x


def test_a_model_that_looks_at_its_activations_runs_for_real():
    anatomy = read(Halting(8, 8), torch.randn(4, 8))
    assert anatomy.how == "real"
    assert "item" in anatomy.reason
    assert anatomy.rows[0].facets.activation == "tanh"


def test_on_meta_module_types_tell_and_the_reason_is_given():
    model = Halting(8, 8).to("meta")
    anatomy = read(model, torch.randn(4, 8))
    assert anatomy.how == "module types"
    assert "item" in anatomy.reason
    assert anatomy.rows == read(model).rows
    assert read(model).reason == ""


def test_an_error_on_meta_that_is_the_models_own_is_told():
    with pytest.raises(TraceError, match="same reduction dim") as caught:
        read(EagerMoE().to("meta"), torch.randn(32, 9))
    assert isinstance(caught.value, GoodinitError)
    assert caught.value.__cause__ is not None
    assert type(caught.value.__cause__).__name__ in str(caught.value)
    assert "inputs" in str(caught.value)


def test_an_error_of_the_model_is_told_with_its_cause():
    with pytest.raises(TraceError, match=r"mat1 and mat2 shapes") as caught:
        read(nn.Linear(3, 3), torch.randn(2, 5))
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_wrong_arguments_are_told():
    with pytest.raises(TraceError, match="TypeError"):
        read(nn.Linear(3, 3), (torch.randn(2, 3), torch.randn(2, 3)))


@pytest.mark.parametrize(
    "inputs", [torch.randn(2, 3), (torch.randn(2, 3),), {"input": torch.randn(2, 3)}]
)
def test_inputs_come_in_three_forms(inputs):
    assert kinds(read(nn.Linear(3, 3), inputs))["weight"] == ("linear", "head")


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def same(anatomy, other):
    assert [(r.name, r.facets) for r in anatomy.rows] == [(r.name, r.facets) for r in other.rows]


@pytest.mark.skipif(
    not hasattr(torch.compiler, "set_stance"), reason="torch before 2.6 can't run them eagerly"
)
def test_compiled_models_read_as_the_model_itself():
    x = torch.randn(3, 4)
    same(read(torch.compile(net(), backend="eager"), x), read(net(), x))
    inner = nn.Sequential(torch.compile(net()[0], backend="eager"), nn.ReLU(), nn.Linear(8, 2))
    same(read(inner, x), read(net(), x))


def test_data_parallel_models_read_as_the_model_itself():
    x = torch.randn(3, 4)
    same(read(nn.DataParallel(net()), x), read(net(), x))


def test_autocast_changes_nothing():
    x = torch.randn(3, 4)
    plain = read(net(), x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        same(read(net(), x), plain)

    class Inside(nn.Sequential):
        def forward(self, x):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return super().forward(x)

    anatomy = read(Inside(*net()), x)
    assert anatomy.how == "meta"
    same(anatomy, plain)


def test_inference_and_grad_modes_change_nothing():
    x = torch.randn(3, 4)
    plain = read(net(), x)
    with torch.no_grad():
        same(read(net(), x), plain)
    with torch.inference_mode():
        same(read(net(), torch.randn(3, 4)), plain)


def test_default_dtype_and_device_contexts_change_nothing():
    x = torch.randn(3, 4)
    model, plain = net(), read(net(), x)
    with torch.device("meta"):
        same(read(model, x), plain)


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing_changes_nothing(reentrant):
    class Checkpointed(nn.Sequential):
        def forward(self, x):
            x = checkpoint(self[0], x.requires_grad_(), use_reentrant=reentrant)
            return self[2](self[1](x))

    x = torch.randn(3, 4)
    same(read(Checkpointed(*net()), x), read(net(), x))
    assert not x.requires_grad


@pytest.mark.parametrize("training", [True, False])
def test_transformer_layers_are_seen_in_evaluation_too(training):
    """In evaluation mode torch would take one fused call that shows nothing."""
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, activation="gelu")
    model = nn.TransformerEncoder(layer, 2).train(training)
    anatomy = read(model, torch.randn(2, 5, 16))
    assert anatomy.how == "meta"
    found = {row.name: row.facets for row in anatomy.rows}
    for n in range(2):
        first, last = found[f"layers.{n}.linear1.weight"], found[f"layers.{n}.linear2.weight"]
        attention = found[f"layers.{n}.self_attn.out_proj.weight"]
        assert (first.part, first.activation) == ("in", "gelu")
        assert last.ends_residual
        assert attention.ends_residual
        assert (first.layer, first.depth) == (n, 2)
    assert not any(row.facets.guessed for row in anatomy.rows)


def test_attention_with_weights_returned_and_masks():
    model = nn.MultiheadAttention(16, 4, batch_first=True, add_bias_kv=True).eval()
    x = torch.randn(2, 5, 16)
    mask = torch.zeros(2, 5, dtype=torch.bool)
    found = kinds(read(model, {"query": x, "key": x, "value": x, "key_padding_mask": mask}))
    assert found["in_proj_weight"] == ("linear", "weight")
    assert found["bias_k"] == ("token", "weight")


def test_lazy_modules_are_an_error_that_says_how_to_mend_it():
    model = nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.Linear(4, 2))
    for inputs in (torch.randn(2, 3), None):
        with pytest.raises(GoodinitError, match=r"0\.weight of LazyLinear"):
            read(model, inputs)
    assert isinstance(model[0].weight, nn.UninitializedParameter)


def test_half_models_run():
    model = net().bfloat16()
    same(read(model, torch.randn(3, 4, dtype=torch.bfloat16)), read(net(), torch.randn(3, 4)))


def test_packed_sequences_run():
    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(10, 4)
            self.gru = nn.GRU(4, 6, batch_first=True)
            self.head = nn.Linear(6, 2)

        def forward(self, tokens, lengths):
            packed = nn.utils.rnn.pack_padded_sequence(
                self.embed(tokens), lengths, batch_first=True, enforce_sorted=False
            )
            _, state = self.gru(packed)
            return self.head(state[-1])

    anatomy = read(Packed(), (torch.randint(0, 10, (3, 5)), torch.tensor([5, 2, 3])))
    found = kinds(anatomy)
    assert found["gru.weight_ih_l0"] == ("recurrent", "in")
    assert found["head.weight"] == ("linear", "head")


def test_functions_of_the_same_weight_in_a_loop():
    """A module run several times is one row; its last run is read as well."""

    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.Linear(4, 4)

        def forward(self, x):
            for _ in range(3):
                x = x + torch.tanh(self.cell(x))
            return x

    row = read(Loop(), torch.randn(2, 4)).rows[0]
    assert row.facets.ends_residual is None  # added to its own state: nobody knows how often
    assert row.facets.guessed
    assert [(block.fan_in, block.fan_out) for block, _ in row.sites()] == [(4, 4)]


def test_results_in_dataclasses_and_dicts():
    class Output(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(4, 4)

        def forward(self, x):
            return {"logits": self.head(x), "aux": [None, (x,)]}

    assert kinds(read(Output(), torch.randn(2, 4)))["head.weight"] == ("linear", "head")


def test_scripted_parts_do_not_break_the_run():
    @torch.compiler.disable
    def helper(x):
        return functional.relu(x)

    class Calls(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)
            self.after = nn.Linear(4, 4)

        def forward(self, x):
            return self.after(helper(self.linear(x)))

    found = {r.name: r.facets for r in read(Calls(), torch.randn(2, 4)).rows}
    assert found["linear.weight"].activation == "relu"


@pytest.mark.parametrize(
    ("verb", "runs"),
    [
        (gi.plan, 1),
        (gi.explain, 1),
        (gi.measure, 2),  # for real, and on meta with one sample fewer to find the batch axis
    ],
)
def test_a_model_runs_once_for_each_thing_asked_of_it(verb, runs):
    class Counts(nn.Linear):
        calls: ClassVar[list[str]] = []

        def forward(self, x):
            self.calls.append(str(x.shape))
            return super().forward(x)

    verb(Counts(8, 8), inputs=torch.randn(4, 8))
    assert len(Counts.calls) == runs
