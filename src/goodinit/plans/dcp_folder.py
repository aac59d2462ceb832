"""Folders of torch.distributed.checkpoint: names and shapes, read from their metadata alone."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from goodinit.errors import CheckpointError

__all__ = ["METADATA", "read_dcp_folder"]

METADATA = ".metadata"

# Metadata is a pickle, which could call anything: it may name these classes and nothing else.
_CLASSES = {
    "torch.distributed.checkpoint.metadata": None,  # any class that is defined there
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
    "torch": {"Size", "device"},
    "torch.serialization": {"_get_layout"},
    "pathlib": {"PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath"},
    "collections": {"OrderedDict"},
}


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


class _AsData(pickle.Unpickler):
    """Reads a pickle that may name a few classes of torch's and nothing else."""

    def find_class(self, module: str, name: str, /) -> Any:
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
