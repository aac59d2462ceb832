"""Models of transformers, timm and torchvision, from their names alone: nothing is downloaded.

Each function returns what makes the model, and what makes inputs for it. They are built in
evaluation mode, as they are traced: no random masks or dropped layers.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from goodinit.cli.output import CommandError, aside
from goodinit.errors import nearest
from goodinit.trace import Inputs

__all__ = [
    "architecture",
    "config_file",
    "mended",
    "timm_model",
    "torchvision_model",
]

T = TypeVar("T")
Found = tuple[Callable[[], object], Callable[[nn.Module], Inputs | None]]

# The classes to try for a configuration that doesn't name one: with a head rather than without.
HEADS = (
    "AutoModelForSeq2SeqLM",
    "AutoModelForSpeechSeq2Seq",
    "AutoModelForMaskedLM",
    "AutoModelForCausalLM",
    "AutoModelForImageTextToText",
    "AutoModelForZeroShotImageClassification",
    "AutoModelForImageClassification",
    "AutoModelForCTC",
    "AutoModelForAudioClassification",
    "AutoModel",
)


def timm_model(name: str, given: Mapping[str, object]) -> Found:
    """Return a model of timm, at its default input size."""
    timm = _library("timm", f"timm:{name}")
    if not timm.is_model(name.partition(".")[0]):
        raise CommandError(f"timm has no model {name!r}.{nearest(name, timm.list_models())}")

    def make() -> object:
        return timm.create_model(name, pretrained=False, **given).eval()

    def example(model: nn.Module) -> Inputs:
        size: Any = getattr(model, "pretrained_cfg", {}).get("input_size") or (3, 224, 224)
        return _noise(2, *size)

    return _quiet(make), example


def torchvision_model(name: str, given: Mapping[str, object]) -> Found:
    """Return a model of torchvision, for inputs of the size that it was trained on."""
    vision = _library("torchvision", f"torchvision:{name}").models
    known: list[str] = vision.list_models()
    if name not in known:
        raise CommandError(f"torchvision has no model {name!r}.{nearest(name, known)}")
    build: Any = vision.get_model_builder(name)
    none = {"weights": None}
    if "weights_backbone" in build.__wrapped__.__annotations__:
        none["weights_backbone"] = None  # else it is downloaded

    def make() -> object:
        return build(**none | dict(given)).eval()

    def example(model: nn.Module) -> Inputs:
        kind = type(model).__module__.removeprefix("torchvision.models.").partition(".")[0]
        side = _side(vision.get_model_weights(name))
        match kind:
            case "detection":
                return ([_noise(3, side, side)],)
            case "video":
                return _noise(1, 3, 16, side, side)
            case "optical_flow":
                return (_noise(1, 3, 128, 128), _noise(1, 3, 128, 128))
            case _:
                return _noise(2, 3, side, side)

    return _quiet(make), example


def _side(weights: Iterable[Any]) -> int:
    """Return the height of the pictures that a model's weights were made with."""
    for each in weights:
        size = getattr(each.transforms, "keywords", {}).get("crop_size")
        return 224 if size is None else size if isinstance(size, int) else size[0]
    return 224


def architecture(name: str, given: Mapping[str, object]) -> Found:
    """Return a transformers model with the default configuration of its type."""
    transformers = _transformers(f"hf:{name}")
    _check_type(name, f"hf:{name}")
    default = _built(transformers.AutoConfig.for_model, name)
    changes = _nested(default, given)
    config = _built(transformers.AutoConfig.for_model, name, **changes)
    return _from_config(transformers, config)


def config_file(path: Path, given: Mapping[str, object]) -> Found:
    """Return a transformers model from a ``config.json``."""
    transformers = _transformers(str(path))
    source = path / "config.json" if path.is_dir() else path
    try:
        data = _object(json.loads(source.read_bytes()))
    except OSError as error:
        raise CommandError(f"{source} can't be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{source} holds no JSON: {error}") from error
    kind = None if data is None else data.get("model_type")
    if data is None or not isinstance(kind, str):
        raise CommandError(f"{source} has no model_type: it is no configuration of transformers")
    _check_type(kind, str(source))
    default = _built(transformers.AutoConfig.for_model, kind)
    changed = _merged(data, _nested(default, given))
    changed.pop("auto_map", None)  # code that comes with a model is never run
    config = _built(type(default).from_dict, changed)
    return _from_config(transformers, config)


def _check_type(name: str, text: str) -> None:
    types: Any = importlib.import_module("transformers.models.auto.configuration_auto")
    known: list[str] = list(types.CONFIG_MAPPING_NAMES)
    if name not in known:
        raise CommandError(
            f"{text}: transformers has no model type {name!r}.{nearest(name, known)}"
        )


def _built(build: Any, *args: object, **fields: object) -> Any:
    try:
        with aside():
            return build(*args, **fields)
    except Exception as error:
        line = f"{type(error).__name__}: {error}".strip()
        line = " ".join(line.split())[:300]
        raise CommandError(f"transformers refuses this configuration: {line}") from error


def _object(value: object) -> dict[str, Any] | None:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _nested(default: Any, given: Mapping[str, object]) -> dict[str, Any]:
    """Return ``{"text_config.layers": 2}`` as ``{"text_config": {"layers": 2}}``."""
    out: dict[str, Any] = {}
    for key, value in given.items():
        config, inner = default, out
        *parents, last = key.split(".")
        for parent in parents:
            _check_field(config, parent, key)
            config, inner = getattr(config, parent), inner.setdefault(parent, {})
        _check_field(config, last, key)
        inner[last] = value
    return out


def _check_field(config: Any, name: str, key: str) -> None:
    if config is None or not hasattr(config, name):
        known: list[str] = [*getattr(config, "__dict__", ()), *getattr(config, "attribute_map", ())]
        kind = type(config).__name__
        raise CommandError(f"--arg {key}: {kind} has no field {name!r}.{nearest(name, known)}")


def _merged(data: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    out = dict(data)
    for key, value in changes.items():
        old, new = _object(out.get(key)), _object(value)
        out[key] = value if old is None or new is None else _merged(old, new)
    return out


def _from_config(transformers: Any, config: Any) -> Found:
    named: list[str] = getattr(config, "architectures", None) or []
    chosen: Any = getattr(transformers, str(named[0]), None) if named else None
    if named and not hasattr(chosen, "_from_config"):
        raise CommandError(
            f"transformers has no model {named[0]!r}, which the configuration names in "
            f"architectures (code that comes with a model is never run): pass "
            f"--arg \"architectures=['...']\""
        )

    def make() -> object:
        if named:
            return chosen._from_config(config).eval()
        rare = (name for name in dir(transformers) if name.startswith("AutoModelFor"))
        heads = (getattr(transformers, h, None) for h in (*HEADS[_first_head(config) :], *rare))
        auto: Any = next((h for h in heads if h and type(config) in h._model_mapping), None)
        if auto is None:
            raise CommandError(f"transformers has no model for {type(config).__name__} alone")
        return auto.from_config(config).eval()

    return _quiet(make), lambda model: _hf_inputs(model, config)


def _first_head(config: Any) -> int:
    """Return where in ``HEADS`` to begin: a decoder alone is no translator."""
    return 0 if getattr(config, "is_encoder_decoder", False) else 2


def _hf_inputs(model: nn.Module, config: Any) -> Inputs:
    """Return small inputs of the kind that the class names as its main one."""
    text = config.get_text_config()
    vocabulary = getattr(text, "vocab_size", None)
    limit = min(vocabulary, 90) if isinstance(vocabulary, int) and vocabulary > 4 else 90
    words = torch.arange(24).view(2, 12) % (limit - 3) + 3
    name: str = getattr(model, "main_input_name", "input_ids")
    given: dict[str, Tensor] = {}
    match name:
        case "input_ids":
            given[name] = words
        case "pixel_values":
            given[name] = _pictures(getattr(config, "vision_config", config))
        case "input_values":
            given[name] = _noise(2, 16000)
        case "input_features":
            given[name] = _noise(2, *_spectrum(config))
        case _:
            raise LookupError(f"{type(model).__name__} takes {name}, of a shape unknown here")
    if getattr(config, "is_encoder_decoder", False):
        given["decoder_input_ids"] = words
    if hasattr(model, "logit_scale"):  # two towers, compared: CLIP and its kin
        given |= {
            "input_ids": words,
            "pixel_values": _pictures(getattr(config, "vision_config", config)),
        }
    return given


def _pictures(config: Any) -> Tensor:
    side: Any = getattr(config, "image_size", None) or 224
    sides: list[int] = [side, side] if isinstance(side, int) else list(side)
    return _noise(2, getattr(config, "num_channels", 3), *sides)


def _spectrum(config: Any) -> tuple[int, int]:
    bins: int = getattr(config, "num_mel_bins", None) or 80
    frames = getattr(config, "max_source_positions", None)
    # Whisper: [bins, frames], twice as many as positions; the others: [frames, bins].
    return (bins, 2 * frames) if config.model_type == "whisper" and frames else (100, bins)


def _transformers(text: str) -> Any:
    # Before it is imported: models are built from configurations alone, nothing is fetched.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    transformers: Any = _library("transformers", text)
    transformers.logging.set_verbosity_error()
    return transformers


def _library(name: str, text: str) -> Any:
    """Import a library, or say what to install."""
    if importlib.util.find_spec(name) is None:
        raise CommandError(f"{text} needs {name}: pip install {name}")
    try:
        with aside():
            if importlib.util.find_spec("torchvision") is not None:
                mended(lambda: importlib.import_module("torchvision"))
            return importlib.import_module(name)
    except Exception as error:
        line = f"{type(error).__name__}: {error}".splitlines()[0]
        raise CommandError(f"{name} is installed, but importing it raised {line}") from error


def _noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _quiet(make: Callable[[], object]) -> Callable[[], object]:
    """Return ``make`` without the library's warnings: they are of weights that aren't kept."""

    def call() -> object:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return make()

    return call


def mended(call: Callable[[], T]) -> T:
    """Call what imports torchvision; where it fails for its operators, mend that and call again.

    torchvision's Python part registers rules for two operators of its compiled part, and so
    fails to import where that was built for another torch. timm and transformers import it.
    Models are planned and drawn without calling these operators, so that declaring them will do.
    Where torchvision imports, nothing is done.
    """
    try:
        return call()
    except Exception as error:
        if not _lacks_operators(error):
            raise
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _DECLARED.append(library)
    return call()


def _lacks_operators(error: BaseException | None) -> bool:
    while error is not None:
        if "operator torchvision::nms does not exist" in str(error):
            return not _DECLARED
        error = error.__cause__ or error.__context__
    return False


_DECLARED: list[torch.library.Library] = []  # kept: the declarations go when the object does
