"""Which weights of zeros ever learn: where a gradient arrives at once, or after others have moved.

Two things are followed through the calls of a run: whether a result may be other than 0, and
whether its gradient may be. A weight gets a gradient where both its input and its result's gradient
may be other than 0; then it counts as other than 0, and what it held back is tried again. Whatever
isn't known to keep zeros lets both through, so that a weight that is left has no way to move.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from goodinit.dataflow.functions import ZEROS
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node, Use

KEEP_ZERO = frozenset(
    "relu relu6 leaky_relu elu selu celu gelu silu mish tanh softsign hardtanh hardswish prelu "
    "rrelu tanhshrink hardshrink softshrink sin erf glu expm1 log1p sqrt square tan asinh atan "
    "sinh neg abs round floor ceil sum mean amax amin cumsum".split()
)
FLAT_AT_ZERO = frozenset(("relu", "relu6", "hardshrink", "softshrink"))  # no slope there
PASSING = frozenset(("view", "pool"))
FACTORS = frozenset(("contract", "mul", "norm", "lookup", "opaque"))
OFFSETS = frozenset(("add", "norm_bias"))
LOOKUPS = frozenset(("pick", "view"))  # of rows of a table, by a function or by brackets
COPIES = frozenset(("to", "contiguous", "clone", "type_as", "alias", "identity"))


@dataclass(frozen=True, slots=True)
class Step:
    """One call, as far as zeros are concerned.

    Attributes:
        takes: numbers of the steps whose results it takes; below 0 those of inputs.
        role: what the function does; see ``functions.py``.
        function: its name.
        factors: parameters that the signal is multiplied by.
        offsets: parameters that are added.
        constant: whether something else enters that isn't known to be 0.
        moves: whether its result is known to be other than 0.
        learns: whether its result is known to have a gradient.
    """

    takes: tuple[int, ...]
    role: str
    function: str
    factors: tuple[str, ...] = ()
    offsets: tuple[str, ...] = ()
    constant: bool = False
    moves: bool = False
    learns: bool = False


@dataclass(slots=True)
class _State:
    """What may be other than 0, given the parameters that are 0."""

    steps: Sequence[Step]
    outputs: Collection[int]
    zero: set[str]
    moves: list[bool] = field(default_factory=list[bool])
    learns: list[bool] = field(default_factory=list[bool])

    def update(self) -> None:
        self.moves = []
        for step in self.steps:
            self.moves.append(step.moves or self._may_move(step))
        self.learns = [step.learns or n in self.outputs for n, step in enumerate(self.steps)]
        for number in reversed(range(len(self.steps))):
            step = self.steps[number]
            for taken in step.takes if self.learns[number] else ():
                if taken >= 0 and self._passes_back(step, taken):
                    self.learns[taken] = True

    def arriving(self, step: Step) -> list[bool]:
        """Return whether each result that a step takes may differ from 0."""
        return [n < 0 or self.moves[n] for n in step.takes] or [True]

    def _open(self, step: Step) -> bool:
        """Return whether a step's factors let anything through: all of a product's must."""
        if step.role == "contract":
            return self.zero.isdisjoint(step.factors)
        return not step.factors or not self.zero.issuperset(step.factors)

    def _may_move(self, step: Step) -> bool:
        given = self.arriving(step)
        if any(name not in self.zero for name in step.offsets):
            return True
        if step.role == "contract" and not (step.constant and step.factors):
            enough = any(given) if step.factors else all(given)
            return enough and self._open(step)
        if step.role == "mul":
            return all(given) and self._open(step)
        if step.role == "norm" and self.zero.intersection(step.factors):
            return False  # whatever it subtracts or divides by
        if step.constant:
            return True
        if step.factors and (step.role in LOOKUPS or _starts_at_zero(step)):
            return self._open(step)
        if step.role == "norm":
            return any(given)
        known = step.role in ("add", "join") or step.role in PASSING
        if known or step.function in KEEP_ZERO or _is_copy(step):
            return any(given)
        return True

    def _passes_back(self, step: Step, taken: int) -> bool:
        """Return whether a gradient of a step's result may reach one that it takes."""
        others = [n for n in step.takes if n != taken]
        if step.role == "contract":
            reached = not others or any(n < 0 or self.moves[n] for n in others)
            return self._open(step) if step.factors else reached
        if step.role == "mul":
            return self._open(step) and all(n < 0 or self.moves[n] for n in others)
        if step.role == "norm":
            return not self.zero.intersection(step.factors)
        if _starts_at_zero(step):
            return self._open(step)
        return step.function not in FLAT_AT_ZERO or self.moves[taken]

    def moved(self) -> set[str]:
        """Return the parameters of zeros that get a gradient."""
        found: set[str] = set()
        for number, step in enumerate(self.steps):
            if not self.learns[number]:
                continue
            found.update(step.offsets)
            if any(self.arriving(step)) or step.constant or step.role == "opaque":
                found.update(step.factors)
        return found & self.zero


def _starts_at_zero(step: Step) -> bool:
    """Return whether a recurrent layer has no state but 0: then it returns 0 if all of it is."""
    return step.role == "opaque" and len(step.takes) == 1


def _is_copy(step: Step) -> bool:
    return step.role == "cast" and (step.function in COPIES or "dropout" in step.function)


def stuck_weights(
    steps: Sequence[Step],
    outputs: Collection[int],
    zero: Iterable[str],
    moved: Iterable[str] = (),
) -> set[str]:
    """Return the parameters of zeros that no gradient ever changes.

    ``zero`` names the parameters that are 0, ``moved`` those of them that are known to have a
    gradient; ``outputs`` are the numbers of the calls whose results the model returns.

    Example:
        >>> steps = [Step((-1,), "contract", "linear", ("a",)), Step((0,), "activation", "tanh")]
        >>> steps += [Step((1,), "contract", "linear", ("b",))]
        >>> sorted(stuck_weights(steps, {2}, {"a", "b"})), stuck_weights(steps, {2}, {"a"})
        (['a', 'b'], set())
    """
    used = {name for step in steps for name in (*step.factors, *step.offsets)}
    state = _State(steps, outputs, (set(zero) & used) - set(moved) if outputs else set())
    while state.zero:
        state.update()
        found = state.moved()
        if not found:
            break
        state.zero -= found
    return state.zero


def blocking_weights(
    steps: Sequence[Step], outputs: Collection[int], zero: Iterable[str]
) -> set[str]:
    """Return the weights of zeros after which no output depends on an input.

    Those of a last layer aren't among them: nothing that learns follows.

    Example:
        >>> steps = [Step((-1,), "contract", "linear", ("a",), ("bias",))]
        >>> steps += [Step((0,), "contract", "linear", ("b",))]
        >>> blocking_weights(steps, {1}, {"a"}), blocking_weights(steps, {1}, {"b"})
        ({'a'}, set())
    """
    followed = _followed(steps)
    last = {name for n, step in enumerate(steps) if not followed[n] for name in step.factors}
    state = _State(steps, outputs, set(zero) - last)
    if not state.zero or not outputs or min(outputs) < 0:
        return set()
    state.update()
    depends: list[bool] = []
    blocking: set[str] = set()
    for step in steps:
        arrives = any(n < 0 or depends[n] for n in step.takes)
        if arrives and _is_shut(step, state.zero):
            blocking |= state.zero.intersection(step.factors)
            arrives = False
        if step.role == "mul":
            arrives = arrives and all(state.arriving(step))
        depends.append(arrives)
    return set() if any(depends[n] for n in outputs) else blocking


def _is_shut(step: Step, zero: set[str]) -> bool:
    """Return whether nothing passes a step's factors."""
    if step.role == "contract":
        return not zero.isdisjoint(step.factors)
    return step.role in ("mul", "norm") and not step.moves and not zero.isdisjoint(step.factors)


def _followed(steps: Sequence[Step]) -> list[bool]:
    """Return whether a product with parameters follows each step."""
    found = [False] * len(steps)
    for number in reversed(range(len(steps))):
        step = steps[number]
        here = found[number] or (step.role in ("contract", "opaque") and bool(step.factors))
        for taken in step.takes:
            if taken >= 0:
                found[taken] = found[taken] or here
    return found


# From a data flow.


def steps_of(graph: Graph, names: Sequence[str]) -> tuple[list[Step], set[int]]:
    """Return the calls of a run, and the numbers of those whose results the model returns."""
    steps = [_step(graph, node, names) for node in graph.nodes]
    outputs = {n for span in graph.spans if not span.path for n in span.gives}
    return steps, outputs


def _step(graph: Graph, node: Node, names: Sequence[str]) -> Step:
    if not node.live:
        return Step((), node.role, node.function, moves=True)
    takes = tuple(-1 if graph.nodes[v.node].role == "source" else v.node for v in node.signals)
    if not all(map(is_plain, node.uses)):  # zeros that were changed
        return Step(takes, node.role, node.function, constant=True, moves=True)
    roles = {use.role for use in node.uses}
    factors = [names[u.param] for u in node.uses if u.role in FACTORS]
    offsets = [names[u.param] for u in node.uses if u.role in OFFSETS]
    params = {use.param for use in node.uses}
    known = {id(v) for v in (*node.signals, *(v for v in node.operands if v.params))}
    constant = node.number is not None or any(
        graph.nodes[v.node].function not in ZEROS  # as the first state of a recurrent layer
        and (id(v) not in known or not params.issuperset(o.param for o in v.params))
        for v in node.operands
    )
    constant = constant or not roles <= FACTORS | OFFSETS
    return Step(takes, node.role, node.function, tuple(factors), tuple(offsets), constant)


def is_plain(use: Use) -> bool:
    """Return whether a parameter was used as it is, so that its zeros are zeros of the call."""
    return not use.origin.made and not use.origin.shift and not use.origin.bent
