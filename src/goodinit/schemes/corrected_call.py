"""The call of a scheme that works, made from one that doesn't."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import partial
from typing import Any, cast

from goodinit.errors import SchemeError
from goodinit.schemes.fields import short_repr
from goodinit.schemes.gains import NONLINEARITIES, known_name

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
_EXAMPLES: Mapping[str, object] = {
    "high": 0.1,
    "low": -0.1,
    "p": 0.01,
    "pieces": [[0, 1]],
    "sparsity": 0.9,
    "start": 0.0,
    "std": 0.02,
    "stop": 1.0,
    "value": 0.0,
}
# What other libraries call the choices.
_CHOICES: Mapping[object, object] = {
    "fan_average": "fan_avg",
    "fanavg": "fan_avg",
    "fanin": "fan_in",
    "fanout": "fan_out",
    "gaussian": "normal",
    "trunc_normal": "truncated",
    "truncated_normal": "truncated",
    "untruncated_normal": "normal",
}
LEAST_ALIKE = 0.75  # of a misspelled keyword, by difflib's ratio: "gain" is no "fan_in"


def corrected_call(
    kind: type[Any],
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
    torch_order: tuple[str, ...],
    *,
    examples: bool = True,
) -> str:
    """Return a call that works, near to the given one; "" if none is known.

    Without ``examples`` there is none if these values can't be repaired.

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
    if len(args) == 1 and isinstance(args[0], (list, tuple)) and len(fields) > 1:
        args = tuple(cast("list[object]", args[0]))  # Uniform((-1, 1))
    own = tuple(name for name, field in fields.items() if not field.kw_only)
    orders = (torch_order, own) if len(args) > len(own) else (own,)
    for order in (order for order in orders if order and args):
        line = _line(kind, fields, {**dict(zip(order, args, strict=False)), **named})
        if line:
            return line
    if args and not examples:
        return ""
    return _line(kind, fields, named) or (_line(kind, fields, {}) if examples else "")


def _known_name(name: str, known: list[str]) -> str:
    """Return the field that a keyword means, or ""."""
    if name in known:
        return name
    if _SYNONYMS.get(name) in known:
        return _SYNONYMS[name]
    return (get_close_matches(name, known, n=1, cutoff=LEAST_ALIKE) or [""])[0]


def _line(kind: type[Any], fields: Mapping[str, Any], given: dict[str, object]) -> str:
    """Return the call with these values, repaired, and examples for what is missing, or ""."""
    scheme = None
    for _ in range(2 * len(fields) + 1):  # each turn repairs or drops one value
        wrong = _completed(given, fields)
        try:
            # Past the metaclass, which would ask for a correct call again.
            scheme = type.__call__(kind, **given, **wrong)
            break
        except SchemeError as error:
            name = error.field[0] if error.field else ""
            if name not in given or not _repair(kind, given, name, fields):
                return ""
        except Exception:
            return ""
    if scheme is None or scheme.__dict__.get("std") == 0:  # a constant is hardly what was meant
        return ""
    shown = [
        f"{name}={_text(value)}"
        for name, field in fields.items()
        if (value := cast("object", getattr(scheme, name))) != field.default
    ]
    return "" if any("<" in text for text in shown) else f"gi.{kind.__name__}({', '.join(shown)})"


def _completed(given: Mapping[str, object], fields: Mapping[str, Any]) -> dict[str, object]:
    """Return values for the fields that are needed and were not given."""
    bound = given.get("low", given.get("high"))
    if isinstance(bound, (int, float)) and bound and {"low", "high"} <= fields.keys():
        symmetric = {"low": -abs(bound), "high": abs(bound)}  # U(-b, b)
        return {name: value for name, value in symmetric.items() if name not in given}
    missing = [n for n, f in fields.items() if f.default is dataclasses.MISSING and n not in given]
    return {name: _EXAMPLES[name] for name in missing if name in _EXAMPLES}


def _repair(
    kind: type[Any], given: dict[str, object], name: str, fields: Mapping[str, Any]
) -> bool:
    """Replace a value that a field refused by what is meant, move it to its field, or drop it.

    Return False for what is out of range, or none of the choices: the error says which are.
    """
    value = given.pop(name)
    better = _meant_value(value)
    if better is not None:
        given[name] = better
        return True
    if isinstance(value, (int, float, tuple, list)):
        return False
    takes = [n for n in fields if n not in given and n != name and isinstance(value, str)]
    moved = {n: value for n in takes if accepts(partial(type.__call__, kind), n, value)}
    given.update(moved)
    return bool(moved) or not isinstance(fields[name].default, (str, bool))


def accepts(build: Callable[..., object], name: str, value: object) -> bool:
    """Return whether a function takes a value for one of its arguments, and needs no other."""
    try:
        build(**{name: value})
    except Exception:
        return False
    return True


def _meant_value(value: object) -> object:
    """Return the number or name that a value stands for; None if it is neither, or is so already.

    >>> _meant_value("0.5"), _meant_value(-2), _meant_value("fanin"), _meant_value("he")
    (0.5, 2, 'fan_in', None)
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return -value if value < 0 else None
    if isinstance(value, str) and value.lower() in _CHOICES:
        return _CHOICES[value.lower()]
    try:
        if isinstance(value, tuple):
            pair = tuple(sorted(cast("tuple[float, ...]", value)))
            return pair if pair != value else None
        return float(cast("Any", value))  # a text, a tensor of one element
    except (TypeError, ValueError, RuntimeError):
        pass
    value = cast("object", value)
    name = known_name(getattr(value, "__name__", type(value).__name__))
    return name if not isinstance(value, str) and name in NONLINEARITIES else None


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else short_repr(value)
