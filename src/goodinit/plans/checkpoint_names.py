"""Names of a checkpoint that differ from the model's by a prefix, or lie one dict deeper."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import cast

from goodinit._common.text import count
from goodinit.errors import RecipeError, nearest
from goodinit.plans.checkpoint import Checkpoint

Shapes = Mapping[str, tuple[int, ...] | None]
"""None: of any shape, as what a parametrized weight is stored in."""

DEEPEST = 2  # dicts in dicts that are searched: {"model": {"state_dict": {...}}}
MOST_PARTS = (
    6  # of a prefix: compilation, data parallelism, Lightning and PEFT together add as many
)
LEAST_SHARE = 0.5  # of the names under a prefix, or of those missing: then it isn't a coincidence


def misnamed(
    checkpoint: Checkpoint, left: Mapping[str, object], missing: Shapes
) -> tuple[str, str]:
    """Return what is wrong with the names of a checkpoint that fits only in part, and the fix.

    Args:
        checkpoint: what was passed.
        left: its keys that the model doesn't have, and their values.
        missing: names and shapes of the model's parameters that it doesn't have.

    Returns:
        Two empty texts if what is left over belongs elsewhere.

    Raises:
        RecipeError: nothing fits; says what to do.
    """
    nothing = len(left) == len(checkpoint.values)
    strip = extra_prefixes(left, missing)
    add = {} if strip else lacking_prefixes(left, missing)
    if strip or add:
        does, parts = ("strip", strip) if strip else ("add", add)
        listed = " or ".join(map(repr, parts))
        first, keys = next(iter(parts.items()))
        where = "within the names" if first.startswith(".") else "as a prefix"
        cause = f"{count(keys, 'key')} of {checkpoint.text} would fit: {where}, {does}"
        fix = _renamed(first, bool(strip), checkpoint.loads)
        if not nothing:
            return f"{cause} {listed}", fix
        raise RecipeError(f"no key of {checkpoint.text} fits this model. {cause} {listed}: {fix}")
    if not nothing:
        return "", ""
    inner = inner_checkpoints(checkpoint.values, missing)
    if inner:
        place = min(inner, key=lambda place: inner[place] != "")  # as it is, before renamed
        fix = f"pass {checkpoint.code}{place}"
        fix += f", with strip_prefix={inner[place]!r}" if inner[place] else ""
        others = [other for other in inner if other != place]
        fix += f", or the one in {' or '.join(others)}" if others else ""
        raise RecipeError(f"{checkpoint.text} holds this model's values in a dict inside: {fix}")
    first = next(iter(checkpoint.values))
    raise RecipeError(
        f"{checkpoint.text} has no parameter of this model; its first key is {first!r}."
        f"{nearest(str(first), missing)} Check the prefix of its keys"
    )


def _renamed(part: str, strip: bool, loads: bool) -> str:
    """Return the code that strips or adds a part of the names."""
    if part.startswith(".") and not strip:
        return f"rename them as model.state_dict() has them, with {part!r}"
    if strip and loads and not part.startswith("."):
        return f"gi.load_(..., strip_prefix={part!r})"
    key = f"k.removeprefix({part!r})" if strip else f"{part!r} + k"
    key = f"k.replace({part!r}, '.')" if part.startswith(".") else key
    return f"pass {{{key}: v for k, v in state.items()}}"


def extra_prefixes(left: Mapping[str, object], missing: Shapes) -> dict[str, int]:
    """Return the prefixes without which left-over keys are what the model lacks, in that shape.

    Returns:
        How many keys each prefix explains, the most first.

    Example:
        >>> import torch
        >>> extra_prefixes({"model.fc.weight": torch.ones(2, 3)}, {"fc.weight": (2, 3)})
        {'model.': 1}
    """
    hits = Counter(
        prefix
        for key, value in (left.items() if missing else ())
        for prefix, rest in _splits(key)
        if rest in missing and missing[rest] in (None, _shape(value))
    )
    under = Counter(prefix for key in left for prefix, _ in _splits(key) if prefix in hits)
    return _likely(hits, under, len(missing))


def lacking_prefixes(left: Mapping[str, object], missing: Shapes) -> dict[str, int]:
    """Return the prefixes with which left-over keys would be what the model lacks.

    >>> import torch
    >>> lacking_prefixes({"fc.weight": torch.ones(2, 3)}, {"net.fc.weight": (2, 3)})
    {'net.': 1}
    """
    hits = Counter(
        prefix
        for name, shape in missing.items()
        for prefix, rest in _splits(name)
        if rest in left and shape in (None, _shape(left[rest]))
    )
    under = Counter(dict.fromkeys(hits, len(left)))
    return _likely(hits, under, len(missing))


def inner_checkpoints(values: Mapping[str, object], known: Shapes) -> dict[str, str]:
    """Return where dicts inside hold values of the model, and the prefix they have there.

    >>> import torch
    >>> inner_checkpoints({"state_dict": {"fc.weight": torch.ones(2)}}, {"fc.weight": (2,)})
    {"['state_dict']": ''}
    """
    found: dict[str, str] = {}
    waiting = [("", values, 0)]
    while waiting:
        path, held, depth = waiting.pop(0)
        for key, value in held.items():
            if not isinstance(value, Mapping):
                continue
            inner = cast("Mapping[str, object]", value)
            place = f"{path}[{key!r}]"
            if any(name in known for name in inner):
                found[place] = ""
            elif prefixes := extra_prefixes(inner, known):
                found[place] = next(iter(prefixes))
            elif depth + 1 < DEEPEST:
                waiting.append((place, inner, depth + 1))
    return found


def _splits(name: object) -> set[tuple[str, str]]:
    """Return what can be taken out of a dotted name, and what is left: a prefix, or a part within.

    >>> sorted(_splits("a.b.weight"))
    [('.b.', 'a.weight'), ('a.', 'b.weight'), ('a.b.', 'weight')]
    """
    if not isinstance(name, str):
        return set()
    parts = name.split(".")
    return {
        (
            "." * (start > 0) + ".".join(parts[start:stop]) + ".",
            ".".join(parts[:start] + parts[stop:]),
        )
        for stop in range(1, len(parts))
        for start in range(max(0, stop - MOST_PARTS), stop)
    }


def _shape(value: object) -> tuple[int, ...] | None:
    shape = getattr(value, "shape", None)
    return None if shape is None else tuple(shape)


def _likely(hits: Counter[str], under: Counter[str], missing: int) -> dict[str, int]:
    most = [
        (prefix, keys)
        for prefix, keys in hits.most_common()
        if (keys > 1 and keys >= LEAST_SHARE * under[prefix]) or keys >= LEAST_SHARE * missing
    ]
    # A longer one that explains fewer keys than a shorter one explains its own part only.
    return {p: n for p, n in most if not any(p.startswith(q) and q != p for q, _ in most)}
