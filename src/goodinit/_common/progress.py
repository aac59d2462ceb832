"""A line on stderr that shows what takes long, if stderr is a terminal."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TextIO

DELAY = 1.0  # seconds before the line appears, so that short tasks show none
EVERY = 0.2  # seconds between two updates
_SHOWN = threading.Lock()
"""Held while a line is shown: a task within a task, or in another thread, shows none."""


@contextmanager
def progress_line(label: str, total: int | None = None) -> Generator[Callable[..., None]]:
    """Show a task, the share that is done and the seconds so far, on one line that goes at the end.

    Nothing is shown in a pipe or a file, in the first second, and within another task.

    Args:
        label: what is done: "drawing".
        total: number of steps, if it is known.

    Yields:
        A function to call after each step; its arguments are ignored.

    Example:
        >>> with progress_line("drawing", total=2) as step:
        ...     step()
        ...     step()
    """
    stream = sys.stderr
    if not _is_terminal(stream) or not _SHOWN.acquire(blocking=False):
        yield lambda *_: None
        return
    done, ended = [0], threading.Event()

    def step(*_: object) -> None:
        done[0] += 1

    def text() -> str:
        share = f" {min(done[0] / total, 1):.0%}" if total else ""
        return f"{label}{share}"

    # A thread, since one call into torch may take all the time there is.
    thread = threading.Thread(target=_show, args=(stream, text, ended), daemon=True)
    try:
        thread.start()
        yield step
    finally:
        ended.set()
        thread.join()
        _SHOWN.release()


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def _show(stream: TextIO, text: Callable[[], str], ended: threading.Event) -> None:
    start, longest = time.monotonic(), 0
    if ended.wait(DELAY):
        return
    while True:
        line = f"{text()}  {time.monotonic() - start:.0f} s"
        line = line[: shutil.get_terminal_size().columns - 1]
        longest = max(longest, len(line))
        stream.write(f"\r{line.ljust(longest)}")
        stream.flush()
        if ended.wait(EVERY):
            break
    stream.write(f"\r{' ' * longest}\r")
    stream.flush()
