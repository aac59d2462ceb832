"""Libraries that draw, imported where they are needed."""

from __future__ import annotations

import importlib
from typing import Any

from goodinit.errors import ReportError

__all__ = ["needed"]


def needed(module: str) -> Any:
    """Import a module of a library that draws.

    Raises:
        ReportError: it isn't installed; says what to install.

    Example:
        >>> needed("no_such_library.figures")
        Traceback (most recent call last):
        goodinit.errors.ReportError: no_such_library isn't installed: pip install "goodinit[report]"
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        library = module.partition(".")[0]
        if (error.name or "").partition(".")[0] != library:  # something that the library lacks
            raise
        raise ReportError(f'{library} isn\'t installed: pip install "goodinit[report]"') from error
