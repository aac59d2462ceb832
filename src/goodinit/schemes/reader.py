"""Read schemes from plain data, which may come from any source."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import NoReturn, cast

from goodinit.errors import SchemeError, nearest
from goodinit.schemes import (
    grown,
    low_rank,
    matrices,
    mimetic,
    priors,
    ramps,
    state_space,
    sub_pixels,
    values,
    variance,
)
from goodinit.schemes.fields import as_float, short_repr
from goodinit.schemes.scheme import FACTS, Scaled, Scheme

_ALL: tuple[type[Scheme], ...] = (
    *(grown.DropUnits, grown.LikeRows, grown.PieceMeans),
    low_rank.LowRank,
    *(matrices.DeltaOrthogonal, matrices.Dirac, matrices.Identity, matrices.Orthogonal),
    matrices.Sparse,
    mimetic.Mimetic,
    priors.PriorBias,
    ramps.Ramp,
    *(state_space.LogRange, state_space.LogUniform, state_space.StepBias),
    sub_pixels.ICNR,
    *(values.AddNoise, values.Constant, values.Keep, values.Normal, values.Ones),
    *(values.TorchDefault, values.TruncatedNormal, values.Uniform, values.Zeros),
    *(variance.HeNormal, variance.HeUniform, variance.LeCunNormal, variance.LeCunUniform),
    *(variance.VarianceScaling, variance.XavierNormal, variance.XavierUniform),
)
_SECOND_NAMES: Mapping[str, type[Scheme]] = {
    "GlorotNormal": variance.GlorotNormal,
    "GlorotUniform": variance.GlorotUniform,
    "KaimingNormal": variance.KaimingNormal,
    "KaimingUniform": variance.KaimingUniform,
}
_NAMED = {kind.__name__: kind for kind in _ALL} | _SECOND_NAMES
_WITH_A_LAW = ("ICNR",)  # a field is a scheme
SCHEMES: Mapping[str, type[Scheme]] = {name: _NAMED[name] for name in sorted(_NAMED)}


def from_dict(
    data: object, where: str = "", more: Mapping[str, type[Scheme]] | None = None
) -> Scheme:
    """Return the scheme that ``Scheme.to_dict`` wrote.

    Args:
        data: a mapping with ``"scheme"``, its name, the fields that differ from the defaults, and
            ``"scaled"``, the powers of a ``Scaled``.
        where: named first in errors (a rule's number, a parameter).
        more: more schemes by name. Their fields may be schemes known here.

    Raises:
        SchemeError: an unknown scheme; a field that is unknown, missing, of the wrong type or
            refused by the scheme itself.

    Example:
        >>> from_dict({"scheme": "TruncatedNormal", "std": 0.02, "cut": [-2, 3]})
        TruncatedNormal(std=0.02, cut=(-2.0, 3.0))
        >>> from_dict({"scheme": "Normal", "std": 0.02, "scaled": {"depth": -0.5}})
        Normal(std=0.02).scaled(depth=-0.5)
        >>> from_dict({"scheme": "XavierUnifrom"}, where="rule 3")
        Traceback (most recent call last):
        goodinit.errors.SchemeError: rule 3: no scheme is called 'XavierUnifrom'. ...
    """
    try:
        return _read_scheme(data, more or {})
    except SchemeError as error:
        if not where:
            raise
        raise SchemeError(f"{where}: {error}", error.field) from error


def _read_scheme(data: object, more: Mapping[str, type[Scheme]]) -> Scheme:
    if not isinstance(data, Mapping):
        raise SchemeError(
            f"a scheme is a mapping such as {{'scheme': 'Zeros'}}, not {short_repr(data)}"
        )
    given = dict(cast("Mapping[object, object]", data))
    if "scheme" not in given:
        raise SchemeError(f"the mapping {short_repr(given)} doesn't say which scheme: add 'scheme'")
    kind = _scheme_class(given.pop("scheme"), {**SCHEMES, **more})
    scaled = "scaled" in given
    powers = _read_powers(given.pop("scaled")) if scaled else ()
    known = {field.name: field for field in dataclasses.fields(kind)}
    needed = [name for name, field in known.items() if field.default is dataclasses.MISSING]
    arguments = _check_fields(kind.__name__, given, [*known, "scaled"], needed)
    if kind.__name__ in (*more, *_WITH_A_LAW):
        arguments = {name: _read_inner(name, value) for name, value in arguments.items()}
    scheme = kind(**arguments)
    return Scaled(scheme, powers) if scaled else scheme


def _scheme_class(name: object, known: Mapping[str, type[Scheme]]) -> type[Scheme]:
    if name == "Function":
        _refuse("scheme", "Function holds code and can't be read from a file: set it in Python")
    if not isinstance(name, str) or name not in known:
        near = nearest(name, known)
        _refuse(
            "scheme", f"no scheme is called {short_repr(name)}.{near} Known: {', '.join(known)}"
        )
    return known[name]


def _read_inner(name: str, value: object) -> object:
    """Return the scheme in a field, or the value if it isn't one."""
    if not isinstance(value, Mapping):
        return value
    try:
        return _read_scheme(cast("Mapping[object, object]", value), {})
    except SchemeError as error:
        raise SchemeError(str(error), (name, *error.field)) from error


def _read_powers(data: object) -> tuple[tuple[str, float], ...]:
    if not isinstance(data, Mapping):
        _refuse("scaled", f"scaled is a mapping such as {{'depth': -0.5}}, not {short_repr(data)}")
    given = dict(cast("Mapping[object, object]", data))
    try:
        powers = _check_fields("scaled", given, list(FACTS), [])
        return tuple((fact, as_float("scaled", fact, power)) for fact, power in powers.items())
    except SchemeError as error:
        raise SchemeError(str(error), ("scaled", *error.field)) from error


def _check_fields(
    name: str, given: dict[object, object], known: list[str], needed: list[str]
) -> dict[str, object]:
    """Return the arguments, or raise if a name is unknown or missing."""
    for key in given:
        if not isinstance(key, str) or key not in known:
            near = nearest(key, known)
            what = f"{name} has no field {short_repr(key)}.{near} It has {', '.join(known)}"
            raise SchemeError(what, (key,) if isinstance(key, str) else ())
    for key in needed:
        if key not in given:
            raise SchemeError(f"{name} needs {key}, which is missing")
    return cast("dict[str, object]", given)


def _refuse(field: str, what: str) -> NoReturn:
    raise SchemeError(what, (field,))
