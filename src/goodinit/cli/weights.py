"""Weights in a safetensors file, with their recipe and seed in its metadata.

safetensors orders metadata at random, so goodinit writes the file itself: the same draw gives the
same bytes. Each tensor is stored once. Tied names are stored in the metadata, as
``safetensors.torch.save_model`` does, so that ``load_model`` reads the file.

=====================  ====================================================
key                    value
=====================  ====================================================
``format``             ``pt``, which transformers asks for
``goodinit.version``   goodinit's version
``goodinit.streams``   the version of the random streams, ``v1``
``goodinit.seed``      the seed
``goodinit.recipe``    the recipe, as TOML
``goodinit.digest``    the plan's digest
``goodinit.target``    the target, with its arguments
``goodinit.inputs``    the values of ``--input``, a JSON list
``goodinit.shard``     ``3/8`` if it is a part, without it the whole
``goodinit.check``     a hash of all other metadata
a tied name            the name under which its tensor is stored
=====================  ====================================================
"""

from __future__ import annotations

import ctypes
import hashlib
import json
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors import torch as files
from torch import Tensor, nn

import goodinit as gi
from goodinit._common.files import atomic_write
from goodinit._common.machine import usable_memory
from goodinit._common.progress import progress_line
from goodinit._common.text import count
from goodinit.cli.output import (
    CommandError,
    naming_file_errors,
    print_note,
)
from goodinit.streams import VERSION

DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2", torch.complex64: "C64",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint64: "U64", torch.uint32: "U32", torch.uint16: "U16", torch.uint8: "U8",
    torch.bool: "BOOL",
}  # fmt: skip


SHARD = "goodinit.shard"

LARGEST_SHARE = 0.25
"""A share of the usable memory: measuring takes the weights, their gradients and a copy of both."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a file's weights were drawn from, as text from the file that is not yet checked.

    The table above has the meaning of each field.
    """

    recipe: str
    seed: str
    digest: str
    target: str
    inputs: str = "[]"
    streams: str = VERSION
    version: str = gi.__version__


def state_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of a model's state dict, without its extra state."""
    state = cast("Mapping[str, object]", model.state_dict())
    return {name: value.detach() for name, value in state.items() if isinstance(value, Tensor)}


def names_by_tensor(tensors: Mapping[str, Tensor]) -> list[list[str]]:
    """Return the names of each distinct tensor, in alphabetical order.

    >>> a, b = torch.zeros(2), torch.zeros(2)
    >>> names_by_tensor({"x": a, "b": b, "a": a})
    [['a', 'x'], ['b']]
    """
    groups: dict[object, list[str]] = {}
    for name in sorted(tensors):
        tensor = tensors[name]
        place = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        groups.setdefault(place if tensor.numel() else name, []).append(name)
    return list(groups.values())


def fills_memory(file: Path) -> bool:
    """Return whether a file's weights leave no room for gradients and a copy of the model.

    >>> fills_memory(Path("no such file"))
    False
    """
    memory = usable_memory()
    return bool(memory) and file.is_file() and file.stat().st_size > LARGEST_SHARE * memory


def load_weights(model: nn.Module, file: Path, target: str) -> None:
    """Load weights. Names that only the model or only the file has are printed as a note.

    Raises:
        CommandError: no safetensors file, different shapes, or no name in common.
    """
    with open_weights(file):
        pass
    try:
        load_model: Callable[..., tuple[list[str], list[str]]] = files.load_model  # pyright: ignore[reportUnknownVariableType]
        missing, extra = load_model(model, file, strict=False)
    except RuntimeError as error:  # different shapes; torch lists each on its own line
        lines = [line.strip() for line in str(error).splitlines()[1:]] or [str(error)]
        more = f" And {len(lines) - 1} more" if len(lines) > 1 else ""
        raise CommandError(f"{file} does not fit {target}: {lines[0]}{more}") from error
    if {name for name, _ in model.named_parameters()} <= {*missing}:
        raise CommandError(f"{file} has no tensor of {target}: no name matches")
    left = "missing from the file and left as constructed"
    for names, what in ((missing, left), (extra, "in the file only")):
        if names:
            first = min(names)
            print_note(f"{count(len(names), 'tensor')} {what}: {first}{', ...' * (len(names) > 1)}")


def write_weights(path: Path, model: nn.Module, origin: Origin) -> tuple[int, int]:
    """Write a model's weights; see ``write_tensors``."""
    tensors = state_tensors(model)
    return write_tensors(path, tensors, names_by_tensor(tensors), origin, tensors.__getitem__)


def write_tensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    groups: Sequence[Sequence[str]],
    origin: Origin,
    read: Callable[[str], Tensor],
    shard: str = "",
) -> tuple[int, int]:
    """Write tensors, one after another. The file is replaced completely or not at all.

    ``tensors`` have shapes and dtypes, and may be on meta; ``read`` returns the values of a name
    when they are written.

    Returns:
        The number of tensors, and the number of bytes.

    Raises:
        CommandError: a tensor that the format can't store; the disk is full.
    """
    aliases = {alias: first for first, *others in groups for alias in others}
    facts = {f"goodinit.{key}": value for key, value in asdict(origin).items()}
    metadata = aliases | {"format": "pt"} | facts
    if shard:
        metadata[SHARD] = shard
    metadata["goodinit.check"] = _hash_metadata(metadata)
    # Largest elements first, so that each tensor starts at a multiple of its element size.
    stored = sorted(groups, key=lambda names: (-tensors[names[0]].itemsize, names[0]))
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    start = 0
    for name, *_ in stored:
        header[name], start = _header_entry(name, tensors[name], start)
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    bar = progress_line("writing", len(stored))
    with naming_file_errors(path), atomic_write(path) as new, new.open("wb") as file, bar as step:
        file.write(len(head).to_bytes(8, "little") + head)
        for name, *_ in stored:
            _write_bytes(file, read(name))
            step()
    return len(stored), 8 + len(head) + start


def _header_entry(name: str, tensor: Tensor, start: int) -> tuple[dict[str, object], int]:
    if tensor.dtype not in DTYPES or tensor.layout != torch.strided:
        raise CommandError(f"{name} is {tensor.dtype}, {tensor.layout}: safetensors can't hold it")
    stop = start + tensor.numel() * tensor.itemsize
    shape = list(tensor.shape)
    return {"dtype": DTYPES[tensor.dtype], "shape": shape, "data_offsets": [start, stop]}, stop


def _write_bytes(file: IO[bytes], tensor: Tensor) -> None:
    tensor = tensor.contiguous()
    if tensor.numel():
        length = tensor.numel() * tensor.itemsize
        file.write((ctypes.c_ubyte * length).from_address(tensor.data_ptr()))


def _hash_metadata(metadata: Mapping[str, str]) -> str:
    data = sorted((key, value) for key, value in metadata.items() if key != "goodinit.check")
    return hashlib.sha256(json.dumps(data).encode()).hexdigest()[:16]


@contextmanager
def open_weights(path: Path) -> Generator[Any]:
    """Open a safetensors file. Each tensor is read when it is requested.

    Raises:
        CommandError: the file can't be read, or is not a complete safetensors file.
    """
    opening: Any = safe_open
    try:
        with opening(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise CommandError(f"{path} is not a safetensors file, or is damaged: {error}") from error
    except OSError as error:
        raise CommandError(f"{path} can't be read: {error.strerror or error}") from error
    except RuntimeError as error:
        if "unable to mmap" not in str(error):
            raise
        raise CommandError(f"not enough memory to read {path}: {error}") from error


def read_origin(metadata: Mapping[str, str] | None) -> Origin | None:
    """Return the origin that is stored in a file's metadata; None if goodinit did not write it.

    >>> read_origin({"format": "pt"}) is None
    True
    """
    given = metadata or {}
    if not any(key.startswith("goodinit.") for key in given):
        return None
    names = [field.name for field in fields(Origin)]
    return Origin(**{name: given.get(f"goodinit.{name}", "") for name in names})


def metadata_changed(metadata: Mapping[str, str]) -> bool:
    """Return True if the metadata was changed after the file was written."""
    return metadata.get("goodinit.check") != _hash_metadata(metadata)
