"""Small models of research packages, as their authors draw them.

No weight is downloaded. Each call builds it again, so that two seeds can be compared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

Build = Callable[[], tuple[nn.Module, Any]]
PACKAGES: dict[str, dict[str, Build]] = {}


def model(package: str):
    """Register a function that returns a model and its inputs."""

    def add(build: Build) -> Build:
        PACKAGES.setdefault(package, {})[build.__name__] = build
        return build

    return add


def ids(high: int, *shape: int) -> torch.Tensor:
    return torch.randint(0, high, shape)


image = torch.randn


# x-transformers: norms of unit offset, gates, scales.


def _decoder(**options):
    from x_transformers import Decoder, TransformerWrapper

    layers = Decoder(dim=32, depth=2, heads=2, attn_dim_head=16, **options)
    return TransformerWrapper(num_tokens=90, max_seq_len=32, attn_layers=layers), (ids(90, 2, 12),)


@model("x-transformers")
def x_decoder():
    return _decoder()


@model("x-transformers")
def x_rotary_swiglu():
    return _decoder(rotary_pos_emb=True, ff_glu=True, ff_swish=True, use_rmsnorm=True)


@model("x-transformers")
def x_layer_scale():
    return _decoder(use_layerscale=True, use_simple_rmsnorm=True)


@model("x-transformers")
def x_scale_norm():
    return _decoder(use_scalenorm=True, attn_pre_talking_heads=True)


@model("x-transformers")
def x_gated():
    return _decoder(gate_residual=True, attn_gate_values=True)


@model("x-transformers")
def x_qk_norm():
    return _decoder(attn_qk_norm=True, attn_qk_norm_dim_scale=True, scale_residual=True)


@model("x-transformers")
def x_hyper_connections():
    return _decoder(num_residual_streams=2)


@model("x-transformers")
def x_memory_kv():
    return _decoder(attn_num_mem_kv=3, rel_pos_bias=True, shift_tokens=1)


@model("x-transformers")
def x_alibi_sandwich():
    return _decoder(alibi_pos_bias=True, sandwich_norm=True)


@model("x-transformers")
def x_vit():
    from x_transformers import Encoder, ViTransformerWrapper

    layers = Encoder(dim=32, depth=2, heads=2)
    return ViTransformerWrapper(image_size=32, patch_size=8, num_classes=7, attn_layers=layers), (
        image(2, 3, 32, 32),
    )


@model("x-transformers")
def x_encoder_decoder():
    from x_transformers import XTransformer

    net = XTransformer(
        dim=32, enc_num_tokens=90, enc_depth=2, enc_heads=2, enc_max_seq_len=16,
        dec_num_tokens=90, dec_depth=2, dec_heads=2, dec_max_seq_len=16,
    )  # fmt: skip
    return net, (ids(90, 2, 10), ids(90, 2, 9))


# vit-pytorch


def _vit(module: str, name: str, **options):
    import importlib

    given = {"image_size": 32, "patch_size": 8, "num_classes": 7, "dim": 32, "depth": 2,
             "heads": 2, "mlp_dim": 48, **options}  # fmt: skip
    given = {k: v for k, v in given.items() if v is not None}
    cls = getattr(importlib.import_module(f"vit_pytorch.{module}"), name)
    return cls(**given), (image(2, 3, 32, 32),)


@model("vit-pytorch")
def vit():
    return _vit("vit", "ViT")


@model("vit-pytorch")
def simple_vit():
    return _vit("simple_vit", "SimpleViT")


@model("vit-pytorch")
def cait():
    return _vit("cait", "CaiT", cls_depth=1)


@model("vit-pytorch")
def deepvit():
    return _vit("deepvit", "DeepViT")


@model("vit-pytorch")
def parallel_vit():
    return _vit("parallel_vit", "ViT", num_parallel_branches=2)


@model("vit-pytorch")
def vit_for_small_dataset():
    return _vit("vit_for_small_dataset", "ViT")


@model("vit-pytorch")
def normalized_vit():
    return _vit("normalized_vit", "nViT")


@model("vit-pytorch")
def vit_with_registers():
    return _vit("simple_vit_with_register_tokens", "SimpleViT")


@model("vit-pytorch")
def hyper_vit():
    return _vit("simple_vit_with_hyper_connections", "SimpleViT", num_residual_streams=2)


@model("vit-pytorch")
def qk_norm_vit():
    return _vit("simple_vit_with_qk_norm", "SimpleViT")


@model("vit-pytorch")
def fft_vit():
    return _vit("simple_vit_with_fft", "SimpleViT", freq_patch_size=8)


@model("vit-pytorch")
def value_residual_vit():
    return _vit("simple_vit_with_value_residual", "SimpleViT")


@model("vit-pytorch")
def t2t():
    return _vit("t2t", "T2TViT", patch_size=None, t2t_layers=((7, 4), (3, 2)))


@model("vit-pytorch")
def cct():
    from vit_pytorch.cct import CCT

    net = CCT(img_size=32, embedding_dim=32, n_conv_layers=1, kernel_size=3, stride=2, padding=1,
              num_layers=2, num_heads=2, num_classes=7)  # fmt: skip
    return net, (image(2, 3, 32, 32),)


@model("vit-pytorch")
def levit():
    from vit_pytorch.levit import LeViT

    net = LeViT(
        image_size=64, num_classes=7, stages=2, dim=(32, 48), depth=1, heads=(2, 2), mlp_mult=2
    )
    return net, (image(2, 3, 64, 64),)


# diffusers


@model("diffusers")
def unet_2d():
    from diffusers import UNet2DModel

    net = UNet2DModel(
        sample_size=16, block_out_channels=(32, 32), layers_per_block=1, norm_num_groups=8,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    return net, (image(2, 3, 16, 16), torch.tensor([3, 7]))


@model("diffusers")
def unet_with_text():
    from diffusers import UNet2DConditionModel

    net = UNet2DConditionModel(
        sample_size=16, block_out_channels=(32, 32), layers_per_block=1, norm_num_groups=8,
        cross_attention_dim=24, attention_head_dim=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )  # fmt: skip
    return net, {
        "sample": image(2, 4, 16, 16),
        "timestep": torch.tensor([3, 7]),
        "encoder_hidden_states": image(2, 5, 24),
    }


@model("diffusers")
def controlnet():
    from diffusers import ControlNetModel

    net = ControlNetModel(
        block_out_channels=(32, 32), layers_per_block=1, norm_num_groups=8, cross_attention_dim=24,
        attention_head_dim=8, conditioning_embedding_out_channels=(16, 32),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
    )  # fmt: skip
    return net, {
        "sample": image(2, 4, 16, 16),
        "timestep": torch.tensor([3, 7]),
        "encoder_hidden_states": image(2, 5, 24),
        "controlnet_cond": image(2, 3, 32, 32),
    }


@model("diffusers")
def dit():
    from diffusers import DiTTransformer2DModel

    net = DiTTransformer2DModel(num_attention_heads=2, attention_head_dim=16, in_channels=4,
                                num_layers=2, sample_size=8, patch_size=2,
                                num_embeds_ada_norm=10, norm_num_groups=8)  # fmt: skip
    return net, {"hidden_states": image(2, 4, 8, 8), "timestep": torch.tensor([3, 7]),
                 "class_labels": torch.tensor([1, 2])}  # fmt: skip


@model("diffusers")
def sd3():
    from diffusers import SD3Transformer2DModel

    net = SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, num_layers=2, attention_head_dim=8,
        num_attention_heads=4, joint_attention_dim=24, caption_projection_dim=32,
        pooled_projection_dim=20, out_channels=4, pos_embed_max_size=8,
    )  # fmt: skip
    return net, {"hidden_states": image(2, 4, 8, 8), "encoder_hidden_states": image(2, 5, 24),
                 "pooled_projections": image(2, 20), "timestep": torch.tensor([3, 7])}  # fmt: skip


@model("diffusers")
def flux():
    from diffusers import FluxTransformer2DModel

    net = FluxTransformer2DModel(
        patch_size=1, in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=24, pooled_projection_dim=20,
        axes_dims_rope=(4, 4, 8),
    )  # fmt: skip
    return net, {
        "hidden_states": image(2, 16, 4), "encoder_hidden_states": image(2, 5, 24),
        "pooled_projections": image(2, 20), "timestep": torch.tensor([0.3, 0.7]),
        "img_ids": torch.zeros(16, 3), "txt_ids": torch.zeros(5, 3),
    }  # fmt: skip


@model("diffusers")
def autoencoder():
    from diffusers import AutoencoderKL

    net = AutoencoderKL(block_out_channels=(16, 16), norm_num_groups=8,
                        down_block_types=("DownEncoderBlock2D",) * 2,
                        up_block_types=("UpDecoderBlock2D",) * 2)  # fmt: skip
    return net, (image(2, 3, 16, 16),)


@model("diffusers")
def vq_autoencoder():
    from diffusers import VQModel

    return VQModel(block_out_channels=(16,), norm_num_groups=8), (image(2, 3, 16, 16),)


# Graphs


def _edges():
    return torch.stack([torch.arange(20) % 12, (torch.arange(20) * 7 + 1) % 12])


def _graph(name: str, *given, **options):
    import torch_geometric.nn as tg

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = getattr(tg, name)(*given, **options)

        def forward(self, x, edges):
            return self.conv(x, edges)

    return Net(), (torch.randn(12, 16), _edges())


@model("torch_geometric")
def gcn():
    return _graph("GCN", 16, 32, 3, 7)


@model("torch_geometric")
def gat():
    return _graph("GAT", 16, 32, 2, 8, heads=4)


@model("torch_geometric")
def gatv2():
    return _graph("GATv2Conv", 16, 8, heads=4)


@model("torch_geometric")
def transformer_conv():
    return _graph("TransformerConv", 16, 8, heads=2, beta=True)


@model("torch_geometric")
def arma():
    return _graph("ARMAConv", 16, 8, num_stacks=2, num_layers=2)


@model("torch_geometric")
def chebyshev():
    return _graph("ChebConv", 16, 8, K=3)


@model("torch_geometric")
def graph_isomorphism():
    return _graph(
        "GINConv", nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 8)), train_eps=True
    )


@model("torch_geometric")
def agnn():
    return _graph("AGNNConv")


@model("torch_geometric")
def film_conv():
    return _graph("FiLMConv", 16, 8)


@model("torch_geometric")
def feast():
    return _graph("FeaStConv", 16, 8, heads=2)


@model("torch_geometric")
def gcn2():
    import torch_geometric.nn as tg

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.convs = nn.ModuleList(tg.GCN2Conv(16, 0.1, 0.5, i + 1) for i in range(3))

        def forward(self, x, edges):
            first = x
            for conv in self.convs:
                x = conv(x, first, edges).relu()
            return x

    return Net(), (torch.randn(12, 16), _edges())


@model("torch_geometric")
def rgcn_bases():
    import torch_geometric.nn as tg

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = tg.RGCNConv(16, 8, num_relations=3, num_bases=2)

        def forward(self, x, edges, kinds):
            return self.conv(x, edges, kinds)

    return Net(), (torch.randn(12, 16), _edges(), torch.arange(20) % 3)


@model("torch_geometric")
def schnet():
    import torch_geometric.nn as tg

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.gaussians = tg.models.schnet.GaussianSmearing(0.0, 5.0, 20)
            self.blocks = nn.ModuleList(
                tg.models.schnet.InteractionBlock(16, 20, 16, 5.0) for _ in range(2)
            )

        def forward(self, x, edges, lengths):
            for block in self.blocks:
                x = x + block(x, edges, lengths, self.gaussians(lengths))
            return x

    return Net(), (torch.randn(12, 16), _edges(), torch.rand(20) * 5)


# Equivariant


@model("e3nn")
def e3_tensor_product():
    from e3nn import o3

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            hidden = "8x0e + 4x1o"
            self.first = o3.Linear("8x0e + 4x1o", hidden)
            self.product = o3.FullyConnectedTensorProduct(hidden, "1x0e + 1x1o", hidden)
            self.last = o3.Linear(hidden, "3x0e")

        def forward(self, x, y):
            return self.last(self.product(self.first(x), y))

    return Net(), (torch.randn(10, 20), torch.randn(10, 4))


@model("e3nn")
def e3_gate():
    from e3nn import nn as e3
    from e3nn import o3

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate = e3.Gate("8x0e", [torch.relu], "4x0e", [torch.sigmoid], "4x1o")
            self.first = o3.Linear("8x0e + 4x1o", self.gate.irreps_in)
            self.norm = e3.BatchNorm(self.gate.irreps_out)
            self.last = o3.Linear(self.gate.irreps_out, "3x0e")

        def forward(self, x):
            return self.last(self.norm(self.gate(self.first(x))))

    return Net(), (torch.randn(10, 20),)


@model("e3nn")
def e3_fully_connected():
    from e3nn.nn import FullyConnectedNet

    return FullyConnectedNet([10, 32, 32, 5], torch.relu), (torch.randn(8, 10),)


@model("egnn-pytorch")
def egnn():
    from egnn_pytorch import EGNN_Network

    return EGNN_Network(num_tokens=21, dim=16, depth=2), (ids(21, 1, 8), torch.randn(1, 8, 3))


# Spikes


@model("snntorch")
def leaky():
    import snntorch as snn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(16, 32), nn.Linear(32, 5)
            self.one = snn.Leaky(beta=0.9, learn_beta=True, learn_threshold=True)
            self.two = snn.Leaky(beta=0.8, learn_beta=True)

        def forward(self, x):
            u, v, out = self.one.init_leaky(), self.two.init_leaky(), []
            for part in x.unbind(1):
                s, u = self.one(self.a(part), u)
                s, v = self.two(self.b(s), v)
                out.append(v)
            return torch.stack(out, 1)

    return Net(), (torch.randn(4, 6, 16),)


@model("snntorch")
def synaptic():
    import snntorch as snn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(16, 5)
            self.one = snn.Synaptic(alpha=0.9, beta=0.8, learn_alpha=True, learn_beta=True)

        def forward(self, x):
            syn, mem = self.one.init_synaptic()
            out = []
            for part in x.unbind(1):
                _, syn, mem = self.one(self.a(part), syn, mem)
                out.append(mem)
            return torch.stack(out, 1)

    return Net(), (torch.randn(4, 6, 16),)


@model("snntorch")
def recurrent_leaky():
    import snntorch as snn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(16, 5)
            self.one = snn.RLeaky(beta=0.9, linear_features=5, learn_beta=True)

        def forward(self, x):
            s, mem = self.one.init_rleaky()
            for part in x.unbind(1):
                s, mem = self.one(self.a(part), s, mem)
            return mem

    return Net(), (torch.randn(4, 6, 16),)


@model("spikingjelly")
def parametric_lif():
    from spikingjelly.activation_based import functional, neuron

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(16, 32), nn.Linear(32, 5)
            self.one, self.two = neuron.ParametricLIFNode(), neuron.ParametricLIFNode(init_tau=3.0)

        def forward(self, x):
            functional.reset_net(self)
            return torch.stack([self.two(self.b(self.one(self.a(p)))) for p in x.unbind(1)], 1)

    return Net(), (torch.randn(4, 6, 16),)


# Operators


@model("neuraloperator")
def fno():
    from neuralop.models import FNO

    net = FNO(n_modes=(6, 6), in_channels=2, out_channels=1, hidden_channels=16, n_layers=2)
    return net, (image(2, 2, 16, 16),)


@model("neuraloperator")
def tucker_fno():
    from neuralop.models import TFNO

    net = TFNO(n_modes=(6, 6), in_channels=2, out_channels=1, hidden_channels=16, n_layers=2)
    return net, (image(2, 2, 16, 16),)


@model("neuraloperator")
def u_shaped_operator():
    from neuralop.models import UNO

    net = UNO(
        in_channels=2, out_channels=1, hidden_channels=16, n_layers=3, lifting_channels=16,
        projection_channels=16, uno_out_channels=[16, 16, 16], uno_n_modes=[[4, 4]] * 3,
        uno_scalings=[[1.0, 1.0], [0.5, 0.5], [2.0, 2.0]], channel_mlp_skip="linear",
    )  # fmt: skip
    return net, (image(2, 2, 16, 16),)


# Splines


@model("pykan")
def kan():
    from kan import KAN

    return KAN(
        width=[4, 5, 2], grid=4, k=3, seed=torch.initial_seed(), device="cpu", auto_save=False
    ), (torch.rand(20, 4),)


@model("pykan")
def multiplicative_kan():
    from kan import MultKAN

    net = MultKAN(
        width=[4, [3, 2], 1], grid=3, k=3, seed=torch.initial_seed(), device="cpu", auto_save=False
    )
    return net, (torch.rand(20, 4),)


# Flows


@model("nflows")
def autoregressive_flow():
    from nflows.transforms import CompositeTransform, RandomPermutation
    from nflows.transforms import MaskedAffineAutoregressiveTransform as Made

    return CompositeTransform([t for _ in range(2) for t in (RandomPermutation(6), Made(6, 32))]), (
        torch.randn(8, 6),
    )


@model("nflows")
def spline_flow():
    from nflows.nn.nets import ResidualNet
    from nflows.transforms import PiecewiseRationalQuadraticCouplingTransform as Spline

    net = Spline(
        torch.arange(6) % 2, lambda i, o: ResidualNet(i, o, hidden_features=16), tails="linear"
    )
    return net, (torch.randn(8, 6),)


@model("nflows")
def lu_linear():
    from nflows.transforms import ActNorm, CompositeTransform, LULinear, SVDLinear

    return CompositeTransform([LULinear(6), ActNorm(6), SVDLinear(6, 4)]), (torch.randn(8, 6),)


@model("zuko")
def zuko_nsf():
    import zuko

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.flow = zuko.flows.NSF(4, 3, transforms=2, hidden_features=(32, 32))

        def forward(self, x, c):
            return self.flow(c).log_prob(x)

    return Net(), (torch.randn(8, 4), torch.randn(8, 3))


@model("zuko")
def zuko_gf():
    import zuko

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.flow = zuko.flows.GF(4, 3, transforms=2, components=4)

        def forward(self, x, c):
            return self.flow(c).log_prob(x)

    return Net(), (torch.randn(8, 4), torch.randn(8, 3))


@model("normflows")
def glow():
    import normflows as nf

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.flows = nn.ModuleList(nf.flows.GlowBlock(4, 16, scale=True) for _ in range(2))

        def forward(self, x):
            for flow in self.flows:
                x, _ = flow(x)
            return x

    return Net(), (image(4, 4, 6, 6),)


@model("normflows")
def real_nvp():
    import normflows as nf

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            parts = []
            for _ in range(3):
                param = nf.nets.MLP([2, 32, 4], init_zeros=True)
                parts += [nf.flows.AffineCouplingBlock(param), nf.flows.Permute(4, mode="swap")]
            self.flows = nn.ModuleList(parts)

        def forward(self, x):
            for flow in self.flows:
                x, _ = flow(x)
            return x

    return Net(), (torch.randn(8, 4),)


@model("normflows")
def planar_and_radial():
    import normflows as nf

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nf.flows.Planar((4,)), nf.flows.Radial((4,))

        def forward(self, x):
            return self.b(self.a(x)[0])[0]

    return Net(), (torch.randn(8, 4),)
