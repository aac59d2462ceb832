"""The call of a scheme that works, made from one that doesn't."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, cast

from goodinit.schemes.fields import short_repr

# What torch, numpy, Keras and JAX call the fields.
_SYNONYMS = {
    "a": "low",
    "b": "high",
    "loc": "mean",
    "maxval": "high",
    "minval": "low",
    "mu": "mean",
    "scale": "std",
    "sigma": "std",
    "stddev": "std",
    "val": "value",
}
# Of fields without a default that were not given; a place to start from.
_EXAMPLES: Mapping[str, object] = {"std": 0.02, "low": -0.1, "high": 0.1, "value": 0.0, "p": 0.01}


def corrected_call(
    kind: type[Any],
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
    torch_order: tuple[str, ...],
) -> str:
    """Return a call that works, near to the given one; "" if none is known.

    Example:
        >>> from goodinit.schemes import Normal, Uniform
        >>> corrected_call(Normal, (0, 0.02), {}, ("mean", "std"))
        'gi.Normal(std=0.02)'
        >>> corrected_call(Uniform, (), {"a": -0.5, "b": 0.5}, ())
        'gi.Uniform(low=-0.5, high=0.5)'
    """
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    named = {_known_name(name, list(fields)): value for name, value in kwargs.items()}
    named.pop("", None)
    orders = [torch_order, tuple(name for name, field in fields.items() if not field.kw_only)]
    for order in (order for order in orders if order and args):
        line = _line(kind, fields, {**dict(zip(order, args, strict=False)), **named})
        if line:
            return line
    return _line(kind, fields, named) or _line(kind, fields, {})


def _known_name(name: str, known: list[str]) -> str:
    """Return the field that a keyword means, or ""."""
    if name in known:
        return name
    if _SYNONYMS.get(name) in known:
        return _SYNONYMS[name]
    return (get_close_matches(name, known, n=1) or [""])[0]


def _line(kind: type[Any], fields: Mapping[str, Any], given: dict[str, object]) -> str:
    """Return the call with these values and examples for what is missing; "" if it raises."""
    bound = given.get("low", given.get("high"))
    if isinstance(bound, (int, float)) and bound and not {"low", "high"} <= given.keys():
        given = given | {"low": -abs(bound), "high": abs(bound)}  # U(-b, b)
    examples = {**_EXAMPLES, "f": None}
    for name, field in fields.items():
        if field.default is dataclasses.MISSING and name not in given and name in examples:
            given[name] = examples[name]
        if field.default is dataclasses.MISSING and name not in given:
            return ""  # the class would ask for a correct call again
    try:
        scheme = kind(**given)
    except Exception:
        return ""
    if scheme.__dict__.get("std") == 0:  # a constant is hardly what was meant
        return ""
    shown = [
        f"{name}={_text(value)}"
        for name, field in fields.items()
        if (value := cast("object", getattr(scheme, name))) != field.default
    ]
    return f"gi.{kind.__name__}({', '.join(shown)})"


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else short_repr(value)
