"""What is wrong with a call, by the signature of what was called."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping


def unfit_arguments(
    function: Callable[..., object], args: tuple[object, ...], kwargs: Mapping[str, object]
) -> str:
    """Return why a function can't be called with these arguments, or "" if it can.

    >>> unfit_arguments(len, (1, 2), {})
    'too many positional arguments'
    >>> unfit_arguments(len, (1,), {"size": 2})
    "unknown argument 'size'"
    """
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError as error:
        return str(error).replace("got an unexpected keyword argument", "unknown argument")
    return ""
