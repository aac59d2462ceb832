"""Reference models of the families that have a recipe, with the values that upstream draws.

``UPSTREAM`` are built by the constructors of installed packages, ``NAMED`` too, for names that
people type. ``TRANSCRIBED`` are small models
here, with the law of the code that is named, written by module and name as it is there.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional, init

from .family import Family, Inputs
from .named_models import NAMED
from .reference_models import (
    GAT,
    RWKV7,
    S4D,
    Detr,
    Equivariant,
    Evoformer,
    FixupResNet,
    HashField,
    Hyena,
    RetNet,
    StyleGAN2,
    Translator,
)
from .rwkv_models import RWKV


def _tokens() -> Tensor:
    return torch.ones(2, 8, dtype=torch.long)


def _causal() -> Inputs:
    return {"input_ids": _tokens(), "use_cache": False}


def _masked() -> Inputs:
    return {"input_ids": _tokens()}


def _seq2seq() -> Inputs:
    return {"input_ids": _tokens(), "decoder_input_ids": _tokens(), "use_cache": False}


def _speech() -> Inputs:
    tokens = {"decoder_input_ids": _tokens(), "use_cache": False}
    return {"input_features": torch.zeros(2, 16, 16), **tokens}


def _pixels() -> Inputs:
    return {"pixel_values": torch.zeros(2, 3, 32, 32)}


def _pairs() -> Inputs:
    return {"input_ids": _tokens(), **_pixels()}


def _image(size: int) -> Callable[[], Tensor]:
    return lambda: torch.zeros(2, 3, size, size)


def _transformers(config: str, model: str, **options: object) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        import transformers

        return getattr(transformers, model)(getattr(transformers, config)(**options))

    return build


def _timm(name: str, **options: object) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        import timm

        return timm.create_model(name, num_classes=10, **options)

    return build


def _torchvision(name: str, **options: object) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        import torchvision

        return getattr(torchvision.models, name)(num_classes=10, **options)

    return build


SMALL = {
    "vocab_size": 200, "hidden_size": 64, "intermediate_size": 160,
    "num_hidden_layers": 3, "num_attention_heads": 4,
}  # fmt: skip
GROUPED = {**SMALL, "num_key_value_heads": 2}
DECODER = {"vocab_size": 200, "hidden_size": 64}
SEQ2SEQ = {
    "vocab_size": 200, "d_model": 64, "encoder_layers": 2, "decoder_layers": 2,
    "encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 128,
    "decoder_ffn_dim": 128,
}  # fmt: skip
PAD = {"pad_token_id": 0, "decoder_start_token_id": 0}
ENCODER = {**SMALL, "max_position_embeddings": 40}
T5 = {
    "vocab_size": 200, "d_model": 64, "d_ff": 160, "num_layers": 2, "num_heads": 4, "d_kv": 24,
}  # fmt: skip
TEXT = {
    "vocab_size": 200, "hidden_size": 48, "intermediate_size": 128, "num_hidden_layers": 3,
    "num_attention_heads": 4, "max_position_embeddings": 20, "eos_token_id": 2,
}  # fmt: skip
VISION = {
    "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "image_size": 32, "patch_size": 8,
}  # fmt: skip
SSM = {
    "vocab_size": 200, "hidden_size": 64, "num_hidden_layers": 3, "use_cache": False,
    "rescale_prenorm_residual": True,
}  # fmt: skip
HEADS = {"num_heads": 8, "head_dim": 16, "n_groups": 2, "state_size": 16, "chunk_size": 8}
HF_SSM = {"flavour": "hf", "std": 0.1}
mamba_hf = _transformers("MambaConfig", "MambaForCausalLM", **SSM)
mamba2_hf = _transformers("Mamba2Config", "Mamba2ForCausalLM", **SSM, **HEADS)
PATCHES = {
    "image_size": 32, "patch_size": 8, "hidden_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "intermediate_size": 128,
}  # fmt: skip
MARKS = {
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2,
}  # fmt: skip
mae_hf = _transformers(
    "ViTMAEConfig", "ViTMAEForPreTraining", **PATCHES, decoder_hidden_size=32,
    decoder_num_hidden_layers=1, decoder_num_attention_heads=2, decoder_intermediate_size=64,
)  # fmt: skip
bert_hf = _transformers("BertConfig", "BertForMaskedLM", **ENCODER)


def sam_hf() -> nn.Module:
    import transformers

    encoder = {
        "hidden_size": 64, "output_channels": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "image_size": 64, "patch_size": 16, "window_size": 2, "global_attn_indexes": [1],
        "num_pos_feats": 16, "mlp_dim": 128, "initializer_range": 0.02,
    }  # fmt: skip
    prompts = {"hidden_size": 32, "image_size": 64, "patch_size": 16, "mask_input_channels": 8}
    decoder = {
        "hidden_size": 32, "mlp_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
        "iou_head_hidden_dim": 32,
    }  # fmt: skip
    config = transformers.SamConfig(
        vision_config=encoder, prompt_encoder_config=prompts, mask_decoder_config=decoder
    )
    config.vision_config.scale = 1.0  # theirs is half the width
    return transformers.SamModel(config)


vjepa2_hf = _transformers(
    "VJEPA2Config", "VJEPA2Model", patch_size=8, crop_size=16, frames_per_clip=2, tubelet_size=2,
    hidden_size=64, num_attention_heads=2, num_hidden_layers=3, mlp_ratio=2.0, pred_hidden_size=32,
    pred_num_attention_heads=2, pred_num_hidden_layers=2, pred_num_mask_tokens=2,
    num_pooler_layers=1,
)  # fmt: skip
hiera_hf = _transformers(
    "HieraConfig", "HieraForImageClassification", embed_dim=32, image_size=[32, 32],
    depths=[1, 1, 1, 1], num_heads=[1, 2, 4, 8], num_labels=10,
)  # fmt: skip


def _clicks() -> Inputs:
    return {"pixel_values": torch.zeros(1, 3, 64, 64), "input_points": torch.ones(1, 1, 2, 2)}


def _video() -> Inputs:
    return {"pixel_values_videos": torch.zeros(1, 2, 3, 16, 16)}


def _patches() -> Inputs:
    return {
        "input_ids": _tokens(), "pixel_values": torch.zeros(2, 16, 192),
        "pixel_attention_mask": torch.ones(2, 16, dtype=torch.long),
        "spatial_shapes": torch.tensor([[4, 4], [4, 4]]),
    }  # fmt: skip


class Detector(nn.Module):
    """torchvision's RetinaNet without what comes after its head."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return self.head(list(self.backbone(x).values()))


def detector() -> nn.Module:
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
    from torchvision.models.detection.retinanet import RetinaNetHead

    made = {"weights": None, "trainable_layers": 5, "norm_layer": nn.BatchNorm2d}
    backbone = resnet_fpn_backbone(backbone_name="resnet18", **made)
    return Detector(backbone, RetinaNetHead(256, 3, 20))


def regnet() -> nn.Module:
    """torchvision computes its widths with tensors, which meta has no values for."""
    device = torch.get_default_device()
    with torch.device("cpu"):
        return _torchvision("regnet_y_400mf")().to(device)


def dense_detector() -> nn.Module:
    """The same with the head of torchvision's FCOS."""
    from torchvision.models.detection.fcos import FCOSHead

    return Detector(detector().backbone, FCOSHead(256, 1, 20))


def mimetic() -> nn.Module:
    """timm's, and attention by the paper, section 3 (Trockman & Kolter 2023, 2305.09828)."""
    options = {"img_size": 32, "patch_size": 8, "embed_dim": 128, "depth": 2, "num_heads": 2}
    net = _timm("vit_tiny_patch16_224", **options)()

    def halves(sign: float, size: float) -> tuple[Tensor, Tensor]:
        u, s, vh = torch.linalg.svd(
            size * torch.randn(128, 128) / 128**0.5 + sign * size * torch.eye(128)
        )
        return u @ s.sqrt().diag(), s.sqrt().diag() @ vh

    with torch.no_grad():
        for block in net.blocks:
            q, k, v = block.attn.qkv.weight.chunk(3)
            for head in (slice(64), slice(64, 128)):
                queries, keys = halves(1.0, 0.7)
                q[head], k[head] = queries[:, :64].T, keys[:64]
            values, out = halves(-1.0, 0.4)
            v.copy_(values.T)
            block.attn.proj.weight.copy_(out.T)
    return net


UPSTREAM = (
    Family("rwkv of transformers", "rwkv4",
           _transformers("RwkvConfig", "RwkvForCausalLM", **DECODER, num_hidden_layers=3), _causal,
           {"flavour": "hf", "faithful": True}),
    Family(
        "llama", "llama", _transformers("LlamaConfig", "LlamaForCausalLM", **GROUPED), _causal,
        fast=True,
    ),
    Family("mistral", "mistral", _transformers("MistralConfig", "MistralForCausalLM", **GROUPED),
           _causal),
    Family("mixtral", "llama", _transformers(
        "MixtralConfig", "MixtralForCausalLM", **GROUPED, num_local_experts=4), _causal),
    Family("qwen3 moe", "qwen", _transformers(
        "Qwen3MoeConfig", "Qwen3MoeForCausalLM", **GROUPED, num_experts=4, num_experts_per_tok=2,
        moe_intermediate_size=64), _causal),
    Family("gemma2", "llama", _transformers(
        "Gemma2Config", "Gemma2ForCausalLM", **GROUPED, head_dim=16), _causal),
    Family("gpt-neox of transformers", "llama", _transformers(
        "GPTNeoXConfig", "GPTNeoXForCausalLM", **SMALL), _causal),
    Family("gpt2", "gpt2", _transformers(
        "GPT2Config", "GPT2LMHeadModel", vocab_size=200, n_embd=64, n_layer=3, n_head=4,
        n_positions=40), _causal, fast=True),
    Family("opt", "opt", _transformers(
        "OPTConfig", "OPTForCausalLM", **DECODER, ffn_dim=128, num_hidden_layers=3,
        num_attention_heads=4, max_position_embeddings=40, word_embed_proj_dim=64), _causal),
    Family("bloom", "llama", _transformers(
        "BloomConfig", "BloomForCausalLM", **DECODER, n_layer=3, n_head=4), _causal),
    Family("phi", "phi", _transformers("PhiConfig", "PhiForCausalLM", **SMALL), _causal),
    Family("gpt-j", "llama", _transformers(
        "GPTJConfig", "GPTJForCausalLM", vocab_size=200, n_embd=64, n_layer=3, n_head=4,
        n_positions=40, rotary_dim=8, bos_token_id=1, eos_token_id=2), _causal),
    Family("cohere", "llama", _transformers(
        "CohereConfig", "CohereForCausalLM", **GROUPED, eos_token_id=2), _causal),
    Family("falcon", "llama", _transformers(
        "FalconConfig", "FalconForCausalLM", **DECODER, num_hidden_layers=3,
        num_attention_heads=4), _causal),
    Family("olmo2 of transformers", "llama", _transformers(
        "Olmo2Config", "Olmo2ForCausalLM", **GROUPED, eos_token_id=2), _causal),
    Family("glm4", "llama", _transformers(
        "Glm4Config", "Glm4ForCausalLM", **GROUPED, head_dim=16, pad_token_id=0), _causal),
    Family("deepseek v3", "deepseek", _transformers(
        "DeepseekV3Config", "DeepseekV3ForCausalLM", **SMALL, n_routed_experts=4, n_group=2,
        topk_group=1, moe_intermediate_size=32, num_experts_per_tok=2, n_shared_experts=1,
        first_k_dense_replace=1, q_lora_rank=24, kv_lora_rank=16, qk_nope_head_dim=8,
        qk_rope_head_dim=8, v_head_dim=16), _causal),
    Family("gpt-oss", "gpt_oss", _transformers(
        "GptOssConfig", "GptOssForCausalLM", **GROUPED, num_local_experts=4, head_dim=16,
        num_experts_per_tok=2), _causal),
    Family("qwen3-next", "qwen3_next", _transformers(
        "Qwen3NextConfig", "Qwen3NextForCausalLM", **GROUPED, head_dim=16, num_experts=4,
        linear_num_value_heads=8, linear_num_key_heads=4, linear_key_head_dim=8,
        linear_value_head_dim=8, num_experts_per_tok=2, moe_intermediate_size=32,
        shared_expert_intermediate_size=32,
        layer_types=["linear_attention", "linear_attention", "full_attention"]), _causal),
    Family("bart", "bart", _transformers(
        "BartConfig", "BartForConditionalGeneration", **SEQ2SEQ, max_position_embeddings=40),
        _seq2seq),
    Family("whisper", "whisper", _transformers(
        "WhisperConfig", "WhisperForConditionalGeneration", **SEQ2SEQ, num_mel_bins=16,
        max_source_positions=8, max_target_positions=16, pad_token_id=0, bos_token_id=1,
        eos_token_id=2, decoder_start_token_id=1), _speech),
    Family("vit of transformers", "bert", _transformers(
        "ViTConfig", "ViTForImageClassification", image_size=32, patch_size=8, hidden_size=64,
        num_hidden_layers=2, num_attention_heads=4, intermediate_size=128), _pixels),
    Family("bert", "bert", bert_hf, _masked, fast=True),
    Family("roberta", "roberta", _transformers("RobertaConfig", "RobertaForMaskedLM", **ENCODER),
           _masked),
    Family("electra", "bert", _transformers(
        "ElectraConfig", "ElectraForMaskedLM", embedding_size=32, **ENCODER), _masked),
    Family("t5", "t5", _transformers(
        "T5Config", "T5ForConditionalGeneration", **T5, tie_word_embeddings=True,
        feed_forward_proj="gated-gelu"), _seq2seq, {"head_dim": 24}, fast=True),
    Family("mt5", "t5", _transformers(
        "MT5Config", "MT5ForConditionalGeneration", **T5, tie_word_embeddings=False), _seq2seq,
        {"head_dim": 24}),
    Family("umt5", "t5", _transformers(
        "UMT5Config", "UMT5ForConditionalGeneration", **T5, tie_word_embeddings=False), _seq2seq,
        {"head_dim": 24}),
    Family("mamba", "mamba", mamba_hf, _masked, HF_SSM, fast=True),
    Family("mamba2", "mamba2", mamba2_hf, _masked, HF_SSM),
    Family("qwen2", "qwen2", _transformers("Qwen2Config", "Qwen2ForCausalLM", **GROUPED), _causal),
    Family("qwen3", "qwen3", _transformers(
        "Qwen3Config", "Qwen3ForCausalLM", **GROUPED, head_dim=16), _causal),
    Family("gemma3", "gemma3", _transformers(
        "Gemma3TextConfig", "Gemma3ForCausalLM", **GROUPED, head_dim=16), _causal),
    Family("phi3", "phi3", _transformers(
        "Phi3Config", "Phi3ForCausalLM", **GROUPED, pad_token_id=0), _causal),
    Family("stablelm", "stablelm", _transformers(
        "StableLmConfig", "StableLmForCausalLM", **GROUPED), _causal),
    Family("granite", "granite", _transformers(
        "GraniteConfig", "GraniteForCausalLM", **GROUPED), _causal),
    Family("starcoder2", "starcoder2", _transformers(
        "Starcoder2Config", "Starcoder2ForCausalLM", **GROUPED), _causal),
    Family("smollm3", "smollm3", _transformers(
        "SmolLM3Config", "SmolLM3ForCausalLM", **GROUPED, pad_token_id=0), _causal),
    Family("mpt", "mpt", _transformers(
        "MptConfig", "MptForCausalLM", vocab_size=200, d_model=64, n_heads=4, n_layers=3,
        max_seq_len=40), _causal),
    Family("gpt-neo", "gpt_neo", _transformers(
        "GPTNeoConfig", "GPTNeoForCausalLM", **DECODER, num_layers=2,
        attention_types=[[["global", "local"], 1]], num_heads=4, max_position_embeddings=40),
        _causal),
    Family("codegen", "codegen", _transformers(
        "CodeGenConfig", "CodeGenForCausalLM", vocab_size=200, n_embd=64, n_layer=3, n_head=4,
        n_positions=40, rotary_dim=8), _causal),
    Family("gpt-bigcode", "gpt_bigcode", _transformers(
        "GPTBigCodeConfig", "GPTBigCodeForCausalLM", vocab_size=200, n_embd=64, n_layer=3, n_head=4,
        n_positions=40), _causal),
    Family("distilbert", "distilbert", _transformers(
        "DistilBertConfig", "DistilBertForMaskedLM", vocab_size=200, dim=64, n_layers=3, n_heads=4,
        hidden_dim=128, max_position_embeddings=40), _masked),
    Family("albert", "albert", _transformers(
        "AlbertConfig", "AlbertForMaskedLM", **ENCODER, embedding_size=32), _masked),
    Family("deberta v2", "deberta_v2", _transformers(
        "DebertaV2Config", "DebertaV2ForMaskedLM", **ENCODER), _masked),
    Family("xlm-roberta", "xlm_roberta", _transformers(
        "XLMRobertaConfig", "XLMRobertaForMaskedLM", **ENCODER), _masked),
    Family("mbart", "mbart", _transformers(
        "MBartConfig", "MBartForConditionalGeneration", **SEQ2SEQ, max_position_embeddings=40),
        _seq2seq),
    Family("pegasus", "pegasus", _transformers(
        "PegasusConfig", "PegasusForConditionalGeneration", **SEQ2SEQ, max_position_embeddings=40),
        _seq2seq),
    Family("segformer", "segformer", _transformers(
        "SegformerConfig", "SegformerForImageClassification", num_encoder_blocks=2, depths=[1, 1],
        sr_ratios=[2, 1], hidden_sizes=[16, 32], patch_sizes=[7, 3], strides=[4, 2],
        num_attention_heads=[1, 2], mlp_ratios=[2, 2], decoder_hidden_size=32), _pixels),
    Family("wide_resnet50", "wide_resnet", _torchvision(
        "wide_resnet50_2", zero_init_residual=True), _image(64), {"zero_last_gamma": True}),
    Family("switch", "switch", _transformers(
        "SwitchTransformersConfig", "SwitchTransformersForConditionalGeneration", **T5,
        num_decoder_layers=2, num_experts=4, num_sparse_encoder_layers=1,
        num_sparse_decoder_layers=1), _seq2seq, {"faithful": True, "head_dim": 24}),
    Family("xlstm", "xlstm", _transformers(
        "xLSTMConfig", "xLSTMForCausalLM", vocab_size=200, hidden_size=64, embedding_dim=64,
        num_hidden_layers=3, num_blocks=3, num_heads=4, chunk_size=8, mode="train",
        chunkwise_kernel="chunkwise--native_autograd", step_kernel="native", use_cache=False,
        sequence_kernel="native_sequence__native"), _causal, {"faithful": True}),
    Family("wav2vec2", "wav2vec2", _transformers(
        "Wav2Vec2Config", "Wav2Vec2ForCTC", vocab_size=30, hidden_size=64, num_hidden_layers=2,
        num_attention_heads=4, intermediate_size=128, conv_dim=(32, 32), conv_stride=(5, 2),
        conv_kernel=(10, 3), num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4),
        lambda: {"input_values": torch.zeros(2, 2000)}, {"faithful": True}),
    Family("clip", "clip", _transformers(
        "CLIPConfig", "CLIPModel", text_config=TEXT, vision_config=VISION, projection_dim=32),
        _pairs, {"faithful": True}),
    Family("siglip", "siglip", _transformers(
        "SiglipConfig", "SiglipModel", text_config=TEXT, vision_config=VISION), _pairs,
        {"faithful": True}),
    Family("dinov2", "dinov2", _transformers(
        "Dinov2Config", "Dinov2Model", hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
        mlp_ratio=2, image_size=32, patch_size=8), _pixels, {"flavour": "hf", "layer_scale": 1.0}),
    Family("dinov2 of timm", "dinov2", _timm(
        "vit_small_patch14_reg4_dinov2", img_size=28, embed_dim=64, depth=2, num_heads=4),
        _image(28)),
    Family("resnet18", "resnet", _torchvision("resnet18"), _image(64)),
    Family("resnet18, last gamma 0", "resnet", _torchvision("resnet18", zero_init_residual=True),
           _image(64), {"zero_last_gamma": True}),
    Family("resnext50", "resnext", _torchvision("resnext50_32x4d", zero_init_residual=True),
           _image(64), {"zero_last_gamma": True}),
    Family("vgg11", "vgg", _torchvision("vgg11_bn"), _image(32)),
    Family("mobilenet_v2", "mobilenet_v2", _torchvision("mobilenet_v2"), _image(32)),
    Family("densenet121", "densenet", _torchvision("densenet121"), _image(32)),
    Family("resnet26 of timm", "resnet", _timm("resnet26"), _image(64),
           {"zero_last_gamma": True}),
    Family("efficientnet_b0 of timm", "efficientnet", _timm("efficientnet_b0"), _image(64)),
    Family("efficientnet_b0", "efficientnet", _torchvision("efficientnet_b0"), _image(64),
           {"flavour": "torchvision"}),
    Family("mobilenetv3 of timm", "mobilenet_v3", _timm("mobilenetv3_small_050"), _image(64)),
    Family("convnext of timm", "convnext", _timm("convnext_atto"), _image(64)),
    Family("convnext_tiny", "convnext", _torchvision("convnext_tiny"), _image(64)),
    Family("swin of timm", "swin", _timm(
        "swin_tiny_patch4_window7_224", img_size=32, embed_dim=32, depths=(1, 1), num_heads=(2, 4),
        window_size=4), _image(32), fast=True),
    Family("vit of timm", "vit", _timm("vit_tiny_patch16_224", img_size=32, depth=1), _image(32),
           fast=True),
    Family("deit3 of timm", "deit", _timm(
        "deit3_small_patch16_224", img_size=32, embed_dim=64, depth=2, num_heads=4), _image(32),
        {"flavour": "timm", "layer_scale": 1e-6}, fast=True),
    Family("distilled deit of timm", "deit", _timm(
        "deit_tiny_distilled_patch16_224", img_size=32), _image(32), {"flavour": "timm"}),
    Family("cait of timm", "cait", _timm("cait_xxs24_224", img_size=64), _image(64),
           {"layer_scale": 1e-5}),
    Family("mixer of timm", "mixer", _timm("mixer_s32_224", img_size=64), _image(64),
           {"flavour": "timm"}),
    Family("beit", "beit", _transformers(
        "BeitConfig", "BeitForImageClassification", **PATCHES), _pixels, {"flavour": "hf"}),
    Family("beit of timm", "beit", _timm(
        "beit_base_patch16_224", img_size=32, embed_dim=64, depth=2, num_heads=4), _image(32)),
    Family("eva02 of timm", "eva02", _timm(
        "eva02_tiny_patch14_224", img_size=28, depth=2), _image(28)),
    Family("mae", "mae", mae_hf, _pixels, {"flavour": "hf"}),
    Family("retinanet", "retinanet", detector, _image(64)),
    Family("convnext v2", "convnext_v2", _transformers(
        "ConvNextV2Config", "ConvNextV2ForImageClassification", hidden_sizes=[16, 32],
        depths=[1, 1], num_stages=2), _pixels),
    Family("swin v2 of timm", "swin_v2", _timm(
        "swinv2_tiny_window8_256", img_size=32, embed_dim=32, depths=(1, 1), num_heads=(2, 4),
        window_size=4), _image(32), {"v2": True}),
    Family("dinov3", "dinov3", _transformers(
        "DINOv3ViTConfig", "DINOv3ViTModel", **PATCHES, num_register_tokens=2),
           _pixels, {"flavour": "hf", "layer_scale": 1.0}),
    Family("modernbert", "modernbert", _transformers(
        "ModernBertConfig", "ModernBertForMaskedLM", **SMALL, **MARKS), _masked),
    Family("modernbert that classifies", "modernbert", _transformers(
        "ModernBertConfig", "ModernBertForSequenceClassification", **SMALL, **MARKS), _masked),
    Family("cohere2", "cohere2", _transformers(
        "Cohere2Config", "Cohere2ForCausalLM", **GROUPED, head_dim=16, eos_token_id=2,
        bos_token_id=1), _causal),
    Family("olmo3", "olmo3", _transformers(
        "Olmo3Config", "Olmo3ForCausalLM", **GROUPED, eos_token_id=2, pad_token_id=0), _causal),
    Family("olmoe", "olmoe", _transformers(
        "OlmoeConfig", "OlmoeForCausalLM", **GROUPED, num_experts=4, num_experts_per_tok=2,
        eos_token_id=2, pad_token_id=0), _causal),
    Family("persimmon", "persimmon", _transformers(
        "PersimmonConfig", "PersimmonForCausalLM", **SMALL, pad_token_id=0), _causal),
    Family("xglm", "xglm", _transformers(
        "XGLMConfig", "XGLMForCausalLM", vocab_size=200, d_model=64, num_layers=2,
        attention_heads=4, ffn_dim=128, max_position_embeddings=40), _causal),
    Family("esm", "esm", _transformers(
        "EsmConfig", "EsmForMaskedLM", **ENCODER, pad_token_id=1, mask_token_id=3), _masked),
    Family("mpnet", "mpnet", _transformers("MPNetConfig", "MPNetForMaskedLM", **ENCODER),
           _masked),
    Family("marian", "marian", _transformers(
        "MarianConfig", "MarianMTModel", **SEQ2SEQ, max_position_embeddings=40, pad_token_id=0,
        decoder_start_token_id=0), _seq2seq),
    Family("ernie", "ernie", _transformers("ErnieConfig", "ErnieForMaskedLM", **ENCODER), _masked),
    Family("sam", "sam", sam_hf, _clicks, {"flavour": "hf"}),
    Family("hiera", "hiera", hiera_hf, _pixels, {"flavour": "hf"}),
    Family("vjepa2", "vjepa2", vjepa2_hf, _video, {"flavour": "hf"}),
    Family("siglip2", "siglip2", _transformers(
        "Siglip2Config", "Siglip2Model", text_config={**TEXT, "bos_token_id": 1},
        vision_config={**VISION, "num_patches": 16}), _patches, {"faithful": True}),
    Family("mimi", "mimi", _transformers(
        "MimiConfig", "MimiModel", hidden_size=32, num_filters=8, num_residual_layers=1,
        upsampling_ratios=[4, 2], codebook_size=16, codebook_dim=16, num_quantizers=2,
        vector_quantization_hidden_dimension=16, num_hidden_layers=1, intermediate_size=64,
        num_attention_heads=2, num_key_value_heads=2, head_dim=16, upsample_groups=32,
        audio_channels=2),
        lambda: torch.zeros(1, 2, 256)),
    Family("longt5", "longt5", _transformers(
        "LongT5Config", "LongT5ForConditionalGeneration", **T5, num_decoder_layers=2,
        local_radius=4), _seq2seq, {"head_dim": 24}),
    Family("m2m100", "m2m100", _transformers(
        "M2M100Config", "M2M100ForConditionalGeneration", **SEQ2SEQ, **PAD,
        max_position_embeddings=40), _seq2seq),
    Family("blenderbot", "blenderbot", _transformers(
        "BlenderbotConfig", "BlenderbotForConditionalGeneration", **SEQ2SEQ, **PAD,
        max_position_embeddings=40), _seq2seq),
    Family("fcos", "fcos", dense_detector, _image(64)),
    Family("regnet_y", "regnet", regnet, _image(64)),
    Family("beit with positions", "beit", _transformers(
        "BeitConfig", "BeitForImageClassification", **PATCHES,
        use_absolute_position_embeddings=True), _pixels, {"flavour": "hf"}),
    Family("modernbert, untied", "modernbert", _transformers(
        "ModernBertConfig", "ModernBertForMaskedLM", **SMALL, **MARKS, mlp_bias=True,
        attention_bias=True, tie_word_embeddings=False), _masked),
    Family("mamba2 with biases", "mamba2", _transformers(
        "Mamba2Config", "Mamba2ForCausalLM", **SSM, **HEADS, use_bias=True), _masked, HF_SSM),
    Family("efficientnet_v2", "efficientnet_v2", _torchvision("efficientnet_v2_s"), _image(64),
           {"flavour": "torchvision"}),
    Family("mobilenetv4 of timm", "mobilenet_v4", _timm("mobilenetv4_conv_small_050"),
           _image(64)),
    Family("resnest of timm", "resnest", _timm("resnest14d"), _image(64),
           {"zero_last_gamma": True}),
    Family("seresnext of timm", "seresnet", _timm("seresnext26d_32x4d"), _image(64),
           {"zero_last_gamma": True}),
    Family("hrnet of timm", "hrnet", _timm("hrnet_w18_small"), _image(64)),
    Family("dinov3 convnext", "dinov3_convnext", _transformers(
        "DINOv3ConvNextConfig", "DINOv3ConvNextModel", hidden_sizes=[16, 32, 32, 64],
        depths=[1, 1, 1, 1]), _image(64)),
    Family("biogpt", "biogpt", _transformers("BioGptConfig", "BioGptForCausalLM", **ENCODER),
           _causal),
)  # fmt: skip


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.RMSNorm(width), nn.RMSNorm(width)
        self.wq, self.wk, self.wv, self.wo = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.w1, self.w3 = (nn.Linear(width, 2 * width, bias=False) for _ in range(2))
        self.w2 = nn.Linear(2 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.wo(functional.scaled_dot_product_attention(self.wq(y), self.wk(y), self.wv(y)))
        y = self.norm2(x)
        return x + self.w2(functional.silu(self.w1(y)) * self.w3(y))


class Decoder(nn.Module):
    """Three layers of width 64, as LLaMA's."""

    def __init__(self) -> None:
        super().__init__()
        self.tok = nn.Embedding(200, 64)
        self.layers = nn.ModuleList(Block(64) for _ in range(3))
        self.norm, self.output = nn.RMSNorm(64), nn.Linear(64, 200, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tok(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.output(self.norm(x))


def torchtitan() -> nn.Module:
    """torchtitan/models/llama3/__init__.py, _build_llama3_layers."""
    net = Decoder()
    init.normal_(net.tok.weight)
    for number, layer in enumerate(net.layers):
        std = 0.02 / (2 * (number + 1)) ** 0.5
        for linear in (layer.wq, layer.wk, layer.wv, layer.w1):
            init.trunc_normal_(linear.weight, mean=0.0, std=0.02)
        for linear in (layer.wo, layer.w2, layer.w3):
            init.trunc_normal_(linear.weight, mean=0.0, std=std)
    std = 64**-0.5
    init.trunc_normal_(net.output.weight, mean=0.0, std=std, a=-3 * std, b=3 * std)
    return net


def torchtitan_tied() -> nn.Module:
    """The same with enable_weight_tying: the table has the head's law."""
    net = torchtitan()
    net.tok.weight = net.output.weight
    return net


def neox() -> nn.Module:
    """EleutherAI/gpt-neox megatron/model/init_functions.py, small_init and wang_init."""
    net = Decoder()
    for name, p in net.named_parameters():
        if p.dim() == 2:
            out = name.endswith(("wo.weight", "w2.weight"))
            init.normal_(p, std=2 / 3 / 64**0.5 if out else (2 / (5 * 64)) ** 0.5)
    return net


def megatron() -> nn.Module:
    """Megatron-LM megatron/core/utils.py, init_method_normal and scaled_init_method_normal."""
    net = Decoder()
    for name, p in net.named_parameters():
        if p.dim() == 2:
            out = name.endswith(("wo.weight", "w2.weight"))
            init.normal_(p, std=0.02 / (2 * 3) ** 0.5 if out else 0.02)
    return net


def olmo() -> nn.Module:
    """allenai/OLMo olmo/model.py, reset_parameters, InitFnType.mitchell."""

    def draw(p: Tensor, std: float) -> None:
        init.trunc_normal_(p, mean=0.0, std=std, a=-3 * std, b=3 * std)

    net = Decoder()
    draw(net.tok.weight, 64**-0.5)
    draw(net.output.weight, 64**-0.5)
    for number, layer in enumerate(net.layers):
        for linear in (layer.wq, layer.wk, layer.wv, layer.w1, layer.w3):
            draw(linear.weight, 64**-0.5)
        draw(layer.wo.weight, 1 / math.sqrt(2 * 64 * (number + 1)))
        draw(layer.w2.weight, 1 / math.sqrt(2 * layer.w2.in_features * (number + 1)))
    return net


def olmo_core(flavour: str) -> nn.Module:
    """allenai/OLMo-core src/olmo_core/nn/transformer/init.py, InitMethod."""
    net, std, width = Decoder(), 0.02, 64**-0.5
    normalized = flavour == "normalized"

    def draw(p: Tensor, std: float) -> None:
        init.trunc_normal_(p, mean=0.0, std=std, a=-3 * std, b=3 * std)

    init.normal_(net.tok.weight, std=width if normalized else 1.0)
    draw(net.output.weight, width)
    for linear in net.layers.modules() if flavour == "fan_in" else ():
        if isinstance(linear, nn.Linear):
            draw(linear.weight, linear.in_features**-0.5)
    for number, layer in enumerate(net.layers if flavour != "fan_in" else ()):
        inner = width if normalized else std
        end = inner / (2 * (number + 1 if flavour == "llama_depth" else 3)) ** 0.5
        for linear in (layer.wq, layer.wk, layer.wv, layer.w1):
            draw(linear.weight, inner)
        for linear in (layer.wo, layer.w2):
            draw(linear.weight, end)
        draw(layer.w3.weight, inner if normalized else end)
    return net


def nanochat() -> nn.Module:
    """karpathy/nanochat nanochat/gpt.py, init_weights."""
    net = Decoder()
    init.normal_(net.tok.weight, std=0.8)
    init.normal_(net.output.weight, std=0.001)
    bound = 3**0.5 * 64**-0.5
    for layer in net.layers:
        for linear in (layer.wq, layer.wk, layer.wv):
            init.uniform_(linear.weight, -bound, bound)
        for linear in (layer.w1, layer.w3):
            init.uniform_(linear.weight, -bound * 0.4, bound * 0.4)
        init.zeros_(layer.wo.weight)
        init.zeros_(layer.w2.weight)
    return net


class PostNorm(nn.Module):
    """A layer whose stream is multiplied by (2 L)^1/4, L = 3."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (
            nn.Linear(width, width) for _ in range(4)
        )
        self.fc1, self.fc2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        seen = x if context is None else context
        q, k, v = self.q_proj(x), self.k_proj(seen), self.v_proj(seen)
        y = self.out_proj(functional.scaled_dot_product_attention(q, k, v))
        x = self.norm1(6**0.25 * x + y)
        return self.norm2(6**0.25 * x + self.fc2(functional.gelu(self.fc1(x))))


class DeepDecoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(200, 64)
        self.layers = nn.ModuleList(PostNorm(64) for _ in range(3))
        self.head = nn.Linear(64, 200, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


def deepnorm() -> nn.Module:
    """Wang et al. 2022, figure 2; embedding and head as torchscale has them."""
    net = DeepDecoder()
    init.normal_(net.embed.weight, std=64**-0.5)
    for name, p in net.named_parameters():
        if p.dim() == 2 and "embed" not in name:
            small = any(part in name for part in ("v_proj", "out_proj", "fc1", "fc2"))
            init.xavier_normal_(p, gain=24**-0.25 if small else 1.0)
        elif name.endswith("bias"):
            init.zeros_(p)
    return net


class DeepTranslator(nn.Module):
    """An encoder of 3 layers beside a decoder of 2, whose layers look at it first."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(200, 64)
        self.encoder = nn.ModuleList(PostNorm(64) for _ in range(3))
        self.decoder = nn.ModuleList(PostNorm(64) for _ in range(2))
        self.head = nn.Linear(64, 200, bias=False)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        x, y = self.embed(source), self.embed(target)
        for layer in self.encoder:
            x = layer(x)
        for layer in self.decoder:
            y = layer(y, x)
        return self.head(y)


def deepnorm_both() -> nn.Module:
    """Wang et al. 2022, figure 2, for N = 3 and M = 2."""
    net = DeepTranslator()
    init.normal_(net.embed.weight, std=64**-0.5)
    for name, p in net.named_parameters():
        if p.dim() == 2 and "embed" not in name:
            gain = 0.87 * (3**4 * 2) ** (-1 / 16) if "encoder." in name else 24**-0.25
            small = any(part in name for part in ("v_proj", "out_proj", "fc1", "fc2"))
            init.xavier_normal_(p, gain=gain if small else 1.0)
        elif name.endswith("bias"):
            init.zeros_(p)
    return net


def bert_google() -> nn.Module:
    """google-research/bert modeling.py, create_initializer: tf.truncated_normal_initializer."""
    net = bert_hf()
    for p in net.parameters():
        if p.dim() == 2:
            init.trunc_normal_(p, std=0.02, a=-0.04, b=0.04)
    with torch.no_grad():
        net.bert.embeddings.word_embeddings.weight[0] = 0.0
    return net


@torch.no_grad()
def mamba() -> nn.Module:
    """state-spaces/mamba modules/mamba_simple.py and models/mixer_seq_simple.py."""
    net = mamba_hf()
    init.normal_(net.backbone.embeddings.weight, std=0.02)
    for layer in net.backbone.layers:
        mixer = layer.mixer
        for part in (mixer.in_proj, mixer.x_proj, mixer.conv1d):
            part.reset_parameters()
        init.kaiming_uniform_(mixer.out_proj.weight, a=math.sqrt(5))
        mixer.out_proj.weight /= math.sqrt(3)
    return net


@torch.no_grad()
def mamba2() -> nn.Module:
    """state-spaces/mamba modules/mamba2.py: A from U(1, 16)."""
    net = mamba2_hf()
    init.normal_(net.backbone.embeddings.weight, std=0.02)
    net.lm_head.reset_parameters()
    for layer in net.backbone.layers:
        mixer = layer.mixer
        for part in (mixer.in_proj, mixer.conv1d):
            part.reset_parameters()
        mixer.A_log.copy_(torch.empty(8).uniform_(1, 16).log())
        init.kaiming_uniform_(mixer.out_proj.weight, a=math.sqrt(5))
        mixer.out_proj.weight /= math.sqrt(3)
    return net


class MixerBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(64), nn.LayerNorm(64)
        self.tokens = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
        self.channels = nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 64))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens(self.norm1(x).mT).mT
        return x + self.channels(self.norm2(x))


class Mixer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 64, 8, 8)
        self.blocks = nn.Sequential(MixerBlock(), MixerBlock())
        self.norm, self.head = nn.LayerNorm(64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.stem(x).flatten(2).mT)
        return self.head(self.norm(x).mean(1))


def mixer() -> nn.Module:
    """vit_jax/models_mixer.py: Flax's default, lecun_normal, cut at 2 sigma and corrected."""
    net = Mixer()
    for module in net.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            std = (1 / module.weight[0].numel()) ** 0.5 / 0.87962566103423978
            init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
            init.zeros_(module.bias)
    init.zeros_(net.head.weight)
    return net


class DiTBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(width, elementwise_affine=False) for _ in range(2))
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(c)[:, None].chunk(6, 2)
        q, k, v = self.qkv(self.norm1(x) * (1 + scale1) + shift1).chunk(3, -1)
        x = x + gate1 * self.proj(functional.scaled_dot_product_attention(q, k, v))
        y = self.norm2(x) * (1 + scale2) + shift2
        return x + gate2 * self.fc2(functional.gelu(self.fc1(y), approximate="tanh"))


class FinalLayer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.linear = nn.Linear(width, 32)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        shift, scale = self.adaLN_modulation(c)[:, None].chunk(2, 2)
        return self.linear(self.norm(x) * (1 + scale) + shift)


class TimestepEmbedder(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(32, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        angles = t[:, None] * torch.exp(-torch.arange(16, device=t.device) / 2)
        return self.mlp(torch.cat([angles.cos(), angles.sin()], -1))


class DiT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.x_embedder = nn.Conv2d(4, 64, 2, 2)
        self.t_embedder, self.y_embedder = TimestepEmbedder(64), nn.Embedding(11, 64)
        self.pos_embed = nn.Parameter(torch.randn(1, 16, 64).sin(), requires_grad=False)
        self.blocks = nn.ModuleList(DiTBlock(64) for _ in range(2))
        self.final_layer = FinalLayer(64)

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        x = self.x_embedder(x).flatten(2).mT + self.pos_embed
        c = self.t_embedder(t) + self.y_embedder(y)
        for block in self.blocks:
            x = block(x, c)
        return self.final_layer(x, c)


def dit() -> nn.Module:
    """facebookresearch/DiT models.py, initialize_weights."""
    net = DiT()
    for module in net.modules():
        if isinstance(module, nn.Linear):
            init.xavier_uniform_(module.weight)
            init.zeros_(module.bias)
    weight = net.x_embedder.weight.data
    init.xavier_uniform_(weight.view(weight.shape[0], -1))
    init.zeros_(net.x_embedder.bias)
    init.normal_(net.y_embedder.weight, std=0.02)
    for number in (0, 2):
        init.normal_(net.t_embedder.mlp[number].weight, std=0.02)
    for part in (*net.blocks, net.final_layer):
        init.zeros_(part.adaLN_modulation[-1].weight)
    init.zeros_(net.final_layer.linear.weight)
    return net


class ResBlock(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, before), nn.GroupNorm(8, after)
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.temb = nn.Linear(64, after)
        self.shortcut = nn.Conv2d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        h = self.conv1(functional.silu(self.norm1(x)))
        h = h + self.temb(functional.silu(t))[:, :, None, None]
        return self.shortcut(x) + self.conv2(functional.silu(self.norm2(h)))


class Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(width, width, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        q, k, v = (part(y).flatten(2).mT for part in (self.q, self.k, self.v))
        h = functional.scaled_dot_product_attention(q, k, v).mT.reshape(x.shape)
        return x + self.proj_out(h)


class UNet(nn.Module):
    """One level down and up again, with attention at the bottom."""

    def __init__(self) -> None:
        super().__init__()
        self.time1, self.time2 = nn.Linear(16, 64), nn.Linear(64, 64)
        self.conv_in = nn.Conv2d(3, 32, 3, padding=1)
        self.block1, self.down = ResBlock(32, 32), nn.Conv2d(32, 32, 3, 2, padding=1)
        self.block2, self.attention, self.block3 = ResBlock(32, 64), Attention(64), ResBlock(64, 64)
        self.up, self.block4 = nn.Conv2d(64, 64, 3, padding=1), ResBlock(96, 32)
        self.norm, self.conv_out = nn.GroupNorm(8, 32), nn.Conv2d(32, 3, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        angles = t[:, None] * torch.exp(-torch.arange(8, device=t.device) / 2)
        t = self.time2(functional.silu(self.time1(torch.cat([angles.cos(), angles.sin()], -1))))
        skip = self.block1(self.conv_in(x), t)
        x = self.block3(self.attention(self.block2(self.down(skip), t)), t)
        x = self.block4(torch.cat([self.up(functional.interpolate(x, scale_factor=2)), skip], 1), t)
        return self.conv_out(functional.silu(self.norm(x)))


def ddpm() -> nn.Module:
    """hojonathanho/diffusion diffusion_tf/nn.py and models/unet.py: default_init, init_scale=0."""
    net = UNet()
    for name, module in net.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nothing = name.endswith(("conv2", "proj_out", "conv_out"))
            init.xavier_uniform_(module.weight, gain=1e-5 if nothing else 1.0)
            init.zeros_(module.bias)
    return net


class Sine(nn.Module):
    """vsitzmann/siren explore_siren.ipynb, SineLayer."""

    def __init__(self, before: int, after: int, omega: float, *, first: bool = False) -> None:
        super().__init__()
        self.omega, self.linear = omega, nn.Linear(before, after)
        bound = 1 / before if first else math.sqrt(6 / before) / omega
        init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(self.omega * self.linear(x))


def mae() -> nn.Module:
    """facebookresearch/mae models_mae.py, initialize_weights; its q, k and v are one matrix."""
    net = mae_hf()
    for module in net.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            init.xavier_uniform_(module.weight.view(len(module.weight), -1))
            init.zeros_(module.bias)
    for token in (net.vit.embeddings.cls_token, net.decoder.mask_token):
        init.normal_(token, std=0.02)
    return net


def sam() -> nn.Module:
    """facebookresearch/segment-anything: its constructors leave all but positions to torch."""
    net = sam_hf()
    for module in net.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.Embedding):
            module.reset_parameters()
    return net


def hiera() -> nn.Module:
    """facebookresearch/hiera hiera/hiera.py, _init_weights, and what follows it."""
    net = hiera_hf()
    net.hiera.embeddings.patch_embeddings.projection.reset_parameters()
    init.trunc_normal_(net.hiera.embeddings.patch_embeddings.projection.weight, std=0.02)
    net.classifier.weight.data.mul_(0.001)
    init.constant_(net.classifier.bias, 0.02 * 0.001)
    return net


def vjepa2() -> nn.Module:
    """facebookresearch/vjepa2 src/models/vision_transformer.py, _rescale_blocks."""
    encoder = vjepa2_hf().encoder
    for number, layer in enumerate(encoder.layer):
        for linear in (layer.attention.proj, layer.mlp.fc2):
            linear.weight.data.div_(math.sqrt(2.0 * (number + 1)))
    return encoder


def siren(omega: float = 30.0) -> nn.Module:
    last = nn.Linear(64, 3)
    init.uniform_(last.weight, -math.sqrt(6 / 64) / omega, math.sqrt(6 / 64) / omega)
    hidden = (Sine(64, 64, omega) for _ in range(2))
    return nn.Sequential(Sine(2, 64, omega, first=True), *hidden, last)


class NeRF(nn.Module):
    """bmild/nerf run_nerf_helpers.py, init_nerf_model: Keras' Dense."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(63, 64), nn.Linear(64 + 63, 64)
        self.alpha, self.bottleneck = nn.Linear(64, 1), nn.Linear(64, 64)
        self.views, self.rgb = nn.Linear(64 + 27, 32), nn.Linear(32, 3)

    def forward(self, x: Tensor, d: Tensor) -> Tensor:
        h = functional.relu(self.second(torch.cat([x, functional.relu(self.first(x))], -1)))
        rgb = self.rgb(functional.relu(self.views(torch.cat([self.bottleneck(h), d], -1))))
        return torch.cat([rgb, self.alpha(h)], -1)


def nerf() -> nn.Module:
    net = NeRF()
    for module in net.children():
        init.xavier_uniform_(module.weight)
        init.zeros_(module.bias)
    return net


def _layer(before: int, after: int, std: float = 2**0.5) -> nn.Module:
    """CleanRL ppo_continuous_action.py, layer_init."""
    layer = nn.Linear(before, after)
    init.orthogonal_(layer.weight, std)
    init.constant_(layer.bias, 0.0)
    return layer


class Agent(nn.Module):
    """CleanRL ppo_continuous_action.py, Agent."""

    def __init__(self) -> None:
        super().__init__()
        self.critic = nn.Sequential(
            _layer(17, 64), nn.Tanh(), _layer(64, 64), nn.Tanh(), _layer(64, 1, 1.0)
        )
        self.actor_mean = nn.Sequential(
            _layer(17, 64), nn.Tanh(), _layer(64, 64), nn.Tanh(), _layer(64, 6, 0.01)
        )
        self.actor_logstd = nn.Parameter(torch.zeros(1, 6))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean = self.actor_mean(x)
        return mean, self.actor_logstd.expand_as(mean).exp(), self.critic(x)


TRANSCRIBED = (
    Family("llama of torchtitan", "llama", torchtitan, _tokens, {"flavour": "torchtitan"}, True),
    Family("pythia", "neox", neox, _tokens, fast=True),
    Family("deepnorm", "deepnorm", deepnorm, _tokens, fast=True),
    Family("megatron", "megatron", megatron, _tokens, fast=True),
    Family("olmo", "olmo", olmo, _tokens, fast=True),
    Family("olmo-core, by depth", "olmo", lambda: olmo_core("llama"), _tokens,
           {"flavour": "llama"}),
    Family("olmo-core, by layer", "olmo", lambda: olmo_core("llama_depth"), _tokens,
           {"flavour": "llama_depth"}),
    Family("olmo-core, normalized", "olmo", lambda: olmo_core("normalized"), _tokens,
           {"flavour": "normalized"}),
    Family("olmo-core, by fan_in", "olmo", lambda: olmo_core("fan_in"), _tokens,
           {"flavour": "fan_in"}),
    Family("llama of torchtitan, tied", "llama", torchtitan_tied, _tokens,
           {"flavour": "torchtitan"}),
    Family("deepnorm of an encoder and a decoder", "deepnorm", deepnorm_both,
           lambda: (_tokens(), _tokens()), {"decoder_layers": 2}),
    Family("retnet", "retnet", RetNet, _tokens),
    Family("hyena", "hyena", Hyena, _tokens),
    Family("detr", "detr", Detr, _image(32)),
    Family("sam of facebook", "sam", sam, _clicks),
    Family("hiera of facebook", "hiera", hiera, _pixels),
    Family("vjepa2 of facebook", "vjepa2", vjepa2, _video),
    Family("nanochat", "nanochat", nanochat, _tokens, fast=True),
    Family("bert of google", "bert", bert_google, _masked, {"flavour": "google"}),
    Family("mamba of state-spaces", "mamba", mamba, _masked),
    Family("mamba2 of state-spaces", "mamba2", mamba2, _masked, fast=True),
    Family("mixer of flax", "mixer", mixer, _image(32), fast=True),
    Family(
        "dit", "dit", dit,
        lambda: (torch.ones(2, 4, 8, 8), torch.ones(2), torch.ones(2, dtype=torch.long)),
        {"faithful": True}, fast=True,
    ),
    Family("unet", "ddpm", ddpm, lambda: (torch.ones(2, 3, 8, 8), torch.ones(2)), fast=True),
    Family("mae of facebook", "mae", mae, _pixels),
    Family("siren", "siren", siren, lambda: torch.ones(4, 2), fast=True),
    Family("siren, omega 5", "siren", lambda: siren(5.0), lambda: torch.ones(4, 2),
           {"omega": 5.0}),
    Family("nerf", "nerf", nerf, lambda: (torch.ones(4, 63), torch.ones(4, 27)), fast=True),
    Family("ppo", "ppo", Agent, lambda: torch.ones(4, 17), fast=True),
    Family("mimetic", "mimetic", mimetic, _image(32)),
    Family("rwkv4", "rwkv4", lambda: RWKV(4), _tokens),
    Family("rwkv5", "rwkv5", lambda: RWKV(5), _tokens),
    Family("rwkv6", "rwkv6", lambda: RWKV(6), _tokens),
    Family("rwkv7", "rwkv7", RWKV7, _tokens),
    Family("fixup", "fixup", lambda: FixupResNet(2), _image(16), fast=True),
    Family("fixup, bottlenecks", "fixup", lambda: FixupResNet(3), _image(16)),
    Family("tfixup", "tfixup", Translator, lambda: (_tokens(), _tokens()), {"faithful": True},
           fast=True),
    Family("alphafold", "alphafold", Evoformer, lambda: torch.ones(2, 6, 21), fast=True),
    Family("stylegan2", "stylegan2", StyleGAN2, lambda: torch.randn(2, 64), fast=True),
    Family("e3nn", "e3nn", Equivariant, lambda: (torch.ones(4, 16), torch.ones(4, 24)), fast=True),
    Family("gat", "gat", GAT,
           lambda: (torch.ones(5, 30), torch.ones(5, 5, dtype=torch.bool)), fast=True),
    Family("s4d", "s4d", S4D, lambda: torch.ones(2, 64, 16)),
    Family("instant-ngp", "instant_ngp", HashField,
           lambda: torch.ones(8, 2, dtype=torch.long), fast=True),
)  # fmt: skip
FAMILIES = UPSTREAM + NAMED + TRANSCRIBED
