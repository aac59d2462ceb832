"""Every model that timm and transformers can build without a download (`make battery`).

Nobody picked them. Each is built on meta at its default size (transformers': two layers a
stack), traced with inputs that fit, and planned by `standard`. The inputs are made from the
configuration alone: where a model wants others it says so, and only its types are read.
"""

from __future__ import annotations

from collections import Counter

import pytest
import torch

import goodinit as gi
from goodinit.anatomy import read

pytestmark = pytest.mark.battery

LAYERS = (
    "num_hidden_layers num_layers n_layer n_layers encoder_layers decoder_layers "
    "num_encoder_layers num_decoder_layers decoder_num_hidden_layers"
).split()


def shrink(config, depth=0):
    """Cut every stack to two layers."""
    from transformers import PretrainedConfig

    for name in LAYERS:
        if isinstance(getattr(config, name, None), int) and getattr(config, name) > 2:
            setattr(config, name, 2)
    for value in vars(config).values():
        if isinstance(value, PretrainedConfig) and depth < 3:
            shrink(value, depth + 1)
    return config


def inputs_of(model, config):
    """Return inputs of the kind that the model's class names as its main one."""
    text = config.get_text_config()
    size = getattr(text, "vocab_size", None)
    words = torch.randint(3, min(size, 90) if isinstance(size, int) and size > 4 else 90, (2, 12))
    name = model.main_input_name
    match name:
        case "input_ids":
            given = {"input_ids": words}
        case "pixel_values":
            vision = getattr(config, "vision_config", config)
            side = getattr(vision, "image_size", None) or 224
            height, width = side if isinstance(side, (list, tuple)) else (side, side)
            given = {name: torch.randn(2, getattr(vision, "num_channels", 3), height, width)}
        case "input_values":
            given = {name: torch.randn(2, 16000)}
        case _:
            given = {name: torch.randn(2, 100, getattr(config, "num_mel_bins", 80) or 80)}
    if getattr(config, "is_encoder_decoder", False):
        given["decoder_input_ids"] = words
    return given


def timm_models():
    timm = pytest.importorskip("timm")
    for name in timm.list_models():
        with torch.device("meta"):
            model = timm.create_model(name, pretrained=False).eval()
        shape = model.pretrained_cfg.get("input_size", (3, 224, 224))
        yield name, model, torch.randn(2, *shape)


def transformers_models():
    transformers = pytest.importorskip("transformers")
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    for name in CONFIG_MAPPING_NAMES:
        try:
            config = shrink(transformers.AutoConfig.for_model(name))
            with torch.device("meta"):
                model = transformers.AutoModel.from_config(config).eval()
        except Exception:
            continue
        try:
            yield name, model, inputs_of(model, config)
        except Exception:
            yield name, model, {}


@pytest.mark.filterwarnings("ignore")  # the libraries' own
@pytest.mark.parametrize(
    ("library", "models", "refused"), [("timm", timm_models, 0.0), ("hf", transformers_models, 0.4)]
)
def test_every_model_is_planned(library, models, refused, capsys):
    """Without inputs always; with inputs wherever the model takes those made here."""
    count: Counter[str] = Counter()
    for name, model, inputs in models():
        count["models"] += 1
        rows = [row for row in read(model).rows if not row.buffer]
        count["parameters"] += len(rows)
        count["guessed without inputs"] += sum(row.facets.guessed for row in rows)
        try:
            plan = gi.plan(model, "standard", inputs=inputs)
        except gi.errors.TraceError:
            count["other inputs wanted"] += 1
            gi.plan(model, "standard")
            continue
        own = {n for n, _ in model.named_parameters(remove_duplicate=False)}
        assert own <= {n for row in plan for n in (row.name, *row.tied, *row.stored)}, name
        count[f"read by {plan.how}"] += 1
        seen = [row for row in plan if not row.buffer]
        count["parameters with inputs"] += len(seen)
        count["guessed with inputs"] += sum(row.guessed for row in seen)
        count["kept with inputs"] += sum(row.kept for row in seen)
    with capsys.disabled():
        print(f"\n{library}: " + ", ".join(f"{value:,} {key}" for key, value in count.items()))
    assert count["models"] > 100
    assert count["other inputs wanted"] <= refused * count["models"]
