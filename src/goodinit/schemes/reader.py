"""Reads schemes back from plain data, which may come from anywhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import NoReturn, cast

from goodinit.errors import SchemeError, nearest
from goodinit.schemes import matrices, values, variance
from goodinit.schemes.fields import shown
from goodinit.schemes.scheme import Scaled, Scheme

__all__ = ["from_dict"]

DEEPEST = 8  # Scaled within Scaled; one is the most that anyone means

SCHEMES: Mapping[str, type[Scheme]] = {
    "Constant": values.Constant,
    "DeltaOrthogonal": matrices.DeltaOrthogonal,
    "Dirac": matrices.Dirac,
    "GlorotNormal": variance.GlorotNormal,
    "GlorotUniform": variance.GlorotUniform,
    "HeNormal": variance.HeNormal,
    "HeUniform": variance.HeUniform,
    "Identity": matrices.Identity,
    "KaimingNormal": variance.KaimingNormal,
    "KaimingUniform": variance.KaimingUniform,
    "Keep": values.Keep,
    "LeCunNormal": variance.LeCunNormal,
    "LeCunUniform": variance.LeCunUniform,
    "Normal": values.Normal,
    "Ones": values.Ones,
    "Orthogonal": matrices.Orthogonal,
    "Scaled": Scaled,
    "Sparse": matrices.Sparse,
    "TorchDefault": values.TorchDefault,
    "TruncatedNormal": values.TruncatedNormal,
    "Uniform": values.Uniform,
    "VarianceScaling": variance.VarianceScaling,
    "XavierNormal": variance.XavierNormal,
    "XavierUniform": variance.XavierUniform,
    "Zeros": values.Zeros,
}


def from_dict(data: object, where: str = "") -> Scheme:
    """Return the scheme that ``Scheme.to_dict`` wrote.

    Args:
        data: a mapping with ``"scheme"``, its name, and the fields that aren't the default's.
        where: named first in errors (a rule's number, a parameter).

    Raises:
        SchemeError: anything but that: an unknown scheme or field, one that is missing, of the
            wrong type, or refused by the scheme itself.

    Example:
        >>> from_dict({"scheme": "TruncatedNormal", "std": 0.02, "cut": [-2, 3]})
        TruncatedNormal(std=0.02, cut=(-2.0, 3.0))
        >>> from_dict({"scheme": "XavierUnifrom"}, where="rule 3")
        Traceback (most recent call last):
        goodinit.errors.SchemeError: rule 3: no scheme is called 'XavierUnifrom'. ...
    """
    return _read(data, where, DEEPEST)


def _read(data: object, where: str, levels: int) -> Scheme:
    if not isinstance(data, Mapping):
        _refuse(where, f"a scheme is a mapping such as {{'scheme': 'Zeros'}}, not {shown(data)}")
    given = dict(cast("Mapping[object, object]", data))
    if "scheme" not in given:
        _refuse(where, f"the mapping {shown(given)} doesn't say which scheme: add 'scheme'")
    name = given.pop("scheme")
    if name == "Function":
        _refuse(where, "Function holds code and can't be read from a file: set it in Python")
    if not isinstance(name, str) or name not in SCHEMES:
        near = nearest(name, SCHEMES) if isinstance(name, str) else ""
        _refuse(where, f"no scheme is called {shown(name)}.{near} Known: {', '.join(SCHEMES)}")
    if name == "Scaled":
        return _read_scaled(given, where, levels)
    kind = SCHEMES[name]
    known = {field.name: field for field in dataclasses.fields(kind)}
    needed = [name for name, field in known.items() if field.default is dataclasses.MISSING]
    return _build(kind, _checked(name, given, list(known), needed, where), where)


def _read_scaled(given: dict[object, object], where: str, levels: int) -> Scheme:
    arguments = _checked("Scaled", given, ["of", "powers"], ["of", "powers"], where)
    if levels == 0:
        _refuse(where, f"Scaled within Scaled, more than {DEEPEST} deep: multiply the powers out")
    of = _read(arguments["of"], f"{where}.of" if where else "of", levels - 1)
    powers = arguments["powers"]
    if not isinstance(powers, Mapping):
        _refuse(
            where, f"Scaled: powers is a mapping such as {{'depth': -0.5}}, not {shown(powers)}"
        )
    pairs = tuple(cast("Mapping[object, object]", powers).items())
    return _build(Scaled, {"scheme": of, "powers": pairs}, where)


def _checked(
    name: str, given: dict[object, object], known: list[str], needed: list[str], where: str
) -> dict[str, object]:
    """Return the arguments, with names that the scheme knows and none missing."""
    arguments: dict[str, object] = {}
    for key, value in given.items():
        if not isinstance(key, str) or key not in known:
            near = nearest(key, known) if isinstance(key, str) else ""
            has = ", ".join(known) or "no fields"
            _refuse(where, f"{name} has no field {shown(key)}.{near} It has {has}")
        arguments[key] = value
    for key in needed:
        if key not in arguments:
            _refuse(where, f"{name} needs {key}, which is missing")
    return arguments


def _build(kind: type[Scheme], arguments: dict[str, object], where: str) -> Scheme:
    try:
        return kind(**arguments)
    except SchemeError as error:
        if not where:
            raise
        raise SchemeError(f"{where}: {error}") from error


def _refuse(where: str, what: str) -> NoReturn:
    raise SchemeError(f"{where}: {what}" if where else what)
