"""Rules that match nothing: what they mean, and the line that does it."""

from __future__ import annotations

import re

from torch import nn

from goodinit._common.text import several
from goodinit.anatomy.rows import Row
from goodinit.recipes.rule import Name, Rule, glob_matches
from goodinit.recipes.selector_guesses import glob_of

UNSEEN = {  # without inputs
    "adapter": "adapters are found in the data flow; pass inputs=",
    "residual": "without inputs= it isn't known which weights end a residual branch; pass them",
    "activation": "without inputs= it isn't known which function follows a weight; pass them",
    "head": "without inputs= it isn't known which layers are heads; pass them",
}


def _meant_key(glob: str, rows: tuple[Row, ...]) -> str:
    """Return the key of a mapping that a module's path, an attribute or a class stands for."""
    names = [r.name for r in rows if not r.buffer]
    weights = [r.name for r in rows if not r.buffer and r.facets.part != "bias"]
    own = [name for name in weights if name.rpartition(".")[0] == glob]
    if own:
        return repr(own[0])
    if any(name.startswith(f"{glob}.") for name in weights):
        return repr(f"{glob}.*weight")
    for attr in (glob, glob.removesuffix("s")):
        if any(name.endswith(f".{attr}") for name in names):
            return repr(f"*.{attr}")
    owners = {r.owner.__name__ for r in rows}
    kind, _, attr = glob.partition(".")
    if kind in owners and hasattr(nn, kind):
        return f"gi.sel.type(nn.{kind}) & gi.sel.attr({attr!r})" if attr else f"nn.{kind}"
    several = [part.strip() for part in re.split("[|,;]", glob)]
    if len(several) > 1 and all(
        any(glob_matches(part, name) for name in names) for part in several
    ):
        return " | ".join(f"gi.sel.name({part!r})" for part in several)
    return ""


def unused_message(rule: Rule, rows: tuple[Row, ...], how: str) -> str:
    """Return what to say of a rule that matches nothing, with the fix."""
    buffers = [
        row.name
        for row in rows
        if row.buffer and any(rule.where.matches(row, block) for block, _ in row.sites())
    ]
    aspects = set(rule.where.aspects)
    if "kind('adapter')" in rule.text:
        aspects.add("adapter")
    by_types = how == "module types"
    unseen = [text for aspect, text in UNSEEN.items() if by_types and aspect in aspects]
    if buffers:
        fix = (
            f"it matches only the buffer {buffers[0]}; rules apply to buffers only if they say "
            f"`& sel.part('buffer')`"
        )
    elif unseen:
        fix = unseen[0]
    elif "adapter" in aspects:
        fix = (
            "the model has no low-rank adapter, W x + s B A x; if it multiplies the factors first, "
            "name them: {'*lora_A': gi.HeUniform(a=5**0.5), '*lora_B': gi.Zeros()}"
        )
    elif "head" in aspects:
        fix = "no bias is added to what the model returns; a head without one needs bias=True"
    else:
        names = several(row.name for row in rows)
        fix = f"the model has {names}; correct the rule, or make it optional=True"
        if isinstance(rule.where, Name) and (meant := _meant_key(rule.where.glob, rows)):
            fix = f"names are dotted paths to parameters. Write {{{meant}: gi.{rule.scheme!r}}}"
        elif rule.text.startswith("type("):
            kinds = sorted(
                {f"nn.{r.owner.__name__}" for r in rows if hasattr(nn, r.owner.__name__)}
            )
            of = f"none of its modules is of that type; it has {several(kinds)}"
            fix = f"{of}. Write {{{kinds[0]}: gi.{rule.scheme!r}}}" if kinds else fix
        elif isinstance(rule.where, Name) and ".*" in rule.where.glob:
            meant = glob_of(rule.where.glob)
            if any(glob_matches(meant, row.name) for row in rows):
                fix = f"a glob isn't a regular expression. Write {{{meant!r}: gi.{rule.scheme!r}}}"
    return f"the rule {rule.text} matches nothing: {fix}"
