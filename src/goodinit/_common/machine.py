"""How much memory a process may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")


def usable_memory() -> int:
    """Return the bytes that this process may use: the machine's, or a limit's; 0 if unknown.

    A container and a batch system's job have a limit of their own, which kills what exceeds it.

    >>> usable_memory() >= 0
    True
    """
    if os.name != "posix":
        return 0
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_of_groups(), *_of_process()])


def _of_process() -> Iterator[int]:
    import resource  # not on Windows

    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        soft, _ = resource.getrlimit(kind)
        if soft != resource.RLIM_INFINITY:
            yield soft


def _of_groups() -> Iterator[int]:
    """Yield the limits of the control groups that the process is in, of version 2 and of 1.

    Inside of a container its own group is the root of what it sees.
    """
    try:
        lines = OWN_GROUPS.read_text().splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        name = "memory.limit_in_bytes" if controllers else "memory.max"
        own = GROUPS / controllers / path.lstrip("/")
        for folder in (own, *own.parents):
            try:
                text = (folder / name).read_text().strip()
            except OSError:
                continue
            if text.isdecimal():  # else "max"
                yield int(text)
