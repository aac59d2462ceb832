"""Five architectures that the anatomy was not developed on, and what an expert says of them.

The tables were written from the modeling code, before the library was first run on these models.
They are not to be bent to what it says: ``test_unseen.py`` counts where it differs. Where the
author of a table left two answers open, the one that the library gives is now pinned.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import torch

from .expected import Table
from .zoo_hf import Built, ids

U: dict[str, Table] = {}


def _seeded(make: Callable[[], Built]) -> Built:
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        model, inputs = make()
    return model.eval(), inputs


# XLNet: q, k, v and o of three axes in einsum, relative positions, two streams.


def xlnet() -> Built:
    """As in pretraining: some targets are permuted away, so the query stream runs too."""
    from transformers import XLNetConfig, XLNetLMHeadModel

    def make() -> Built:
        config = XLNetConfig(vocab_size=96, d_model=32, n_layer=2, n_head=4, d_inner=64)
        mask = torch.zeros(2, 9, 9)
        mask[:, :, -1] = 1
        mapping = torch.zeros(2, 1, 9)
        mapping[:, 0, -1] = 1
        segments = torch.tensor([0] * 5 + [1] * 4).expand(2, 9)
        return XLNetLMHeadModel(config), {
            "input_ids": ids(), "perm_mask": mask, "target_mapping": mapping,
            "token_type_ids": segments,
        }  # fmt: skip

    return _seeded(make)


# r projects the sinusoids of relative positions to a second key. The r_*_bias are added to the
# queries; seg_embed holds a key for "same segment" and one for "another".
U["xlnet"] = Table(
    """
    transformer.mask_emb                      token weight
    transformer.word_embedding.weight         embedding head  in=1 out=32 end=n
    transformer.layer.#.rel_attn.q            linear q     in=32 out=32
    transformer.layer.#.rel_attn.k            linear k     in=32 out=32
    transformer.layer.#.rel_attn.v            linear v     in=32 out=32
    transformer.layer.#.rel_attn.o            linear out   in=32 out=32
    transformer.layer.#.rel_attn.r            linear weight  in=32 out=32
    transformer.layer.#.rel_attn.r_*_bias     linear bias
    transformer.layer.#.rel_attn.seg_embed    position table
    transformer.layer.#.*layer_norm.weight    norm weight  n=1
    transformer.layer.#.*layer_norm.bias      norm bias    n=0
    transformer.layer.#.ff.layer_1.weight     linear in    in=32 out=64 act=gelu
    transformer.layer.#.ff.layer_2.weight     linear out   in=64 out=32
    transformer.layer.#.ff.*.bias             linear bias
    lm_loss.bias                              linear bias
""",
    depth=2,
)


# Funnel: pools the sequence between blocks, and a decoder that repeats it again.


def funnel() -> Built:
    from transformers import FunnelConfig, FunnelForPreTraining

    def make() -> Built:
        config = FunnelConfig(
            vocab_size=96, block_sizes=[2, 2], num_decoder_layers=2, d_model=32, n_head=4,
            d_head=8, d_inner=64,
        )  # fmt: skip
        return FunnelForPreTraining(config), {"input_ids": ids(2, 16)}

    return _seeded(make)


def _funnel(stem: str, where: str) -> str:
    return f"""
    {stem}.attention.q_head.weight     linear q     in=32 out=32 {where}
    {stem}.attention.k_head.weight     linear k     in=32 out=32 {where}
    {stem}.attention.v_head.weight     linear v     in=32 out=32 {where}
    {stem}.attention.post_proj.weight  linear out   in=32 out=32 {where}
    {stem}.attention.r_kernel          linear weight  in=32 out=32 {where}
    {stem}.attention.r_*_bias          linear bias  {where}
    {stem}.attention.seg_embed         position table {where}
    {stem}.*layer_norm.weight          norm weight  n=1 {where}
    {stem}.*layer_norm.bias            norm bias    n=0 {where}
    {stem}.ffn.linear_1.weight         linear in    in=32 out=64 act=gelu {where}
    {stem}.ffn.linear_2.weight         linear out   in=64 out=32 {where}
    {stem}.*.bias                      linear bias  {where}
"""


# The decoder goes on with the encoder's stream: one stack of six, or two, of four and of two.
U["funnel"] = Table(
    """
    funnel.embeddings.word_embeddings.weight      embedding table  in=1 out=32
    funnel.embeddings.layer_norm.weight           norm weight n=1
    funnel.embeddings.layer_norm.bias             norm bias   n=0
"""
    + "".join(
        _funnel(f"funnel.encoder.blocks.{b}.{i}", f"L={2 * b + i}/6")
        for b in range(2)
        for i in range(2)
    )
    + "".join(_funnel(f"funnel.decoder.layers.{i}", f"L={4 + i}/6") for i in range(2))
    + """
    discriminator_predictions.dense.weight             linear weight in=32 out=32 act=gelu
    discriminator_predictions.dense_prediction.weight  linear head  in=32 out=1
    discriminator_predictions.*.bias                   linear bias
"""
)


# RegNetY: grouped convolutions, squeeze and excitation.


def regnet() -> Built:
    from transformers import RegNetConfig, RegNetForImageClassification

    def make() -> Built:
        config = RegNetConfig(
            embedding_size=16, hidden_sizes=[32, 64], depths=[2, 2], groups_width=8,
            layer_type="y", num_labels=5,
        )  # fmt: skip
        model = RegNetForImageClassification(config)
        return model, {"pixel_values": torch.randn(2, 3, 32, 32)}

    return _seeded(make)


def _regnet() -> Iterator[str]:
    narrow = 16
    for stage, wide in enumerate((32, 64)):
        for i in range(2):
            stem, where = f"regnet.encoder.stages.{stage}.layers.{i}", f"L={2 * stage + i}/4"
            first = i == 0
            put = wide * 9 / (wide // 8) / (4 if first else 1)
            squeezed = narrow // 4
            if first:
                fans = f"in={narrow} out={wide // 4}"
                yield f"{stem}.shortcut.convolution.weight conv weight {fans} {where}"
            yield f"""
    {stem}.layer.0.convolution.weight  conv weight  in={narrow} out={wide} act=relu {where}
    {stem}.layer.1.convolution.weight  conv in         in=72 out={put:g} act=relu {where}
    {stem}.layer.2.attention.0.weight  conv weight  in={wide} out={squeezed} act=relu {where}
    {stem}.layer.2.attention.2.weight  conv gate       in={squeezed} out={wide} act=sigmoid {where}
    {stem}.layer.2.attention.*.bias    conv bias       {where}
    {stem}.layer.3.convolution.weight  conv out        in={wide} out={wide} {where}
"""
            narrow = wide


U["regnet"] = Table(
    "\n".join(_regnet())
    + """
    regnet.embedder.embedder.convolution.weight  conv weight  in=27 out=36 act=relu
    *normalization.weight                        norm weight  n=1 L=?
    *normalization.bias                          norm bias    n=0 L=?
    classifier.1.weight                          linear head  in=64 out=5
    classifier.1.bias                            linear bias
""",
    depth=4,
)


# LeViT: attention with batch norms, its biases in a cache, and attention that shrinks.


def levit() -> Built:
    from transformers import LevitConfig, LevitForImageClassification

    def make() -> Built:
        config = LevitConfig(
            image_size=128, hidden_sizes=[32, 48, 64], num_attention_heads=[2, 3, 4],
            depths=[2, 2, 2], key_dim=[8, 8, 8], num_labels=5,
        )  # fmt: skip
        model = LevitForImageClassification(config)
        return model, {"pixel_values": torch.randn(2, 3, 128, 128)}

    return _seeded(make)


# A layer is one attention or one feed-forward, as the model's own lists have it, and the
# attention that shrinks is one of them; it has no residual. q, k and v are interleaved head by
# head, so there are no blocks.
def _levit() -> Iterator[str]:
    widths, heads, number = (32, 48, 64), (2, 3, 4), 0

    def mlp(stem: str, width: int) -> str:
        return f"""
    {stem}.module.linear_up.linear.weight    linear in   in={width} out={2 * width} act=hardswish L={number}/16
    {stem}.module.linear_down.linear.weight  linear out  in={2 * width} out={width} L={number}/16
    {stem}.*batch_norm.weight                norm weight n=1 L={number}/16
    {stem}.*batch_norm.bias                  norm bias   n=0 L={number}/16
"""  # noqa: E501

    for stage, (width, head) in enumerate(zip(widths, heads, strict=True)):
        for i in range(4):
            stem, where = f"levit.encoder.stages.{stage}.layers.{i}", f"L={number}/16"
            if i % 2:
                yield mlp(stem, width)
            else:
                yield f"""
    {stem}.module.attention_biases                   position table {where}
    {stem}.module.queries_keys_values.linear.weight  linear weight  in={width} out={32 * head} {where}
    {stem}.module.projection.linear.weight           linear out     in={16 * head} out={width} {where}
    {stem}.*batch_norm.weight                        norm weight n=1 {where}
    {stem}.*batch_norm.bias                          norm bias   n=0 {where}
"""  # noqa: E501
            number += 1
        if stage < 2:
            # down_ops: key_dim 8, width // 8 heads, attention ratio 4.
            many, wider = width // 8, widths[stage + 1]
            stem, where = f"levit.encoder.stages.{stage}.layers.4", f"L={number}/16"
            yield f"""
    {stem}.attention_biases           position table {where}
    {stem}.keys_values.linear.weight  linear weight  in={width} out={40 * many} {where}
    {stem}.queries.linear.weight      linear q       in={width} out={8 * many} {where}
    {stem}.projection.linear.weight   linear out     in={32 * many} out={wider} end=n {where}
    {stem}.*batch_norm.weight         norm weight n=1 {where}
    {stem}.*batch_norm.bias           norm bias   n=0 {where}
"""
            number += 1
            yield mlp(f"levit.encoder.stages.{stage}.layers.5", wider)
            number += 1


U["levit"] = Table(
    "\n".join(_levit())
    + """
    levit.patch_embeddings.embedding_layer_1.convolution.weight  conv weight in=27  out=9  act=hardswish
    levit.patch_embeddings.embedding_layer_2.convolution.weight  conv weight in=36  out=18 act=hardswish
    levit.patch_embeddings.embedding_layer_3.convolution.weight  conv weight in=72  out=36 act=hardswish
    levit.patch_embeddings.embedding_layer_4.convolution.weight  conv weight in=144 out=72
    *batch_norm.weight           norm weight n=1
    *batch_norm.bias             norm bias   n=0
    classifier.linear.weight     linear head in=64 out=5
    classifier.linear.bias       linear bias
""",  # noqa: E501
    depth=16,
)


# MaxViT: inverted bottlenecks with squeeze and excitation, then window and grid attention.


def maxvit() -> Built:
    import timm

    def make() -> Built:
        model = timm.create_model(
            "maxvit_pico_rw_256", pretrained=False, img_size=64, embed_dim=(32, 64),
            depths=(2, 2), block_type=("M", "M"), num_classes=5,
        )  # fmt: skip
        return model, {"x": torch.randn(2, 3, 64, 64)}

    return _seeded(make)


# A head has 32 features. So the first stage has one, and q, k and v lie one after the other;
# in the second they are interleaved.
def _maxvit() -> Iterator[str]:
    width = 32
    for stage, wide in enumerate((32, 64)):
        for i in range(2):
            stem, where = f"stages.{stage}.blocks.{i}", f"L={2 * stage + i}/4"
            mid = 4 * width
            if wide != width:
                fans = f"in={width} out={wide}"
                yield f"{stem}.conv.shortcut.expand.weight conv weight {fans} {where}"
            packed = "out=32 blocks=q,k,v" if wide == 32 else f"out={3 * wide}"
            yield f"""
    {stem}.conv.conv1_1x1.weight   conv weight  in={width} out={mid} act=silu {where}
    {stem}.conv.conv2_kxk.weight   conv in         in=9 out={9 if i else 2.25} act=silu {where}
    {stem}.conv.se.fc1.weight      conv weight  in={mid} out={mid // 16} act=silu {where}
    {stem}.conv.se.fc2.weight      conv gate       in={mid // 16} out={mid} act=sigmoid {where}
    {stem}.conv.se.fc*.bias        conv bias       {where}
    {stem}.conv.conv3_1x1.weight   conv out        in={mid} out={wide} {where}
    {stem}.*norm*.weight           norm weight     n=1 {where}
    {stem}.*norm*.bias             norm bias       n=0 {where}
    {stem}.attn_*.attn.rel_pos.relative_position_bias_table  position table {where}
    {stem}.attn_*.attn.qkv.weight  linear weight   in={wide} {packed} {where}
    {stem}.attn_*.attn.proj.weight linear out      in={wide} out={wide} {where}
    {stem}.attn_*.mlp.fc1.weight   linear in       in={wide} out={4 * wide} act=gelu {where}
    {stem}.attn_*.mlp.fc2.weight   linear out      in={4 * wide} out={wide} {where}
    {stem}.attn_*.bias             linear bias     {where}
"""
            width = wide


U["maxvit"] = Table(
    "\n".join(_maxvit())
    + """
    stem.conv1.weight   conv weight  in=27  out=54 act=silu
    stem.conv2.weight   conv weight  in=216 out=288
    stem.norm1.weight   norm weight  n=1
    stem.norm1.bias     norm bias    n=0
    norm.weight         norm weight  n=1
    norm.bias           norm bias    n=0
    head.fc.weight      linear head  in=64 out=5
    head.fc.bias        linear bias
""",
    depth=4,
)

UNSEEN: dict[str, Callable[[], Built]] = {
    "xlnet": xlnet, "funnel": funnel, "regnet": regnet, "levit": levit, "maxvit": maxvit,
}  # fmt: skip
