"""Torch's own laws, held against torch's own fresh parameters.

Each configuration is built a few times, N elements in all. Of uniform laws the extreme values
are the sharpest witness: max|w| of N draws from U(-b, b) lies in (b (1 - e/N), b] but for odds of
exp(-e). Of normal ones the second moment: its relative error is sqrt(2/N), once sigma.
"""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import goodinit as gi
from goodinit.anatomy.modules import describe
from goodinit.plans.defaults import torch_default
from goodinit.schemes import Constant, Normal, Uniform

BUILDS = 20


def _walk(model):
    """Yield (name, owner, attribute, the modules above) of every parameter and buffer."""
    for path, module in model.named_modules(remove_duplicate=False):
        parts = path.split(".") if path else []
        above = [model.get_submodule(".".join(parts[:i])) for i in range(len(parts))]
        own = itertools.chain(
            module.named_parameters(recurse=False), module.named_buffers(recurse=False)
        )
        for attr, _ in own:
            yield ".".join([*parts, attr]), module, attr, above


def _holds(scheme, values, where):
    if not isinstance(scheme, Constant):
        values = values.double()
    count = len(values)
    if isinstance(scheme, Constant):
        assert (values == scheme.value).all(), where
    elif isinstance(scheme, Uniform):
        assert scheme.low == -scheme.high, where
        assert values.abs().max() <= scheme.high * (1 + 1e-6), where
        for extreme in (values.max(), -values.min()):  # one side has half the density
            assert extreme > scheme.high * (1 - 2 * 18 / count), where  # odds of 2e-8
        assert abs(values.mean()) < 6 * scheme.high / math.sqrt(3 * count), where
        second = values.square().mean() / (scheme.high**2 / 3)  # Var(w^2) = 4/5 E[w^2]^2
        assert abs(second - 1) < 6 * math.sqrt(0.8 / count), where
    elif isinstance(scheme, Normal):
        second = values.square().mean() / scheme.std**2
        assert abs(second - 1) < 6 * math.sqrt(2 / count), where
        assert values.abs().max() > 1.8 * scheme.std, where  # no uniform law gets there
    else:
        raise AssertionError(f"{where}: {scheme!r}")


def _check(build):
    """Compare every parameter and buffer of what ``build`` makes with its law."""
    torch.manual_seed(0)
    models = [build() for _ in range(BUILDS)]
    for name, module, attr, above in _walk(models[0]):
        scheme = torch_default(module, attr, above)
        assert scheme is not None, name
        owner, _, _ = name.rpartition(".")
        values = [getattr(model.get_submodule(owner), attr).detach() for model in models]
        facets = describe(module).get(attr)
        zero = list(facets.zero_rows) if facets else []
        if zero:
            assert all((value[zero] == 0).all() for value in values)
            values = [torch.cat([v[: zero[0]], v[zero[0] + 1 :]]) for v in values]
        where = f"{name} of {type(models[0]).__name__}: {scheme!r}"
        _holds(scheme, torch.stack(values).flatten(), where)


CONVS = [
    (cls, kwargs)
    for cls in (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)
    for kwargs in (
        {"in_channels": 16, "out_channels": 32, "kernel_size": 3},
        {"in_channels": 16, "out_channels": 32, "kernel_size": 4, "stride": 2, "groups": 4},
        {"in_channels": 8, "out_channels": 8, "kernel_size": 5, "groups": 8, "bias": False},
    )
]
LAWS = [
    (nn.Linear, {"in_features": 40, "out_features": 60}),
    (nn.Linear, {"in_features": 100, "out_features": 9, "bias": False}),
    (nn.Bilinear, {"in1_features": 10, "in2_features": 30, "out_features": 20}),
    *CONVS,
    (nn.Conv2d, {"in_channels": 6, "out_channels": 20, "kernel_size": (2, 5)}),
    (nn.Conv3d, {"in_channels": 6, "out_channels": 20, "kernel_size": (2, 3, 1)}),
    (nn.ConvTranspose3d, {"in_channels": 6, "out_channels": 20, "kernel_size": (2, 3, 1)}),
    (nn.Embedding, {"num_embeddings": 50, "embedding_dim": 40}),
    (nn.Embedding, {"num_embeddings": 50, "embedding_dim": 40, "padding_idx": -2}),
    (nn.EmbeddingBag, {"num_embeddings": 50, "embedding_dim": 40, "padding_idx": 3}),
    *[
        (cls, {"input_size": 7, "hidden_size": 20, **kwargs})
        for cls in (nn.RNN, nn.LSTM, nn.GRU)
        for kwargs in ({}, {"num_layers": 2, "bidirectional": True}, {"bias": False})
    ],
    (nn.LSTM, {"input_size": 7, "hidden_size": 20, "proj_size": 5, "num_layers": 2}),
    *[
        (cls, {"input_size": 7, "hidden_size": 20, "bias": bias})
        for cls in (nn.RNNCell, nn.LSTMCell, nn.GRUCell)
        for bias in (True, False)
    ],
    (nn.MultiheadAttention, {"embed_dim": 32, "num_heads": 4}),
    (nn.MultiheadAttention, {"embed_dim": 32, "num_heads": 4, "bias": False}),
    (nn.MultiheadAttention, {"embed_dim": 32, "num_heads": 4, "kdim": 8, "vdim": 80}),
    (nn.MultiheadAttention, {"embed_dim": 32, "num_heads": 4, "vdim": 8, "add_bias_kv": True}),
    (nn.BatchNorm1d, {"num_features": 8}),
    (nn.BatchNorm2d, {"num_features": 8, "affine": False}),
    (nn.BatchNorm3d, {"num_features": 8, "track_running_stats": False}),
    (nn.SyncBatchNorm, {"num_features": 8}),
    (nn.InstanceNorm2d, {"num_features": 8, "affine": True, "track_running_stats": True}),
    (nn.GroupNorm, {"num_groups": 2, "num_channels": 8}),
    (nn.LayerNorm, {"normalized_shape": (4, 8)}),
    (nn.LayerNorm, {"normalized_shape": 8, "bias": False}),
    (nn.RMSNorm, {"normalized_shape": 8}),
    (nn.PReLU, {"num_parameters": 3}),
    (nn.PReLU, {"init": 0.1}),
    (nn.TransformerEncoderLayer, {"d_model": 16, "nhead": 2, "dim_feedforward": 48}),
    (nn.TransformerDecoderLayer, {"d_model": 16, "nhead": 2, "dim_feedforward": 48}),
    (nn.AdaptiveLogSoftmaxWithLoss, {"in_features": 16, "n_classes": 50, "cutoffs": [10]}),
]


@pytest.mark.parametrize(("cls", "kwargs"), LAWS, ids=[f"{c.__name__}-{k}" for c, k in LAWS])
def test_torch_draws_from_the_law_that_we_name(cls, kwargs):
    _check(lambda: cls(**kwargs))


def test_a_whole_transformer_draws_its_matrices_once_more():
    sizes = {"d_model": 16, "nhead": 2, "dim_feedforward": 48, "batch_first": True}
    build = lambda: nn.Transformer(**sizes, num_encoder_layers=1, num_decoder_layers=1)  # noqa: E731
    _check(build)
    layer = build().encoder.layers[0]
    inside = torch_default(layer.linear1, "weight", [build()])
    assert inside == Uniform(-math.sqrt(6 / 64), math.sqrt(6 / 64))
    assert torch_default(layer.linear1, "weight") == Uniform(-0.25, 0.25)


def test_a_custom_part_of_a_transformer_is_drawn_with_it():
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(torch.zeros(60, 40))
            self.scale = nn.Parameter(torch.zeros(7))

        def forward(self, src, mask=None, **_):
            return src

    model = nn.Transformer(16, 2, 1, 1, 16, custom_encoder=Encoder(), batch_first=True)
    scheme = torch_default(model.encoder, "table", [model])
    _holds(scheme, model.encoder.table.detach().flatten(), "table")
    assert torch_default(model.encoder, "scale", [model]) is None


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_no_inputs():
    bias = nn.Linear(0, 4)
    assert torch_default(bias, "bias") == Constant(0.0)
    assert (bias.bias == 0).all()
    conv = nn.Conv1d(0, 4, 3)  # torch leaves its bias as it was allocated
    assert torch_default(conv, "bias") is None
    assert torch_default(conv, "weight") is None


def test_no_law_of_torchs():
    class Mine(nn.Linear):
        def __init__(self):
            super().__init__(16, 4)
            self.extra = nn.Parameter(torch.zeros(3))

    class Raw(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(3, 3))

    assert torch_default(Mine(), "extra") is None
    assert torch_default(Mine(), "weight") == Uniform(-0.25, 0.25)
    assert torch_default(Raw(), "weight") is None
    assert torch_default(nn.Linear(2, 2, bias=False), "bias") is None


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_lazy_modules_have_no_law_before_they_have_shapes():
    lazy = nn.LazyLinear(4)
    assert torch_default(lazy, "weight") is None
    lazy(torch.zeros(2, 16))
    assert torch_default(lazy, "weight") == Uniform(-0.25, 0.25)


def test_parametrized_weights_keep_their_law_and_are_not_computed():
    linear = parametrizations.spectral_norm(nn.Linear(16, 4))
    before = {name: value.clone() for name, value in linear.state_dict().items()}
    assert torch_default(linear, "weight") == Uniform(-0.25, 0.25)
    inside = torch_default(linear, "weight", [nn.Transformer(4, 2, 1, 1, 4, batch_first=True)])
    assert inside == Uniform(-math.sqrt(6 / 20), math.sqrt(6 / 20))
    assert all(before[name].equal(value) for name, value in linear.state_dict().items())


def test_a_plan_says_where_torch_has_no_law():
    class Own(nn.Linear):
        def __init__(self):
            super().__init__(3, 3)
            self.scale = nn.Parameter(torch.randn(3))

    plan = gi.plan(Own(), "torch_default")
    assert plan["scale"].why == "torch has no law of its own for it in Own"
    assert plan["weight"].why == "PyTorch's own"
