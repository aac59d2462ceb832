"""Where the value that a class gave a parameter stands against the rules of the library.

Those draw what they understand. Whatever else holds one value, a pattern or deliberate zeros, or is
frozen, was set on purpose. A rule of the user's own draws whatever it matches.
"""

from __future__ import annotations

import math

from torch import Tensor

from goodinit.anatomy.held import held_by_bias
from goodinit.anatomy.rows import Block, Row
from goodinit.recipes.reasons import KEEPS, OWN_VALUES


def authors_reason(row: Row, trains: bool) -> str:
    """Return why a parameter keeps its value although a rule of the library matches, or "".

    ``trains``: some parameters aren't frozen. Where all are, that says nothing: a network that only
    gives targets is initialized like any other.
    """
    held = row.held
    if row.buffer or not (row.dtype.is_floating_point or row.dtype.is_complex):
        return ""
    if row.frozen and trains and not (held.what == "unknown" and _has_one_value(row)):
        return f"{KEEPS}its values: frozen"
    if row.meant:
        value = f"the value {held.value:g}" if held.what in ("zeros", "constant") else "its values"
        return f"{KEEPS}{value}: {row.meant}"
    bias = row.facets.part == "bias"
    if bias and held.apart and row.facets.kind != "norm":
        return OWN_VALUES
    if not (row.raw or bias) or not held.is_special or _is_ordinary_norm(row):
        return ""
    if held.what == "pattern":
        return f"{KEEPS}the pattern that its class gave it"
    return f"{KEEPS}the value {held.value:g} that its class gave it"


def gates_reason(row: Row, block: Block, bias: Tensor) -> str:
    """Return why the bias of one gate of torch's RNNs keeps its value, or "".

    A forget gate's 1 is what recipes give it.
    """
    if row.facets.kind != "recurrent" or row.facets.part != "bias" or row.raw or bias.dim() != 1:
        return ""
    held = held_by_bias(bias[slice(*block.box[0])])
    if held.what != "constant" or (block.name == "forget" and held.value == 1):
        return ""
    return f"{KEEPS}the value {held.value:g} that its class gave it"


def _is_ordinary_norm(row: Row) -> bool:
    """Whether a norm by feature holds what recipes give it: neutral, or small at an end."""
    facets = row.facets
    if facets.kind != "norm" or math.prod(row.shape) == 1 or facets.neutral is None:
        return False
    return facets.part == "out" or row.held.value == facets.neutral


def _has_one_value(row: Row) -> bool:
    """Whether recipes don't draw it at random, so that a lost value does no harm."""
    return not row.raw and (row.facets.part == "bias" or row.facets.kind == "norm")
