"""More small models, of packages that nobody had looked at before the rules were written."""

from __future__ import annotations

import torch
from torch import nn

from .models import ids, image, model
from .models_recent import Between

# Language


@model("Mega-pytorch")
def mega():
    from mega_pytorch import Mega

    net = Mega(dim=32, num_tokens=90, depth=2, ema_heads=4, attn_dim_qk=16, attn_dim_value=48)
    return net, (ids(90, 2, 12),)


@model("Mega-pytorch")
def mega_laplacian():
    from mega_pytorch import Mega

    net = Mega(dim=32, num_tokens=90, depth=2, ema_heads=4, attn_dim_qk=16, attn_dim_value=48,
               laplacian_attn_fn=True, pre_norm=True)  # fmt: skip
    return net, (ids(90, 2, 12),)


@model("gated-state-spaces-pytorch")
def gated_state_spaces():
    from gated_state_spaces_pytorch import GatedStateSpacesLM

    net = GatedStateSpacesLM(num_tokens=90, dim=32, depth=2, dss_kernel_N=16, dss_kernel_H=8)
    return net, (ids(90, 2, 12),)


@model("feedback-transformer-pytorch")
def feedback_transformer():
    from feedback_transformer_pytorch import FeedbackTransformer

    net = FeedbackTransformer(num_tokens=90, dim=32, depth=2, seq_len=2, mem_len=8, heads=2,
                              dim_head=16)  # fmt: skip
    return net, (ids(90, 2, 6),)


@model("infini-transformer-pytorch")
def infini_transformer():
    from infini_transformer_pytorch import InfiniTransformer

    net = InfiniTransformer(num_tokens=90, dim=32, depth=2, dim_head=16, heads=2)
    return net, (ids(90, 2, 12),)


@model("infini-transformer-pytorch")
def infini_transformer_with_a_delta_rule():
    from infini_transformer_pytorch import InfiniTransformer

    net = InfiniTransformer(num_tokens=90, dim=32, depth=2, dim_head=16, heads=2,
                            use_mem_delta_rule=True, learned_delta_update=True)  # fmt: skip
    return net, (ids(90, 2, 12),)


@model("hourglass-transformer-pytorch")
def hourglass_transformer():
    from hourglass_transformer_pytorch import HourglassTransformerLM

    net = HourglassTransformerLM(num_tokens=90, dim=32, max_seq_len=16, heads=2, dim_head=16,
                                 shorten_factor=2, depth=(1, 2, 1))  # fmt: skip
    return net, (ids(90, 2, 16),)


@model("hourglass-transformer-pytorch")
def hourglass_transformer_linear():
    from hourglass_transformer_pytorch import HourglassTransformerLM

    net = HourglassTransformerLM(num_tokens=90, dim=32, max_seq_len=16, heads=2, dim_head=16,
                                 shorten_factor=2, depth=(1, 2, 1), attn_resampling=False,
                                 updown_sample_type="linear")  # fmt: skip
    return net, (ids(90, 2, 16),)


@model("routing_transformer")
def routing_transformer():
    from routing_transformer import RoutingTransformerLM

    net = RoutingTransformerLM(num_tokens=90, dim=32, depth=2, max_seq_len=64, heads=2,
                               dim_head=16, window_size=16, causal=True)  # fmt: skip
    return net, (ids(90, 2, 64),)


@model("memformer")
def memformer():
    from memformer import Memformer

    net = Memformer(dim=32, enc_num_tokens=90, enc_depth=2, enc_heads=2, enc_max_seq_len=16,
                    dec_num_tokens=90, dec_depth=2, dec_heads=2, dec_max_seq_len=16,
                    num_memory_slots=4, mem_update_attn_heads=2)  # fmt: skip
    return net, (ids(90, 2, 12), ids(90, 2, 10))


@model("mixture-of-experts")
def mixture_of_experts():
    from mixture_of_experts import MoE

    return MoE(dim=32, num_experts=4, hidden_dim=48), (image(2, 16, 32),)


@model("mixture-of-experts")
def hierarchical_mixture_of_experts():
    from mixture_of_experts import HeirarchicalMoE

    return HeirarchicalMoE(dim=32, num_experts=(2, 2), hidden_dim=48), (image(2, 16, 32),)


# Sequences, sounds and sets


@model("ETSformer-pytorch")
def etsformer():
    from etsformer_pytorch import ETSFormer

    net = ETSFormer(time_features=4, model_dim=32, embed_kernel_size=3, layers=2, heads=4, K=4)
    return net, {"x": image(2, 32, 4), "num_steps_forecast": 4}


@model("ETSformer-pytorch")
def etsformer_classifier():
    from etsformer_pytorch import ClassificationWrapper, ETSFormer

    net = ETSFormer(time_features=4, model_dim=32, embed_kernel_size=3, layers=2, heads=4, K=4)
    net = ClassificationWrapper(etsformer=net, num_classes=5, heads=2, dim_head=16)
    return net, (image(2, 32, 4),)


# Vision


@model("segformer-pytorch")
def segformer():
    from segformer_pytorch import Segformer

    net = Segformer(dims=(16, 16, 32, 32), heads=(1, 1, 2, 2), ff_expansion=(2, 2, 2, 2),
                    reduction_ratio=(8, 4, 2, 1), num_layers=1, decoder_dim=32,
                    num_classes=4)  # fmt: skip
    return net, (image(2, 3, 64, 64),)


@model("uformer-pytorch")
def uformer():
    from uformer_pytorch import Uformer

    net = Uformer(dim=16, stages=2, num_blocks=1, window_size=4, dim_head=8, heads=2)
    return net, (image(2, 3, 32, 32),)


@model("gsa-pytorch")
def global_self_attention():
    from gsa_pytorch import GSA

    return GSA(dim=16, dim_out=32, dim_key=8, heads=2, rel_pos_length=8), (image(2, 16, 8, 8),)


@model("facenet-pytorch")
def inception_resnet():
    from facenet_pytorch import InceptionResnetV1

    return InceptionResnetV1(classify=True, num_classes=5), (image(2, 3, 96, 96),)


@model("segment-anything")
def segment_anything():
    from segment_anything.modeling import ImageEncoderViT

    net = ImageEncoderViT(img_size=64, patch_size=8, embed_dim=32, depth=2, num_heads=2,
                          out_chans=16, use_rel_pos=True, window_size=4,
                          global_attn_indexes=(1,))  # fmt: skip
    return net, (image(2, 3, 64, 64),)


@model("segment-anything")
def two_way_transformer():
    from segment_anything.modeling.transformer import TwoWayTransformer

    net = TwoWayTransformer(depth=2, embedding_dim=32, num_heads=2, mlp_dim=48)
    return net, (image(2, 32, 4, 4), image(2, 32, 4, 4), image(2, 5, 32))


@model("open_clip_torch")
def open_clip():
    from open_clip.model import CLIP

    text = {"context_length": 16, "vocab_size": 90, "width": 64, "heads": 2, "layers": 2}
    net = CLIP(32, {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8}, text)
    return net, (image(2, 3, 32, 32), ids(90, 2, 16))


@model("open_clip_torch")
def open_clip_coca():
    from open_clip.coca_model import CoCa

    text = {"context_length": 15, "vocab_size": 90, "width": 64, "heads": 2, "layers": 2,
            "embed_cls": True, "output_tokens": True}  # fmt: skip
    vision = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8,
              "attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True}  # fmt: skip
    many = {"context_length": 15, "vocab_size": 90, "width": 64, "heads": 2, "layers": 2}
    return CoCa(64, many, text, vision), (image(2, 3, 32, 32), ids(90, 2, 15))


@model("x-clip")
def x_clip():
    from x_clip import CLIP

    net = CLIP(dim_text=32, dim_image=32, dim_latent=16, num_text_tokens=90, text_enc_depth=2,
               text_seq_len=16, text_heads=2, visual_enc_depth=2, visual_image_size=32,
               visual_patch_size=8, visual_heads=2)  # fmt: skip
    return net, (ids(90, 2, 16), image(2, 3, 32, 32))


@model("CoCa-pytorch")
def coca():
    from coca_pytorch.coca_pytorch import CoCa

    net = CoCa(dim=32, image_dim=32, num_tokens=90, unimodal_depth=1, multimodal_depth=1,
               dim_head=16, heads=2, num_img_queries=4)  # fmt: skip
    return net, {"text": ids(90, 2, 12), "image_tokens": image(2, 9, 32)}


# Geometry, probability, autoencoders


@model("geoopt")
def manifold_layer():
    import geoopt

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(20, 32), nn.Linear(32, 5)
            self.rotation = geoopt.ManifoldParameter(
                torch.linalg.qr(torch.randn(32, 32))[0], manifold=geoopt.EuclideanStiefel()
            )
            self.curvature = nn.Parameter(torch.tensor(0.3))

        def forward(self, x):
            return self.b(torch.tanh(self.curvature * self.a(x) @ self.rotation))

    return Net(), (image(2, 20),)


@model("pyro-ppl")
def autoregressive_net():
    from pyro.nn import AutoRegressiveNN

    return AutoRegressiveNN(10, [40, 40], param_dims=[1, 1]), (image(4, 10),)


@model("pyro-ppl")
def dense_net():
    from pyro.nn import DenseNN

    return DenseNN(10, [40, 40], param_dims=[1, 3]), (image(4, 10),)


@model("pythae")
def vae():
    from pythae.models import VAE, VAEConfig

    return VAE(VAEConfig(input_dim=(1, 8, 8), latent_dim=4)), ({"data": torch.rand(4, 1, 8, 8)},)


@model("geometric-vector-perceptron")
def vector_perceptron():
    from geometric_vector_perceptron import GVP

    net = GVP(dim_vectors_in=8, dim_vectors_out=16, dim_feats_in=32, dim_feats_out=48)
    return net, ((image(2, 32), image(2, 8, 3)),)


@model("En-transformer")
def en_transformer():
    from en_transformer import EnTransformer

    net = EnTransformer(dim=32, depth=2, dim_head=32, heads=2, edge_dim=0, neighbors=4)
    return net, (image(2, 8, 32), image(2, 8, 3))


@model("graph-transformer-pytorch")
def graph_transformer():
    from graph_transformer_pytorch import GraphTransformer

    net = GraphTransformer(dim=32, depth=2, edge_dim=16, heads=2, dim_head=16,
                           with_feedforwards=True)  # fmt: skip
    return net, (image(2, 8, 32), image(2, 8, 8, 16))


@model("adjacent-attention-pytorch")
def adjacent_attention():
    from adjacent_attention_network import AdjacentAttentionNetwork

    net = AdjacentAttentionNetwork(dim=32, depth=2, heads=2, dim_head=16)
    return net, (image(1, 8, 32), torch.ones(1, 8, 8).bool())


@model("compositional-attention-pytorch")
def compositional_attention():
    from compositional_attention_pytorch import CompositionalAttention

    net = CompositionalAttention(dim=32, dim_head=16, num_searches=2, num_retrievals=2)
    return Between(net, 20, 32, 32), (image(2, 6, 20),)


@model("triangle-multiplicative-module")
def triangle_multiplication():
    from triangle_multiplicative_module import TriangleMultiplicativeModule

    net = TriangleMultiplicativeModule(dim=32, hidden_dim=48, mix="ingoing")
    return net, (image(2, 6, 6, 32),)


@model("rectified-flow-pytorch")
def rectified_flow_unet():
    from rectified_flow_pytorch import Unet

    return Unet(dim=16, dim_mults=(1, 2)), (image(2, 3, 16, 16), torch.rand(2))


@model("kan-gpt")
def kan_layer():
    from kan_gpt.efficient_kan.model import KAN

    return KAN([10, 16, 4]), (image(2, 6, 10),)
