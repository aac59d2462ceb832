"""What the uses of computed weights come to: fans from the numbers of a replay."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import islice
from math import isfinite, prod

import torch

from goodinit.anatomy.added_terms import with_terms
from goodinit.anatomy.bilinear import is_summed_with_another, with_second_sum
from goodinit.anatomy.factors import is_caught, is_meant, with_factor
from goodinit.anatomy.joined import BESIDE, beside, joined
from goodinit.anatomy.looked_up import said_of_lookup
from goodinit.anatomy.made_signals import MadeSignals
from goodinit.anatomy.measured_products import DIGITS, MeasuredProducts
from goodinit.anatomy.meetings import (
    COUNTED,
    LARGEST,
    POWER,
    SEVERAL,
    SQUARED,
    has_a_role,
    said_of_what_follows,
)
from goodinit.anatomy.multiples import Multiple, Multiples
from goodinit.anatomy.next_activation import activation_after
from goodinit.anatomy.powers import times_more_summands
from goodinit.anatomy.roles import Roles
from goodinit.anatomy.tied_tables import said_of_rows
from goodinit.anatomy.uneven_masks import share_of_larger
from goodinit.dataflow.constants import mean_square
from goodinit.dataflow.equal_calls import key_of
from goodinit.dataflow.functions import role_of
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.influence import Influence, influences
from goodinit.dataflow.nodes import Node, Use
from goodinit.dataflow.norms import is_weight_of_norm
from goodinit.dataflow.replay import Computed, ReplayError, replaying
from goodinit.dataflow.response import params_of, response_of
from goodinit.dataflow.squares import square
from goodinit.dataflow.tape import Entry, Tape
from goodinit.dataflow.traversal import is_share, outputs_per_input, root, walk_forward

# What these do to a parameter is linear in it.
_LINEAR = frozenset("pick view cast join add mul contract".split())

SUMMED = "what it multiplies is multiplied by another activation, and summed"

KEPT = "it keeps its value"

# E[y^2]/E[x^2] of a normalized weight, from one draw of it, is nearly 1.
NEARLY_NORMED = 0.2

MIXED = "shares made of the data multiply it: how much of the sum is left isn't known"

PARTS = "its product is cut into weights of several products: its fan is that of one of them"

MIXED_WEIGHTS = "shares made of the data mix matrices of it: its fan is that of one of them"

# A network that generates weights from a learned code has fewer calls.
CALLS_OF_A_GENERATOR = 30

# Positions rotate what comes out of a norm in pairs of numbers, by cos and sin: their squares sum
# to 1. A weight that sums two numbers or more has a fan of 2 or more.
ROTATED = 1.5


class Answers:
    """Answers what a use of a computed weight comes to; equal layers are asked once.

    Args:
        graph: the data flow, with its tape.
        roles: of its weights.
        outputs: the nodes whose results the model returned.
        kept: numbers of the parameters that keep their values whatever they are used for.
    """

    def __init__(
        self,
        graph: Graph,
        roles: Roles,
        outputs: Collection[int] = (),
        kept: Collection[int] = (),
    ) -> None:
        self._graph = graph
        self._roles = roles
        self._kept = kept
        self._after = MeasuredProducts(
            graph, roles, outputs, self._is_kept, self._terms, self._is_asked
        )
        self._multiples = Multiples(graph, self._is_kept, self._present_square)
        self._made = MadeSignals(graph, self._is_kept)
        self._tape = graph.recorder.tape
        self._known: dict[object, dict[int, Influence] | str] = {}
        self._responses: dict[int, Computed] = {}
        self._shared: dict[object, list[Influence] | str] = {}
        self._squares: dict[int, float | None] = {}

    def applied(self, uses: list[Use], shape: tuple[int, ...]) -> tuple[list[Use], str]:
        """Return a parameter's uses with what is known of computed ones; and what is special.

        Returns:
            The uses, and the call that the parameter isn't additive in; it is kept.
        """
        live = [use for use in uses if self._graph.nodes[use.node].live]
        if live and not any(use.role == "contract" for use in live):
            # A table that is multiplied by constants, and then added.
            uses = [use for use in uses if use.role != "contract"]
        contractions = [use for use in uses if use.role == "contract"]
        if any(use.origin.made and not use.inputs for use in contractions):
            uses = [use for use in uses if use.role != "lookup" or self._graph.nodes[use.node].live]
        asked = deciding(self._graph, contractions) if contractions else None
        met = [use for use in contractions if self._graph.nodes[use.node].live]
        slices = len({use.origin.box for use in met or contractions}) > 1 and (met or contractions)
        found: list[Use] = []
        for use in uses:
            computed = use.operand is not None or use.met is not None or use.role == "feed"
            if computed and (asked in (None, use) or (slices and use in slices)):
                changed, special = self._applied(use, uses, shape)
                if special:
                    return [changed if one is use else one for one in uses], special
                found.append(changed)
            else:
                found.append(self._looked_up(use) if use.role == "lookup" else use)
        sums = [n for n, use in enumerate(found) if use.role == "contract"]
        place = next((n for n in sums if asked in (None, uses[n])), None)
        if place is not None:
            found[place] = self._with_calls_around(found[place], found)
        return found, ""

    def _looked_up(self, use: Use) -> Use:
        """Return a lookup with what is done with the rows."""
        return replace(use, doubt=use.doubt or said_of_lookup(self._graph, use))

    def _with_calls_around(self, use: Use, uses: list[Use]) -> Use:
        """Return a weight's use with the sums and factors that follow it."""
        contractions = [one for one in uses if one.role == "contract"]
        if use.met is not None and self._is_kept(use):
            return use
        doubt = said_of_what_follows(self._graph, self._roles, use, lambda u: not self._is_kept(u))
        if use.met is not None:
            use = self._with_calls_before(use)
            if doubt == BESIDE and (together := self._together(use)) is not None:
                return together
            return replace(use, doubt=use.doubt or doubt)
        given = use
        use = self._generating(joined(self._graph, use, contractions))
        use = with_second_sum(self._graph, self._roles, use)
        together = self._together(use) if doubt in ("", BESIDE, SEVERAL) else None
        if together is not None:
            use = together
        elif doubt := beside(self._graph, use) or doubt:
            use = replace(self._of_doubted(use, doubt), doubt=use.doubt or doubt)
        if _is_mixed(self._graph, use):
            return replace(use, doubt=use.doubt or MIXED)
        if lookups := [one for one in uses if one.role == "lookup"]:
            doubt = said_of_rows(self._graph, use, lookups)
            return replace(use, doubt=use.doubt or doubt)  # a tied table, with a scale of its own
        alone = together is not None or use.fan_in == given.fan_in  # not of several slices
        taken = self._graph.recorder.taken.get(use.node)
        if alone and taken is not None and self._tape.dtypes[taken].is_complex:
            return self._measured_after(use)
        found = with_factor(
            self._graph, self._roles, self._multiples, self._made, use, contractions
        )
        return self._measured_after(found) if alone and found == use else found

    def _terms(self, use: Use) -> float:
        """Return how many products are added to one, itself included."""
        together = self._together(use)
        return 1.0 if together is None else together.fan_in / use.fan_in

    def _is_asked(self, product: int) -> bool:
        """Whether something is said of what is made of the input of a product."""
        before = self._multiples.before(product)[0] if self._graph.nodes[product].signals else None
        return self._made.before(product) is not None or before != Multiple()

    def _measured_after(self, use: Use) -> Use:
        """Return a use with the size of what is made of its product where it meets others."""
        if use.doubt or has_a_role(self._graph, self._roles, use.node):
            return use
        after = self._after.after(use.node)
        return use if after is None else replace(_times(use, after.times), doubt=after.doubt)

    def _of_doubted(self, use: Use, doubt: str) -> Use:
        """Return a use with the fans of a power, of the largest or of a sum of normal products."""
        if use.doubt:
            return use
        if doubt in (SQUARED, POWER, LARGEST):
            return _times(use, times_more_summands(self._graph, use.node) or 1.0)
        after = self._after.after(use.node, always=True) if doubt in COUNTED else None
        return use if after is None else _times(use, after.times * self._terms(use))

    def _together(self, use: Use) -> Use | None:
        """Return a use with the fan of all products in its sum; None if these aren't known."""
        if use.doubt:
            return None
        return with_terms(self._graph, self._roles, use, lambda u: not self._is_kept(u))

    def _with_calls_before(self, use: Use) -> Use:
        """Return a use with what is made of its input; what follows its product was measured."""
        at = use.node
        while not self._graph.nodes[at].signals:  # where a factor is broadcast over a weight
            operands = self._graph.nodes[at].operands
            before = next((value.node for value in operands if value.params), None)
            if before is None:
                return use
            at = before
        taken = self._graph.recorder.taken.get(at)
        if taken is None or self._tape.dtypes[taken].is_complex:
            return use  # a Fourier transform is a part of what was measured
        one = replace(use, node=at)
        found = with_factor(self._graph, self._roles, self._multiples, self._made, one, [one])
        return replace(found, node=use.node)

    def _is_kept(self, use: Use) -> bool:
        """Whether a weight isn't drawn."""
        if use.param in self._graph.buffers or use.param in self._kept:
            return True
        one = None if use.operand is None else self._of(use, before=True)
        return isinstance(one, Influence) and one.kind == "special"

    def _present_square(self, use: Use) -> float | None:
        """Return the mean square of what a parameter is used as, at its present value."""
        if use.operand is None:
            return mean_square(self._graph.held.get(use.param))
        if use.operand not in self._squares:
            entries = self._tape.entries_for(use.operand, use.at, frozenset())
            self._squares[use.operand] = self._replayed_square(entries, use.operand)
        return self._squares[use.operand]

    def _replayed_square(self, entries: Sequence[int], operand: int) -> float | None:
        try:
            computed = Computed(self._tape, entries, [operand], by_rows=1.0)
            values = {n: source.value for n, source in computed.sources.items()}
            known = {
                n: computed.rows_taken(n, v.detach().cpu())
                for n, v in values.items()
                if v is not None
            }
            if len(known) < len(values):
                return None
            with replaying(), torch.no_grad():
                found = square(row := computed(known)) / row.numel()
            return found if isfinite(found) else None
        except ReplayError:
            return None

    def _generating(self, use: Use) -> Use:
        """Return a use whose result is used as a weight: it has the summands of both products."""
        node = self._graph.nodes[use.node]
        if node.generates is None:
            return use
        fan_in, fan_out, made, _ = node.generates
        made_by = [self._graph.nodes[root(self._graph, v.node)] for v in node.signals]
        if any(one.role == "softmax" or is_share(one.function) for one in made_by):
            fans = {"fan_in": fan_in, "fan_out": fan_out}
            return replace(use, **fans, measured=True, doubt=MIXED_WEIGHTS)
        doubt = f"its product goes through {made} and is used as a weight" if made else ""
        onward = walk_forward(self._graph, use.node, lambda n: n.role in ("view", "cast"))
        taken = (n for n in islice(onward, CALLS_OF_A_GENERATOR) if n.role == "contract")
        doubt = PARTS if len({n.index for n in taken}) > 1 else doubt
        fans = {"fan_in": use.fan_in * fan_in, "fan_out": use.fan_in * fan_out}
        return replace(use, **fans, measured=True, doubt=doubt)

    def _applied(self, use: Use, uses: Sequence[Use], shape: tuple[int, ...]) -> tuple[Use, str]:
        before, after = use.operand is not None, use.met is not None
        linear = not use.origin.bent and role_of(use.origin.made) in _LINEAR
        if before and use.role != "lookup" and (use.role == "contract" or not linear):
            one = self._of(use, before=True)
            function = (*use.origin.bent, use.origin.made)[0]
            if isinstance(one, str):
                return replace(use, doubt=f"{function}(W) comes before it, and {one}"), ""
            if one.kind == "special":
                bent = use.origin.bent
                known = use.role in ("mul", "norm", "feed", "lookup") and bent
                known = known or (use.role == "add" and "exp" in bent)
                doubt = self._said_of_kept(use) if use.role == "contract" else ""
                return replace(use, doubt=use.doubt or doubt), "" if known else f"{function}(p)"
            if use.role == "contract":
                return self._weight(use, one), ""
        if after and _is_followed(self._tape, use):
            one = self._of(use, before=False)
            if isinstance(one, str):
                return replace(use, doubt=one), ""
            if one.kind == "weight":
                rotated = one.fan(1.0) < ROTATED and is_weight_of_norm(self._graph, use)
                return (use if rotated else self._summed(use, one, uses, shape)), ""
            if one.kind == "special" and use.role == "feed":
                return use, f"{self._graph.nodes[use.node].function}(p)"
            known = one.kind == "scale"
            role = "mul" if known else use.role
            return replace(use, role=role, doubt=one.doubt if known else use.doubt), ""
        if after and use.role == "mul" and is_summed_with_another(self._graph, use.node):
            return replace(use, doubt=use.doubt or SUMMED), ""
        if use.role == "feed" and _makes_a_weight(self._graph, use.node):
            return replace(use, role="lookup"), ""
        if before and use.role == "lookup":
            return replace(use, doubt=f"{use.origin.made}(W) is looked up in its place"), ""
        return use, ""

    def _said_of_kept(self, use: Use) -> str:
        """Return what to say of a weight that is made of parameters that all keep their values."""
        made = self._known[("operand", use.operand, use.at)]
        kept = not isinstance(made, str) and all(
            param in self._kept or one.kind in ("special", "scale") for param, one in made.items()
        )
        square = self._present_square(use) if kept else None
        return "" if not square else self._unlike_one(use, use.fan_in * square, KEPT)

    def _weight(self, use: Use, one: Influence) -> Use:
        if one.kind == "scale":
            return replace(use, role="mul", doubt=one.doubt)
        if one.kind in ("in", "out"):
            return replace(use, adapter=one.kind, doubt=one.doubt)
        if one.kind == "free":
            return replace(use, doubt=self._unlike_one(use, use.fan_in * one.second))
        if one.kind != "weight":
            return replace(use, doubt=one.doubt)
        share = share_of_larger(self._graph, use) if one.exact else 1  # an integer stays one
        fan_in, fan_out = one.fan(use.fan_in) * share, one.fan(use.fan_out) * share
        function = use.origin.made
        doubt = f"{function}(W): {one.doubt}" if one.doubt else ""
        fans = {"fan_in": fan_in, "fan_out": fan_out, "factors": max(one.degree, 1)}
        return replace(use, **fans, measured=True, doubt=doubt)

    def _unlike_one(self, use: Use, square: float, why: str = "whatever is drawn") -> str:
        """Return what to say of a weight whose scale is a norm's, or that of values kept."""
        after = activation_after(self._graph, use.node) or ""
        square *= self._multiples.after(use.node)[0].square or 1.0
        if self._graph.nodes[use.node].signals:
            square *= self._multiples.before(use.node)[0].square or 1.0
        near = abs(square - 1) <= NEARLY_NORMED or is_meant(square, after)
        if near or is_caught(self._multiples, use.node):
            return ""
        return f"{why}, its product is {square**0.5:.3g} times as large as its input"

    def _summed(self, use: Use, one: Influence, uses: Sequence[Use], shape: tuple[int, ...]) -> Use:
        """Return a use as a contraction that no call shows.

        What all outputs depend on is what all inputs act on: fan_in * outputs = fan_out * inputs.
        """
        computed = self._responses[use.met or 0]
        per_input = self._outputs_per_input(computed, uses)
        axes = range(len(shape))
        return replace(
            use, role="contract", fan_in=one.fan(1.0), fan_out=one.fan(per_input), measured=True,
            inputs=tuple(axes[1:]) or (0,), outputs=tuple(axes[:1] if axes[1:] else ()),
            factors=max(one.degree, 1), doubt=one.doubt or _shares_in(self._tape, computed),
        )  # fmt: skip

    def _outputs_per_input(self, computed: Computed, uses: Sequence[Use]) -> float:
        outputs = sum(prod(computed.shape(target)) for target in computed.targets)
        before = [e for e in computed.entries if e.live and not e.meets]
        if any(computed.dtype(n).is_complex for e in before for n in e.outputs):
            # The numbers that go into a Fourier transform are real.
            sources = computed.sources.items()
            return outputs / sum(prod(s.shape) for _, s in sources if s.live and s.value is None)
        entries = {id(entry) for entry in computed.entries}
        nodes = [
            use.node
            for use in uses  # a factor that is broadcast over a weight is met before its sum is
            if (
                use.role == "mul" if use.met is None else id(self._tape.entries[use.met]) in entries
            )
        ]
        nodes = [index for index in nodes if self._graph.nodes[index].signals]
        # What meets the product of such a weight follows it, and is not its input.
        nodes = [n for n in nodes if set(nodes).isdisjoint(_made_of_weights(self._graph.nodes[n]))]
        return outputs_per_input(self._graph, nodes, outputs)

    def _of(self, use: Use, before: bool) -> Influence | str:
        """Return the influence of the parameter of a use; or why it isn't known."""
        key = ("operand", use.operand, use.at) if before else ("met", use.met)
        if key not in self._known:
            self._known[key] = self._ask(use, before)
        found = self._known[key]
        if isinstance(found, str):
            return found
        return found.get(use.param, "the calls that use it weren't recorded")

    def _ask(self, use: Use, before: bool) -> dict[int, Influence] | str:
        try:
            if before and use.operand is not None:
                entries = self._tape.entries_for(use.operand, use.at, frozenset())
                computed = Computed(self._tape, entries, [use.operand], by_rows=1.0)
                return self._study(computed, use.fan_in, data=False)
            computed = self._responses[use.met or 0] = response_of(self._tape, use.met or 0)
            return self._study(computed, 1.0, data=True)
        except ReplayError as error:
            return str(error)

    def _study(self, computed: Computed, fan: float, data: bool) -> dict[int, Influence] | str:
        params = _params(computed)
        key = (key_of(computed, self._tape), fan, data, tuple(n in self._kept for n in params))
        if key not in self._shared:
            with replaying():
                try:
                    found = influences(computed, fan, data, self._kept)
                except ReplayError as error:
                    self._shared[key] = str(error)
                else:
                    self._shared[key] = [found[param] for param in params]
        shared = self._shared[key]
        return shared if isinstance(shared, str) else dict(zip(params, shared, strict=True))


def _times(use: Use, times: float) -> Use:
    """Return a use with its fans multiplied by what is measured."""
    fans = {
        name: float(f"{fan * times:.{DIGITS}g}")
        for name, fan in (("fan_in", use.fan_in), ("fan_out", use.fan_out))
    }
    return use if times == 1 else replace(use, **fans, measured=True)


def _params(computed: Computed) -> list[int]:
    found = (source.param for source in computed.sources.values())
    return list(dict.fromkeys(param for param in found if param is not None))


def _makes_a_weight(graph: Graph, index: int) -> bool:
    """Whether a learned code is what a weight is generated from: it is to be N(0, 1)."""

    def follow(node: Node) -> bool:
        return node.role in ("view", "cast", "activation", "add", "norm") or bool(node.weights)

    after = islice(walk_forward(graph, index, follow), CALLS_OF_A_GENERATOR)
    return any(node.generates is not None for node in (graph.nodes[index], *after))


def _is_mixed(graph: Graph, use: Use) -> bool:
    """Whether a weight is multiplied, in one call, by a signal and by shares, or by one of n."""
    signals = graph.nodes[use.node].signals
    roots = [graph.nodes[root(graph, value.node)] for value in signals]
    return len(signals) > 1 and any(
        is_share(one.function) or one.role in ("bend", "choose") for one in roots
    )


def _shares_in(tape: Tape, computed: Computed) -> str:
    """Return what to say of products with shares between 0 and 1 that are made of the data."""
    for number, source in computed.sources.items():
        at = tape.makers.get(number) if source.live and source.value is None else None
        while at is not None and tape.entries[at].role in ("view", "cast"):
            at = tape.makers.get(tape.entries[at].inputs[0])
        if at is not None and is_share(tape.entries[at].name):
            return MIXED
    return ""


def _is_followed(tape: Tape, use: Use) -> bool:
    """Whether more than a product, number by number, is on the tape."""
    first = tape.entries[use.met or 0]
    outputs = set(first.outputs)
    if use.doubt or first.role != "mul":
        return True
    for entry in tape.entries[(use.met or 0) + 1 :]:
        if entry.live and not entry.aside and outputs.intersection(entry.inputs):
            alike = entry.role == "add" and _adds_another(tape, use, entry, outputs)
            if alike or entry.role not in ("view", "cast", "add"):
                return True
            outputs.update(entry.outputs)
    return False


def _adds_another(tape: Tape, use: Use, sum_: Entry, outputs: Collection[int]) -> bool:
    """Whether a sum adds another product of the same parameter: taps, one by one."""
    makers = (tape.makers.get(number) for number in sum_.inputs if number not in outputs)
    products = [at for at in makers if at is not None and tape.entries[at].meets]
    return any(use.param in params_of(tape, at) for at in products)


def _made_of_weights(node: Node) -> set[int]:
    return {value.node for value in node.operands if value.params}


def deciding(graph: Graph, uses: Sequence[Use]) -> Use:
    """Return the use that says what a weight is: the first on an activation.

    A table of constants (sinusoids of positions) is one too, unless the product is used in the
    place of a layer's weight.
    """

    def on_an_activation(use: Use) -> tuple[bool, bool, int]:
        node = graph.nodes[use.node]
        return node.live, bool(node.signals), -use.node  # no signal: a state of zeros

    first = max(uses, key=on_an_activation)
    if first.origin.made and not graph.nodes[first.node].function.startswith(("linear", "conv")):
        for use in uses:
            if not use.origin.made and any(not v.params for v in graph.nodes[use.node].operands):
                return use
    return first
