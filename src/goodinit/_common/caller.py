"""Where the user's code called goodinit: the line that a warning is about, and its variables."""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path
from types import FrameType

_PACKAGE = str(Path(__file__).parents[1])


def callers_level() -> int:
    """Return the ``stacklevel`` with which ``warnings.warn`` names the line outside of goodinit."""
    frame: FrameType | None = sys._getframe(1)
    level = 1
    while frame is not None and _is_ours(frame):
        frame, level = frame.f_back, level + 1
    return level


def callers_values() -> Generator[object]:
    """Yield what the variables of the calling functions and of their modules hold.

    Before Python 3.13 a function that was looked at keeps its values until it returns.
    """
    frame: FrameType | None = sys._getframe(1)
    modules: set[int] = set()  # whose variables were yielded, by the ids of their dicts
    while frame is not None:
        if not _is_ours(frame):
            if frame.f_locals is not frame.f_globals:
                yield from list(frame.f_locals.values())
            if id(frame.f_globals) not in modules:
                modules.add(id(frame.f_globals))
                yield from list(frame.f_globals.values())
        frame = frame.f_back


def _is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_PACKAGE)
