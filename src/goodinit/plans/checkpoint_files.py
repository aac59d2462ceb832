"""Checkpoint files: safetensors, torch.save's, and sharded ones by their index."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import torch

from goodinit.errors import CheckpointError, nearest

SAFE = ".safetensors"
INDEX = ".index.json"
TORCH = (".pt", ".pth", ".bin", ".ckpt", ".th")
# Before it, a file could run code in spite of weights_only=True (CVE-2025-32434).
SAFE_TORCH = (2, 6)
_SHARD = re.compile(r"-\d+-of-0*(\d+)\.")


def read_file(path: str) -> Mapping[str, object]:
    """Return the values in a file, in a folder with one, or in the files that an index lists.

    Tensors are mapped into memory where the format allows it, not read.

    Raises:
        CheckpointError: the file can't be read, is cut short, or holds no values by name.
    """
    if Path(path).is_dir():
        return read_file(_file_in(Path(path)))
    if path.endswith(INDEX):
        return _read_sharded(Path(path))
    shard = _SHARD.search(Path(path).name)
    if shard and int(shard[1]) > 1:
        raise CheckpointError(
            f"{path} is one of {shard[1]} files: pass their index, the file beside it that ends "
            f"in {INDEX!r}, or the folder"
        )
    return _read_one(path)


def _read_one(path: str) -> Mapping[str, object]:
    if path.endswith(SAFE):
        return _read_safetensors(path)
    if path.endswith(TORCH):
        return _read_torch(path)
    raise CheckpointError(
        f"{path}: files that end in {SAFE}, {INDEX}, {', '.join(TORCH)} can be read, and folders "
        f"that hold one. Load it yourself, and pass a dict of tensors or arrays"
    )


def _file_in(folder: Path) -> str:
    """Return the only index in a folder, or else the only file with values."""
    for kinds in ((SAFE + INDEX,), (SAFE,), (INDEX,), TORCH):
        found = sorted(p.name for p in folder.iterdir() if p.name.endswith(kinds))
        if len(found) == 1:
            return str(folder / found[0])
        if found:
            raise CheckpointError(f"{folder} holds {', '.join(found[:4])}: name the file to load")
    raise CheckpointError(f"{folder} holds no file that ends in {SAFE} or {', '.join(TORCH)}")


def _read_safetensors(path: str) -> Mapping[str, object]:
    try:
        from safetensors import SafetensorError
        from safetensors import torch as files
    except ImportError as error:
        message = f"reading {path} needs safetensors: pip install safetensors"
        raise CheckpointError(message) from error
    try:
        load: Callable[[str], Mapping[str, object]] = files.load_file  # pyright: ignore[reportUnknownVariableType]
        return load(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    except SafetensorError as error:
        raise CheckpointError(f"{path} is cut short or no safetensors file: {error}") from error


def _read_torch(path: str) -> Mapping[str, object]:
    """Read what ``torch.save`` wrote, as data: nothing in the file is run."""
    try:
        Path(path).open("rb").close()
    except OSError as error:
        raise _unreadable(path, error) from error
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if version < SAFE_TORCH:
        raise CheckpointError(
            f"{path}: with torch {torch.__version__} such a file can run code when it is loaded, "
            f"even with weights_only=True. Use torch 2.6 or newer, or a {SAFE} file; or, if you "
            f"trust its source, pass torch.load({path!r})"
        )
    try:
        mapped = zipfile.is_zipfile(path)
        found: object = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except OSError as error:
        raise _unreadable(path, error) from error
    except Exception as error:
        line = (str(error).strip().splitlines() or [""])[0]
        raise CheckpointError(
            f"{path} is cut short, or holds more than tensors and plain data "
            f"({type(error).__name__}: {line:.200}). If you trust its source, load it yourself, "
            f"torch.load({path!r}, weights_only=False), and pass the state dict"
        ) from error
    if not isinstance(found, Mapping):
        raise CheckpointError(f"{path} holds a {type(found).__name__}, and no values by name")
    return cast("Mapping[str, object]", found)


def _read_sharded(path: Path) -> Mapping[str, object]:
    """Read the files that an index names, all beside it, and check that nothing is missing."""
    try:
        index: object = json.loads(path.read_bytes())
    except OSError as error:
        raise _unreadable(str(path), error) from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}") from error
    table: object = cast("dict[str, object]", index).get("weight_map") if _is_dict(index) else None
    if not _is_dict(table) or not table:
        raise CheckpointError(f"{path} has no weight_map: it isn't a sharded checkpoint's index")
    places = cast("dict[str, object]", table)
    values: dict[str, object] = {}
    for file in sorted(set(map(str, places.values()))):
        if Path(file).name != file:
            raise CheckpointError(f"{path}: {file!r} isn't a file beside the index")
        values |= _read_one(str(path.parent / file))
    missing = [key for key in places if key not in values]
    if missing:
        raise CheckpointError(
            f"{path} lists {missing[0]!r}, which isn't in {places[missing[0]]}."
            f"{nearest(missing[0], values)} The files are of another checkpoint, or not complete"
        )
    return values


def _is_dict(value: object) -> bool:
    return isinstance(value, dict)


def _unreadable(path: str, error: OSError) -> CheckpointError:
    return CheckpointError(f"{path} can't be read: {error.strerror or error}. Check the path")
