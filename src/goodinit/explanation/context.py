"""What findings are made from, and the lines of code that fix them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from torch import nn

from goodinit._common.text import grouped_names
from goodinit.anatomy import Anatomy
from goodinit.anatomy.attention_scores import Scores
from goodinit.anatomy.sizes import Size
from goodinit.applying.lines import Line, Untried, globs, init_line, library_lines, untried
from goodinit.dataflow.graph import Graph
from goodinit.explanation.candidates import Candidate
from goodinit.explanation.chains import Chain
from goodinit.explanation.reading import ParameterValues
from goodinit.explanation.recognition import TRAINED, FoundLaw
from goodinit.findings import Finding, Severity
from goodinit.schemes import Constant, Keep, LeCunNormal, Normal, Ones, Scheme, Zeros

MOST_ENTRIES = 4  # of a mapping: a longer one is harder to read than a recipe that draws all


class Verdict(NamedTuple):
    """A finding and the names of its parameters."""

    finding: Finding
    names: tuple[str, ...]


def verdict(
    code: str, severity: Severity, rows: Iterable[ParameterValues], cause: str, remedy: str
) -> Verdict:
    """Return a finding about some parameters, with their names."""
    names = tuple(one.row.name for one in rows)
    return Verdict(Finding(code, severity, grouped_names(names), cause, remedy), names)


@dataclass(frozen=True)
class Context:
    """What findings are made from.

    Attributes:
        model: the model.
        parameters: its parameters with their values.
        laws: the law of each, by name.
        best: the recipe that they look like, if any.
        standard: the plan of the recipe ``standard``, the source of remedies.
        chains: weights that follow one another.
        heads: by name, the constant factor that an embedding tied to the head is scaled with.
        outputs: names of the weights that make the model's output.
        factors: by name, the number that a weight's result is multiplied by.
        scores: what makes the scores of each attention.
        subtracted: names of biases that the next norm subtracts.
        inputs: whether inputs were given, so that the data flow is known.
        numbers: of the parameters and buffers in the data flow, by name.
        graph: the data flow; None if the model was not run.
        anatomy: of the model.
        level: of each test.
    """

    model: nn.Module
    parameters: list[ParameterValues]
    laws: Mapping[str, FoundLaw]
    best: Candidate | None
    standard: Candidate
    chains: list[Chain]
    heads: Mapping[str, float]
    outputs: Collection[str]
    factors: Mapping[str, float]
    scores: Sequence[Scores]
    subtracted: Collection[str]
    inputs: bool
    level: float
    numbers: Mapping[str, int]
    graph: Graph | None
    anatomy: Anatomy

    def identified(self, parameter: ParameterValues) -> FoundLaw:
        """Return the law of a parameter."""
        return self.laws[parameter.row.name]

    def size_of(self, name: str) -> Size | None:
        """Return the size of a parameter's numbers; None if they don't follow one known law."""
        one = self.by_name.get(name)
        if one is None or len(one.parts) != 1 or not self.identified(one).known:
            return None
        sample = one.parts[0].sample
        fan_in = one.parts[0].site.fan_in or 0.0
        return Size(sample.mean, sample.std**2, fan_in) if sample.finite else None

    @cached_property
    def by_name(self) -> Mapping[str, ParameterValues]:
        """The parameters by their names."""
        return {one.row.name: one for one in self.parameters}

    @property
    def names(self) -> list[str]:
        """The names of all parameters."""
        return [one.row.name for one in self.parameters]

    @property
    def trained(self) -> bool:
        """Whether most weights look trained: nobody should draw them again."""
        matrices = [one for one in self.parameters if one.matrix and one.parts]
        trained = [one for one in matrices if self.identified(one).text == TRAINED]
        return len(trained) > len(matrices) / 2

    def whole_lines(self) -> list[Line]:
        """Return the lines that draw the whole model, the best first; none if it is trained."""
        return [] if self.trained else library_lines(inputs=self.inputs)

    def redraw(
        self,
        rows: Iterable[ParameterValues],
        words: str,
        scheme: Scheme | None = None,
        *,
        again: bool = False,
    ) -> Untried:
        """Return the remedy that draws these parameters and no others, or else the whole model.

        Args:
            rows: the parameters.
            words: what to do, where no line does it.
            scheme: what to draw; by default what ``standard`` draws.
            again: by default draw what the model's own recipe does, if one was found: for values
                that are damaged, where the recipe isn't to blame.
        """
        like = self.best if again and self.best is not None else self.standard
        by_scheme: dict[str, tuple[Scheme, list[str]]] = {}
        for one in rows:
            made = scheme if scheme is not None else self._instead(one, like)
            by_scheme.setdefault(repr(made), (made, []))[1].append(one.row.name)
        groups = sorted(by_scheme.values(), key=lambda group: -len(group[1]))
        left = {name for _, names in groups for name in names}
        entries: dict[str, Scheme] = {}
        for made, names in groups:  # a later entry overrides what a glob matches too much
            others = [name for name in self.names if name not in left]
            left -= {*names}
            entries |= dict.fromkeys(globs(names, [*others, *names]), made)
        own = [init_line(entries, inputs=self.inputs)]
        whole = self.whole_lines()
        if like.call and whole:
            whole.insert(0, init_line(like.recipe, like.call, inputs=self.inputs))
        return untried(words, whole if len(entries) > MOST_ENTRIES and whole else [*own, *whole])

    def _instead(self, parameter: ParameterValues, like: Candidate) -> Scheme:
        planned = like.rows.get(parameter.row.name)
        schemes = [block.scheme for block in planned.parts()] if planned else []
        scheme = next((s for s in schemes if not isinstance(s, Keep)), None)
        if scheme is not None and (
            not parameter.matrix or not isinstance(scheme, Zeros | Constant)
        ):
            return scheme
        if like is not self.standard:
            return self._instead(parameter, self.standard)
        if parameter.row.facets.kind in ("norm", "scale") and parameter.row.facets.part != "bias":
            return Ones()
        if parameter.matrix and parameter.row.facets.kind != "embedding":
            return LeCunNormal()
        return Zeros() if parameter.row.facets.part == "bias" else Normal(0.02)
