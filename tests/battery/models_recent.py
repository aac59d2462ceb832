"""More small models: layers of vision, memories, mixtures, Bayes, flows, sets and losses."""

from __future__ import annotations

import torch
from torch import nn

from .models import ids, image, model


class Between(nn.Module):
    """A layer between two linear ones; what else it is called with, and which result counts."""

    def __init__(self, layer: nn.Module, d_in: int, d: int, d_out: int, **given: object) -> None:
        super().__init__()
        self.a, self.layer, self.b, self.given = (
            nn.Linear(d_in, d),
            layer,
            nn.Linear(d_out, 5),
            given,
        )

    def forward(self, x):
        y = self.layer(self.a(x), **self.given)
        return self.b(y[0] if isinstance(y, tuple) else y)


# Vision


@model("bottleneck-transformer-pytorch")
def bottleneck_stack():
    from bottleneck_transformer_pytorch import BottleStack

    net = BottleStack(dim=32, fmap_size=8, dim_out=64, num_layers=2, heads=2, dim_head=16,
                      rel_pos_emb=True)  # fmt: skip
    return net, (image(2, 32, 8, 8),)


@model("bottleneck-transformer-pytorch")
def bottleneck_absolute():
    from bottleneck_transformer_pytorch import BottleStack

    net = BottleStack(dim=32, fmap_size=8, dim_out=64, num_layers=2, heads=2, dim_head=16)
    return net, (image(2, 32, 8, 8),)


@model("lambda-networks")
def lambda_layer():
    from lambda_networks import LambdaLayer

    return LambdaLayer(dim=32, dim_out=32, r=5, dim_k=8, heads=4, dim_u=2), (image(2, 32, 8, 8),)


@model("halonet-pytorch")
def halo_attention():
    from halonet_pytorch import HaloAttention

    return HaloAttention(dim=32, block_size=4, halo_size=1, dim_head=16, heads=2), (
        image(2, 32, 8, 8),
    )


@model("axial-attention")
def axial_image_transformer():
    from axial_attention import AxialImageTransformer

    net = AxialImageTransformer(dim=32, depth=2, heads=2, reversible=False,
                                axial_pos_emb_shape=(8, 8))  # fmt: skip
    return net, (image(2, 32, 8, 8),)


@model("glom-pytorch")
def glom():
    from glom_pytorch import Glom

    return Glom(dim=24, levels=3, image_size=32, patch_size=8), {
        "img": image(2, 3, 32, 32),
        "iters": 2,
    }


@model("timesformer-pytorch")
def timesformer():
    from timesformer_pytorch import TimeSformer

    net = TimeSformer(dim=32, image_size=32, patch_size=16, num_frames=2, num_classes=5, depth=2,
                      heads=2, dim_head=16)  # fmt: skip
    return net, (image(2, 2, 3, 32, 32),)


@model("res-mlp-pytorch")
def res_mlp():
    from res_mlp_pytorch import ResMLP

    net = ResMLP(image_size=32, patch_size=8, dim=32, depth=3, num_classes=5)
    return net, (image(2, 3, 32, 32),)


@model("deformable-attention")
def deformable_attention():
    from deformable_attention import DeformableAttention

    net = DeformableAttention(dim=32, dim_head=16, heads=2, downsample_factor=4)
    return net, (image(2, 32, 16, 16),)


@model("x-unet")
def x_unet():
    from x_unet import XUnet

    net = XUnet(dim=16, channels=3, dim_mults=(1, 2), num_blocks_per_stage=(1, 1),
                num_self_attn_per_stage=(0, 1), nested_unet_depths=(1, 0),
                nested_unet_dim=8)  # fmt: skip
    return net, (image(2, 3, 32, 32),)


@model("efficientnet_pytorch")
def efficientnet():
    from efficientnet_pytorch import EfficientNet

    return EfficientNet.from_name("efficientnet-b0", num_classes=5), (image(1, 3, 32, 32),)


@model("slot-attention")
def slots():
    from slot_attention import SlotAttention

    return SlotAttention(num_slots=3, dim=24, iters=2), (torch.randn(2, 10, 24),)


# Sequences


@model("compressive-transformer-pytorch")
def compressive():
    from compressive_transformer_pytorch import CompressiveTransformer

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = CompressiveTransformer(num_tokens=90, dim=32, depth=2, seq_len=16,
                                              mem_len=16, cmem_len=4, heads=2)  # fmt: skip

        def forward(self, x):
            return self.net(x)[0]

    return Net(), (ids(90, 2, 16),)


@model("MEGABYTE-pytorch")
def megabyte():
    from MEGABYTE_pytorch import MEGABYTE

    net = MEGABYTE(num_tokens=90, dim=(32, 16), depth=(2, 1), max_seq_len=(4, 4), dim_head=16,
                   heads=2)  # fmt: skip
    return net, (ids(90, 2, 16),)


@model("h-transformer-1d")
def hierarchical_attention():
    from h_transformer_1d import HTransformer1D

    net = HTransformer1D(num_tokens=90, dim=32, depth=2, max_seq_len=32, heads=2, dim_head=16,
                         block_size=4)  # fmt: skip
    return net, (ids(90, 2, 32),)


@model("simple-hierarchical-transformer")
def hierarchical_transformer():
    from simple_hierarchical_transformer import HierarchicalTransformer

    net = HierarchicalTransformer(num_tokens=90, dim=32, depth=2, seq_len=16, dim_head=16, heads=2,
                                  hierarchies=(1, 2), window_sizes=(8, None))  # fmt: skip
    return net, (ids(90, 2, 16),)


@model("recurrent-memory-transformer-pytorch")
def recurrent_memory():
    from recurrent_memory_transformer_pytorch import RecurrentMemoryTransformer

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = RecurrentMemoryTransformer(
                dim=32,
                num_tokens=90,
                depth=2,
                dim_head=16,
                heads=2,
                num_memory_tokens=3,
                seq_len=16,
            )

        def forward(self, x):
            return self.net(x)[0]

    return Net(), (ids(90, 2, 16),)


@model("gateloop-transformer")
def gateloop():
    from gateloop_transformer import Transformer

    return Transformer(dim=32, num_tokens=90, depth=2, dim_head=16, heads=2), (ids(90, 2, 12),)


@model("gateloop-transformer")
def simple_gateloop():
    from gateloop_transformer import SimpleGateLoopLayer

    layer = SimpleGateLoopLayer(24)
    return Between(layer, 16, 24, 24), (torch.randn(2, 10, 16),)


@model("charformer-pytorch")
def charformer():
    from charformer_pytorch import GBST

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = GBST(num_tokens=90, dim=32, max_block_size=4, downsample_factor=4)
            self.head = nn.Linear(32, 5)

        def forward(self, x):
            return self.head(self.blocks(x)[0])

    return Net(), (ids(90, 2, 16),)


@model("token-shift-gpt")
def token_shift():
    from token_shift_gpt import TokenShiftGPT

    return TokenShiftGPT(num_tokens=90, dim=32, max_seq_len=16, depth=3), (ids(90, 2, 16),)


@model("sinkhorn-transformer")
def sinkhorn():
    from sinkhorn_transformer import SinkhornTransformerLM

    net = SinkhornTransformerLM(num_tokens=90, dim=32, max_seq_len=16, depth=2, heads=2,
                                bucket_size=4)  # fmt: skip
    return net, (ids(90, 2, 16),)


@model("sru")
def simple_recurrent_unit():
    from sru import SRU

    return Between(SRU(24, 24, num_layers=2, highway_bias=-2.0), 16, 24, 24), (
        torch.randn(6, 3, 16),
    )


@model("mogrifier")
def mogrified():
    from mogrifier import Mogrifier

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix, self.cell = Mogrifier(dim=24, factorize_k=8), nn.GRUCell(24, 24)

        def forward(self, x):
            h = x.new_zeros(x.shape[0], 24)
            for step in x.unbind(1):
                h = self.cell(*self.mix(step, h))
            return h

    return Net(), (torch.randn(2, 5, 24),)


@model("iTransformer")
def inverted_transformer():
    from iTransformer import iTransformer

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = iTransformer(num_variates=5, lookback_len=16, dim=32, depth=2, heads=2,
                                    dim_head=16, pred_length=4, flash_attn=False,
                                    use_reversible_instance_norm=True)  # fmt: skip

        def forward(self, x):
            return self.net(x)

    return Net(), (torch.randn(2, 16, 5),)


# Attention of other kinds, mixtures


@model("taylor-series-linear-attention")
def taylor_attention():
    from taylor_series_linear_attention import TaylorSeriesLinearAttn

    layer = TaylorSeriesLinearAttn(24, dim_head=8, heads=2, gate_value_heads=True, prenorm=True)
    return Between(layer, 16, 24, 24), (torch.randn(2, 10, 16),)


@model("agent-attention-pytorch")
def agents():
    from agent_attention_pytorch import AgentTransformer

    net = AgentTransformer(24, num_agent_tokens=4, depth=2, heads=2, dim_head=8)
    return Between(net, 16, 24, 24), (torch.randn(2, 10, 16),)


@model("native-sparse-attention-pytorch")
def native_sparse():
    from native_sparse_attention_pytorch import SparseAttention

    layer = SparseAttention(dim=24, dim_head=8, heads=2, sliding_window_size=2,
                            compress_block_size=4, compress_block_sliding_stride=2,
                            selection_block_size=4, num_selected_blocks=2)  # fmt: skip
    return Between(layer, 16, 24, 24), (torch.randn(2, 16, 16),)


@model("PEER-pytorch")
def expert_retrieval():
    from PEER_pytorch import PEER

    layer = PEER(24, heads=2, num_experts=64, num_experts_per_head=4, dim_key=8)
    return Between(layer, 16, 24, 24), (torch.randn(2, 10, 16),)


@model("mixture-of-attention")
def mixture_of_attention():
    from mixture_of_attention import MixtureOfAttention

    layer = MixtureOfAttention(24, num_routed_queries=4, num_routed_key_values=4, num_experts=2,
                               dim_head=8, heads=2, use_triton=False, flash_attn=False)  # fmt: skip
    return Between(layer, 16, 24, 24), (torch.randn(2, 16, 16),)


# Sets, points, proteins


@model("isab-pytorch")
def induced_set_attention():
    from isab_pytorch import ISAB

    layer = ISAB(dim=24, heads=4, num_latents=6, latent_self_attend=True)
    return Between(layer, 16, 24, 24), (torch.randn(2, 10, 16),)


@model("point-transformer-pytorch")
def point_transformer():
    from point_transformer_pytorch import PointTransformerLayer

    layer = PointTransformerLayer(dim=24, pos_mlp_hidden_dim=16, attn_mlp_hidden_mult=2)
    return layer, (torch.randn(1, 10, 24), torch.randn(1, 10, 3))


@model("invariant-point-attention")
def invariant_points():
    from invariant_point_attention import IPABlock

    block = IPABlock(dim=24, heads=2, scalar_key_dim=8, scalar_value_dim=8, point_key_dim=4,
                     point_value_dim=4, require_pairwise_repr=False)  # fmt: skip
    rotations = torch.eye(3).expand(1, 10, 3, 3)
    return block, {
        "x": torch.randn(1, 10, 24),
        "rotations": rotations,
        "translations": torch.randn(1, 10, 3),
    }


# Bayes


@model("torchbnn")
def bayes_net():
    import torchbnn as bnn

    return nn.Sequential(
        bnn.BayesLinear(prior_mu=0, prior_sigma=0.1, in_features=16, out_features=32), nn.ReLU(),
        bnn.BayesLinear(prior_mu=0, prior_sigma=0.1, in_features=32, out_features=5),
    ), (torch.randn(4, 16),)  # fmt: skip


@model("blitz-bayesian-pytorch")
def bayes_by_backprop():
    from blitz.modules import BayesianLinear

    return nn.Sequential(BayesianLinear(16, 32), nn.ReLU(), BayesianLinear(32, 5)), (
        torch.randn(4, 16),
    )


@model("blitz-bayesian-pytorch")
def bayesian_lstm():
    from blitz.modules import BayesianLSTM

    return Between(BayesianLSTM(24, 24), 16, 24, 24), (torch.randn(2, 5, 16),)


@model("bayesian-torch")
def reparameterized():
    from bayesian_torch.layers import Conv2dFlipout, LinearReparameterization

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = Conv2dFlipout(3, 8, 3), LinearReparameterization(8, 5)

        def forward(self, x):
            return self.head(self.conv(x)[0].relu().mean((2, 3)))[0]

    return Net(), (image(2, 3, 8, 8),)


# Flows, tables, filters, losses


def _subnet(d_in: int, d_out: int) -> nn.Module:
    return nn.Sequential(nn.Linear(d_in, 32), nn.ReLU(), nn.Linear(32, d_out))


def _coupling(name: str, **options):
    import FrEIA.modules as blocks

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            make = getattr(blocks, name)
            self.blocks = nn.ModuleList(
                make([(8,)], subnet_constructor=_subnet, **options) for _ in range(2)
            )

        def forward(self, x):
            for block in self.blocks:
                (x,), _ = block((x,))
            return x

    return Net(), (torch.randn(4, 8),)


@model("FrEIA")
def glow_coupling():
    return _coupling("GLOWCouplingBlock")


@model("FrEIA")
def all_in_one():
    return _coupling("AllInOneBlock", learned_householder_permutation=2)


@model("tabm")
def batched_ensemble():
    from tabm import TabM

    net = TabM(n_num_features=6, cat_cardinalities=[3], d_out=2, n_blocks=2, d_block=32, k=4,
               dropout=0.0, start_scaling_init="random-signs")  # fmt: skip
    return net, (torch.randn(5, 6), ids(3, 5, 1))


@model("asteroid-filterbanks")
def filterbank():
    from asteroid_filterbanks import Encoder, FreeFB

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.head = Encoder(FreeFB(16, 8, stride=4)), nn.Conv1d(16, 5, 1)

        def forward(self, x):
            return self.head(self.encoder(x).relu())

    return Net(), (torch.randn(2, 1, 64),)


@model("asteroid-filterbanks")
def sinc_filters():
    from asteroid_filterbanks import Encoder
    from asteroid_filterbanks.param_sinc_fb import ParamSincFB

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.head = Encoder(ParamSincFB(16, 33, stride=8)), nn.Conv1d(16, 5, 1)

        def forward(self, x):
            return self.head(self.encoder(x).relu())

    return Net(), (torch.randn(2, 1, 128),)


@model("complexPyTorch")
def complex_convolutions():
    from complexPyTorch.complexFunctions import complex_relu
    from complexPyTorch.complexLayers import ComplexBatchNorm2d, ComplexConv2d, ComplexLinear

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = ComplexConv2d(3, 8, 3), ComplexBatchNorm2d(8)
            self.head = ComplexLinear(8, 5)

        def forward(self, x):
            x = complex_relu(self.norm(self.conv(x.to(torch.complex64))))
            return self.head(x.mean((2, 3))).abs()

    return Net(), (image(4, 3, 8, 8),)


@model("geotorch")
def orthogonal_recurrence():
    import geotorch

    cell = nn.RNNCell(8, 16)
    geotorch.orthogonal(cell, "weight_hh")

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.head = cell, nn.Linear(16, 5)

        def forward(self, x):
            h = x.new_zeros(x.shape[0], 16)
            for step in x.unbind(1):
                h = self.cell(step, h)
            return self.head(h)

    return Net(), (torch.randn(2, 5, 8),)


@model("pytorch-metric-learning")
def angular_margin():
    from pytorch_metric_learning.losses import ArcFaceLoss

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.loss = nn.Linear(16, 24), ArcFaceLoss(5, 24)

        def forward(self, x, labels):
            return self.loss(self.net(x), labels)

    return Net(), (torch.randn(6, 16), ids(5, 6))


@model("torchdeq")
def equilibrium():
    from torchdeq import get_deq

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inject, self.state, self.norm = (
                nn.Linear(16, 24),
                nn.Linear(24, 24),
                nn.LayerNorm(24),
            )
            self.solve, self.head = (
                get_deq(f_solver="fixed_point_iter", f_max_iter=4),
                nn.Linear(24, 5),
            )

        def forward(self, x):
            u = self.inject(x)
            found, _ = self.solve(
                lambda z: self.norm(torch.tanh(self.state(z)) + u), torch.zeros_like(u)
            )
            return self.head(found[-1])

    return Net(), (torch.randn(4, 16),)
