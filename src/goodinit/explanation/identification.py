"""`Identification`: which recipe a model follows, facet by facet, and where it deviates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from goodinit._common.result import Result, plain_data
from goodinit._common.text import count, escaped, grouped_names, html_table, labeled, several, table
from goodinit.anatomy.rows import Facets

FACETS = (
    *("embeddings", "attention", "feed-forward", "convolutions", "other weights"),
    *("residual ends", "head", "adapters", "norms", "scales", "biases", "other parameters"),
)
"""Groups of parameters that recipes treat alike, in the order in which they are shown."""

HEAD = ("facet", "as the recipe", "also as")
MOST_ALIKE = 3  # recipes that a cell names
MOST_DEVIATIONS = 6  # kinds of deviations that a text shows: with the table, a screen
LEAST_SHOWN = 1e-99  # a smaller p-value says no more


def facet_of(facets: Facets) -> str:
    """Return the group of ``FACETS`` that a parameter belongs to."""
    if facets.kind in ("embedding", "position", "token"):
        return "embeddings"
    if facets.kind == "adapter":
        return "adapters"
    if facets.part == "bias":
        return "biases"
    if facets.kind == "norm":
        return "norms"
    if facets.kind == "scale":
        return "scales"
    if facets.layout is None or facets.kind in ("ssm", "other"):
        return "other parameters"
    if facets.part == "head":
        return "head"
    if facets.ends_residual:
        return "residual ends"
    blocks = {block.name for block in facets.blocks}
    if facets.part in ("q", "k", "v") or blocks & {"q", "k", "v"}:
        return "attention"
    if facets.part in ("in", "gate") and facets.kind == "linear":
        return "feed-forward"
    return "convolutions" if facets.kind == "conv" else "other weights"


@dataclass(frozen=True, slots=True)
class Deviation:
    """A parameter whose values the recipe would not have drawn.

    Attributes:
        name: logical dotted name.
        facet: one of ``FACETS``.
        looks: the law that its values follow.
        expected: the law of the recipe.
        std: of the values.
        expected_std: of the recipe's law; None if it has blocks that differ.
        p: at most the probability of such values under the recipe's law; None where no test is
            needed: a constant, an orthogonal matrix.
    """

    name: str
    facet: str
    looks: str
    expected: str
    std: float
    expected_std: float | None
    p: float | None

    @property
    def times(self) -> float | None:
        """How many times larger the values are than the recipe's."""
        return self.std / self.expected_std if self.expected_std and self.std else None

    def __str__(self) -> str:
        size = "" if self.times is None else f", {self.times:.3g} times as large"
        if self.p is None:
            return f"{self.looks} instead of {self.expected}{size}"
        chance = f"p < {LEAST_SHOWN:.0e}" if self.p < LEAST_SHOWN else f"p = {self.p:.1g}"
        return f"{self.looks} instead of {self.expected}{size} ({chance})"


@dataclass(frozen=True, slots=True)
class FacetRow:
    """One facet of a model.

    Attributes:
        name: one of ``FACETS``.
        parameters: names of its parameters.
        drawn: how many of them the recipe draws.
        explained: how many of those are consistent with it.
        also: calls of the other recipes that explain all of the facet.
    """

    name: str
    parameters: tuple[str, ...]
    drawn: int
    explained: int
    also: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Near:
    """Other recipes that explain most weights, and deviate in the same places.

    Attributes:
        calls: how they are written.
        weights: (number of weights that they explain, number of weights that they draw).
        deviations: facet -> the names of its parameters that they don't explain.
    """

    calls: tuple[str, ...]
    weights: tuple[int, int]
    deviations: dict[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True, repr=False)
class Identification(Result[FacetRow]):
    """Which recipe a model's values follow, facet by facet, and where they deviate.

    Attributes:
        recipe: name of the library recipe; None if none explains most weights.
        call: how it is written: ``"he"`` in quotes, or ``gi.recipe("he", ...)``.
        habit: a common practice that isn't a recipe of the library, in words; "" if a recipe
            explains as much.
        also: other recipes that draw the same laws on this model: values can't tell them apart.
        rows: one for each facet that the model has.
        deviations: one for each parameter that the recipe would have drawn otherwise.
        weights: (number of weights that the recipe explains, number of weights that it draws).
        parameters: the same for all parameters.
        kept: how many parameters the recipe doesn't mention.
        near: other recipes that explain most weights, the best first.
        meant: whether the recipe was given, not found.
        how: how the model was read: "module types", "meta", "real".

    Example:
        >>> import torch
        >>> import goodinit as gi
        >>> net = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU())
        >>> plan = gi.init_(net, "he", seed=0)
        >>> found = gi.identify(net)
        >>> found.recipe, found.weights, found.ok
        ('he', (1, 1), True)
    """

    recipe: str | None
    call: str
    habit: str
    also: tuple[str, ...]
    rows: tuple[FacetRow, ...]
    deviations: tuple[Deviation, ...]
    weights: tuple[int, int]
    parameters: tuple[int, int]
    kept: int
    near: tuple[Near, ...]
    meant: bool
    how: str

    @property
    def ok(self) -> bool:
        """Whether a recipe was found and no parameter deviates from it."""
        return bool(self.call or self.habit) and not self.deviations

    def to_dict(self) -> dict[str, object]:
        """Return plain data, ready for strict JSON: NaN and infinity become None."""
        return {"ok": self.ok, **super().to_dict(), "findings": plain_data(self.findings)}

    def to_text(self, *, full: bool = False) -> str:
        """Return the recipe, the facets and the deviations; ``full`` shows all of these."""
        lines = [*labeled("meant" if self.meant else "looks like", _verdict(self)), ""]
        lines += table(HEAD, [_cells(row, full) for row in self.rows])
        listed = _deviations(self.deviations)
        shown = listed if full else listed[:MOST_DEVIATIONS]
        lines += ["", *(line for text in shown for line in labeled("but", text))] if shown else []
        if len(listed) > len(shown):
            lines += labeled(" ", f"and {len(listed) - len(shown)} more kinds: --full shows all")
        lines += [""] if self.near else []
        for one in self.near:
            lines += labeled("nearly" if one.deviations else "better", _near(one))
        return "\n".join(lines).rstrip()

    def __repr__(self) -> str:
        found = self.call or self.habit or "no recipe"
        return f"<Identification {found}: {count(len(self.deviations), 'deviation')}>"

    def _repr_html_(self) -> str:
        words = [*_deviations(self.deviations), *map(_near, self.near)]
        paragraphs = "".join(f"<p>{escaped(text)}</p>" for text in words)
        table = html_table(HEAD, [_cells(row, True) for row in self.rows])
        return f"<p><b>{escaped(_verdict(self))}</b></p>{table}{paragraphs}"


def _verdict(found: Identification) -> str:
    name = found.call or found.habit
    if not name:
        return "no recipe of the library explains most weights"
    (weights, of_weights), (parameters, of) = found.weights, found.parameters
    counted = [f"{weights} of {of_weights} weights"] if of_weights else []
    counted.append(f"{parameters} of {of} parameters")
    text = f"{name}: explains {', '.join(counted)}"
    if found.kept:
        text += f"; says nothing of the other {found.kept}"
    if found.also:
        text += f"; {_some(found.also)} would draw the same here"
    return text


def _some(calls: Sequence[str], full: bool = False) -> str:
    return several(calls, len(calls) if full else MOST_ALIKE)


def _cells(row: FacetRow, full: bool) -> tuple[str, ...]:
    kept = len(row.parameters) - row.drawn
    explained = f"{row.explained} of {row.drawn}" if row.drawn else "nothing drawn"
    rest = f", {kept} kept" if kept and row.drawn else ""
    return row.name, explained + rest, _some(row.also, full)


def _deviations(deviations: Iterable[Deviation]) -> list[str]:
    """Return one text for each kind of deviation; layers that are alike share one."""
    groups: dict[tuple[str, str, str], list[Deviation]] = {}
    for one in deviations:
        groups.setdefault((one.facet, one.looks, one.expected), []).append(one)
    texts: list[str] = []
    for (facet, _, _), alike in groups.items():
        likeliest = max(alike, key=lambda one: one.p or 0.0)
        texts.append(f"{facet}: {grouped_names(one.name for one in alike)}: {likeliest}")
    return texts


def _near(near: Near) -> str:
    facets = [
        f"{facet} ({names[0] if len(names) == 1 else f'{len(names)}'})"
        for facet, names in near.deviations.items()
    ]
    explained, drawn = near.weights
    if not facets:
        return f"{_some(near.calls)}: {explained} of {drawn} weights, and all other parameters"
    return f"{_some(near.calls)}: {explained} of {drawn} weights; all but {', '.join(facets)}"
