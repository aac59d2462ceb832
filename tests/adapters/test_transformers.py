"""transformers' models under a recipe: new, loaded in part, copied and saved."""

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import goodinit as gi
from goodinit import adapters
from goodinit.errors import MetaModelError, ModelError, UnknownRecipeError, UnusedRuleError

tf = pytest.importorskip("transformers")
if not tf.is_torch_available():
    pytest.skip("this transformers needs a newer torch", allow_module_level=True)

TOKENS = {"input_ids": torch.zeros(1, 8, dtype=torch.long)}


def gpt2_config(**more: Any) -> Any:
    sizes: dict[str, Any] = {"n_layer": 2, "n_embd": 16, "n_head": 2, "n_positions": 16}
    tokens = {"vocab_size": 50, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    return tf.GPT2Config(**{**sizes, **tokens, **more})


def resnet_config(**more: Any) -> Any:
    return tf.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", **more
    )


def llama_config(**more: Any) -> Any:
    tokens = {"vocab_size": 50, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    return tf.LlamaConfig(num_attention_heads=2, **{**sizes, **tokens, **more})


def same(a: nn.Module, b: nn.Module) -> bool:
    first, second = a.state_dict(), b.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def drawn(model: Any) -> list[str]:
    return [row.name for row in model.init_plan if not row.kept]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """GPT-2 with a language model's head, drawn by transformers itself."""
    torch.manual_seed(0)
    tf.GPT2LMHeadModel(gpt2_config()).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("model_class", "config", "recipe", "inputs"),
    [
        (tf.GPT2LMHeadModel, gpt2_config(), "gpt2", TOKENS),
        (tf.GPT2LMHeadModel, gpt2_config(), "standard", None),
        (tf.LlamaForCausalLM, llama_config(), "standard", TOKENS),
        (tf.ResNetForImageClassification, resnet_config(), "he", None),
    ],
)
def test_a_new_model_has_the_bits_of_init(
    model_class: Any, config: Any, recipe: str, inputs: Any
) -> None:
    adapted = adapters.transformers(model_class, recipe, seed=3, inputs=inputs)
    model = adapted(config)
    plain = model_class(config)
    plan = gi.init_(plain, recipe, seed=3, inputs=inputs)
    assert same(model, plain)
    assert model.init_plan == plan
    assert same(adapted._from_config(config), plain)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        assert not same(model, model_class(config))


def test_the_inner_model_is_drawn_too_and_residual_ends_are_scaled() -> None:
    model = adapters.transformers(tf.GPT2LMHeadModel, "gpt2", inputs=TOKENS, seed=0)(gpt2_config())
    assert model.lm_head.weight is model.transformer.wte.weight
    rows = {row.name: row for row in model.init_plan}
    assert rows["transformer.wte.weight"].tied == ("lm_head.weight",)
    assert rows["transformer.h.1.mlp.c_proj.weight"].std == pytest.approx(0.02 / (2 * 2) ** 0.5)
    only_body = gi.Recipe([gi.Rule("*", gi.Zeros()), gi.Rule("transformer.h.1.*", gi.Ones())])
    model = adapters.transformers(tf.GPT2LMHeadModel, only_body)(gpt2_config())
    assert (model.transformer.h[1].attn.c_attn.weight == 1).all()
    assert (model.transformer.h[0].attn.c_attn.weight == 0).all()


def test_torch_manual_seed_rules_without_a_seed() -> None:
    adapted = adapters.transformers(tf.GPT2LMHeadModel, "xavier")
    models = []
    for seed in (7, 7, 8):
        torch.manual_seed(seed)
        models.append(adapted(gpt2_config()))
    assert same(models[0], models[1])
    assert not same(models[0], models[2])
    assert models[0].init_plan.seed == models[1].init_plan.seed != models[2].init_plan.seed


def test_what_the_recipe_keeps_is_as_transformers_makes_it() -> None:
    model = adapters.transformers(tf.LlamaForCausalLM, "standard", seed=0)(llama_config())
    plain = tf.LlamaForCausalLM(llama_config())
    assert torch.equal(model.model.rotary_emb.inv_freq, plain.model.rotary_emb.inv_freq)
    keep_all = gi.Recipe([gi.Rule(gi.sel.all(), gi.Keep())])
    torch.manual_seed(0)
    kept = adapters.transformers(tf.LlamaForCausalLM, keep_all)(llama_config())
    torch.manual_seed(0)
    assert same(kept, tf.LlamaForCausalLM(llama_config()))


def test_only_a_missing_head_is_drawn(saved: Path) -> None:
    base = tf.GPT2ForSequenceClassification
    adapted = adapters.transformers(base, gi.Normal(0.5), seed=1)
    model, info = adapted.from_pretrained(saved, num_labels=3, output_loading_info=True)
    assert type(model) is adapted
    assert info["missing_keys"] == {"score.weight"}
    assert drawn(model) == ["score.weight"]
    assert same(model.transformer, tf.GPT2LMHeadModel.from_pretrained(saved).transformer)
    plain = base.from_pretrained(saved, num_labels=3)
    gi.init_(plain, gi.Normal(0.5), seed=1, keep="transformer.*")
    assert same(model, plain)


def test_a_module_loaded_in_part_keeps_that_part(saved: Path) -> None:
    state = tf.GPT2LMHeadModel.from_pretrained(saved).state_dict()
    del state["transformer.h.0.mlp.c_fc.bias"], state["transformer.wpe.weight"]
    adapted = adapters.transformers(tf.GPT2LMHeadModel, {"*": gi.Constant(3.0)})
    model = adapted.from_pretrained(None, config=gpt2_config(), state_dict=state)
    assert sorted(drawn(model)) == ["transformer.h.0.mlp.c_fc.bias", "transformer.wpe.weight"]
    assert (model.transformer.h[0].mlp.c_fc.bias == 3).all()
    loaded = state["transformer.h.0.mlp.c_fc.weight"]
    assert torch.equal(model.transformer.h[0].mlp.c_fc.weight, loaded)
    assert model.lm_head.weight is model.transformer.wte.weight
    assert torch.equal(model.lm_head.weight, state["lm_head.weight"])


def test_a_checkpoint_without_the_tied_weight_draws_it_once(saved: Path) -> None:
    state = tf.GPT2LMHeadModel.from_pretrained(saved).state_dict()
    del state["transformer.wte.weight"], state["lm_head.weight"]
    adapted = adapters.transformers(tf.GPT2LMHeadModel, "gpt2", seed=2)
    model = adapted.from_pretrained(None, config=gpt2_config(), state_dict=state)
    assert drawn(model) == ["transformer.wte.weight"]
    assert model.lm_head.weight is model.transformer.wte.weight
    assert torch.equal(model.lm_head.weight, adapted(gpt2_config()).lm_head.weight)


def test_mismatched_sizes_and_running_statistics(tmp_path: Path) -> None:
    adapted = adapters.transformers(tf.ResNetForImageClassification, "he", seed=0)
    model = adapted(resnet_config(num_labels=4))
    model.train()(torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    model.save_pretrained(tmp_path)
    config = resnet_config(num_labels=7)
    again = adapted.from_pretrained(tmp_path, config=config, ignore_mismatched_sizes=True)
    assert sorted(drawn(again)) == ["classifier.1.bias", "classifier.1.weight"]
    assert same(again.resnet, model.resnet)
    assert model.resnet.embedder.embedder.normalization.num_batches_tracked == 1
    fresh = adapted(config)
    assert torch.equal(again.classifier[1].weight, fresh.classifier[1].weight)


def test_parts_that_were_loaded_before_stay(saved: Path) -> None:
    body = tf.GPT2LMHeadModel.from_pretrained(saved)
    encoder = tf.BertModel(
        tf.BertConfig(
            vocab_size=50,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
        )
    )
    body.config.add_cross_attention = False
    adapted = adapters.transformers(tf.EncoderDecoderModel, gi.Normal(0.5), seed=0)
    before = copy.deepcopy(body)
    model = adapted(encoder=encoder, decoder=body)
    assert drawn(model)
    assert all(name.startswith("encoder.") for name in drawn(model))
    assert same(model.decoder, before)


def test_dtype_and_a_complete_checkpoint(saved: Path) -> None:
    adapted = adapters.transformers(tf.GPT2LMHeadModel, "he", seed=0)
    model = adapted.from_pretrained(saved, dtype=torch.bfloat16)
    assert drawn(model) == []
    assert same(model, tf.GPT2LMHeadModel.from_pretrained(saved, dtype=torch.bfloat16))
    assert model.dtype == torch.bfloat16
    half = adapted._from_config(gpt2_config(), dtype=torch.bfloat16)
    full = adapted(gpt2_config())
    assert torch.equal(half.transformer.wte.weight, full.transformer.wte.weight.bfloat16())


def test_device_map(saved: Path, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    adapted = adapters.transformers(tf.GPT2ForSequenceClassification, "xavier", seed=0)
    model = adapted.from_pretrained(saved, num_labels=3, device_map="cpu")
    assert drawn(model) == ["score.weight"]


def test_what_is_missing_and_offloaded_is_refused(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tf.GPT2ForSequenceClassification
    load = base.from_pretrained.__func__

    def offloading(cls: Any, *args: Any, **kwargs: Any) -> Any:  # as device_map="disk" leaves it
        model, info = load(cls, *args, **kwargs)
        model.score.to("meta")
        model.transformer.h[0] = model.transformer.h[0].to("meta")
        for p in model.transformer.h[0].parameters():
            assert not hasattr(p, "_is_hf_initialized")  # lost on the way
        if keep_score:
            info["missing_keys"].clear()
        return model, info

    monkeypatch.setattr(base, "from_pretrained", classmethod(offloading))
    adapted = adapters.transformers(base, "xavier", seed=0)
    keep_score = False
    with pytest.raises(MetaModelError, match=r"score\.weight isn't in the checkpoint.*offload"):
        adapted.from_pretrained(saved, num_labels=3)
    keep_score = True
    assert drawn(adapted.from_pretrained(saved, num_labels=3)) == []


def test_meta_is_left_alone_and_can_be_finished() -> None:
    adapted = adapters.transformers(tf.GPT2LMHeadModel, "xavier", seed=5)
    with torch.device("meta"):
        assert adapted(gpt2_config()).lm_head.weight.is_meta
    with gi.skeleton():
        model = adapted(gpt2_config())
    assert not hasattr(model, "init_plan")
    gi.init_(model, "xavier", seed=5, materialize="cpu")
    assert same(model, adapted(gpt2_config()))


def test_the_class_passes_for_the_original(saved: Path, tmp_path: Path) -> None:
    base = tf.GPT2LMHeadModel
    adapted = adapters.transformers(base, {"*": gi.Function(lambda site: torch.zeros(site.shape))})
    assert issubclass(adapted, base)
    assert (adapted.__name__, adapted.__module__) == (base.__name__, base.__module__)
    model = adapted(gpt2_config())
    assert not model.is_custom_code()
    model.save_pretrained(tmp_path / "new")
    again = tf.AutoModelForCausalLM.from_pretrained(tmp_path / "new")
    assert again.config.architectures == ["GPT2LMHeadModel"]
    assert same(again, model)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(copied) is base
        assert same(copied, model)
        assert copied.lm_head.weight is copied.transformer.wte.weight
    model(**TOKENS).logits.sum().backward()


def test_resizing_goes_by_transformers_own_law() -> None:
    model = adapters.transformers(tf.GPT2LMHeadModel, gi.Constant(2.0), seed=0)(gpt2_config())
    old = model.transformer.wte.weight.detach().clone()
    model.resize_token_embeddings(60, mean_resizing=False)
    assert torch.equal(model.transformer.wte.weight[:50], old)
    new = model.transformer.wte.weight[50:].detach().clone()
    # N(0, .02): the variance of 160 values, five standard errors of sqrt(2/160)
    assert new.square().mean().item() == pytest.approx(0.02**2, rel=5 * (2 / 160) ** 0.5)
    gi.init_(model, "gpt2", seed=0, keep={"transformer.wte.weight": old})  # new rows by a recipe
    assert torch.equal(model.lm_head.weight[:50], old)
    assert not torch.equal(model.lm_head.weight[50:], new)


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(UnknownRecipeError, match="xavier"):
        adapters.transformers(tf.GPT2LMHeadModel, "xaiver")
    for wrong in (nn.Linear, tf.AutoModelForCausalLM, tf.GPT2LMHeadModel(gpt2_config()), None):
        with pytest.raises(ModelError, match="must be a model class of transformers"):
            adapters.transformers(wrong, "he")
    typo = adapters.transformers(tf.GPT2LMHeadModel, {"transformer.hh.*": gi.Zeros()})
    with pytest.raises(UnusedRuleError, match=r"transformer\.hh"):
        typo(gpt2_config())

    adapted: Any = adapters.transformers(tf.GPT2LMHeadModel, "he")

    class Longer(adapted):
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.more = nn.Linear(2, 2)

    with pytest.raises(ModelError, match=r"Longer is a subclass .* write the subclass first"):
        Longer(gpt2_config())
