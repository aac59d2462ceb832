"""Whether a program runs as several processes."""

from __future__ import annotations

from torch import distributed


def is_one_of_many() -> bool:
    """Return whether this process is one of several that torch.distributed connects."""
    return (
        distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_world_size() > 1
    )
