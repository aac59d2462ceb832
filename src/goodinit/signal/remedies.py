"""Remedies of findings: lines of Python to try, and words for where none of them helps."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from goodinit._common.memory import without_repeats
from goodinit.applying.lines import (
    Line,
    Untried,
    globs,
    init_line,
    library_lines,
    quoted,
    untried,
)
from goodinit.findings.depth import LAYERS_OF_DEPTH, steady_layers
from goodinit.findings.likeness import distinct_layers
from goodinit.schemes import Normal, Ones, Orthogonal, Scheme, Zeros
from goodinit.schemes.operating_point import operating_point
from goodinit.signal.paths import SIGMOIDS
from goodinit.signal.rows import Signal, SignalRow
from goodinit.trace import Inputs

AROUND = "put residual connections around the layers; replace sigmoids by tanh or relu"
LEAST_STD, LARGEST_STD = 1e-6, 1e3  # of a law that somebody would paste; streams draw more
MOST_IN_A_LINE = 8  # parameters: a longer line is no longer read


def draw(schemes: Mapping[str, Scheme], words: str) -> Untried:
    """Return the remedy that draws parameters again, or else the whole model.

    >>> draw({"0.bias": Zeros()}, "draw it smaller").lines[0].text
    'gi.init_(model, {"0.bias": gi.Zeros()})'
    """
    own = init_line(schemes, inputs=False)
    # Only the data flow shows the fans of a parameter that is in no layer of torch's.
    return untried(words, [own, *([init_line(schemes)] if own.drawn else []), *library_lines()])


def draw_whole(words: str, others: Sequence[Line] = ()) -> Untried:
    """Return the remedy that draws the whole model, by the default or else by other lines."""
    default, *library = library_lines()
    return untried(words, [default, *others, *library])


def redraw(
    rows: Sequence[SignalRow],
    params: Mapping[str, Tensor],
    law: Scheme,
    words: str,
    only: Sequence[str] | None = None,
) -> Untried:
    """Return the remedy that draws layers again: weights by a law, weights of norms 1, biases 0."""
    schemes: dict[str, Scheme] = {}
    for row in rows:
        for number, name in enumerate(row.params):
            one_dim = Ones() if row.kind == "norm" and not number else Zeros()
            if only is None or name in only:
                schemes[name] = law if params[name].dim() > 1 else one_dim
    return draw(schemes, words) if 0 < len(schemes) <= MOST_IN_A_LINE else draw_whole(words)


def rescaled_lines(
    rows: Sequence[SignalRow], params: Mapping[str, Tensor], factor: float
) -> list[Line]:
    """Return the lines that draw the weights of layers at the std that keeps what they pass.

    That of layers with factors between weight and product, which no plan sees, for example.
    """
    names = dict.fromkeys(n for row in rows for n in row.params if params[n].dim() > 1)
    shapes: dict[tuple[int, ...], list[str]] = {}
    for name in names:
        shapes.setdefault(tuple(params[name].shape), []).append(name)
    normal: dict[str, Scheme] = {}
    orthogonal: dict[str, Scheme] = {}
    for shape, alike in shapes.items():
        squares = [
            without_repeats(params[name].detach()).abs().double().square().mean().item()
            for name in alike
        ]
        std = math.sqrt(sum(squares) / len(squares) / factor) if factor > 0 else 0.0
        if not LEAST_STD < std < LARGEST_STD:
            return []
        for glob in globs(alike, params):
            normal[glob] = Normal(float(f"{std:.3g}"))
            orthogonal[glob] = Orthogonal(gain=float(f"{std * max(shape) ** 0.5:.3g}"))
    if not 0 < len(normal) <= MOST_IN_A_LINE:
        return []
    matrices = all(len(shape) == 2 for shape in shapes)  # a kernel's scale isn't that of a matrix
    return [init_line(normal), *([init_line(orthogonal)] if matrices else [])]


def zero_biases(rows: Sequence[SignalRow], params: Mapping[str, Tensor]) -> list[Line]:
    """Return the line that sets the biases of layers to 0; none if there are none, or too many."""
    layers = [row for row in rows if row.kind == "contract"]
    names = [name for row in layers for name in row.params[1:] if params[name].dim() == 1]
    return _constant_line(names, params, Zeros())


def unit_scales(rows: Sequence[SignalRow], params: Mapping[str, Tensor]) -> list[Line]:
    """Return the line that sets elementwise factors of the signal to 1."""
    names = [
        name
        for row in rows
        if row.kind == "mul" and len(set(row.takes)) == 1
        for name in row.params
        if params[name].numel() == max(params[name].shape, default=1)
    ]
    return _constant_line(names, params, Ones())


def _constant_line(
    names: Sequence[str], params: Mapping[str, Tensor], scheme: Scheme
) -> list[Line]:
    laws = dict.fromkeys(globs(list(dict.fromkeys(names)), params), scheme)
    return [init_line(laws, inputs=False)] if 0 < len(laws) <= MOST_IN_A_LINE else []


def words_of_depth(rows: Sequence[SignalRow], layers: int) -> str:
    """Return what helps where no draw keeps a signal, or its gradient, over depth."""
    uses = Counter(name for row in rows if row.kind == "contract" for name in row.params)
    name, steps = max(uses.items(), key=lambda pair: pair[1], default=("", 0))
    if steps >= LAYERS_OF_DEPTH:
        return (
            f"{name} is used {steps} times in a row: put gates (LSTM, GRU) or a norm between "
            "the steps, or take fewer of them"
        )
    gated = any(row.kind == "mul" and len(set(row.takes)) > 1 for row in rows)
    functions = Counter(
        row.function
        for row in rows
        if row.kind == "activation" and not (gated and row.function in SIGMOIDS)
    )
    function = max(functions, key=functions.__getitem__, default="")
    point = operating_point(function)
    steady = math.inf if point is None else steady_layers(point.slope)
    distinct = math.inf if point is None else distinct_layers(point.difference)
    norms, others = "norms", "relu, selu or tanh"
    if distinct < steady:  # the mean that makes samples alike passes a LayerNorm
        norms, others = "BatchNorm", "relu, gelu or tanh"
    words = f"put {norms} between the layers or residual connections around them"
    serves = min(steady, distinct)
    if point is None or math.isinf(serves):
        return words
    words = f"{words}, or use {others}"
    if layers - 1 <= serves:
        return words
    gain = math.sqrt(point.gain_squared)
    return (
        f"{words}: with its best gain, {gain:.3g}, {function} serves about {serves:.0f} plain "
        f"layers, and here are {layers}"
    )


def setter_before(signal: Signal, takes: Sequence[int]) -> SignalRow | None:
    """Return the nearest layer or norm with parameters among rows and those before them."""
    return _nearest(signal, takes, ("contract", "norm"))


def _nearest(
    signal: Signal, takes: Sequence[int], kinds: tuple[str, ...], classes: int = 0
) -> SignalRow | None:
    before = [number for number in takes if number >= 0]
    while before:
        number = max(before)
        before.remove(number)
        found = signal.rows[number]
        if found.kind in kinds and found.params and (not classes or classes in found.shape):
            return found
        before += [n for n in found.takes if n >= 0 and n not in before]
    return None


def draw_head_smaller(
    signal: Signal, params: Mapping[str, Tensor], number: int, classes: int
) -> Untried:
    """Return the remedy that draws an output projection so that its logits are N(0, 1).

    If it is also the embedding, its input contains the row that was looked up: that word's logit
    is the row's squared length, std^2 width, over the input's std; ln(classes) bounds it.
    """
    words = "draw the output projection smaller, so that its logits are near N(0, 1)"
    head = _nearest(signal, (number,), ("contract",), classes)
    matrices = [n for n in head.params if params[n].dim() > 1] if head is not None else []
    if head is None or len(matrices) != 1:
        return draw_whole(words)
    taken = [signal.rows[n].forward.second for n in head.takes if n >= 0]
    width, second = params[matrices[0]].numel() / classes, max(taken, default=1.0) or 1.0
    std = 1 / math.sqrt(width * second)
    if any(row.kind == "pick" and matrices[0] in row.params for row in signal.rows):
        std = min(std, math.log(classes) / width)
    if not LEAST_STD < std < LARGEST_STD:
        return draw_whole(words)
    schemes: dict[str, Scheme] = {matrices[0]: Normal(float(f"{std:.3g}"))}
    schemes |= {name: Zeros() for name in head.params if name not in matrices}
    return draw(schemes, words)


def freeze(names: Sequence[str]) -> Untried:
    """Return the remedy that freezes parameters."""

    def act(model: nn.Module, _: Inputs | None, __: int) -> None:
        for name in names:
            model.get_parameter(name).requires_grad_(False)

    words = "freeze them with requires_grad_(False), or use them"
    if len(names) > MOST_IN_A_LINE:
        return untried(words, [])
    listed = (f"model.get_parameter({quoted(name)}).requires_grad_(False)" for name in names)
    return untried(words, [Line(f"{'; '.join(listed)}  # or use it", act)])
