"""Still more small models: policies, adapters, spikes, and other classes of known packages."""

from __future__ import annotations

import torch
from torch import nn

from .models import ids, image, model

EDGES = torch.tensor([[0, 1, 2, 3, 4, 0, 2], [1, 2, 3, 4, 0, 2, 5]])


# Policies: a std of a parameter's own, noise of a learned size.


def _policy(**options):
    from gymnasium import spaces
    from stable_baselines3.common.policies import ActorCriticPolicy

    seen, done = spaces.Box(-1, 1, (6,)), spaces.Box(-1, 1, (2,))
    return ActorCriticPolicy(seen, done, lambda _: 1e-3, **options), (torch.randn(3, 6),)


@model("stable-baselines3")
def policy():
    return _policy(log_std_init=-1.0)


@model("stable-baselines3")
def policy_of_state_dependent_noise():
    """Its log_std is a matrix of zeros."""
    return _policy(use_sde=True)


@model("torchrl")
def noisy_layers():
    from torchrl.modules import NoisyLinear

    return nn.Sequential(NoisyLinear(8, 16), nn.ReLU(), NoisyLinear(16, 4)), (torch.randn(3, 8),)


@model("torchrl")
def networks_of_agents():
    from torchrl.modules import MultiAgentMLP

    net = MultiAgentMLP(6, 4, 3, centralized=False, share_params=False, depth=2, num_cells=16)
    return net, (torch.randn(2, 3, 6),)


@model("torchrl")
def decision_transformer():
    from torchrl.modules.models import DTActor

    return DTActor(5, 3), (torch.randn(2, 4, 5), torch.randn(2, 4, 3), torch.randn(2, 4, 1))


# Adapters of lycoris, which it hooks into the layers.


class Adapted(nn.Module):
    def __init__(self, base: nn.Sequential, adapters: nn.Module) -> None:
        super().__init__()
        self.base, self.adapters = base.requires_grad_(False), adapters

    def forward(self, x):
        return self.base(x)


def _adapted(algorithm: str, **options):
    from lycoris import LycorisNetwork, create_lycoris

    base = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 8))
    LycorisNetwork.apply_preset({"target_module": ["Linear"]})
    adapters = create_lycoris(base, 1.0, linear_dim=4, linear_alpha=2.0, algo=algorithm, **options)
    adapters.apply_to()
    return Adapted(base, adapters), (torch.randn(3, 16),)


@model("lycoris-lora")
def lycoris_loha():
    return _adapted("loha")


@model("lycoris-lora")
def lycoris_lokr():
    return _adapted("lokr")


@model("lycoris-lora")
def lycoris_glora():
    return _adapted("glora")


@model("lycoris-lora")
def lycoris_boft():
    return _adapted("boft")


@model("lycoris-lora")
def lycoris_dylora():
    return _adapted("dylora")


@model("lycoris-lora")
def lycoris_dora():
    return _adapted("lora", dora_wd=True)


# Equivariant attention, rings, losses of frozen features.


@model("equiformer-pytorch")
def equiformer():
    from equiformer_pytorch import Equiformer

    net = Equiformer(num_tokens=12, dim=(8, 8), dim_head=(4, 4), heads=(2, 2), num_degrees=2,
                     depth=1, radial_hidden_dim=16, num_linear_attn_heads=0)  # fmt: skip
    return net, (ids(12, 1, 8), torch.randn(1, 8, 3), torch.ones(1, 8, dtype=torch.bool))


@model("se3-transformer-pytorch")
def se3_transformer():
    from se3_transformer_pytorch import SE3Transformer

    net = SE3Transformer(dim=8, depth=1, heads=2, dim_head=4, num_degrees=2, num_neighbors=4)
    return net, (torch.randn(1, 8, 8), torch.randn(1, 8, 3), torch.ones(1, 8, dtype=torch.bool))


@model("ring-attention-pytorch")
def ring_attention():
    from ring_attention_pytorch import RingTransformer

    net = RingTransformer(num_tokens=50, dim=16, depth=1, dim_head=8, heads=2, ring_attn=False)
    return net, (ids(50, 1, 12),)


@model("lpips")
def perceptual_distance():
    import lpips

    net = lpips.LPIPS(pretrained=False, pnet_rand=True, net="squeeze", verbose=False)
    return net, (torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64))


# Other classes of packages that are in the list already.


@model("torch-geometric")
def gen_convolution():
    import torch_geometric.nn as tg

    net = tg.GENConv(8, 8, learn_t=True, learn_p=True, msg_norm=True, learn_msg_scale=True)
    return net, (torch.randn(6, 8), EDGES)


@model("torch-geometric")
def relational_attention():
    import torch_geometric.nn as tg

    return tg.RGATConv(8, 8, 3), (torch.randn(6, 8), EDGES, ids(3, 7))


@model("torch-geometric")
def attention_without_weights():
    import torch_geometric.nn as tg

    return tg.AGNNConv(), (torch.randn(6, 8), EDGES)


@model("diffusers")
def video_unet():
    from diffusers import UNetSpatioTemporalConditionModel

    net = UNetSpatioTemporalConditionModel(
        in_channels=4, out_channels=4, block_out_channels=(32, 32), cross_attention_dim=16,
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        num_attention_heads=2, projection_class_embeddings_input_dim=96,
        addition_time_embed_dim=32, layers_per_block=1, sample_size=8, num_frames=2,
    )  # fmt: skip
    return net, {
        "sample": torch.randn(1, 2, 4, 8, 8),
        "timestep": torch.ones(1),
        "encoder_hidden_states": torch.randn(1, 1, 16),
        "added_time_ids": torch.ones(1, 3),
    }


@model("diffusers")
def audio_autoencoder():
    """Its Snakes have two parameters each."""
    from diffusers import AutoencoderOobleck

    net = AutoencoderOobleck(encoder_hidden_size=8, downsampling_ratios=[2, 2],
                             channel_multiples=[1, 2], decoder_channels=8,
                             decoder_input_channels=4, audio_channels=2)  # fmt: skip
    return net, (torch.randn(1, 2, 64),)


@model("vit-pytorch")
def cross_covariance():
    from vit_pytorch.xcit import XCiT

    net = XCiT(image_size=32, patch_size=8, num_classes=5, dim=32, depth=2, cls_depth=1, heads=2,
               mlp_dim=32)  # fmt: skip
    return net, (image(1, 3, 32, 32),)


@model("vit-pytorch")
def vit_5():
    from vit_pytorch.vit_5 import ViT

    net = ViT(image_size=32, patch_size=8, num_classes=5, dim=32, depth=2, heads=2, mlp_dim=32)
    return net, (image(1, 3, 32, 32),)


@model("snntorch")
def recurrent_leaky():
    import snntorch as snn

    net = snn.RLeaky(beta=0.9, linear_features=8, learn_beta=True, learn_threshold=True)
    return net, (torch.randn(3, 8),)


@model("monai")
def masked_autoencoder():
    from monai.networks.nets import MaskedAutoEncoderViT

    net = MaskedAutoEncoderViT(1, (16, 16), (4, 4), hidden_size=24, mlp_dim=32, num_layers=1,
                               num_heads=2, decoder_hidden_size=24, decoder_mlp_dim=32,
                               decoder_num_layers=1, decoder_num_heads=2,
                               spatial_dims=2)  # fmt: skip
    return net, (image(1, 1, 16, 16),)
