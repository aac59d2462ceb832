"""Samples that become alike in a chain of weights, by these alone: GI104, and the biases, GI132.

With q the second moment before an activation f and c the cosine of two samples there, weights w of
fan_in n and biases b,

    q' = n E[w^2] E[f(u)^2] + E[b^2],  q' (1 - c') = n E[w^2] E[(f(u) - f(v))^2] / 2,

where u and v are normal with variance q and correlation c. The samples of an input differ: c = 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from goodinit.applying.lines import untried
from goodinit.explanation.chains import Chain, mean_square_after, strength
from goodinit.explanation.context import Context, Verdict, verdict
from goodinit.explanation.reading import ParameterValues
from goodinit.findings.biases import BIAS_SHARE, GATES, bias_dominates
from goodinit.findings.likeness import became_alike, has_enough_numbers
from goodinit.schemes import Zeros
from goodinit.schemes.operating_point import elementwise

ALIKE = "draw the weights larger and the biases smaller, or use an activation around 0"

# The grid of an average over two normal numbers, in standard deviations; a kink lies between
# two points of the first, which is an error of a percent.
FARTHEST, ALONG, ACROSS = 7.0, 161, 33
SMALLEST = 1e-12  # of q and 1 - c: rounding is all that is left


@dataclass(frozen=True, slots=True)
class _Step:
    """What a weight makes: its second moment without the bias, the bias's, and the cosine."""

    weight: ParameterValues
    passed: float
    bias: float
    cosine: float


def alike_findings(context: Context) -> Iterator[Verdict]:
    """Yield chains from the input to the output after which samples are alike."""
    biases = {id(one.slot.owner): one for one in context.parameters if not one.matrix}
    for chain in context.chains if context.graph is not None else ():
        if not _is_whole(context, chain):
            continue
        steps = _steps(chain)
        yield from _dominated(context, chain, steps, biases)
        seen = [
            step
            for step in steps  # one of zeros starts with nothing but its bias on purpose
            if strength(step.weight) and has_enough_numbers(step.weight.row.shape[0])
        ]
        if not seen or not became_alike(seen[-1].cosine):
            continue
        bias = biases.get(id(seen[-1].weight.slot.owner))
        if bias is not None and bias.constant and bias_dominates(seen[-1].bias, _whole(seen[-1])):
            continue  # a prior
        cause = (
            "outputs hardly depend on the inputs: by the weights, two samples that have nothing in "
            f"common have the cosine {seen[-1].cosine:.6f} there"
        )
        remedy = untried(ALIKE, context.whole_lines())
        yield verdict("GI104", "warning", [seen[-1].weight], cause, remedy)


def _is_whole(context: Context, chain: Chain) -> bool:
    """Whether it leads from the input to the output, through layers whose laws are known."""
    first, last = chain.links[0].weight.row.facets, chain.links[-1].weight.row.facets
    return (
        bool(first.takes_input)
        and last.part == "head"
        and all(link.weight.row.facets.kind == "linear" for link in chain.links)
        and all(
            not strength(one) if one.constant else context.identified(one).known
            for one in chain.weights
        )
    )


def _whole(step: _Step) -> float:
    return step.passed + step.bias


def _steps(chain: Chain) -> list[_Step]:
    found: list[_Step] = []
    q, apart = 1.0, 1.0
    for number, (link, bias) in enumerate(zip(chain.links, chain.biases, strict=True)):
        activation = link.activation if number else ""
        arrives, differs = mean_square_after(activation, q), _difference(activation, q, apart)
        if arrives is None or differs is None or not q < math.inf:
            break
        passed = strength(link.weight) * arrives
        q = max(passed + bias, SMALLEST)
        apart = min(max(strength(link.weight) * differs / q, SMALLEST), 1.0)
        found.append(_Step(link.weight, passed, bias, 1 - apart))
    return found if len(found) == len(chain.links) else []


def _difference(activation: str, q: float, apart: float) -> float | None:
    """Return E[(f(u) - f(v))^2] / 2 for normal u and v of variance q and correlation 1 - apart."""
    if not activation:
        return q * apart
    f = elementwise(activation)
    if f is None:
        return None
    along = torch.linspace(-FARTHEST, FARTHEST, ALONG, dtype=torch.float64, device="cpu")[:, None]
    across = torch.linspace(-FARTHEST, FARTHEST, ACROSS, dtype=torch.float64, device="cpu")
    mean, half = math.sqrt(q * (1 - apart / 2)), math.sqrt(q * apart / 2)
    density = torch.exp(-(along**2) / 2) * torch.exp(-(across**2) / 2)
    u, v = mean * along + half * across, mean * along - half * across
    return float(((f(u) - f(v)).square() * density).sum() / density.sum()) / 2


def _dominated(
    context: Context,
    chain: Chain,
    steps: list[_Step],
    biases: dict[int, ParameterValues],
) -> Iterator[Verdict]:
    """Yield the biases that hide a signal which has become small on its way."""
    for step, after in zip(steps, chain.links[1:], strict=False):
        one = biases.get(id(step.weight.slot.owner))
        unit = bias_dominates(step.bias, strength(step.weight) + step.bias)
        if one is None or unit or after.activation in GATES:  # the unit signal's is found apart
            continue
        if step.passed > SMALLEST and bias_dominates(step.bias, _whole(step)):
            cause = (
                f"more than {BIAS_SHARE:.0%} of its layer's second moment comes from it: what "
                f"arrives there has become as small as {step.passed:.2g}"
            )
            remedy = context.redraw([one], "draw it smaller", Zeros())
            yield verdict("GI132", "warning", [one], cause, remedy)
