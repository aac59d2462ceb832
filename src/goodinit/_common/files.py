"""Atomic writes: a reader sees the old content or the new, never a part of either."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Generator[Path]:
    """Yield the path of a new file beside ``path``, which replaces it if nothing is raised.

    After an error (a full disk, Ctrl-C) the new file is removed and the old one stays.

    Args:
        path: the file to write. A link is followed and stays a link.

    Raises:
        OSError: the folder doesn't exist or can't be written, or the disk is full.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     target = Path(folder, "plan.json")
        ...     with atomic_write(target) as new:
        ...         _ = new.write_text("{}")
        ...     target.read_text(), len(os.listdir(folder))
        ('{}', 1)
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        if target.is_dir():
            raise IsADirectoryError(21, "it is a folder", str(path))
        yield target  # a pipe or /dev/stdout can't be replaced, only written
        return
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:  # names a file that nobody asked for
        raise type(error)(error.errno, error.strerror, str(path)) from None
    os.close(handle)
    new = Path(name)
    try:
        new.chmod(target.stat().st_mode & 0o777 if target.exists() else _usual_mode())
        yield new
        with new.open("rb+") as written:
            os.fsync(written.fileno())
        new.replace(target)
    finally:
        new.unlink(missing_ok=True)


def _usual_mode() -> int:
    """Return the mode that a plain ``open`` would give (a temporary file is private)."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
