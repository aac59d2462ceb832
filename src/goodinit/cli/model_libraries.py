"""Models of transformers, timm and torchvision by name. Nothing is downloaded.

Each function returns a function that builds the model, and one that makes inputs for it. Models are
built in evaluation mode, so that a trace has no random masks or dropped layers.
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

from goodinit.cli.output import CommandError, stdout_to_stderr
from goodinit.errors import nearest
from goodinit.trace import Inputs

T = TypeVar("T")
Factories = tuple[Callable[[], object], Callable[[nn.Module], Inputs | None]]

# The classes to try, in order, if a configuration names none. Those with a head come first.
ENCODER_DECODERS = ("AutoModelForSeq2SeqLM", "AutoModelForSpeechSeq2Seq")
OTHERS = (
    "AutoModelForMaskedLM",
    "AutoModelForCausalLM",
    "AutoModelForImageTextToText",
    "AutoModelForZeroShotImageClassification",
    "AutoModelForImageClassification",
    "AutoModelForCTC",
    "AutoModelForAudioClassification",
    "AutoModel",
)


def timm_model(name: str, given: Mapping[str, object]) -> Factories:
    """Return a timm model, with inputs of its default size."""
    timm = _import_library("timm", f"timm:{name}")
    if not timm.is_model(name.partition(".")[0]):
        raise CommandError(f"timm has no model {name!r}.{nearest(name, timm.list_models())}")

    def example(model: nn.Module) -> Inputs:
        size: Any = getattr(model, "pretrained_cfg", {}).get("input_size") or (3, 224, 224)
        return _noise(2, *size)

    return _in_evaluation_mode(lambda: timm.create_model(name, pretrained=False, **given)), example


def torchvision_model(name: str, given: Mapping[str, object]) -> Factories:
    """Return a torchvision model, with inputs of the size that it was trained on."""
    vision = _import_library("torchvision", f"torchvision:{name}").models
    known: list[str] = vision.list_models()
    if name not in known:
        raise CommandError(f"torchvision has no model {name!r}.{nearest(name, known)}")
    build: Any = vision.get_model_builder(name)
    none = {"weights": None}
    if "weights_backbone" in build.__wrapped__.__annotations__:
        none["weights_backbone"] = None  # otherwise it is downloaded

    def example(model: nn.Module) -> Inputs:
        kind = type(model).__module__.removeprefix("torchvision.models.").partition(".")[0]
        side = _image_size(vision.get_model_weights(name))
        match kind:
            case "detection":
                return ([_noise(3, side, side)],)
            case "video":
                return _noise(1, 3, 16, side, side)
            case "optical_flow":
                return (_noise(1, 3, 128, 128), _noise(1, 3, 128, 128))
            case _:
                return _noise(2, 3, side, side)

    return _in_evaluation_mode(lambda: build(**none | dict(given))), example


def _image_size(weights: Iterable[Any]) -> int:
    """Return the height of the images that a model's weights were trained on."""
    for each in weights:
        size = getattr(each.transforms, "keywords", {}).get("crop_size")
        return 224 if size is None else size if isinstance(size, int) else size[0]
    return 224


def hf_model(name: str, given: Mapping[str, object]) -> Factories:
    """Return a transformers model with the default configuration of its type."""
    transformers = _transformers(f"hf:{name}")
    _check_type(name, f"hf:{name}")
    default = _build_config(transformers.AutoConfig.for_model, name)
    changes = _nested_fields(default, given)
    config = _build_config(transformers.AutoConfig.for_model, name, **changes)
    return _from_config(transformers, config)


def hf_model_from_file(path: Path, given: Mapping[str, object]) -> Factories:
    """Return a transformers model from a ``config.json``."""
    transformers = _transformers(str(path))
    source = path / "config.json" if path.is_dir() else path
    try:
        data = _as_dict(json.loads(source.read_bytes()))
    except OSError as error:
        raise CommandError(f"{source} can't be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{source} is not valid JSON: {error}") from error
    kind = None if data is None else data.get("model_type")
    if data is None or not isinstance(kind, str):
        raise CommandError(f"{source} has no model_type: it is not a transformers configuration")
    _check_type(kind, str(source))
    default = _build_config(transformers.AutoConfig.for_model, kind)
    changed = _merge_fields(data, _nested_fields(default, given))
    changed.pop("auto_map", None)  # code that comes with a model is never run
    config = _build_config(type(default).from_dict, changed)
    return _from_config(transformers, config)


def libraries_with(name: str) -> list[str]:
    """Return the targets of the installed libraries that have a model of this name."""
    found: list[str] = []
    for library in ("timm", "torchvision", "transformers"):
        if importlib.util.find_spec(library) is None:
            continue
        try:
            if library == "timm" and _import_library("timm", name).is_model(name):
                found.append(f"timm:{name}")
            elif library == "torchvision":
                known = _import_library("torchvision", name).models.list_models()
                found += [f"torchvision:{name}"] * (name in known)
            elif library == "transformers" and name in _model_types():
                found.append(f"hf:{name}")
        except Exception:  # noqa: S112 - a library that can't be imported has nothing to suggest
            continue
    return found


def _model_types() -> list[str]:
    types: Any = importlib.import_module("transformers.models.auto.configuration_auto")
    return list(types.CONFIG_MAPPING_NAMES)


def _check_type(name: str, text: str) -> None:
    known = _model_types()
    if "/" in name:
        raise CommandError(
            f"{text}: hf: takes a type of model, such as 'hf:bert', and nothing is downloaded. For "
            f"a model of the Hub: hf download {name} config.json --local-dir . ; then pass "
            f"config.json"
        )
    if name not in known:
        near = nearest(name, known)
        raise CommandError(f"{text}: transformers has no model type {name!r}.{near}")


def _build_config(build: Any, *args: object, **fields: object) -> Any:
    try:
        with stdout_to_stderr():
            return build(*args, **fields)
    except Exception as error:
        line = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise CommandError(f"transformers refuses this configuration: {line}") from error


def _as_dict(value: object) -> dict[str, Any] | None:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _nested_fields(default: Any, given: Mapping[str, object]) -> dict[str, Any]:
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


def _merge_fields(data: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    out = dict(data)
    for key, value in changes.items():
        old, new = _as_dict(out.get(key)), _as_dict(value)
        out[key] = value if old is None or new is None else _merge_fields(old, new)
    return out


def _from_config(transformers: Any, config: Any) -> Factories:
    class_names: list[str] = getattr(config, "architectures", None) or []
    chosen: Any = getattr(transformers, str(class_names[0]), None) if class_names else None
    if class_names and not hasattr(chosen, "_from_config"):
        raise CommandError(
            f"transformers has no model {class_names[0]!r}, which the configuration names in "
            f"architectures (code that comes with a model is never run): pass "
            f"--arg \"architectures=['...']\""
        )

    def make() -> Any:
        if class_names:
            return chosen._from_config(config)
        encodes = getattr(config, "is_encoder_decoder", False)
        usual = (*ENCODER_DECODERS, *OTHERS) if encodes else OTHERS
        rare = (name for name in dir(transformers) if name.startswith("AutoModelFor"))
        heads = (getattr(transformers, name, None) for name in (*usual, *rare))
        auto: Any = next((h for h in heads if h and type(config) in h._model_mapping), None)
        if auto is None:
            raise CommandError(f"transformers has no model class for {type(config).__name__}")
        return auto.from_config(config)

    return _in_evaluation_mode(make), lambda model: _hf_inputs(model, config)


def _hf_inputs(model: nn.Module, config: Any) -> Inputs:
    """Return small inputs for the argument that the class names as its main input."""
    text = config.get_text_config()
    vocabulary = getattr(text, "vocab_size", None)
    limit = 90 if not isinstance(vocabulary, int) or vocabulary <= 4 else min(vocabulary, 90)
    # 12 different tokens per sample, from 3 on: 0 to 2 are often padding, begin and end.
    tokens = torch.arange(24).view(2, 12) % (limit - 3) + 3
    name: str = getattr(model, "main_input_name", "input_ids")
    given: dict[str, Tensor] = {}
    match name:
        case "input_ids":
            given[name] = tokens
        case "pixel_values":
            given[name] = _images(getattr(config, "vision_config", config))
        case "input_values":
            given[name] = _noise(2, 16000)
        case "input_features":
            given[name] = _noise(2, *_spectrum(config))
        case _:
            kind = type(model).__name__
            raise LookupError(f"{kind} takes {name}, whose shape goodinit does not know")
    if getattr(config, "is_encoder_decoder", False):
        given["decoder_input_ids"] = tokens
    if hasattr(model, "logit_scale"):  # two towers that are compared, as in CLIP
        images = _images(getattr(config, "vision_config", config))
        given |= {"input_ids": tokens, "pixel_values": images}
    return given


def _images(config: Any) -> Tensor:
    side: Any = getattr(config, "image_size", None) or 224
    sides: list[int] = [side, side] if isinstance(side, int) else list(side)
    return _noise(2, getattr(config, "num_channels", 3), *sides)


def _spectrum(config: Any) -> tuple[int, int]:
    bins: int = getattr(config, "num_mel_bins", None) or 80
    frames = getattr(config, "max_source_positions", None)
    # Whisper: [bins, frames], twice as many as positions; the others: [frames, bins].
    return (bins, 2 * frames) if config.model_type == "whisper" and frames else (100, bins)


def _transformers(text: str) -> Any:
    # Set before the import: models are built from configurations, and nothing is downloaded.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    transformers: Any = _import_library("transformers", text)
    transformers.logging.set_verbosity_error()
    return transformers


def _import_library(name: str, text: str) -> Any:
    """Import a library, or raise an error that names what to install."""
    if importlib.util.find_spec(name) is None:
        raise CommandError(f"{text} needs {name}: pip install {name}")
    try:
        with stdout_to_stderr():
            if importlib.util.find_spec("torchvision") is not None:
                with_torchvision_operators(lambda: importlib.import_module("torchvision"))
            return importlib.import_module(name)
    except Exception as error:
        line = f"{type(error).__name__}: {error}".splitlines()[0]
        raise CommandError(f"{name} is installed, but importing it raised {line}") from error


def _noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _in_evaluation_mode(make: Callable[[], Any]) -> Callable[[], object]:
    """Leave out the library's warnings, which concern weights that are not kept."""

    def call() -> object:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return make().eval()

    return call


def with_torchvision_operators(call: Callable[[], T]) -> T:
    """Call a function that imports torchvision; declare missing operators and retry.

    torchvision's Python code registers rules for two operators of its compiled library, so its
    import fails if that library was built for another version of torch. timm and transformers
    import torchvision. Planning and drawing never call the operators: declaring them is enough.
    If torchvision can be imported, this function does nothing else.
    """
    try:
        return call()
    except Exception as error:
        if not _misses_operators(error):
            raise
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _DECLARED.append(library)
    return call()


def _misses_operators(error: BaseException | None) -> bool:
    while error is not None:
        if "operator torchvision::nms does not exist" in str(error):
            return not _DECLARED
        error = error.__cause__ or error.__context__
    return False


# Kept alive: the declarations end with the object.
_DECLARED: list[torch.library.Library] = []
