"""Models as people use them, drawn as they should be: of these a measurement finds nothing wrong.

``tasks()`` are models as their libraries build them and under the recipes that fit them, with
several seeds; ``runs`` yields ``(label, model, inputs)`` of a task, in both modes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from tests.models import unseen, zoo, zoo_hf
from torch import nn

import goodinit as gi
from goodinit.demos import models as demos
from goodinit.trace.calls import tensors_in
from goodinit.trace.run import arguments

Built = tuple[nn.Module, Any]
Run = tuple[str, nn.Module, Any]  # label, model, inputs
SEEDS = 2
# By size; 64 x 64 images.
TORCHVISION = (
    "alexnet densenet121 efficientnet_b0 googlenet mnasnet1_0 mobilenet_v2 mobilenet_v3_small "
    "regnet_y_400mf resnet18 resnet50 resnext50_32x4d shufflenet_v2_x1_0 squeezenet1_1 "
    "vgg11_bn convnext_tiny"
).split()
TIMM = (
    "resnet10t resnetv2_50 mixer_s32_224 vit_tiny_patch16_224 deit_tiny_patch16_224 "
    "convnextv2_atto efficientvit_b0 levit_128s mobilevit_xxs poolformer_s12 gmlp_ti16_224 "
    "resmlp_12_224 xcit_nano_12_p16_224 cait_xxs24_224 ghostnet_050 hardcorenas_a "
    "edgenext_xx_small pit_ti_224 coat_lite_tiny nfnet_f0 repvgg_a0 regnetx_002 dla34 lcnet_050 "
    "fastvit_t8"
).split()
# Drawn at random from what is left, after the rules were written.
NEW_TORCHVISION = (
    "vgg13 mnasnet1_3 efficientnet_v2_m regnet_x_3_2gf resnet152 efficientnet_v2_l mnasnet0_5 "
    "swin_v2_t vgg16_bn regnet_y_800mf regnet_x_32gf regnet_y_1_6gf"
).split()
NEW_TIMM = (
    "regnetz_040 efficientvit_m0 seresnext26t_32x4d deit3_medium_patch16_224 mobilenetv2_110d "
    "legacy_seresnet34 mnasnet_075 mobilevitv2_100 pit_s_distilled_224 lcnet_100 "
    "ecaresnext50t_32x4d nf_regnet_b2 cspdarknet53 resnetblur50d "
    "tf_mobilenetv3_small_minimal_100 iformer_l2_distilled regnety_040 seresnext26ts fastvit_ma36 "
    "efficientnet_b0 sequencer2d_m resnest101e convnextv2_tiny ghostnetv2_100 efficientnet_lite1 "
    "regnetx_032 regnetx_006 efficientformerv2_s2 repghostnet_058 efficientvit_b1 "
    "efficientvit_l1 crossvit_9_240 res2net50_26w_6s"
).split()
RELU = frozenset(
    "alexnet densenet121 googlenet resnet18 resnet50 resnext50_32x4d vgg11 vgg11_bn mobilenet_v2 "
    "resnet10t regnetx_002 dla34 repvgg_a0 resnet_basic resnet_bottleneck resnet demo.mlp demo.cnn "
    "demo.resnet dcgan_generator".split()
)
# N(0, .02^2) is made for widths near 768: 32 wide, a ViT's class token hears nothing of the image.
TRANSFORMERS = {*zoo_hf.HF, "gpt", "gpt_right", "llama", "seq2seq", "demo.gpt"} - {"vit"}
# These don't run with a gradient, or not twice alike: what they do in a loop of their own.
FORWARD_ONLY = frozenset(("rwkv",))


def _demo(name: str) -> Built:
    model = getattr(demos, name)()
    return model, model.example_input_array


def _torchvision(name: str, side: int = 64) -> Built:
    import torchvision

    options = {"aux_logits": False, "init_weights": True} if name == "googlenet" else {}
    return torchvision.models.get_model(name, weights=None, **options), _images(side)


def _timm(name: str) -> Built:
    import timm

    model = timm.create_model(name, pretrained=False)
    size = model.pretrained_cfg["input_size"][-1]
    return model, _images(size if "resn" not in name else 96)


def _images(side: int) -> torch.Tensor:
    return torch.randn(4, 3, side, side)


def sources() -> Iterator[tuple[str, Callable[[], Built]]]:
    for name in zoo.PLAIN:
        yield name, zoo.PLAIN[name]
    for name in zoo_hf.HF:
        yield name if name not in zoo.PLAIN else f"hf.{name}", lambda n=name: zoo_hf.build(n)
    for name, make in unseen.UNSEEN.items():
        yield f"unseen.{name}", make
    for name in demos.__all__:
        yield f"demo.{name}", lambda n=name: _demo(n)
    for name in TORCHVISION:
        yield name, lambda n=name: _torchvision(n)
    for name in TIMM:
        yield name, lambda n=name: _timm(n)


def recipes(name: str) -> list[str | None]:
    """Recipes that fit a model; None is how its library builds it."""
    fit: list[str | None] = [None, "standard"]
    if name in RELU:
        fit.append("he")
    if name.removeprefix("hf.") in TRANSFORMERS:
        fit.append("gpt2")
    return fit


class Task(NamedTuple):
    """A model as it is built (no recipe), or under a recipe, with a seed."""

    name: str
    make: Callable[[], Built]
    recipe: str | None
    seed: int


def newcomers() -> Iterator[Task]:
    """Yield tasks of models that nobody looked at before the rules were written."""
    for name in NEW_TORCHVISION:
        make = partial(_torchvision, name, 96)
        yield from (Task(name, make, recipe, 0) for recipe in (None, "standard"))
    for name in NEW_TIMM:
        yield from (Task(name, partial(_timm, name), recipe, 0) for recipe in (None, "standard"))


def tasks() -> Iterator[Task]:
    for name, make in sources():
        for seed in range(SEEDS):
            yield from (Task(name, make, recipe, seed) for recipe in recipes(name))


def runs(task: Task) -> Iterator[Run]:
    """Yield a model in training mode, and in evaluation mode if it then returns other numbers."""
    name, make, recipe, seed = task
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries' own
        torch.manual_seed(seed)
        model, inputs = make()
        if recipe is not None:
            gi.init_(model, recipe, inputs=inputs, seed=seed)
        settle(model, inputs)
    modes = (True, False) if _depends_on_mode(model, inputs) else (True,)
    for training in modes:
        label = f"{name}, {recipe or 'as built'}, seed {seed}, {'train' if training else 'eval'}"
        yield label, model.train(training), inputs


def _depends_on_mode(model: nn.Module, inputs: Any) -> bool:
    """Return whether training changes a number; else a second measurement shows nothing new."""
    returned: list[list[torch.Tensor]] = []
    for training in (True, False):
        with torch.random.fork_rng(devices=[]), torch.no_grad(), restored(model):
            torch.manual_seed(0)
            returned.append(list(tensors_in(_call(model.train(training), inputs))))
    trained, evaluated = returned
    return not all(map(torch.equal, trained, evaluated))


def _call(model: nn.Module, inputs: Any) -> Any:
    args, kwargs = arguments(inputs)
    return model(*args, **kwargs)


@contextmanager
def restored(model: nn.Module) -> Iterator[None]:
    """Undo what a run writes into buffers, such as BatchNorm's statistics."""
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    yield
    for name, buffer in model.named_buffers():
        buffer.copy_(before[name])


def settle(model: nn.Module, inputs: Any) -> None:
    """Have BatchNorm take its statistics from these inputs, as training would."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    before = [m.momentum for m in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        _call(model.train(), inputs)
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum
