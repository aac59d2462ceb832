"""Zeros that are meant: the weight of an adapter, of a zero convolution, of a gate, of a head.

A weight of zeros in the trunk of a network is a placeholder or a mistake: no signal passes. Where
something else carries the signal, it is how an author lets a branch change nothing at first. The
same is true of values that are nearly zero.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from torch import Tensor

from goodinit.anatomy.carried import ZERO_AT_ZERO, is_carried
from goodinit.anatomy.held import SMALLEST, Held, held_by
from goodinit.anatomy.names import Slot, type_of
from goodinit.anatomy.rows import Facets
from goodinit.dataflow.graph import Graph

# The rms of what a weight makes of a signal of rms 1. Policies start with a last layer of gain .01,
# gMLP's gates and ViT's heads far below. The smallest law of a recipe, GPT-2's of a residual end,
# makes .04 of it in 100 layers of 768.
NEARLY_ZERO = 0.02

CARRIED = "something else carries the signal"
BESIDES = "others of its kind hold values"
BIAS = "its bias carries the signal"
BESIDE = "its weight starts at 0, or near it"
TUNES = "it tunes frozen weights"
SMALL = "no placeholder, and nearly 0"
OFF = "its class gives 1, and other weights hold values"
PATTERN = "a pattern, where others hold random ones"
ALIKE = "one value, where others hold random ones"
ASIDE = "by its name no signal passes through it"

# What names say of a class's own matrix of zeros, where nothing else is known: it is added to a
# signal, multiplies one, or lies beside one, and no signal has to pass through it.
_ASIDE = re.compile(
    "(?:^|_)(?:pos|position|positional|bias|mask|mem|memory|memorie|scale|shift|offset|affine|mean|"
    "std|var|sigma|temperature|alpha|beta|gamma)(?:e?s)?(?:_|$)",
    re.IGNORECASE,
)
_WEIGHT = re.compile("weight|proj|kernel|matrix|^w_", re.IGNORECASE)  # tells of one all the same

_DRAWN = ("norm", "position", "token")  # what recipes draw, besides weights and biases


@dataclass(slots=True)
class Parameter:
    """A parameter or buffer, what is known of it, and what it holds."""

    slot: Slot
    facets: Facets
    held: Held
    raw: bool


def meant_zeros(
    parameters: Sequence[Parameter], graph: Graph | None, outputs: Collection[int]
) -> dict[int, str]:
    """Return why zeros are meant, or values that are nearly 0, by number of the parameter.

    They never are where all weights of a model are like that, except by their names.
    """
    unseen = [n for n in range(len(parameters)) if graph is None or n not in graph.sources]
    found = _patterns(parameters) | {n: ASIDE for n in unseen if _is_aside(parameters[n])}
    empty = [n for n, one in enumerate(parameters) if _is_small(one)]
    if not empty:
        return found
    zero = {number for number in empty if _is_nearly_zero(parameters[number])}
    weights = {number for number, one in enumerate(parameters) if _is_weight(one)}
    if any(is_frozen_weight(parameters[number]) for number in weights - zero):
        new = (n for n in empty if _is_new_and_zero(parameters[n], graph is None))
        found |= dict.fromkeys(new, TUNES)
    if not zero or weights <= zero:
        return found
    siblings = _Siblings(parameters, zero)
    for number in sorted(zero - found.keys()):
        if siblings.meant_biases(number):
            found[number] = BIAS
        elif _is_layer_of_scores(parameters[number]):
            found[number] = CARRIED
        elif graph is not None and number in graph.sources:
            if is_carried(graph, number, zero, outputs):
                found[number] = CARRIED
        elif siblings.hold_values(number):
            found[number] = BESIDES
        elif siblings.are_off(number):
            found[number] = OFF
        elif parameters[number].raw and parameters[number].held.rms > SMALLEST:
            found[number] = SMALL
    for number in list(found):
        found |= dict.fromkeys(siblings.meant_biases(number), BESIDE)
    return found


def _patterns(parameters: Sequence[Parameter]) -> dict[int, str]:
    """Return the weights of layers that hold a pattern: an identity, a blur, interpolation.

    And tables of one value, such as the scales that a norm takes for each class. Where no weight
    holds values, somebody wrote over them all. On meta none is known to.
    """
    weights = [n for n, one in enumerate(parameters) if _is_weight(one) and not one.slot.buffer]
    if all(parameters[number].held.what not in ("values", "unknown") for number in weights):
        return {}
    layers = [n for n in weights if not parameters[n].raw and parameters[n].slot.how == "plain"]
    found = {n: PATTERN for n in layers if parameters[n].held.what == "pattern"}
    return found | {n: ALIKE for n in layers if _is_table_of_one_value(parameters[n])}


def _is_table_of_one_value(one: Parameter) -> bool:
    table = one.facets.layout is not None and one.facets.layout.lookup
    return table and one.held.what == "constant"


def _is_layer_of_scores(one: Parameter) -> bool:
    """Whether a layer that chooses experts was set to 0: at first it prefers none of them."""
    return one.facets.kind == "router" and not one.raw


def _is_aside(one: Parameter) -> bool:
    """Whether it is a class's own matrix of zeros, and its name tells of no weight."""
    zeros = one.raw and one.held.what == "zeros" and _is_weight(one) and not one.slot.buffer
    return zeros and _names_aside(one.slot.name)


def _names_aside(name: str) -> bool:
    """Whether the last part of a dotted name that isn't a number tells of no weight.

    >>> [_names_aside(name) for name in ("attn.rel_pos_h", "mem_kv.0", "pos.w", "pos_proj")]
    [True, True, False, False]
    """
    own = next((part for part in reversed(name.split(".")) if not part.isdigit()), "")
    return bool(_ASIDE.search(own)) and not _WEIGHT.search(own)


def _is_small(one: Parameter) -> bool:
    return one.held.rms != math.inf or _is_constant_of_layer(one)


def _is_constant_of_layer(one: Parameter) -> bool:
    """Whether a known layer holds one value: recipes draw it, but those of raw parameters stay."""
    return one.held.what == "constant" and not one.raw


def _is_weight(one: Parameter) -> bool:
    return one.facets.layout is not None and one.facets.part not in ("bias", "buffer")


def is_frozen_weight(one: Parameter) -> bool:
    """Whether a parameter isn't trained, and holds something."""
    return not one.slot.tensor.requires_grad and one.held.what not in ("unknown", "zeros")


def _is_new_and_zero(one: Parameter, blind: bool) -> bool:
    """Whether it is an adapter's own parameter: its class added it to train it from 0.

    ``blind``: no data flow says whether a signal passes the weights of layers that hold zeros.
    """
    new = one.raw or (blind and _is_weight(one))
    return new and one.held.what == "zeros" and one.slot.tensor.requires_grad


def _is_own_bias(one: Parameter) -> bool:
    return one.facets.part == "bias" and not one.raw


def _is_set(bias: Tensor) -> bool:
    held = held_by(bias)
    return held.is_special or (held.what == "values" and bool((bias.detach().abs() > 1).any()))


def _is_nearly_zero(one: Parameter) -> bool:
    facets, held = one.facets, one.held
    if facets.kind == "norm" and facets.neutral == 0.0:
        return False  # x * (1 + w) passes as it is
    if one.slot.buffer or facets.part == "bias" or not (_is_weight(one) or facets.kind in _DRAWN):
        return False
    constant = _is_constant_of_layer(one)
    if not (held.what == "values" or constant) or facets.layout is None or facets.layout.lookup:
        return held.what == "zeros"  # rows of a table are small
    if not _is_small(one):
        return False
    fan_in, _ = facets.layout.fans(one.slot.logical_shape)
    # The blocks' is also that of a product with other weights.
    fan_in = next((block.fan_in for block in facets.blocks), fan_in)
    rms = abs(held.value) if constant else held.rms
    return rms * (fan_in or 1.0) ** 0.5 <= NEARLY_ZERO


class _Siblings:
    """What the parameters beside one hold: in its module, and in others of that class."""

    def __init__(self, parameters: Sequence[Parameter], zero: set[int]) -> None:
        self._parameters = parameters
        self._by_owner: defaultdict[int, list[int]] = defaultdict(list)
        for number, one in enumerate(parameters):
            self._by_owner[id(one.slot.owner)].append(number)
        lively = [
            number
            for number, one in enumerate(parameters)
            if number not in zero and one.held.what != "zeros"
        ]
        self._classes = {self._key(number) for number in lively}
        self._lively = {number for number in lively if _is_weight(parameters[number])}

    def meant_biases(self, number: int) -> list[int]:
        """Return the layer's own biases that hold what no law of torch's gives.

        One value, a pattern, or values beyond 1/sqrt(fan_in), torch's bound, which is 1 at most.
        """
        own = [n for n in self._by_owner[self._owner(number)] if _is_own_bias(self._parameters[n])]
        return [n for n in own if _is_set(self._parameters[n].slot.tensor)]

    def hold_values(self, number: int) -> bool:
        """Whether modules of that class have values there, or a raw one's module other weights.

        Zeros in all modules of a class are placeholders.
        """
        activation, *_ = (self._parameters[number].facets.activation or "").partition("(")
        if activation in ZERO_AT_ZERO:
            return False  # in the trunk: nothing would pass
        beside = self._by_owner[self._owner(number)]
        if self._parameters[number].raw and any(map(self._is_lively, beside)):
            return True
        return self._key(number) in self._classes

    def are_off(self, number: int) -> bool:
        """Whether a norm of a known class holds zeros for its 1: its branch changes nothing."""
        one = self._parameters[number]
        activation, *_ = (one.facets.activation or "").partition("(")
        norm = not one.raw and one.facets.kind == "norm" and one.facets.part != "bias"
        return norm and activation not in ZERO_AT_ZERO and bool(self._lively)

    def _is_lively(self, number: int) -> bool:
        """Whether it is a weight that holds values, or its class set it to one of its own."""
        one = self._parameters[number]
        return number in self._lively or (one.raw and one.held.is_special)

    def _owner(self, number: int) -> int:
        return id(self._parameters[number].slot.owner)

    def _key(self, number: int) -> tuple[type, str]:
        slot = self._parameters[number].slot
        return type_of(slot.owner), slot.attr
