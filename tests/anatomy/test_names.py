"""Names: one row for each tensor, under the name that a reader of the model would write."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm

from goodinit.anatomy import read
from goodinit.anatomy.names import Slot, slots, walk


def rows(model, inputs=None, prefix=""):
    return {row.name: row for row in read(model, inputs, prefix).rows}


def names(model, prefix=""):
    return [row.name for row in read(model, prefix=prefix).rows]


def fans(row):
    """Return (fan_in, fan_out) of each block; of the whole where it isn't packed."""
    return [(block.fan_in, block.fan_out) for block, _ in row.sites()]


def old_weight_norm(module, name="weight", dim=0):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and still in thousands of models
        return nn.utils.weight_norm(module, name, dim)


# Ties.


def test_the_same_parameter_in_two_places_is_one_row():
    model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 9))
    model[1].weight = model[0].weight
    found = rows(model)
    assert list(found) == ["0.weight", "1.bias"]
    assert found["0.weight"].tied == ("1.weight",)
    assert found["0.weight"].owner is nn.Embedding


@pytest.mark.parametrize("inputs", [None, torch.randint(0, 9, (2, 3))])
def test_a_tied_table_is_a_head(inputs):
    model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 9))
    model[1].weight = model[0].weight
    row = rows(model, inputs)["0.weight"]
    facets = row.facets
    assert (facets.kind, facets.part) == ("embedding", "head")
    assert facets.guessed == (inputs is not None)  # no norm lies between its two uses
    assert (facets.layout.outputs, facets.layout.inputs) == ((1,), (0,))
    assert fans(row) == [(1, 4)]


def test_shared_storage_is_one_row():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = nn.Parameter(model[0].weight.data)
    assert model[1].weight is not model[0].weight
    assert rows(model)["0.weight"].tied == ("1.weight",)
    assert "1.weight" not in names(model)


def test_views_of_one_storage_that_differ_are_rows_of_their_own():
    whole = torch.randn(2, 4, 4)
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    for module, part in zip(model, whole, strict=True):
        module.weight = nn.Parameter(part)
    assert names(model) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert not rows(model)["0.weight"].tied


def test_a_shared_module_is_one_set_of_rows():
    block = nn.Linear(4, 4)
    model = nn.Sequential(block, nn.ReLU(), block)
    for inputs in (None, torch.randn(2, 4)):
        found = rows(model, inputs)
        assert list(found) == ["0.weight", "0.bias"]
        assert found["0.weight"].tied == ("2.weight",)
        assert found["0.bias"].tied == ("2.bias",)


def test_a_shared_list_of_modules_is_one_set_of_rows():
    model = nn.Module()
    model.stack = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    model.again = model.stack
    model.first = model.stack[0]
    found = rows(model)
    assert found["stack.0.weight"].tied == ("again.0.weight", "first.weight")
    assert found["stack.1.weight"].tied == ("again.1.weight",)
    assert len(found) == 4


def test_two_views_alike_are_tied_beside_a_third_of_another_shape():
    model = nn.Module()
    model.a = nn.Parameter(torch.zeros(4, 6))
    model.b = nn.Parameter(model.a.data.view(6, 4))
    model.c = nn.Parameter(model.a.data)
    model.d = nn.Parameter(model.a.data.view(6, 4))
    assert [(slot.name, slot.tied) for slot in slots(model)] == [("a", ("c",)), ("b", ("d",))]


def test_ties_on_meta_are_those_of_the_parameter():
    """Meta tensors have storages too: two that are fresh aren't one."""
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    found = rows(model)
    assert found["0.weight"].tied == ("2.weight",)
    assert not found["1.weight"].tied


def test_empty_parameters_are_not_tied():
    model = nn.Module()
    model.a, model.b = (nn.Parameter(torch.empty(0, 3)) for _ in range(2))
    assert names(model) == ["a", "b"]


def test_a_module_that_contains_itself_is_read():
    model = nn.Module()
    model.linear = nn.Linear(2, 2)
    model.child = nn.Module()
    model.child.parent = model
    assert "linear.weight" in names(model)


def test_a_deep_copy_is_no_tie():
    layer = nn.Linear(3, 3)
    assert len(names(nn.Sequential(layer, copy.deepcopy(layer)))) == 4


# Parametrizations and the old hooks.


def test_a_parametrized_weight_goes_by_its_logical_name():
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 6)))
    for inputs in (None, torch.randn(2, 4)):
        found = rows(model, inputs)
        assert sorted(found) == ["0.bias", "0.weight"]
        row = found["0.weight"]
        stored = ("0.parametrizations.weight.original0", "0.parametrizations.weight.original1")
        assert row.stored == stored
        assert (row.shape, row.owner) == ((6, 4), nn.Linear)
        assert (row.facets.kind, fans(row), row.facets.guessed) == ("linear", [(4, 6)], False)
        assert row.facets.blocks == ()


def test_weight_norm_along_another_axis():
    model = parametrizations.weight_norm(nn.Conv1d(8, 8, 5, groups=2), dim=2)
    for inputs in (None, torch.randn(2, 8, 9)):
        row = rows(model, inputs)["weight"]
        assert (row.shape, fans(row), row.facets.blocks) == ((8, 4, 5), [(20, 20)], ())


def test_weight_norm_in_an_attention_keeps_its_blocks():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv = parametrizations.weight_norm(nn.Linear(8, 24))
            self.out = nn.Linear(8, 8)

        def forward(self, x):
            q, k, v = self.qkv(x).chunk(3, -1)
            return self.out(nn.functional.scaled_dot_product_attention(q, k, v))

    row = rows(Attention(), torch.randn(2, 5, 8))["qkv.weight"]
    assert [(b.name, b.box) for b in row.facets.blocks] == [
        (name, ((8 * i, 8 * i + 8), (0, 8))) for i, name in enumerate("qkv")
    ]


@pytest.mark.parametrize("wrap", [parametrizations.spectral_norm, parametrizations.orthogonal])
def test_other_parametrizations(wrap):
    model = nn.Sequential(wrap(nn.Linear(6, 6)), nn.ReLU())
    for inputs in (None, torch.randn(2, 6)):
        row = rows(model, inputs)["0.weight"]
        assert row.stored[0].startswith("0.parametrizations.weight.original")
        assert (row.shape, row.facets.kind, fans(row)) == ((6, 6), "linear", [(6, 6)])
        assert not row.buffer


def test_a_users_parametrization_that_changes_the_shape():
    class Symmetric(nn.Module):
        def forward(self, x):
            return torch.cat([x, x.flip(0)])

    layer = nn.Linear(5, 6)
    layer.weight = nn.Parameter(torch.randn(3, 5))
    parametrize.register_parametrization(layer, "weight", Symmetric(), unsafe=True)
    row = rows(layer)["weight"]
    assert row.shape == (6, 5)
    assert row.stored == ("parametrizations.weight.original",)


def test_parametrizations_own_parameters_have_rows():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, x):
            return x * self.scale

    layer = nn.Linear(3, 3)
    parametrize.register_parametrization(layer, "weight", Scaled())
    assert sorted(names(layer)) == ["bias", "parametrizations.weight.0.scale", "weight"]


def test_the_old_weight_norm():
    model = nn.Sequential(old_weight_norm(nn.Conv1d(4, 6, 3)), nn.ReLU())
    for inputs in (None, torch.randn(2, 4, 9)):
        row = rows(model, inputs)["0.weight"]
        assert row.stored == ("0.weight_g", "0.weight_v")
        assert (row.shape, row.facets.kind, fans(row)) == ((6, 4, 3), "conv", [(12, 18)])
        assert row.facets.activation == "relu"


def test_the_old_spectral_norm_and_its_buffers():
    model = spectral_norm(nn.Linear(4, 6))
    found = rows(model)
    assert found["weight"].stored == ("weight_orig",)
    assert found["weight"].facets.kind == "linear"
    assert found["weight_u"].buffer
    assert found["weight_v"].buffer


def test_pruned_weights_and_their_masks():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU())
    prune.random_unstructured(model[0], "weight", amount=0.5)
    for inputs in (None, torch.randn(2, 4)):
        found = rows(model, inputs)
        assert found["0.weight"].stored == ("0.weight_orig",)
        kept = 1 if inputs is None else 0.5  # the mask is seen with inputs alone
        expected = ("linear", [(4 * kept, 6 * kept)])
        assert (found["0.weight"].facets.kind, fans(found["0.weight"])) == expected
        assert found["0.weight_mask"].buffer


def test_reading_a_parametrization_changes_nothing():
    """spectral_norm counts its runs in training mode."""
    model = parametrizations.spectral_norm(nn.Linear(4, 4)).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    for inputs in (None, torch.randn(2, 4)):
        read(model, inputs)
        assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert model.training
    assert model.parametrizations.weight[0].training


# Buffers, lists, prefixes, wrappers.


def test_buffers_have_rows_in_place():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 3))
    model.register_buffer("table", torch.ones(2), persistent=False)
    model.register_buffer("absent", None)
    found = rows(model)
    assert [n for n, row in found.items() if row.buffer] == [
        "table", "0.running_mean", "0.running_var", "0.num_batches_tracked",
    ]  # fmt: skip
    assert all(row.facets.part == "buffer" for row in found.values() if row.buffer)
    assert found["0.running_var"].facets.kind == "norm"
    assert not any(row.frozen for row in found.values())


def test_lists_and_dicts_of_parameters():
    class Lists(nn.Module):
        def __init__(self):
            super().__init__()
            self.several = nn.ParameterList([torch.randn(4, 4), torch.randn(4, 2)])
            self.named = nn.ParameterDict({"last": torch.randn(2), "scale": torch.ones(4)})

        def forward(self, x):
            for weight in self.several:
                x = x @ weight if weight.shape[1] < 4 else (x * self.named["scale"]) @ weight
            return x + self.named["last"]

    found = rows(Lists(), torch.randn(3, 4))
    assert sorted(found) == ["named.last", "named.scale", "several.0", "several.1"]
    assert {n: (r.facets.kind, r.facets.part) for n, r in found.items()} == {
        "several.0": ("linear", "weight"),
        "several.1": ("linear", "head"),
        "named.last": ("linear", "bias"),
        "named.scale": ("scale", "weight"),
    }
    assert fans(found["several.1"]) == [(4, 2)]


def test_a_prefix_stands_before_every_name():
    model = nn.Sequential(nn.Embedding(9, 4), parametrizations.weight_norm(nn.Linear(4, 9)))
    model.append(nn.Linear(9, 9))
    model[2].bias = model[1].bias
    for inputs in (None, torch.randint(0, 9, (2, 3))):
        for row in read(model, inputs, prefix="model.encoder").rows:
            for name in (row.name, *row.tied, *row.stored):
                assert name.startswith("model.encoder."), name
    assert names(nn.Linear(2, 2), "head") == ["head.weight", "head.bias"]


def test_a_prefix_changes_no_facet():
    model = nn.Sequential(
        *(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)) for _ in "ab")
    )
    for inputs in (None, torch.randn(2, 4)):
        plain, moved = read(model, inputs).rows, read(model, inputs, prefix="a.0.b").rows
        assert [r.facets for r in plain] == [r.facets for r in moved]
        assert [f"a.0.b.{r.name}" for r in plain] == [r.name for r in moved]


def test_wrappers_are_looked_through_by_type_not_by_name():
    net = nn.Sequential(nn.Linear(2, 2))
    assert names(torch.compile(net, backend="eager")) == ["0.weight", "0.bias"]
    assert names(nn.DataParallel(net)) == ["0.weight", "0.bias"]
    checkpointing = pytest.importorskip(
        "torch.distributed.algorithms._checkpoint.checkpoint_wrapper"
    )
    inner = nn.Sequential(checkpointing.checkpoint_wrapper(nn.Linear(2, 2)))
    assert names(inner) == ["0.weight", "0.bias"]

    class Mine(nn.Module):
        def __init__(self):
            super().__init__()
            self.module = nn.Linear(2, 2)
            self._orig_mod = nn.Linear(2, 2)

    assert names(Mine()) == ["module.weight", "module.bias", "_orig_mod.weight", "_orig_mod.bias"]


def test_frozen_parameters_are_shown():
    model = nn.Sequential(nn.Linear(2, 2).requires_grad_(False), nn.Linear(2, 2))
    assert [row.frozen for row in read(model).rows] == [True, True, False, False]


def test_walk_and_slots_agree_with_torch():
    model = nn.Transformer(8, 2, 1, 1, 16, batch_first=True)
    assert [path for path, _ in walk(model)] == [path for path, _ in model.named_modules()]
    assert [slot.name for slot in slots(model)] == [name for name, _ in model.named_parameters()]


def test_a_model_without_parameters_has_no_rows():
    assert read(nn.ReLU()).rows == ()
    assert read(nn.ReLU(), torch.randn(2)).rows == ()


def test_weights_that_zero3_left_elsewhere_are_no_ties():
    """Each has size 0 here, as the others do."""

    def shard():
        parameter = nn.Parameter(torch.empty(0))
        parameter.ds_shape, parameter.ds_tensor = torch.Size((2, 3)), torch.zeros(6)
        return parameter

    net = nn.Module()
    net.a, net.b = shard(), shard()
    net.c = net.a
    assert [(slot.name, slot.tied, slot.logical_shape) for slot in slots(net)] == [
        ("a", ("c",), (2, 3)), ("b", (), (2, 3)),
    ]  # fmt: skip


def test_what_a_parametrization_stores_is_values_and_on_meta_unknown():
    for device, what in (("cpu", "values"), ("meta", "unknown")):
        layer = nn.utils.parametrizations.weight_norm(nn.Linear(3, 3, device=device))
        held = {row.name: row.held.what for row in read(layer).rows}
        assert held == {"weight": what, "bias": "unknown"}


def test_a_raw_matrix_on_meta_beside_layers_may_be_a_setting():
    """Mamba's A_log lies beside whole layers; alone, a matrix is a weight, and so is a vector."""

    class Mixer(nn.Module):
        def __init__(self, device, *layers):
            super().__init__()
            self.a = nn.Parameter(torch.randn(8, 4, device=device))
            self.b = nn.Parameter(torch.randn(8, device=device))
            self.layers = nn.ModuleList(layers)

    def kinds(*given):
        rows = read(Mixer(*given)).rows[:2]
        return [(row.facets.kind, row.facets.part) for row in rows]

    alone = [("linear", "weight"), ("linear", "bias")]
    assert kinds("meta") == kinds("cpu") == kinds("cpu", nn.Linear(2, 2)) == alone
    assert kinds("meta", nn.ReLU()) == alone
    assert kinds("meta", nn.Linear(2, 2)) == [("other", "weight"), ("other", "weight")]


def test_of_several_stored_tensors_the_largest_counts():
    large, small, other = torch.zeros(3, 4), torch.zeros(2), torch.zeros(3, 4)

    def of(how, *tensors):
        return Slot("w", nn.Module(), "w", tensors, how=how).tensor

    assert of("parametrized", large, small) is large
    assert of("parametrized", small, large) is large
    assert of("parametrized", large, other) is other
    assert of("weight_norm", large, small) is small  # its directions come last
    assert of("plain", small) is small


def test_what_a_module_sees_under_a_name():
    plain, normed = nn.Linear(2, 3), parametrizations.weight_norm(nn.Linear(2, 3))
    for layer in (plain, normed, old_weight_norm(nn.Linear(2, 3))):
        by_name = {slot.name: slot.read() for slot in slots(layer)}
        assert sorted(by_name) == ["bias", "weight"]
        assert by_name["weight"].equal(layer.weight)
        assert by_name["bias"] is layer.bias
