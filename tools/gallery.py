"""Draw docs/gallery.md: each family's reference model under its recipe and under PyTorch's default.

    make gallery

The models are those of the tests and of `goodinit.demos`, no package besides goodinit[report] is
needed. Images go to docs/img/gallery, the numbers to docs/img/gallery/numbers.csv: one line per
point of a curve. The same numbers give the same files.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib as mpl
import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.recipes import families, reference_models, rwkv_models, test_headlines

import goodinit as gi
from goodinit.demos import models
from goodinit.report.curves import line_over_depth, shown_rows

IMAGES = ROOT / "docs" / "img" / "gallery"
LARGEST = 1_500_000  # bytes of all images together: they are in the repository
Inputs = Callable[[], object]


@dataclass(frozen=True)
class Shown:
    """A recipe's model.

    Attributes:
        recipe: the recipe's name.
        what: the model, in words.
        build: makes it.
        inputs: makes a batch.
        options: of the recipe.
    """

    recipe: str
    what: str
    build: Callable[[], nn.Module]
    inputs: Inputs
    options: dict[str, object] = field(default_factory=dict)


def _noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _words(vocabulary: int = 200) -> Tensor:
    return torch.randint(vocabulary, (4, 16), generator=torch.Generator().manual_seed(0))


def _with_layers(net: nn.Module, name: str, *layers: nn.Module) -> nn.Module:
    """Return a reference model with more layers than the tests need."""
    kind = type(getattr(net, name))
    setattr(net, name, kind(*layers) if kind is nn.Sequential else kind(layers))
    return net


def _decoder() -> nn.Module:
    return _with_layers(families.Decoder(), "layers", *(families.Block(64) for _ in range(12)))


def _gpt() -> nn.Module:
    blocks = (test_headlines.Block(64) for _ in range(12))
    return _with_layers(test_headlines.GPT(tied=False), "h", *blocks)


def _vit() -> nn.Module:
    """The tests' vision transformer, whose tokens hold what the recipes draw."""
    net = _with_layers(
        test_headlines.ViT(), "blocks", *(test_headlines.Block(64) for _ in range(12))
    )
    for token in (net.cls, net.pos):
        nn.init.normal_(token, std=0.02)
    return net


def _rwkv() -> nn.Module:
    blocks = (reference_models.RWKVBlock(128, layer, 6) for layer in range(6))
    return _with_layers(reference_models.RWKV7(), "blocks", *blocks)


def _retnet() -> nn.Module:
    layers = (reference_models.RetNetLayer(64) for _ in range(6))
    return _with_layers(reference_models.RetNet(), "layers", *layers)


def _hyena() -> nn.Module:
    layers = (reference_models.HyenaLayer(64) for _ in range(6))
    return _with_layers(reference_models.Hyena(), "layers", *layers)


def _fixup() -> nn.Module:
    sizes = [(32, 32, 1)] * 5 + [(32, 64, 2)] + [(64, 64, 1)] * 4
    blocks = (reference_models.FixupBlock(*size, len(sizes), 2) for size in sizes)
    return _with_layers(reference_models.FixupResNet(2), "layers", *blocks)


def _translator() -> nn.Module:
    net = reference_models.Translator()
    for stack, cross in ((net.encoder, False), (net.decoder, True)):
        layers = (reference_models.LayerWithoutNorm(64, cross=cross) for _ in range(6))
        _with_layers(stack, "layers", *layers)
    return net


def _evoformer() -> nn.Module:
    blocks = (reference_models.EvoformerBlock() for _ in range(6))
    return _with_layers(reference_models.Evoformer(), "blocks", *blocks)


def _dit() -> nn.Module:
    return _with_layers(families.DiT(), "blocks", *(families.DiTBlock(64) for _ in range(8)))


def _mixer() -> nn.Module:
    return _with_layers(families.Mixer(), "blocks", *(families.MixerBlock() for _ in range(8)))


def _siren() -> nn.Module:
    return nn.Sequential(
        families.Sine(2, 64, 30.0, first=True),
        *(families.Sine(64, 64, 30.0) for _ in range(6)), nn.Linear(64, 3),
    )  # fmt: skip


def _demo(build: Callable[[], nn.Module]) -> Inputs:
    return lambda: build().example_input_array


def _resnet() -> nn.Module:
    return models.resnet(12)


def _images() -> Tensor:
    return _noise(4, 3, 32, 32)


DECODER, GPT = "a decoder of 12 layers as LLaMA's", "a GPT of 12 layers"
VIT, RESNET = "a vision transformer of 12 layers", "a ResNet of 12 blocks"

SHOWN = (
    Shown("alphafold", "an Evoformer of 6 blocks", _evoformer, lambda: _noise(2, 6, 21)),
    Shown("bert", GPT, _gpt, lambda: _words(300)),
    Shown("clip", VIT, _vit, _images),
    Shown("convnext", RESNET, _resnet, _images),
    Shown("dcgan", "a generator", test_headlines.generator, lambda: _noise(8, 100)),
    Shown("ddpm", "a small UNet", families.UNet, lambda: (_noise(4, 3, 8, 8), torch.arange(4.0))),
    Shown("deepnorm", "a post-norm transformer of 3 layers", families.DeepDecoder, _words),
    Shown("deit", VIT, _vit, _images),
    Shown("densenet", "three convolutions with batch norm", models.cnn, _demo(models.cnn)),
    Shown("detr", "a backbone, and a transformer that looks for boxes", reference_models.Detr,
          _images),
    Shown("dinov2", VIT, _vit, _images),
    Shown("dit", "a DiT of 8 blocks", _dit,
          lambda: (_noise(4, 4, 8, 8), torch.arange(4.0), torch.arange(4))),
    Shown("e3nn", "a tensor product with a radial network", reference_models.Equivariant,
          lambda: (_noise(32, 16), _noise(32, 24))),
    Shown("efficientnet", "three convolutions with batch norm", models.cnn, _demo(models.cnn)),
    Shown("fixup", "a ResNet of 10 blocks without norms", _fixup, lambda: _noise(4, 3, 16, 16)),
    Shown("gat", "two layers of graph attention", reference_models.GAT,
          lambda: (_noise(20, 30), torch.ones(20, 20, dtype=torch.bool))),
    Shown("gpt2", GPT, _gpt, lambda: _words(300)),
    Shown("gpt_oss", "a mixture of experts", models.moe, _demo(models.moe)),
    Shown("hyena", "a Hyena of 6 layers", _hyena, _words),
    Shown("instant_ngp", "hashed features and a small network", reference_models.HashField,
          lambda: torch.arange(128).view(64, 2)),
    Shown("llama", DECODER, _decoder, _words),
    Shown("lstm", "an LSTM of 2 layers", models.lstm, _demo(models.lstm)),
    Shown("megatron", DECODER, _decoder, _words),
    Shown("mixer", "an MLP-Mixer of 8 blocks", _mixer, _images),
    Shown("nanochat", DECODER, _decoder, _words),
    Shown("neox", DECODER, _decoder, _words),
    Shown("nerf", "a small NeRF", families.NeRF, lambda: (_noise(32, 63), _noise(32, 27))),
    Shown("olmo", DECODER, _decoder, _words),
    Shown("ppo", "an actor and a critic", families.Agent, lambda: _noise(32, 17)),
    Shown("resnet", RESNET, _resnet, _images),
    Shown("retnet", "a RetNet of 6 layers", _retnet, _words),
    Shown("rwkv4", "an RWKV-4 of 3 layers", lambda: rwkv_models.RWKV(4), _words),
    Shown("rwkv5", "an RWKV-5 of 3 layers", lambda: rwkv_models.RWKV(5), _words),
    Shown("rwkv6", "an RWKV-6 of 3 layers", lambda: rwkv_models.RWKV(6), _words),
    Shown("rwkv7", "an RWKV-7 of 6 layers", _rwkv, _words),
    Shown("s4d", "one S4D layer", reference_models.S4D, lambda: _noise(4, 64, 16)),
    Shown("siglip", VIT, _vit, _images),
    Shown("siren", "a SIREN of 8 layers", _siren, lambda: 2 * torch.rand(64, 2) - 1),
    Shown("stylegan2", "a mapping network and two styled convolutions",
          reference_models.StyleGAN2, lambda: _noise(8, 64)),
    Shown("swin", VIT, _vit, _images),
    Shown("switch", "a mixture of experts", models.moe, _demo(models.moe)),
    Shown("t5", GPT, _gpt, lambda: _words(300)),
    Shown("tfixup", "an encoder and a decoder of 6 layers without norms", _translator,
          lambda: (_words(), _words())),
    Shown("vgg", "three convolutions with batch norm", models.cnn, _demo(models.cnn)),
    Shown("vit", VIT, _vit, _images),
)  # fmt: skip

HEAD = """# Gallery

Each family's recipe and PyTorch's default on one model, at initialization: the second moment of
each step of the residual stream (of each layer, where there is none), and that of the gradient. The
models are small ones with the family's structure, from the tests; the numbers are
`docs/img/gallery/numbers.csv`, one line per point. `make gallery` draws it again in a few minutes.

*Last* is the second moment of the last layer's output; *gradient* is the gradient's squared norm at
the first layer over that at the last. Where a recipe starts the end of each branch at 0, the stream
is flat and the first layers' gradient is 0 in the first step; a head that starts at 0 passes none.
Parameters that torch has no law for stay as their class made them under its default.
T5 and Switch multiply their logits by width^-1/2, which these models don't.

"""
FOOT = """
Without a plot: {without}. Their reference models need packages besides goodinit.
"""


def main() -> None:
    """Measure, draw and write."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    for old in IMAGES.glob("*.svg"):
        old.unlink()
    rows: list[list[str]] = []
    cells: list[str] = []
    for shown in SHOWN:
        torch.manual_seed(0)  # of what a constructor sets itself
        by_name = {shown.recipe: gi.recipe(shown.recipe, **shown.options)}
        net = shown.build()
        for module in net.modules():  # torch's own values: no zero of a family is left to stand
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
        compared = gi.compare(
            net, shown.inputs(), {**by_name, "torch_default": "torch_default"}, seeds=1
        )
        (IMAGES / f"{shown.recipe}.svg").write_text(small_svg(compared))
        rows += points(shown, compared)
        cells.append(line(shown, compared))
        print(cells[-1], flush=True)
    with (IMAGES / "numbers.csv").open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["recipe", "drawn_by", "at", "call", "forward", "backward"])
        out.writerows(rows)
    size = sum(path.stat().st_size for path in IMAGES.iterdir())
    assert size < LARGEST, f"{size} bytes"
    (ROOT / "docs" / "gallery.md").write_text(page(cells))
    print(f"docs/gallery.md, and {size} bytes in {IMAGES.relative_to(ROOT)}")


def small_svg(compared: gi.Comparison) -> str:
    """Return the comparison's own plot with text as text, without minor ticks, in few digits."""
    figure = compared.plot()
    for axes in figure.axes:
        axes.minorticks_off()
    out = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "goodinit"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    text = re.sub(r"\d+\.\d{2,}", lambda m: f"{float(m[0]):.1f}".removesuffix(".0"), out.getvalue())
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    return re.sub(r"\s*\n\s*", "\n", text)


def points(shown: Shown, compared: gi.Comparison) -> Iterator[list[str]]:
    """Yield one row for each point of the plot."""
    shown_at = line_over_depth(compared).at
    keys = [shown_rows(compared)[at].key for at in shown_at]
    for name, signals in compared.signals.items():
        for number, key in enumerate(keys):
            row = next((row for row in signals[0] if row.key == key), None)
            if row is not None:
                back = "" if row.backward is None else f"{row.backward.second:.4g}"
                call = [str(number + 1), key, f"{row.forward.second:.4g}", back]
                yield [shown.recipe, name, *call]


def line(shown: Shown, compared: gi.Comparison) -> str:
    """Return the row of the page's table."""
    own, other = compared[shown.recipe], compared["torch_default"]

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.2g}"

    link = f"[`{shown.recipe}`](#{shown.recipe})"
    cells = [link, shown.what, number(own.second), number(other.second)]
    return " | ".join(["", *cells, number(own.gradient), number(other.gradient), ""]).strip()


def page(cells: list[str]) -> str:
    """Return docs/gallery.md."""
    names = {shown.recipe for shown in SHOWN}
    without = sorted(set(gi.recipes.names()) - names - GENERAL)
    head = "| recipe | model | last | torch's | gradient | torch's |\n" + "|---" * 6 + "|\n"
    images = (
        f"## {shown.recipe}\n\n{shown.what[0].upper()}{shown.what[1:]}.\n\n"
        f"![Signal and gradient over depth under {shown.recipe} and under PyTorch's default]"
        f"(img/gallery/{shown.recipe}.svg)\n"
        for shown in SHOWN
    )
    foot = FOOT.format(without=", ".join(f"`{name}`" for name in without))
    return f"{HEAD}{head}" + "\n".join(cells) + f"\n{foot}\n" + "\n".join(images)


GENERAL = {
    *("completep", "glorot", "he", "kaiming", "lecun", "lora", "mup", "orthogonal"),
    *("standard", "torch_default", "xavier"),
}

if __name__ == "__main__":
    main()
