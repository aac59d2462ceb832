"""What a domain expert says of the models of the zoo, written by hand.

One line a pattern: ``name kind part key=value ...``. In a name ``#`` is a number and ``*`` any
text; the first line that matches a parameter speaks of it, and each parameter has one. Each
line has a parameter, but for those that begin with ``?``, shared by several models.

    in, out     fan_in and fan_out of each block, or of the whole where it isn't packed
    blocks      their names; ``4:gate,in`` is expert0.gate, expert0.in, expert1.gate, ...
    act         the activation that follows
    end         y or n: whether it ends a residual branch
    n           the neutral value
    L           layer/depth; unsaid, the first ``#`` is the layer

Of weights (linear, conv, router) these are checked also where nothing is said: no activation,
no blocks, ``end=y`` for the part "out", ``end=n`` for others. ``L=?`` leaves the layer unsaid.
Buffers are not listed: their part is "buffer".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from goodinit.anatomy import Row


@dataclass(frozen=True)
class Table:
    """What is expected of one model.

    Attributes:
        lines: see above.
        depth: how many layers its stack has; None to leave layers unsaid.
        blocks: of a model in stages, how many layers each has: then the layer is that of the
            first two ``#``.
    """

    lines: str
    depth: int | None = None
    blocks: int = 0


E: dict[str, Table] = {}

E["mlp"] = Table("""
    0.weight  linear weight  in=8  out=16 act=relu            L=0/4
    2.weight  linear weight  in=16 out=24 act=leaky_relu(0.2) L=1/4
    6.weight  linear weight  in=24 out=12 act=tanh            L=2/4
    8.weight  linear head    in=12 out=4                      L=3/4
    3.weight  norm weight n=1
    3.bias    norm bias   n=0
    0.bias    linear bias L=0/4
    2.bias    linear bias L=1/4
    8.bias    linear bias L=3/4
""")
E["convnet"] = Table("""
    conv1.weight      conv weight    in=27  out=144  act=relu L=0/5
    conv2.weight      conv weight    in=36  out=72   act=relu L=1/5
    depthwise.weight  conv weight    in=25  out=6.25 act=gelu L=2/5
    fc1.weight        linear weight  in=128 out=24   act=elu  L=3/5
    fc2.weight        linear head    in=24  out=10            L=4/5
    bn#.weight        norm weight n=1 L=?
    bn#.bias          norm bias   n=0 L=?
    fc#.bias          linear bias L=?
    *.bias            conv bias
""")
_BASIC = """
    conv1.weight                      conv weight  in=27 out=144 act=relu
    layer1.#.conv1.weight             conv in      in=144 out=144 act=relu L=#/4
    layer1.#.conv2.weight             conv out     in=144 out=144 L=#/4
    layer2.0.conv1.weight             conv in      in=144 out=72 act=relu L=2/4
    layer2.0.conv2.weight             conv out     in=288 out=288 L=2/4
    layer2.0.downsample.0.weight      conv weight  in=16 out=8 L=2/4
    layer2.1.conv1.weight             conv in      in=288 out=288 act=relu L=3/4
    layer2.1.conv2.weight             conv out     in=288 out=288 L=3/4
    fc.weight                         linear head  in=32 out=10
    fc.bias                           linear bias
    *.weight                          norm weight  n=1 L=?
    *.bias                            norm bias    n=0 L=?
"""
E["resnet_basic"] = Table(_BASIC, depth=4)
E["resnet_bottleneck"] = Table(
    """
    conv1.weight                      conv weight    in=27 out=144 act=relu
    layer1.#.conv1.weight             conv weight in=16 out=4 act=relu L=#/4
    layer1.#.conv2.weight             conv in        in=36 out=36 act=relu L=#/4
    layer1.#.conv3.weight             conv out       in=4 out=16 L=#/4
    layer2.0.conv1.weight             conv weight in=16 out=8 act=relu L=2/4
    layer2.0.conv2.weight             conv in        in=72 out=18 act=relu L=2/4
    layer2.0.conv3.weight             conv out       in=8 out=32 L=2/4
    layer2.0.downsample.0.weight      conv weight    in=16 out=8 L=2/4
    layer2.1.conv1.weight             conv weight in=32 out=8 act=relu L=3/4
    layer2.1.conv2.weight             conv in        in=72 out=72 act=relu L=3/4
    layer2.1.conv3.weight             conv out       in=8 out=32 L=3/4
    fc.weight                         linear head    in=32 out=10
    fc.bias                           linear bias
    *.weight                          norm weight    n=1 L=?
    *.bias                            norm bias      n=0 L=?
""",
    depth=4,
)
E["unet"] = Table(
    """
    down1.first.weight    conv weight  in=27  out=72  act=silu L=0/5
    down1.second.weight   conv weight  in=72  out=72  act=silu L=0/5
    down2.first.weight    conv weight  in=72  out=144 act=silu L=1/5
    down2.second.weight   conv weight  in=144 out=144 act=silu L=1/5
    middle.first.weight   conv weight  in=144 out=288 act=silu L=2/5
    middle.second.weight  conv weight  in=288 out=288 act=silu L=2/5
    dec2.first.weight     conv weight  in=288 out=144 act=silu L=3/5
    dec2.second.weight    conv weight  in=144 out=144 act=silu L=3/5
    dec1.first.weight     conv weight  in=144 out=72  act=silu L=4/5
    dec1.second.weight    conv weight  in=72  out=72  act=silu L=4/5
    up2.weight            conv weight  in=128 out=256
    up1.weight            conv weight  in=16  out=32
    last.weight           conv head    in=8   out=2
    *.norm#.weight        norm weight  n=1 L=?
    *.norm#.bias          norm bias    n=0 L=?
    *.bias                conv bias    L=?
""",
    depth=5,
)
E["vit"] = Table(
    """
    patch.weight               conv patch     in=48 out=32
    patch.bias                 conv bias
    cls                        token weight
    pos                        position weight
    blocks.#.gamma             scale weight   n=1
    blocks.#.attn.qkv.weight   linear weight  in=32 out=32 blocks=q,k,v
    blocks.#.attn.proj.weight  linear out     in=32 out=32
    blocks.#.mlp.0.weight      linear in      in=32 out=128 act=gelu
    blocks.#.mlp.3.weight      linear out     in=128 out=32
    blocks.#.norm*.weight      norm weight    n=1
    blocks.#.norm*.bias        norm bias      n=0
    blocks.#.*.bias            linear bias
    norm.weight                norm weight    n=1
    norm.bias                  norm bias      n=0
    head.weight                linear head    in=32 out=10
    head.bias                  linear bias
""",
    depth=3,
)
_GPT = """
    wte.weight           embedding head  in=1 out=32 end=n
    wpe.weight           position table
    h.#.c_attn.weight    linear weight   in=32 out=32 blocks=q,k,v
    h.#.c_proj.weight    linear out      in=32 out=32
    h.#.c_fc.weight      linear in       in=32 out=128 act=gelu
    h.#.mlp_c_proj.weight linear out     in=128 out=32
    h.#.ln_*.weight      norm weight     n=1
    h.#.ln_*.bias        norm bias       n=0
    h.#.*.bias           linear bias
    ln_f.weight          norm weight     n=1
    ln_f.bias            norm bias       n=0
"""
E["gpt"] = Table(_GPT, depth=3)
E["gpt_right"] = Table(_GPT, depth=3)
E["llama"] = Table(
    """
    tok_embeddings.weight     embedding table  in=1 out=32
    layers.#.wq.weight        linear q     in=32 out=32
    layers.#.wk.weight        linear k     in=32 out=16
    layers.#.wv.weight        linear v     in=32 out=16
    layers.#.wo.weight        linear out   in=32 out=32
    layers.#.w1.weight        linear gate  in=32 out=64 act=silu
    layers.#.w3.weight        linear in    in=32 out=64
    layers.#.w2.weight        linear out   in=64 out=32
    layers.#.*norm.weight     norm weight  n=1
    norm.weight               norm weight  n=1
    output.weight             linear head  in=32 out=50
""",
    depth=2,
)
E["seq2seq"] = Table(
    """
    embed.weight                           embedding table  in=1 out=32
    position                               position weight
    encoder.layers.#.self_attn.in_proj_weight linear weight  in=32 out=32 blocks=q,k,v L=#/2
    encoder.layers.#.self_attn.in_proj_bias   linear bias    blocks=q,k,v L=#/2
    encoder.layers.#.*.out_proj.weight     linear out       in=32 out=32 L=#/2
    encoder.layers.#.linear1.weight        linear in        in=32 out=64 act=gelu L=#/2
    encoder.layers.#.linear2.weight        linear out       in=64 out=32 L=#/2
    encoder.layers.#.norm*.weight          norm weight      n=1 L=#/2
    encoder.layers.#.norm*.bias            norm bias        n=0 L=#/2
    encoder.layers.#.*.bias                linear bias      L=#/2
    decoder.layers.#.*.in_proj_weight      linear weight    in=32 out=32 blocks=q,k,v
    decoder.layers.#.*.in_proj_bias        linear bias      blocks=q,k,v
    decoder.layers.#.*.out_proj.weight     linear out       in=32 out=32
    decoder.layers.#.linear1.weight        linear in        in=32 out=64 act=relu
    decoder.layers.#.linear2.weight        linear out       in=64 out=32
    decoder.layers.#.norm*.weight          norm weight      n=1
    decoder.layers.#.norm*.bias            norm bias        n=0
    decoder.layers.#.*.bias                linear bias
    decoder.norm.weight                    norm weight      n=1
    decoder.norm.bias                      norm bias        n=0
    generator.weight                       linear head      in=32 out=50
    generator.bias                         linear bias
""",
    depth=3,
)
E["moe"] = Table("""
    embed.weight          embedding table  in=1 out=32
    norms.#.weight        norm weight      n=1 L=?
    norms.#.bias          norm bias        n=0 L=?
    by_bmm.router.weight  router router    in=32 out=4
    by_bmm.up             linear weight    in=32 out=24 act=silu blocks=4:gate,in
    by_bmm.down           linear out       in=24 out=32 blocks=4
    by_einsum.choose      router router    in=32 out=3
    by_einsum.first       linear in        in=32 out=40 act=relu blocks=3
    by_einsum.first_bias  linear bias
    by_einsum.second      linear out       in=40 out=32 blocks=3
    head.weight           linear head      in=32 out=50
    head.bias             linear bias
""")
E["lstm"] = Table("""
    embed.weight          embedding table      in=1 out=20
    lstm.weight_ih_l0*    recurrent in         in=20 out=24 blocks=in,forget,cell,out
    lstm.weight_ih_l1*    recurrent in         in=48 out=24 blocks=in,forget,cell,out
    lstm.weight_hh_*      recurrent recurrent  in=24 out=24 blocks=in,forget,cell,out
    lstm.bias_*           recurrent bias       blocks=in,forget,cell,out
    classify.weight       linear head          in=48 out=5
    classify.bias         linear bias
""")
E["lora"] = Table("""
    0.base.weight  linear weight  in=16 out=32 act=relu L=?
    2.base.weight  linear weight  in=32 out=32 act=relu L=?
    0.lora_a       adapter in     in=16 out=4 end=n L=?
    2.lora_a       adapter in     in=32 out=4 end=n L=?
    #.lora_b       adapter out     in=4 out=32 end=n L=?
    4.weight       linear head    in=32 out=5 L=?
    *bias          linear bias    L=?
""")
E["dcgan_generator"] = Table("""
    0.weight  conv weight  in=320 out=512 act=relu L=0/3
    3.weight  conv weight  in=128 out=256 act=relu L=1/3
    6.weight  conv weight  in=64 out=48 act=tanh L=2/3
    *weight   norm weight  n=1
    *bias     norm bias    n=0
""")
E["dcgan_discriminator"] = Table("""
    0.weight  conv weight  in=48 out=64 act=leaky_relu(0.2) L=0/3
    2.weight  conv weight  in=256 out=128 act=leaky_relu(0.2) L=1/3
    5.weight  conv weight  in=512 out=16 act=sigmoid L=2/3
    *weight   norm weight  n=1
    *bias     norm bias    n=0
""")

# transformers.


_HEAD = "    lm_head.weight linear head in=32 out=96"


def _llama(gate: str = "silu", neutral: int = 1, head: str = _HEAD) -> str:
    table = "table" if head else "head end=n"
    return f"""
    model.embed_tokens.weight      embedding {table} in=1 out=32
    model.layers.#.*q_proj.weight  linear q     in=32 out=32
    model.layers.#.*k_proj.weight  linear k     in=32 out=16
    model.layers.#.*v_proj.weight  linear v     in=32 out=16
    model.layers.#.*o_proj.weight  linear out   in=32 out=32
    model.layers.#.*.gate_proj.weight linear gate in=32 out=56 act={gate}
    model.layers.#.*.up_proj.weight   linear in   in=32 out=56
    model.layers.#.*.down_proj.weight linear out  in=56 out=32
    model.layers.#.*norm.weight    norm weight  n={neutral}
    model.norm.weight              norm weight  n={neutral}
    ?model.layers.#.*.bias         linear bias
    {head}
"""


E["hf-gpt2"] = Table(
    re.sub(r"(?m)^    (wte|wpe|h\.|ln_f)", r"    transformer.\1", _GPT)
    .replace("h.#.c_attn", "h.#.attn.c_attn")
    .replace("h.#.c_proj", "h.#.attn.c_proj")
    .replace("h.#.c_fc", "h.#.mlp.c_fc")
    .replace("h.#.mlp_c_proj", "h.#.mlp.c_proj"),
    depth=2,
)
E["hf-llama"] = E["hf-mistral"] = E["hf-qwen2"] = Table(_llama(), depth=2)
E["hf-gemma"] = Table(_llama("gelu_tanh", 0, head=""), depth=2)
E["hf-phi"] = Table(
    """
    model.embed_tokens.weight      embedding table  in=1 out=32
    model.layers.#.*q_proj.weight  linear q    in=32 out=32
    model.layers.#.*k_proj.weight  linear k    in=32 out=32
    model.layers.#.*v_proj.weight  linear v    in=32 out=32
    model.layers.#.*dense.weight   linear out  in=32 out=32
    model.layers.#.mlp.fc1.weight  linear in   in=32 out=56 act=gelu
    model.layers.#.mlp.fc2.weight  linear out  in=56 out=32
    model.layers.#.*layernorm.weight  norm weight  n=1
    model.layers.#.*layernorm.bias    norm bias    n=0
    model.layers.#.*.bias          linear bias
    model.final_layernorm.weight   norm weight  n=1
    model.final_layernorm.bias     norm bias    n=0
    lm_head.weight                 linear head  in=32 out=96
    lm_head.bias                   linear bias
""",
    depth=2,
)
E["hf-opt"] = Table(
    """
    model.decoder.embed_tokens.weight      embedding head  in=1 out=32 end=n
    model.decoder.embed_positions.weight   position table
    model.decoder.layers.#.*q_proj.weight  linear q    in=32 out=32
    model.decoder.layers.#.*k_proj.weight  linear k    in=32 out=32
    model.decoder.layers.#.*v_proj.weight  linear v    in=32 out=32
    model.decoder.layers.#.*out_proj.weight linear out in=32 out=32
    model.decoder.layers.#.fc1.weight      linear in   in=32 out=64 act=relu
    model.decoder.layers.#.fc2.weight      linear out  in=64 out=32
    model.decoder.*layer_norm.weight       norm weight n=1 L=?
    model.decoder.*layer_norm.bias         norm bias   n=0 L=?
    model.decoder.layers.#.*bias           linear bias
""",
    depth=2,
)
# q, k and v are interleaved head by head: no box holds one of them, so there are no blocks.
E["hf-bloom"] = Table(
    """
    transformer.word_embeddings.weight       embedding head  in=1 out=32 end=n
    transformer.h.#.*query_key_value.weight  linear weight   in=32 out=96
    transformer.h.#.*attention.dense.weight  linear out      in=32 out=32
    transformer.h.#.mlp.dense_h_to_4h.weight linear in       in=32 out=128 act=gelu
    transformer.h.#.mlp.dense_4h_to_h.weight linear out      in=128 out=32
    transformer.*layernorm.weight            norm weight n=1 L=?
    transformer.*layernorm.bias              norm bias   n=0 L=?
    transformer.ln_f.weight                  norm weight n=1
    transformer.ln_f.bias                    norm bias   n=0
    transformer.h.#.*bias                    linear bias
""",
    depth=2,
)
E["hf-gpt_neox"] = Table(
    """
    gpt_neox.embed_in.weight                      embedding table in=1 out=32
    gpt_neox.layers.#.*query_key_value.weight     linear weight   in=32 out=96
    gpt_neox.layers.#.attention.dense.weight      linear out      in=32 out=32
    gpt_neox.layers.#.mlp.dense_h_to_4h.weight    linear in       in=32 out=56 act=gelu
    gpt_neox.layers.#.mlp.dense_4h_to_h.weight    linear out      in=56 out=32
    gpt_neox.*norm.weight                         norm weight n=1 L=?
    gpt_neox.*norm.bias                           norm bias   n=0 L=?
    gpt_neox.layers.#.*bias                       linear bias
    lm_head.weight                                linear head in=32 out=96
""",
    depth=2,
)


def _bert(
    stem: str, query: str = "query", key: str = "key", value: str = "value", words: str = "table"
) -> str:
    return f"""
    {stem}embeddings.word_embeddings.weight        embedding {words}  in=1
    ?{stem}embeddings.position_embeddings.weight    position table
    {stem}embeddings.token_type_embeddings.weight  embedding table
    {stem}encoder.layer.#.attention.self.{query}.weight  linear q    in=32 out=32
    {stem}encoder.layer.#.attention.self.{key}.weight    linear k    in=32 out=32
    {stem}encoder.layer.#.attention.self.{value}.weight  linear v    in=32 out=32
    {stem}encoder.layer.#.attention.output.dense.weight  linear out  in=32 out=32
    {stem}encoder.layer.#.intermediate.dense.weight      linear in   in=32 out=64 act=gelu
    {stem}encoder.layer.#.output.dense.weight            linear out  in=64 out=32
    {stem}*LayerNorm.weight                        norm weight n=1 L=?
    {stem}*LayerNorm.bias                          norm bias   n=0 L=?
    {stem}encoder.layer.#.*bias                    linear bias
"""


E["hf-bert"] = Table(
    _bert("bert.", words="head")
    + """
    cls.*LayerNorm.weight     norm weight n=1
    cls.*LayerNorm.bias       norm bias   n=0
    cls.*.dense.weight        linear weight in=32 out=32 act=gelu
    cls.*bias                 linear bias
""",
    depth=2,
)
E["hf-roberta"] = Table(
    _bert("roberta.", words="head")
    + """
    lm_head.dense.weight      linear weight in=32 out=32 act=gelu
    lm_head.layer_norm.weight norm weight n=1
    lm_head.layer_norm.bias   norm bias   n=0
    lm_head.*bias             linear bias
""",
    depth=2,
)
E["hf-electra"] = Table(
    _bert("")
    + """
    embeddings_project.weight linear weight in=16 out=32
    embeddings_project.bias   linear bias
""",
    depth=2,
)
E["hf-deberta_v2"] = Table(
    _bert("", "query_proj", "key_proj", "value_proj")
    + """
    encoder.rel_embeddings.weight  position weight
""",
    depth=2,
)


def _t5(stack: str) -> str:
    return f"""
    {stack}.block.#.layer.*Attention.q.weight    linear q    in=32 out=32
    {stack}.block.#.layer.*Attention.k.weight    linear k    in=32 out=32
    {stack}.block.#.layer.*Attention.v.weight    linear v    in=32 out=32
    {stack}.block.#.layer.*Attention.o.weight    linear out  in=32 out=32
    {stack}.block.#.layer.*relative_attention_bias.weight  position table
    {stack}.block.#.layer.*.wi.weight            linear in   in=32 out=64 act=relu
    {stack}.block.#.layer.*.wo.weight            linear out  in=64 out=32
    ?{stack}.block.#.layer.*router.classifier.weight  router router  in=32 out=3
    {stack}.*layer_norm.weight                   norm weight n=1 L=?
"""


_T5 = "    shared.weight embedding head in=1 out=32 end=n\n" + _t5("encoder") + _t5("decoder")
E["hf-t5"] = E["hf-switch_transformers"] = Table(_T5, depth=2)


def _bart(stack: str, width: int = 32, act: str = "gelu", L: str = "") -> str:
    return f"""
    ?{stack}.*embed_positions.weight          position table
    {stack}.layers.#.*q_proj.weight           linear q    in={width} out={width} {L}
    {stack}.layers.#.*k_proj.weight           linear k    in={width} out={width} {L}
    {stack}.layers.#.*v_proj.weight           linear v    in={width} out={width} {L}
    {stack}.layers.#.*out_proj.weight         linear out  in={width} out={width} {L}
    {stack}.layers.#.*fc1.weight              linear in   in={width} out={2 * width} act={act} {L}
    {stack}.layers.#.*fc2.weight              linear out  in={2 * width} out={width} {L}
    {stack}.*norm*.weight                     norm weight n=1 L=?
    {stack}.*norm*.bias                       norm bias   n=0 L=?
    {stack}.layers.#.*bias                    linear bias {L}
"""


E["hf-bart"] = Table(
    "    model.shared.weight embedding head in=1 out=32 end=n\n"
    + _bart("model.encoder")
    + _bart("model.decoder"),
    depth=2,
)
E["hf-whisper"] = Table(
    """
    model.encoder.conv1.weight         conv weight  in=48 out=96 act=gelu
    model.encoder.conv2.weight         conv weight  in=96 out=48 act=gelu
    model.encoder.conv*.bias           conv bias
    model.decoder.embed_tokens.weight  embedding head  in=1 out=32 end=n
"""
    + _bart("model.encoder")
    + _bart("model.decoder"),
    depth=2,
)
E["hf-wav2vec2"] = Table(
    """
    wav2vec2.masked_spec_embed                             other weight
    wav2vec2.feature_extractor.conv_layers.0.conv.weight   conv weight  in=10 out=32 act=gelu L=?
    wav2vec2.feature_extractor.conv_layers.1.conv.weight   conv weight  in=48 out=24 act=gelu L=?
    wav2vec2.feature_extractor.*norm.weight                norm weight  n=1 L=?
    wav2vec2.feature_extractor.*norm.bias                  norm bias    n=0 L=?
    wav2vec2.feature_projection.projection.weight          linear weight  in=16 out=32
    wav2vec2.feature_projection.projection.bias            linear bias
    wav2vec2.encoder.pos_conv_embed.conv.weight            conv out  in=64 out=64 act=gelu end=y
    wav2vec2.encoder.pos_conv_embed.conv.bias              conv bias
    wav2vec2.encoder.layers.#.*q_proj.weight               linear q     in=32 out=32
    wav2vec2.encoder.layers.#.*k_proj.weight               linear k     in=32 out=32
    wav2vec2.encoder.layers.#.*v_proj.weight               linear v     in=32 out=32
    wav2vec2.encoder.layers.#.*out_proj.weight             linear out   in=32 out=32
    wav2vec2.encoder.layers.#.*intermediate_dense.weight   linear in    in=32 out=64 act=gelu
    wav2vec2.encoder.layers.#.*output_dense.weight         linear out   in=64 out=32
    wav2vec2.*norm.weight                                  norm weight  n=1 L=?
    wav2vec2.*norm.bias                                    norm bias    n=0 L=?
    wav2vec2.encoder.layers.#.*bias                        linear bias
    lm_head.weight                                         linear head  in=32 out=96
    lm_head.bias                                           linear bias
""",
    depth=2,
)
E["hf-vit"] = Table(
    """
    vit.embeddings.cls_token                    token weight
    vit.embeddings.position_embeddings          position weight
    vit.embeddings.*projection.weight           conv patch  in=192 out=32
    vit.embeddings.*projection.bias             conv bias
    vit.*q*.weight                              linear q    in=32 out=32 L=?
    vit.*k*.weight                              linear k    in=32 out=32 L=?
    vit.*v_proj.weight                          linear v    in=32 out=32 L=?
    vit.*o_proj.weight                          linear out  in=32 out=32 L=?
    vit.*layers.#.*fc1.weight                   linear in   in=32 out=64 act=gelu
    vit.*layers.#.*fc2.weight                   linear out  in=64 out=32
    vit.*norm*.weight                           norm weight n=1 L=?
    vit.*norm*.bias                             norm bias   n=0 L=?
    vit.*layers.#.*bias                         linear bias
    classifier.weight                           linear head  in=32 out=5
    classifier.bias                             linear bias
""",
    depth=2,
)
E["hf-swin"] = Table(
    """
    swin.embeddings.patch_embeddings.projection.weight   conv patch  in=48 out=16
    swin.embeddings.patch_embeddings.projection.bias     conv bias
    swin.encoder.layers.#.blocks.#.*q_proj.weight        linear q
    swin.encoder.layers.#.blocks.#.*k_proj.weight        linear k
    swin.encoder.layers.#.blocks.#.*v_proj.weight        linear v
    swin.encoder.layers.#.blocks.#.*o_proj.weight        linear out
    swin.encoder.layers.#.blocks.#.*bias_table           position table
    swin.encoder.layers.#.blocks.#.mlp.fc1.weight        linear in  act=gelu
    swin.encoder.layers.#.blocks.#.mlp.fc2.weight        linear out
    swin.encoder.layers.0.downsample.reduction.weight    linear weight  in=64 out=32
    *norm*.weight                                        norm weight n=1 L=?
    *norm*.bias                                          norm bias   n=0 L=?
    swin.encoder.layers.#.blocks.#.*bias                 linear bias
    classifier.weight                                    linear head in=32 out=5
    classifier.bias                                      linear bias
""",
    depth=4,
    blocks=2,
)
E["hf-convnext"] = Table(
    """
    convnext.embeddings.patch_embeddings.weight               conv patch  in=48 out=16
    convnext.embeddings.patch_embeddings.bias                 conv bias
    convnext.encoder.stages.#.layers.#.layer_scale_parameter  scale weight  n=1
    convnext.encoder.stages.#.layers.#.dwconv.weight          conv weight  in=49 out=49
    convnext.encoder.stages.#.layers.#.dwconv.bias            conv bias
    convnext.encoder.stages.#.layers.#.pwconv1.weight         linear in    act=gelu
    convnext.encoder.stages.#.layers.#.pwconv2.weight         linear out
    convnext.encoder.stages.#.layers.#.pwconv*.bias           linear bias
    convnext.encoder.stages.1.downsampling_layer.1.weight     conv weight  in=64 out=32
    convnext.encoder.stages.1.downsampling_layer.1.bias       conv bias
    *norm*.weight                                             norm weight n=1 L=?
    *norm*.bias                                               norm bias   n=0 L=?
    convnext.encoder.stages.1.downsampling_layer.0.weight     norm weight n=1
    convnext.encoder.stages.1.downsampling_layer.0.bias       norm bias   n=0
    classifier.weight                                         linear head in=32 out=5
    classifier.bias                                           linear bias
""",
    depth=4,
    blocks=2,
)
E["hf-resnet"] = Table(
    """
    resnet.embedder.embedder.convolution.weight                  conv weight in=147 out=196 act=relu
    resnet.encoder.stages.#.layers.#.shortcut.convolution.weight conv weight
    resnet.encoder.stages.#.layers.#.layer.0.convolution.weight  conv weight  act=relu
    resnet.encoder.stages.#.layers.#.layer.1.convolution.weight  conv in         act=relu
    resnet.encoder.stages.#.layers.#.layer.2.convolution.weight  conv out
    *normalization.weight                                        norm weight n=1 L=?
    *normalization.bias                                          norm bias   n=0 L=?
    classifier.1.weight                                          linear head in=64 out=5
    classifier.1.bias                                            linear bias
""",
    depth=4,
    blocks=2,
)
_MOE_ATTENTION = """
    model.embed_tokens.weight      embedding table  in=1 out=32
    model.layers.#.*q_proj.weight  linear q     in=32 out=32
    model.layers.#.*k_proj.weight  linear k     in=32 out=16
    model.layers.#.*v_proj.weight  linear v     in=32 out=16
    model.layers.#.*o_proj.weight  linear out   in=32 out=32
    model.layers.#.mlp.gate.weight router router  in=32 out=4
    model.*norm.weight             norm weight  n=1 L=?
    ?model.layers.#.*.bias         linear bias
    lm_head.weight                 linear head  in=32 out=96
"""
E["hf-mixtral"] = Table(
    _MOE_ATTENTION
    + """
    model.layers.#.*gate_up_proj   linear weight  in=32 out=56 act=silu blocks=4:gate,in
    model.layers.#.*down_proj      linear out     in=56 out=32 blocks=4
""",
    depth=2,
)
E["hf-qwen2_moe"] = Table(
    _MOE_ATTENTION
    + """
    model.layers.#.*gate_up_proj   linear weight  in=32 out=24 act=silu blocks=4:gate,in
    model.layers.#.*experts.down_proj            linear out   in=24 out=32 blocks=4
    model.layers.#.*shared_expert.gate_proj.weight linear gate in=32 out=40 act=silu
    model.layers.#.*shared_expert.up_proj.weight   linear in   in=32 out=40
    model.layers.#.*shared_expert.down_proj.weight linear out  in=40 out=32
    model.layers.#.*shared_expert_gate.weight      linear gate in=32 out=1 act=sigmoid
""",
    depth=2,
)
E["hf-mamba"] = Table(
    """
    backbone.embeddings.weight              embedding head  in=1 out=32 end=n
    backbone.layers.#.mixer.A_log           ssm weight
    backbone.layers.#.mixer.D               scale weight
    backbone.layers.#.mixer.conv1d.weight   conv weight  in=4 out=4 act=silu
    backbone.layers.#.mixer.conv1d.bias     conv bias
    backbone.layers.#.mixer.in_proj.weight  linear weight  in=32 out=128 act=silu
    backbone.layers.#.mixer.x_proj.weight   linear weight  in=64 out=20
    backbone.layers.#.mixer.dt_proj.weight  linear weight  in=4 out=64 act=softplus
    backbone.layers.#.mixer.dt_proj.bias    ssm bias
    backbone.layers.#.mixer.out_proj.weight linear out  in=64 out=32
    backbone.*norm*.weight                  norm weight  n=1 L=?
""",
    depth=2,
)
E["hf-mamba2"] = Table(
    """
    backbone.embeddings.weight              embedding table  in=1 out=32
    backbone.layers.#.mixer.A_log           ssm weight
    backbone.layers.#.mixer.D               scale weight
    backbone.layers.#.mixer.dt_bias         ssm bias
    backbone.layers.#.mixer.conv1d.weight   conv weight  in=4 out=4 act=silu
    backbone.layers.#.mixer.conv1d.bias     conv bias
    backbone.layers.#.mixer.in_proj.weight  linear weight  in=32 out=164 act=silu
    backbone.layers.#.mixer.out_proj.weight linear out  in=64 out=32
    backbone.*norm*.weight                  norm weight  n=1 L=?
    lm_head.weight                          linear head  in=32 out=96
""",
    depth=2,
)
E["hf-rwkv"] = Table(
    """
    rwkv.embeddings.weight                    embedding table  in=1 out=32
    rwkv.blocks.#.attention.time_decay        ssm weight
    rwkv.blocks.#.attention.time_first        linear bias
    rwkv.blocks.#.*.time_mix_*                scale weight
    rwkv.blocks.#.attention.key.weight        linear weight  in=32 out=32
    rwkv.blocks.#.attention.value.weight      linear weight  in=32 out=32
    rwkv.blocks.#.attention.receptance.weight linear gate  in=32 out=32 act=sigmoid
    rwkv.blocks.#.attention.output.weight     linear out   in=32 out=32
    rwkv.blocks.#.feed_forward.key.weight     linear in    in=32 out=64 act=relu
    rwkv.blocks.#.feed_forward.value.weight   linear out   in=64 out=32
    rwkv.blocks.#.feed_forward.receptance.weight linear gate in=32 out=32 act=sigmoid
    rwkv.*ln*.weight                          norm weight  n=1 L=?
    rwkv.*ln*.bias                            norm bias    n=0 L=?
    head.weight                               linear head  in=32 out=96
""",
    depth=2,
)
E["hf-clip"] = Table("""
    logit_scale                                     scale weight  n=-
    text_model.embeddings.token_embedding.weight    embedding table  in=1 out=32
    text_model.embeddings.position_embedding.weight position table
    vision_model.embeddings.class_embedding         token weight
    vision_model.embeddings.patch_embedding.weight  conv patch  in=192 out=48
    vision_model.embeddings.position_embedding.weight position table
    visual_projection.weight                        linear head  in=48 out=24
    text_projection.weight                          linear head  in=32 out=24
""" + _bart("text_model.encoder", act="gelu", L="L=#/2")
    + _bart("vision_model.encoder", 48, act="gelu", L="L=#/3") + """
    *norm.weight      norm weight n=1 L=?
    *norm.bias        norm bias   n=0 L=?
""", depth=3)  # fmt: skip


# Reading them.


def differences(table: Table, rows: Iterable[Row]) -> list[str]:
    """Return what differs from a table, a line each: the name, the facet, ours, theirs."""
    lines = [line.split() for line in table.lines.splitlines() if line.strip()]
    used: set[int] = set()
    wrong: list[str] = []
    for row in rows:
        if row.buffer:
            if row.facets.part != "buffer":
                wrong.append(f"{row.name}: a buffer's part is {row.facets.part}")
            continue
        for number, (pattern, kind, part, *more) in enumerate(lines):
            found = re.fullmatch(_regex(pattern.lstrip("?")), row.name)
            if found:
                used.add(number)
                said = dict(item.split("=", 1) for item in more)
                numbers = [int(n) for n in found.groups()]
                want = {"kind": kind, "part": part, **_expected(table, kind, part, said, numbers)}
                have = _told(row)
                wrong += [
                    f"{row.name}: {key} is {have[key]}, should be {value} ({row.facets.evidence})"
                    for key, value in want.items()
                    if (key, value) != ("L", "?") and have[key] != value
                ]
                break
        else:
            wrong.append(f"{row.name}: expected by no line")
    stale = [lines[n][0] for n in range(len(lines)) if n not in used and lines[n][0][0] != "?"]
    return wrong + [f"{pattern}: a line for no parameter" for pattern in stale]


def _regex(pattern: str) -> str:
    return re.escape(pattern).replace(r"\#", r"(\d+)").replace(r"\*", ".*?")


def _expected(
    table: Table, kind: str, part: str, said: Mapping[str, str], numbers: list[int]
) -> dict[str, str]:
    want: dict[str, str] = {}
    if kind in ("linear", "conv", "router") and part != "bias":
        want = {"act": "-", "blocks": "-", "end": "y" if part == "out" else "n"}
    want |= said
    if "blocks" in want:
        want["blocks"] = _names(want["blocks"])
    if "L" in want:
        want["L"] = want["L"].replace("#", str(numbers[0]) if numbers else "")
    elif table.depth is not None:
        layer = numbers[0] if numbers else "-"
        if table.blocks and len(numbers) > 1:
            layer = numbers[0] * table.blocks + numbers[1]
        want["L"] = f"{layer}/{table.depth}"
    return want


def _names(blocks: str) -> str:
    count, _, names = blocks.partition(":")
    if not count.isdigit():
        return blocks
    ends = [f".{name}" for name in names.split(",")] if names else [""]
    return ",".join(f"expert{e}{end}" for e in range(int(count)) for end in ends)


def _told(row: Row) -> dict[str, str]:
    facets = row.facets
    blocks = [block for block, _ in row.sites()]
    return {
        "kind": facets.kind,
        "part": facets.part,
        "in": _one_number([block.fan_in for block in blocks]),
        "out": _one_number([block.fan_out for block in blocks]),
        "blocks": ",".join(block.name for block in facets.blocks) or "-",
        "act": facets.activation or "-",
        "end": {True: "y", False: "n", None: "unknown"}[facets.ends_residual],
        "n": _number(facets.neutral),
        "L": f"{_number(facets.layer)}/{_number(facets.depth)}",
    }


def _one_number(values: list[float | None]) -> str:
    """Return the number that all blocks have, or each one's."""
    texts = [_number(value) for value in values]
    return texts[0] if texts == texts[:1] * len(texts) else ",".join(texts)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"
