"""Optional libraries (plotly, matplotlib, rich, plotext), imported when they are needed."""

from __future__ import annotations

import importlib
from typing import Any

from goodinit.errors import ReportError


def import_optional(module: str) -> Any:
    """Import a module of an optional library.

    Raises:
        ReportError: it isn't installed; the message says what to install.

    Example:
        >>> import_optional("no_such_library.figures")
        Traceback (most recent call last):
        goodinit.errors.ReportError: no_such_library isn't installed: pip install "goodinit[report]"
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        library = module.partition(".")[0]
        if (error.name or "").partition(".")[0] != library:  # a dependency of the library
            raise
        raise ReportError(f'{library} isn\'t installed: pip install "goodinit[report]"') from error
