"""Where the user's code called goodinit: the line that a warning is about."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

_PACKAGE = str(Path(__file__).parents[1])


def callers_level() -> int:
    """Return the ``stacklevel`` with which ``warnings.warn`` names the line outside of goodinit."""
    frame: FrameType | None = sys._getframe(1)
    level = 1
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    return level
