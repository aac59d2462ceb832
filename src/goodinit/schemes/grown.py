"""What a grown parameter gets beside a checkpoint's values: rows like the old ones, other units.

They are computed from the values that the checkpoint brings, when a plan is applied.
"""

# Methods that implement those of Scheme are documented there and have its arguments.
# ruff: noqa: ARG002, D102

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from goodinit.errors import SchemeError
from goodinit.schemes import fields
from goodinit.schemes.fans import Site
from goodinit.schemes.scheme import Draw, FromValues
from goodinit.streams import Law


@dataclass(frozen=True, repr=False)
class FromOld(FromValues):
    """A scheme for new rows that is computed from a checkpoint's old ones."""

    no_factor = "{} follows from the old rows: no factor fits"

    @abstractmethod
    def fill_from_(self, out: Tensor, old: Tensor, draw: Draw) -> None:
        """Write new rows, given the old ones: [rows, ...] both, with equal other axes."""

    def fill_(self, out: Tensor, draw: Draw, site: Site) -> None:
        raise SchemeError(f"{self!r} is for new rows beside a checkpoint's old ones: gi.load_")

    def check_grown(self, old: tuple[int, ...], new: tuple[int, ...]) -> None:
        """Raise if new rows can't be computed for a parameter that has grown so.

        Raises:
            SchemeError: another axis than the first has grown, or the scheme has other rows.
        """
        if not old or old[1:] != new[1:] or len(old) != len(new):
            raise SchemeError(f"{self!r} is for new rows, and {old} has become {new}")


@dataclass(frozen=True)
class LikeRows(FromOld):
    """New rows from N(m, share C), with the mean m and the covariance C of the old rows.

    The mean alone (``share=0``) gives new tokens the logit of an average one; the covariance makes
    them differ (Hewitt 2021, "Initializing New Word Embeddings"). transformers'
    ``resize_token_embeddings`` takes a share of 1e-9.

    Args:
        share: of the old rows' covariance.

    Raises:
        SchemeError: a share that is negative or not finite; (when planned) a parameter that has
            no new rows.

    Example:
        >>> from torch import nn
        >>> from goodinit.applying.apply import load_
        >>> old, new = nn.Embedding(100, 8), nn.Embedding(104, 8)
        >>> plan = load_(new, old.state_dict(), {"weight": LikeRows(share=0)}, seed=0)
        >>> torch.allclose(new.weight[103], old.weight.mean(0))
        True
    """

    share: float = 1.0

    def __post_init__(self) -> None:
        fields.set_float(self, "share", least=0.0)

    def fill_from_(self, out: Tensor, old: Tensor, draw: Draw) -> None:
        rows = old.detach().flatten(1) if old.dim() > 1 else old.detach()[:, None]
        rows = rows.double()
        mean = rows.mean(0)
        new = mean.expand(len(out), -1).clone()
        if self.share:
            normal = torch.empty(out.shape, dtype=torch.float32, device=out.device)
            draw(normal, Law.normal(0.0, 1.0))
            root = _covariance_root(rows - mean)
            new += math.sqrt(self.share) * normal.reshape(new.shape).double() @ root
        out.copy_(new.reshape(out.shape))


def _covariance_root(centered: Tensor) -> Tensor:
    """Return R with R^T R the covariance of rows around 0."""
    covariance = centered.T @ centered / len(centered)
    values, vectors = cast("tuple[Tensor, Tensor]", torch.linalg.eigh(covariance))
    return (vectors * values.clamp(min=0).sqrt()).T


@dataclass(frozen=True)
class PieceMeans(FromOld):
    """New rows that are means of old rows: of the pieces that a token had before it was one.

    Args:
        pieces: for each new row, in order, the numbers of old rows.

    Raises:
        SchemeError: what isn't a list of numbers for each row; (when planned) more or fewer rows
            than the parameter has new ones, or an old row that doesn't exist.

    Example:
        Two new tokens, of the pieces 3 and 17, and of 5:

        >>> from torch import nn
        >>> from goodinit.applying.apply import load_
        >>> old, new = nn.Embedding(100, 8), nn.Embedding(102, 8)
        >>> means = PieceMeans([[3, 17], [5]])
        >>> plan = load_(new, old.state_dict(), {"weight": means}, seed=0)
        >>> torch.equal(new.weight[100], (old.weight[3] + old.weight[17]) / 2)
        True
    """

    pieces: Sequence[Sequence[int]]

    def __post_init__(self) -> None:
        fix = "pieces has a list of old rows for each new one, such as [[3, 17], [5]]"
        given = _listed(self.pieces)
        for row in given:
            numbers = _listed(row)
            whole = all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in numbers)
            if not numbers or not whole:
                fields.refuse(self, "pieces", row, fix)
        if not given:
            fields.refuse(self, "pieces", self.pieces, fix)
        object.__setattr__(self, "pieces", tuple(tuple(row) for row in self.pieces))

    def check_grown(self, old: tuple[int, ...], new: tuple[int, ...]) -> None:
        super().check_grown(old, new)
        if len(self.pieces) != new[0] - old[0]:
            raise SchemeError(
                f"pieces has {len(self.pieces)} rows, and {new[0] - old[0]} are new: one for each"
            )
        most = max(number for row in self.pieces for number in row)
        if most >= old[0]:
            raise SchemeError(f"pieces has row {most}, and the checkpoint's are 0 to {old[0] - 1}")

    def fill_from_(self, out: Tensor, old: Tensor, draw: Draw) -> None:
        for number, row in enumerate(self.pieces):
            out[number].copy_(old[list(row)].detach().double().mean(0))

    def to_dict(self) -> dict[str, object]:
        return {"scheme": "PieceMeans", "pieces": [list(row) for row in self.pieces]}


@dataclass(frozen=True)
class DropUnits(FromValues):
    """Copies of one layer, with a share of their hidden units redrawn: experts that differ.

    A unit's new weights are normal, with the mean and std of those that they replace. Which units
    they are depends on the seed and the expert, so that one expert's projections agree.

    Args:
        share: of the hidden units.
        axis: "outputs" where the hidden units are a weight's outputs, "inputs" where they are its
            inputs.
        expert: the module whose weight it is; "" for a stack of all experts' weights.

    Raises:
        SchemeError: a share that isn't between 0 and 1, another axis, or an expert that is no
            name; (when planned) a parameter that isn't a stack of copies, or an expert's matrix.
    """

    no_factor = "{} follows from what is copied: no factor fits"

    share: float = 0.5
    axis: str = "outputs"
    expert: str = ""

    def __post_init__(self) -> None:
        fields.set_float(self, "share", least=0.0)
        if self.share > 1:
            fields.refuse(self, "share", self.share, "share is from 0 to 1")
        if self.axis not in ("outputs", "inputs"):
            fields.refuse(self, "axis", self.axis, "axis is 'outputs' or 'inputs'")
        if not isinstance(self.expert, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            fields.refuse(self, "expert", self.expert, "expert is a module's name")

    def fill_(self, out: Tensor, draw: Draw, site: Site) -> None:
        raise SchemeError(f"{self!r} is for copies of a checkpoint's layer: gi.load_")

    def check(self, site: Site) -> None:
        self._hidden(site)

    def redraw_(self, out: Tensor, site: Site, first: int, draw: Draw, units: Draw) -> None:
        """Redraw the units of a block of experts; ``units`` is the same for all projections."""
        axis = self._hidden(site)
        normal = torch.empty(out.shape, dtype=torch.float32, device=out.device)
        draw(normal, Law.normal(0.0, 1.0))
        count = out.shape[axis]
        if self.expert:
            out, normal, axis = out[None], normal[None], axis + 1
        for number in range(out.shape[0]):
            chance = torch.empty(count, device="cpu")
            expert = self.expert or first + number
            units(chance, Law.uniform(0.0, 1.0), f"units of expert {expert} of {count}")
            chosen = chance.argsort()[: int(self.share * count)].to(out.device)
            if not len(chosen):
                continue
            old = out[number].index_select(axis - 1, chosen).double()
            new = normal[number].index_select(axis - 1, chosen).double()
            new = old.mean() + old.std(correction=0) * new
            out[number].index_copy_(axis - 1, chosen, new.to(out.dtype))

    def _hidden(self, site: Site) -> int:
        """Return the axis of the hidden units; the first axis of three stacks the experts."""
        layout, stack = site.layout, len(site.shape) - 2
        axes = () if layout is None else (layout.outputs, layout.inputs)[self.axis == "inputs"]
        found = [axis for axis in axes if axis >= stack]
        if stack not in (0, 1) or len(found) != 1:
            raise SchemeError(
                f"{self!r} needs a matrix, or a stack of matrices, [experts, out, in]"
            )
        return found[0]


def _listed(value: object) -> Sequence[object]:
    return cast("Sequence[object]", value) if isinstance(value, (list, tuple)) else ()
