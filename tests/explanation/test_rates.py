"""How often `explain` is right: on every recipe x model of the zoo, on models as they come.

`make battery` runs it and prints the tables that docs/explain.md quotes. A finding that a model
deserves is listed here with its reason; any other warning fails.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tests.models import zoo_hf
from tests.models.test_anatomy import NAMES, build
from torch import nn

import goodinit as gi
from goodinit.explanation.tried import library_recipes

pytestmark = [
    pytest.mark.battery,
    pytest.mark.filterwarnings("ignore"),  # the libraries' own
]

# What recipes do to models that they aren't for: true, and no false alarm.
DESERVED = {
    ("GI112", "torch_default"): "a tied table of N(0, 1): torch's default for embeddings",
    ("GI112", "dcgan"): "likewise: dcgan leaves tables to torch",
    ("GI132", "dcgan"): "a depthwise N(0, .02^2) under torch's bias of U(+-1/sqrt(fan_in))",
    ("GI125", "gpt2"): "N(0, .02^2) at width 32, and nothing between that fixes it",
}

Built = tuple[str, nn.Module, Any]


def checked(model: nn.Module, inputs: Any, made: gi.Recipe, call: str, seed: int) -> Counter[str]:
    """Draw a recipe, explain, and count what came out."""
    plan = gi.init_(model, made, inputs=inputs, seed=seed)
    found = gi.explain(model, inputs)
    count = Counter(["draws"])
    partial = any(row.kept and not row.buffer and row.layout is not None for row in plan)
    refused = [row.name for row in found.rows if row.ok is False]
    if call in (found.call, *found.also):
        count["named"] += 1
        count["rows refused"] += len(refused)
    elif found.recipe is not None and not refused:
        count["another recipe that draws the same"] += 1
    elif partial:  # weights that the recipe leaves as they are look like something else
        count["leaves weights, another explains more"] += 1
    else:
        count["wrong"] += 1
    for finding in found.findings:
        if finding.severity != "info":
            known = (finding.code, made.name) in DESERVED
            count["deserved findings" if known else f"FALSE {finding}"] += 1
        else:
            count[f"info {finding.code}"] += 1
    return count


def shown(capsys: pytest.CaptureFixture[str], title: str, count: Counter[str]) -> None:
    with capsys.disabled():
        print(f"\n{title}: " + ", ".join(f"{n} {what}" for what, n in count.most_common()))


@pytest.mark.parametrize(
    ("seeds", "dtype", "inputs"),
    [((1, 2, 3), torch.float32, True), ((4,), torch.float32, False), ((5,), torch.bfloat16, False)],
    ids=["inputs", "no inputs", "bfloat16"],
)
def test_every_recipe_on_every_model(seeds, dtype, inputs, capsys) -> None:
    total: Counter[str] = Counter()
    for name in NAMES:
        for one in library_recipes():
            for seed in seeds if one.general or not one.options else ():
                model, given = build(name)
                model = model.to(dtype)
                given = given if inputs else None
                total += checked(model, given, one.recipe, one.call, seed)
    shown(capsys, f"recipes on the zoo, {dtype}, {'' if inputs else 'no '}inputs", total)
    assert not total["wrong"]
    assert not total["rows refused"]
    assert not [what for what in total if what.startswith("FALSE")]


def hf_models() -> Iterator[Built]:
    for name in zoo_hf.HF:
        yield (name, *zoo_hf.build(name))


def torchvision_models() -> Iterator[Built]:
    models = pytest.importorskip("torchvision.models")
    for name in (
        "alexnet vgg11 vgg11_bn resnet18 resnet50 resnext50_32x4d densenet121 googlenet "
        "inception_v3 squeezenet1_0 mobilenet_v2 mobilenet_v3_small shufflenet_v2_x0_5 mnasnet0_5 "
        "efficientnet_b0 efficientnet_v2_s regnet_y_400mf convnext_tiny swin_t swin_v2_t vit_b_32 "
        "maxvit_t"
    ).split():
        torch.manual_seed(0)
        given = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
        model = getattr(models, name)(weights=None, **given).eval()
        side = 299 if name == "inception_v3" else 256 if "v2_t" in name else 224
        yield name, model, torch.randn(1, 3, side, side)


def timm_models() -> Iterator[Built]:
    timm = pytest.importorskip("timm")
    for name in (
        "resnet18 resnet50d resnetv2_50 seresnet50 efficientnet_b0 mobilenetv3_small_100 "
        "convnext_tiny convnextv2_atto vit_tiny_patch16_224 deit_tiny_patch16_224 cait_xxs24_224 "
        "swin_tiny_patch4_window7_224 mixer_s32_224 resmlp_12_224 beit_base_patch16_224 "
        "eva02_tiny_patch14_224 coatnet_0_rw_224 poolformer_s12 levit_128s nfnet_f0 regnety_002 "
        "repvgg_a0 densenet121 vgg11 inception_v3 xception41 ghostnet_100 edgenext_xx_small "
        "volo_d1_224 xcit_nano_12_p16_224 pvt_v2_b0 tnt_s_patch16_224 visformer_tiny "
        "crossvit_tiny_240 dla34 hrnet_w18_small"
    ).split():
        torch.manual_seed(0)
        model = timm.create_model(name, pretrained=False).eval()
        yield name, model, torch.randn(1, *model.pretrained_cfg.get("input_size", (3, 224, 224)))


# (library, model) -> codes of warnings that it may have as its authors draw it, and why.
TRUE = {
    # Tables of N(0, 1) that are the head as well; the forward scales what they multiply, which
    # only inputs show. A false alarm where the model is read by its module types.
    ("hf", "t5"): {"GI112"},
    ("hf", "switch_transformers"): {"GI112"},
}
# trunc_normal_ of torch and timm with its default bounds draws the uniform number -1 once in 2^24;
# its quantile is infinite and clamped to -2: a hundred sigma out, somewhere in every larger model.
CLAMPED = {"timm": {"GI131"}, "torchvision": {"GI131"}, "hf": set[str]()}


@pytest.mark.parametrize(
    ("library", "models"),
    [("hf", hf_models), ("torchvision", torchvision_models), ("timm", timm_models)],
    ids=["hf", "torchvision", "timm"],
)
def test_models_as_they_come(library, models, capsys) -> None:
    total: Counter[str] = Counter()
    unexpected: list[str] = []
    for name, model, inputs in models():
        for given in (inputs, None):
            with warnings.catch_warnings():
                found = gi.explain(model, given)
            total["models"] += 1
            total["a recipe"] += found.recipe is not None
            total["common practice"] += bool(found.habit)
            total["rows"] += len(found.rows)
            total["rows of a known law"] += sum(row.known for row in found.rows)
            found = {f.code for f in found.findings if f.severity != "info"}
            total["models with a warning"] += bool(found)
            for code in {f.code for f in found.findings if f.severity == "info"}:
                total[f"with info {code}"] += 1
            allowed = TRUE.get((library, name), set()) | CLAMPED[library]
            total["models with such a warning that isn't GI131"] += bool(found - {"GI131"})
            if not found <= allowed:
                unexpected += [f"{name}: {f}" for f in found.findings if f.severity != "info"]
            laws = Counter(row.looks for row in found.rows if row.gain is not None).most_common(2)
            with capsys.disabled():
                how = "inputs" if given is not None else "types"
                print(f"\n  {name} ({how}): {found.call or found.habit or 'none'} {found.matrices}")
                print(f"    {laws}")
                for finding in found.findings:
                    if finding.severity != "info":
                        print(f"    {finding}")
    shown(capsys, library, total)
    assert not unexpected
