"""Folders of torch.distributed.checkpoint: names and shapes from their metadata, and values."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from importlib import import_module
from inspect import signature
from pathlib import Path, PurePath
from typing import Any

import torch
from torch import Tensor

from goodinit.errors import CheckpointError

METADATA = ".metadata"

# Metadata is a pickle, which could call anything: it may name these classes and nothing else.
_CLASSES = {
    "torch.distributed.checkpoint.metadata": None,  # any class that is defined there
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
    "torch": {"Size", "device"},
    "torch.serialization": {"_get_layout"},
    "collections": {"OrderedDict"},
}
_OF_PATHS = ("pathlib", "pathlib._local")  # the second in files that Python 3.13 wrote
_PATHS = {"PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath"}


def read_dcp_folder(folder: Path) -> Mapping[str, object]:
    """Return the tensors that a checkpoint holds, on meta: no values are read.

    Raises:
        CheckpointError: the metadata can't be read, or asks for more than plain data.
    """
    try:
        with (folder / METADATA).open("rb") as file:
            metadata = _AsData(file).load()
        held: dict[str, Any] = metadata.state_dict_metadata
        return {
            name: torch.empty(tuple(one.size), dtype=one.properties.dtype, device="meta")
            for name, one in held.items()
            if hasattr(one, "size")
        }
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"{folder / METADATA} can't be read as the metadata of a torch.distributed.checkpoint "
            f"({type(error).__name__}: {error!s:.200}): pass the names it has, "
            f"keep=list(state_dict)"
        ) from error


def load_from_dcp_(state: Mapping[str, Tensor], folder: Path) -> None:
    """Read values into tensors, by their names in the checkpoint.

    Each process reads for itself: stages of a pipeline want other names than their neighbors.

    Raises:
        CheckpointError: they can't be read.
    """
    if not state:
        return
    from torch.distributed.checkpoint import state_dict_loader
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.filesystem import FileSystemReader

    functions = vars(state_dict_loader)
    load: Any = functions["load"]
    # Before torch 2.8 `load` takes no no_dist: connected processes would read together and wait
    # for those that read nothing. The older function takes it.
    if "no_dist" not in signature(load).parameters:
        load = functions["load_state_dict"]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch says that it is one process, or deprecated
            load(dict(state), storage_reader=FileSystemReader(folder), no_dist=True)
    except (Exception, CheckpointException) as error:  # the latter isn't an Exception
        line = (str(error).strip().splitlines() or [""])[-1]
        raise CheckpointError(
            f"{folder} can't be read: {type(error).__name__}: {line:.300}"
        ) from error


class _AsData(pickle.Unpickler):
    """Reads a pickle that may name a few classes of torch's and nothing else."""

    def find_class(self, module: str, name: str, /) -> Any:
        if module in _OF_PATHS and name in _PATHS:
            return PurePath  # any system's: it opens no file
        names = _CLASSES.get(module, set())
        if "." not in name:
            found = getattr(import_module(module), name, None) if module in _CLASSES else None
            if module == "torch" and isinstance(found, torch.dtype):
                return found
            own = names is None and isinstance(found, type) and found.__module__ == module
            if found is not None and (own or name in (names or ())):
                return found
        raise CheckpointError(
            f"the metadata of the checkpoint names {module}.{name}, which no checkpoint needs: it "
            f"could run code, and isn't read"
        )
