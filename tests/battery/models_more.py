"""More of them: see ``models.py``."""

from __future__ import annotations

import torch
from torch import nn

from .models import ids, image, model

# MONAI


@model("monai")
def monai_unet():
    from monai.networks.nets import UNet

    return UNet(2, 1, 2, (8, 16, 32), (2, 2), num_res_units=2), (image(2, 1, 16, 16),)


@model("monai")
def unetr():
    from monai.networks.nets import UNETR

    net = UNETR(
        1, 2, (32, 32), feature_size=8, hidden_size=48, mlp_dim=64, num_heads=4, spatial_dims=2
    )
    return net, (image(2, 1, 32, 32),)


@model("monai")
def swin_unetr():
    from monai.networks.nets import SwinUNETR

    return SwinUNETR(1, 2, feature_size=12, spatial_dims=2, depths=(1, 1, 1, 1),
                     num_heads=(2, 2, 2, 2)), (image(1, 1, 64, 64),)  # fmt: skip


@model("monai")
def segresnet():
    from monai.networks.nets import SegResNet

    return SegResNet(2, 8, 1, 2, blocks_down=(1, 1), blocks_up=(1,)), (image(2, 1, 16, 16),)


@model("monai")
def mednext():
    from monai.networks.nets import MedNeXt

    return MedNeXt(
        spatial_dims=2,
        init_filters=8,
        in_channels=1,
        out_channels=2,
        encoder_expansion_ratio=2,
        decoder_expansion_ratio=2,
        bottleneck_expansion_ratio=2,
        blocks_down=(1, 1, 1, 1),
        blocks_bottleneck=1,
        blocks_up=(1, 1, 1, 1),
    ), (image(1, 1, 32, 32),)


@model("monai")
def monai_diffusion():
    from monai.networks.nets import DiffusionModelUNet

    net = DiffusionModelUNet(2, 1, 1, num_res_blocks=1, channels=(16, 16), norm_num_groups=8,
                             attention_levels=(False, True), num_head_channels=8)  # fmt: skip
    return net, (image(2, 1, 16, 16), torch.tensor([3, 7]))


@model("monai")
def densenet():
    from monai.networks.nets import DenseNet

    return DenseNet(2, 1, 3, init_features=8, growth_rate=4, block_config=(2, 2)), (
        image(2, 1, 32, 32),
    )


# Recurrent and state-space models


@model("xlstm")
def xlstm_stack():
    from xlstm import (
        FeedForwardConfig,
        mLSTMBlockConfig,
        mLSTMLayerConfig,
        sLSTMBlockConfig,
        sLSTMLayerConfig,
        xLSTMBlockStack,
        xLSTMBlockStackConfig,
    )  # fmt: skip

    config = xLSTMBlockStackConfig(
        mlstm_block=mLSTMBlockConfig(
            mlstm=mLSTMLayerConfig(conv1d_kernel_size=4, qkv_proj_blocksize=4, num_heads=2)
        ),
        slstm_block=sLSTMBlockConfig(
            slstm=sLSTMLayerConfig(
                backend="vanilla", num_heads=2, conv1d_kernel_size=4,
                bias_init="powerlaw_blockdependent",
            ),
            feedforward=FeedForwardConfig(proj_factor=1.3, act_fn="gelu"),
        ),
        context_length=16, num_blocks=3, embedding_dim=32, slstm_at=[1],
    )  # fmt: skip
    return xLSTMBlockStack(config), (torch.randn(2, 12, 32),)


@model("xlstm")
def mlstm_only():
    from xlstm import mLSTMBlockConfig, mLSTMLayerConfig, xLSTMBlockStack, xLSTMBlockStackConfig

    config = xLSTMBlockStackConfig(
        mlstm_block=mLSTMBlockConfig(mlstm=mLSTMLayerConfig(num_heads=2)),
        context_length=16, num_blocks=2, embedding_dim=32,
    )  # fmt: skip
    return xLSTMBlockStack(config), (torch.randn(2, 12, 32),)


@model("mambapy")
def mamba():
    from mambapy.mamba import Mamba, MambaConfig

    return Mamba(MambaConfig(d_model=24, n_layers=2, d_state=8)), (torch.randn(2, 9, 24),)


@model("mambapy")
def mamba_step_by_step():
    from mambapy.mamba import Mamba, MambaConfig

    return Mamba(MambaConfig(d_model=24, n_layers=2, d_state=8, pscan=False)), (
        torch.randn(2, 9, 24),
    )


@model("mambapy")
def jamba():
    from mambapy.jamba import Jamba, JambaLMConfig

    config = JambaLMConfig(d_model=32, n_layers=4, mlp_size=48, d_state=8, num_attention_heads=4,
                           num_key_value_heads=2, attn_layer_offset=1, attn_layer_period=2,
                           expert_layer_offset=1, expert_layer_period=2, num_experts=4,
                           num_experts_per_tok=2)  # fmt: skip

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Jamba(config)

        def forward(self, x):
            return self.net(x)[0]

    return Net(), (torch.randn(2, 9, 32),)


@model("s5-pytorch")
def s5():
    from s5 import S5Block

    return S5Block(24, 16, False), (torch.randn(2, 20, 24),)


@model("s5-pytorch")
def s5_layer():
    from s5 import S5

    return S5(24, 16), (torch.randn(2, 20, 24),)


@model("ncps")
def liquid():
    from ncps.torch import LTC
    from ncps.wirings import AutoNCP

    return LTC(6, AutoNCP(16, 3)), (torch.randn(2, 5, 6),)


@model("ncps")
def closed_form_liquid():
    from ncps.torch import CfC

    return CfC(6, 16), (torch.randn(2, 5, 6),)


@model("ncps")
def wired_closed_form():
    from ncps.torch import CfC
    from ncps.wirings import AutoNCP

    return CfC(6, AutoNCP(16, 3)), (torch.randn(2, 5, 6),)


@model("minGRU-pytorch")
def min_gru():
    from minGRU_pytorch.minLM import minLM

    return minLM(num_tokens=90, dim=24, depth=2), (ids(90, 2, 12),)


@model("pytorch-tcn")
def tcn():
    from pytorch_tcn import TCN

    return TCN(6, [16, 16], kernel_size=3, use_skip_connections=True), (image(2, 6, 30),)


@model("titans-pytorch")
def memory_as_context():
    from titans_pytorch import MemoryAsContextTransformer

    net = MemoryAsContextTransformer(num_tokens=90, dim=32, depth=2, segment_len=8, heads=2,
                                     num_persist_mem_tokens=2, num_longterm_mem_tokens=2,
                                     neural_memory_layers=())  # fmt: skip
    return net, (ids(90, 2, 16),)


# Attention


@model("perceiver-pytorch")
def perceiver():
    from perceiver_pytorch import Perceiver

    net = Perceiver(num_freq_bands=4, depth=2, max_freq=8.0, input_channels=3, num_latents=8,
                    latent_dim=32, num_classes=7, cross_dim_head=16, latent_dim_head=16,
                    latent_heads=2)  # fmt: skip
    return net, (image(2, 8, 8, 3),)


@model("perceiver-pytorch")
def perceiver_io():
    from perceiver_pytorch import PerceiverIO

    net = PerceiverIO(depth=2, dim=24, queries_dim=16, logits_dim=9, num_latents=8, latent_dim=32,
                      latent_heads=2, cross_dim_head=16, latent_dim_head=16)  # fmt: skip
    return net, {"data": torch.randn(2, 12, 24), "queries": torch.randn(5, 16)}


@model("linear-attention-transformer")
def linear_attention():
    from linear_attention_transformer import LinearAttentionTransformerLM

    net = LinearAttentionTransformerLM(
        num_tokens=90, dim=32, depth=2, heads=2, max_seq_len=16, causal=False
    )
    return net, (ids(90, 2, 16),)


@model("performer-pytorch")
def performer():
    from performer_pytorch import PerformerLM

    net = PerformerLM(num_tokens=90, max_seq_len=16, dim=32, depth=2, heads=2, dim_head=16)
    return net, (ids(90, 2, 16),)


@model("performer-pytorch")
def performer_rezero():
    from performer_pytorch import PerformerLM

    net = PerformerLM(num_tokens=90, max_seq_len=16, dim=32, depth=2, heads=2, dim_head=16,
                      use_rezero=True, ff_glu=True)  # fmt: skip
    return net, (ids(90, 2, 16),)


@model("nystrom-attention")
def nystromformer():
    from nystrom_attention import Nystromformer

    return Nystromformer(dim=32, dim_head=16, heads=2, depth=2, num_landmarks=4), (
        torch.randn(2, 16, 32),
    )


@model("reformer-pytorch")
def reformer():
    from reformer_pytorch import ReformerLM

    net = ReformerLM(
        num_tokens=90, dim=32, depth=2, max_seq_len=32, heads=2, bucket_size=4, n_hashes=2
    )
    return net, (ids(90, 2, 32),)


@model("local-attention")
def local_attention():
    from local_attention import LocalTransformer

    net = LocalTransformer(
        num_tokens=90,
        dim=32,
        depth=2,
        max_seq_len=32,
        local_attn_window_size=8,
        heads=2,
        dim_head=16,
    )
    return net, (ids(90, 2, 32),)


@model("g-mlp-pytorch")
def gmlp():
    from g_mlp_pytorch import gMLP

    return gMLP(num_tokens=90, dim=32, depth=2, seq_len=16), (ids(90, 2, 16),)


@model("g-mlp-pytorch")
def gmlp_vision():
    from g_mlp_pytorch import gMLPVision

    net = gMLPVision(image_size=32, patch_size=8, num_classes=7, dim=32, depth=2)
    return net, (image(2, 3, 32, 32),)


@model("mlp-mixer-pytorch")
def mixer():
    from mlp_mixer_pytorch import MLPMixer

    net = MLPMixer(image_size=32, channels=3, patch_size=8, dim=32, depth=2, num_classes=7)
    return net, (image(2, 3, 32, 32),)


@model("hyper-connections")
def hyper_connections():
    from hyper_connections import HyperConnections

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            start, self.expand, self.reduce = (
                HyperConnections.get_init_and_expand_reduce_stream_functions(3)
            )

            def branch():
                return nn.Sequential(
                    nn.LayerNorm(24), nn.Linear(24, 48), nn.GELU(), nn.Linear(48, 24)
                )

            self.layers = nn.ModuleList(start(dim=24, branch=branch()) for _ in range(2))

        def forward(self, x):
            x = self.expand(x)
            for layer in self.layers:
                x = layer(x)
            return self.reduce(x)

    return Net(), (torch.randn(2, 6, 24),)


@model("conformer")
def conformer():
    from conformer import Conformer

    return Conformer(dim=32, depth=2, dim_head=16, heads=2, ff_mult=2, conv_kernel_size=5), (
        torch.randn(2, 12, 32),
    )


@model("soft-moe-pytorch")
def soft_moe():
    from soft_moe_pytorch import SoftMoE

    return SoftMoE(dim=24, seq_len=12, num_experts=3), (torch.randn(2, 12, 24),)


@model("st-moe-pytorch")
def st_moe():
    from st_moe_pytorch import MoE, SparseMoEBlock

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = SparseMoEBlock(
                MoE(dim=24, num_experts=4), add_ff_before=True, add_ff_after=True
            )

        def forward(self, x):
            return self.block(x)[0]

    return Net(), (torch.randn(2, 12, 24),)


@model("product-key-memory")
def product_keys():
    from product_key_memory import PKM

    return PKM(dim=24, heads=2, num_keys=8, topk=4, dim_head=16), (torch.randn(2, 12, 24),)


@model("vector-quantize-pytorch")
def quantized():
    from vector_quantize_pytorch import VectorQuantize

    class Net(nn.Module):
        def __init__(self, quantizer):
            super().__init__()
            self.a, self.quantizer, self.b = nn.Linear(16, 24), quantizer, nn.Linear(24, 16)

        def forward(self, x):
            return self.b(self.quantizer(self.a(x))[0])

    return Net(VectorQuantize(24, 32, codebook_dim=8, learnable_codebook=True, ema_update=False)), (
        torch.randn(2, 12, 16),
    )


@model("vector-quantize-pytorch")
def residual_simvq():
    from vector_quantize_pytorch import SimVQ

    class Net(nn.Module):
        def __init__(self, quantizer):
            super().__init__()
            self.a, self.quantizer, self.b = nn.Linear(16, 24), quantizer, nn.Linear(24, 16)

        def forward(self, x):
            return self.b(self.quantizer(self.a(x))[0])

    return Net(SimVQ(24, 32)), (torch.randn(2, 12, 16),)


@model("rotary-embedding-torch")
def rotary():
    from rotary_embedding_torch import RotaryEmbedding

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.out = nn.Linear(32, 96), nn.Linear(32, 32)
            self.rotary = RotaryEmbedding(16, learned_freq=True)

        def forward(self, x):
            q, k, v = (t.unflatten(-1, (2, 16)).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
            q, k = self.rotary.rotate_queries_or_keys(q), self.rotary.rotate_queries_or_keys(k)
            y = nn.functional.scaled_dot_product_attention(q, k, v)
            return x + self.out(y.transpose(1, 2).flatten(2))

    return Net(), (torch.randn(2, 9, 32),)


# Diffusion, fields, equations


@model("denoising-diffusion-pytorch")
def ddpm_unet():
    from denoising_diffusion_pytorch import Unet

    return Unet(dim=16, dim_mults=(1, 2), flash_attn=False), (
        image(2, 3, 16, 16),
        torch.tensor([3.0, 7.0]),
    )


@model("denoising-diffusion-pytorch")
def ddpm_unet_1d():
    from denoising_diffusion_pytorch import Unet1D

    return Unet1D(dim=16, dim_mults=(1, 2), channels=3), (image(2, 3, 16), torch.tensor([3.0, 7.0]))


@model("denoising-diffusion-pytorch")
def magnitude_preserving():
    from denoising_diffusion_pytorch.karras_unet import KarrasUnet

    net = KarrasUnet(
        image_size=16,
        dim=16,
        num_downsamples=1,
        num_blocks_per_stage=1,
        attn_res=(8,),
        fourier_dim=8,
    )
    return net, (image(2, 4, 16, 16), torch.rand(2))


@model("siren-pytorch")
def siren():
    from siren_pytorch import SirenNet

    return SirenNet(2, 32, 3, num_layers=3), (torch.rand(20, 2),)


@model("torchdiffeq")
def neural_ode():
    from torchdiffeq import odeint

    class Field(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 4))

        def forward(self, t, x):
            return self.net(x)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.field, self.head = Field(), nn.Linear(4, 2)

        def forward(self, x):
            return self.head(odeint(self.field, x, torch.linspace(0, 1, 5), method="rk4")[-1])

    return Net(), (torch.randn(6, 4),)


@model("torchcde")
def neural_cde():
    import torchcde

    class Field(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(8, 32), nn.Linear(32, 8 * 3)

        def forward(self, t, z):
            return self.b(self.a(z).relu()).tanh().view(*z.shape[:-1], 8, 3)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.start, self.field, self.head = nn.Linear(3, 8), Field(), nn.Linear(8, 2)

        def forward(self, coefficients):
            path = torchcde.CubicSpline(coefficients)
            z = torchcde.cdeint(
                X=path,
                z0=self.start(path.evaluate(path.interval[0])),
                func=self.field,
                t=path.interval,
                method="rk4",
                options={"step_size": 1.0},
                adjoint=False,
            )
            return self.head(z[:, -1])

    data = torch.randn(2, 6, 3)
    return Net(), (torchcde.hermite_cubic_coefficients_with_backward_differences(data),)


# Tables


@model("rtdl_revisiting_models")
def ft_transformer():
    from rtdl_revisiting_models import FTTransformer

    net = FTTransformer(n_cont_features=5, cat_cardinalities=[3, 4], d_out=2, n_blocks=2,
                        d_block=32, attention_n_heads=4, attention_dropout=0.0,
                        ffn_d_hidden_multiplier=1.5, ffn_dropout=0.0,
                        residual_dropout=0.0)  # fmt: skip
    return net, (torch.randn(6, 5), torch.stack([ids(3, 6), ids(4, 6)], 1))


@model("rtdl_num_embeddings")
def periodic_embeddings():
    from rtdl_num_embeddings import PeriodicEmbeddings

    net = nn.Sequential(PeriodicEmbeddings(5, 8, lite=False), nn.Flatten(), nn.Linear(40, 2))
    return net, (torch.randn(6, 5),)


@model("rtdl_num_embeddings")
def piecewise_linear_embeddings():
    from rtdl_num_embeddings import PiecewiseLinearEmbeddings, compute_bins

    bins = compute_bins(torch.randn(50, 5, generator=torch.Generator().manual_seed(0)), n_bins=6)
    net = nn.Sequential(
        PiecewiseLinearEmbeddings(bins, 8, activation=False, version="B"),
        nn.Flatten(),
        nn.Linear(40, 2),
    )
    return net, (torch.randn(6, 5),)


@model("tab-transformer-pytorch")
def tab_transformer():
    from tab_transformer_pytorch import TabTransformer

    net = TabTransformer(
        categories=(3, 4), num_continuous=5, dim=16, dim_out=1, depth=2, heads=2, mlp_act=nn.ReLU()
    )
    return net, (torch.stack([ids(3, 6), ids(4, 6)], 1), torch.randn(6, 5))


@model("pytorch_tabnet")
def tabnet():
    from pytorch_tabnet.tab_network import TabNet

    net = TabNet(8, 2, n_d=8, n_a=8, n_steps=2, virtual_batch_size=8,
                 group_attention_matrix=torch.eye(8))  # fmt: skip
    return net, (torch.randn(16, 8),)


# Kernels


@model("gpytorch")
def deep_kernel():
    import gpytorch

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2))
            self.kernel = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel(ard_num_dims=2))
            self.mean = gpytorch.means.ConstantMean()

        def forward(self, x):
            h = self.net(x)
            return self.mean(h) + self.kernel(h).to_dense().sum(-1)

    return Net(), (torch.randn(8, 6),)


@model("gpytorch")
def spectral_mixture():
    import gpytorch

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(6, 3)
            self.kernel = gpytorch.kernels.SpectralMixtureKernel(num_mixtures=4, ard_num_dims=3)

        def forward(self, x):
            return self.kernel(self.net(x)).to_dense()

    return Net(), (torch.randn(8, 6),)


@model("segmentation-models-pytorch")
def segmentation_unet():
    import segmentation_models_pytorch as smp

    return smp.Unet("resnet18", encoder_weights=None, decoder_channels=(32, 16, 16, 8, 8)), (
        image(2, 3, 32, 32),
    )


@model("segmentation-models-pytorch")
def segformer():
    import segmentation_models_pytorch as smp

    return smp.Segformer("mit_b0", encoder_weights=None), (image(2, 3, 64, 64),)


@model("torchvision")
def convnext():
    import torchvision

    return torchvision.models.convnext_tiny(), (image(2, 3, 32, 32),)


@model("torchvision")
def swin_v2():
    import torchvision

    return torchvision.models.swin_v2_t(), (image(1, 3, 64, 64),)


@model("tensorly-torch")
def tucker_linear():
    import tltorch

    return nn.Sequential(
        tltorch.FactorizedLinear((4, 4), (4, 6), rank=0.5, factorization="tucker"), nn.ReLU(),
        tltorch.FactorizedLinear((4, 6), (4, 2), rank=0.5, factorization="cp"),
    ), (torch.randn(5, 16),)  # fmt: skip
