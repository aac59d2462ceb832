"""A plan: a recipe resolved on a model, one row per parameter and buffer.

Planning reads and writes no values, so it works on models on meta. A plan can be printed,
compared, saved and applied.
"""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path

from torch import nn

from goodinit._common.files import atomic_write
from goodinit._common.progress import progress_line
from goodinit._common.result import Result
from goodinit._common.text import count
from goodinit._common.unfit_arguments import answered
from goodinit.anatomy import read
from goodinit.anatomy.names import Slot
from goodinit.anatomy.writable import check_float, check_module, check_unsharded, packed_modules
from goodinit.errors import PlanFileError, RecipeError, SchemeError
from goodinit.findings import Finding
from goodinit.plans import json_file
from goodinit.plans.checkpoint import Checkpoint
from goodinit.plans.keep import KeepLike, find_kept_rows, refuse_objects
from goodinit.plans.part_findings import find_parts
from goodinit.plans.plan_findings import find_in_plan, find_packed
from goodinit.plans.plan_table import plan_html, plan_text
from goodinit.plans.resolve import resolve
from goodinit.plans.rows import PlanRow
from goodinit.plans.transfer import transferred
from goodinit.plans.tried_rules import with_tried_rules
from goodinit.recipes.by_name import RecipeLike, as_recipe
from goodinit.recipes.recipe import Recipe
from goodinit.schemes.fields import one_line
from goodinit.trace import Inputs


@dataclass(frozen=True)
class Plan(Result[PlanRow]):
    """What will be done with each parameter and buffer of a model, and why.

    Iterate over the plan for its rows; ``plan["fc.weight"]`` is one row (tied names work too).

    Attributes:
        rows: in registration order.
        recipe: name of the recipe.
        how: how the model was read: "module types", "meta", ...
        prefix: prepended to each name.
        findings: what is doubtful about the plan.
        seed: the seed that the plan was applied with; None before. Not part of the digest.

    Example:
        >>> from goodinit.recipes import Recipe, Rule, sel
        >>> from goodinit.schemes import Zeros
        >>> planned = plan(nn.Linear(3, 2), Recipe([Rule(sel.all(), Zeros())], "mine"))
        >>> planned, planned.ok, planned["bias"].scheme
        (<Plan 'mine': 2 rows>, True, Zeros())
        >>> planned["bais"]
        Traceback (most recent call last):
        goodinit.errors.UnknownRowError: there is no row 'bais'. Did you mean 'bias'? ...
    """

    rows: tuple[PlanRow, ...]
    recipe: str = ""
    how: str = ""
    prefix: str = ""
    findings: tuple[Finding, ...] = ()
    seed: int | None = None

    @cached_property
    def digest(self) -> str:
        """Twelve hexadecimal digits that change if anything planned changes; for logs.

        SHA-256 of the plan as canonical JSON, without the seed: equal in every process, and
        after saving and loading.

        Raises:
            SchemeError: the plan holds a ``Function``, which has no data to digest.
        """
        data = self.to_dict() | {"seed": None}
        return hashlib.sha256(json_file.dump(data, canonical=True).encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, object]:
        """Return the plan as plain data, ready for JSON.

        Raises:
            SchemeError: the plan holds a ``Function``, which is code.
        """
        return json_file.write_plan(vars(self))

    @classmethod
    def from_dict(cls, data: object) -> Plan:
        """Return the plan that ``to_dict`` wrote.

        Raises:
            PlanFileError: anything else; names the place and what is wrong there.
        """
        return cls(**json_file.read_plan(data))

    @answered("plan.save('plan.json')")
    def save(self, path: str | PathLike[str]) -> None:
        """Write the plan as JSON; the file is replaced whole or not at all.

        Layers and experts that follow a pattern are written once, with a repeat.

        Raises:
            SchemeError: the plan holds a ``Function``, which is code.
            PlanFileError: the file can't be written.
        """
        text = json_file.dump(json_file.fold_plan(self.to_dict())) + "\n"
        try:
            with atomic_write(path) as new:
                new.write_text(text, encoding="utf-8")
        except OSError as error:
            file = Path(path, "plan.json") if Path(path).is_dir() else Path("plan.json")
            line = f"plan.save({str(file)!r})"
            raise PlanFileError(
                f"{path} can't be written: {error.strerror}. Write {line}"
            ) from error

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Plan:
        """Read a plan that ``save`` wrote.

        Raises:
            PlanFileError: the file can't be read, or holds no valid plan; names the place.
        """
        if not isinstance(path, (str, PathLike)):  # pyright: ignore[reportUnnecessaryIsInstance]
            line = "gi.Plan.load('plan.json')"
            raise PlanFileError(f"load takes a path, got {one_line(path)}. Write {line}")
        try:
            return cls.from_dict(json_file.parse(Path(path).read_bytes()))
        except OSError as error:
            raise PlanFileError(f"{path} can't be read: {error.strerror}") from error
        except PlanFileError as error:
            raise PlanFileError(f"{path}: {error}") from error

    def to_text(self, *, full: bool = False) -> str:
        """Return the plan as text that fits a screen; ``full`` shows every name and the rules."""
        return plan_text(self.rows, self._summary(), self.findings, full=full)

    def __repr__(self) -> str:
        return f"<Plan {self.recipe!r}: {count(len(self), 'row')}>"

    def _repr_html_(self) -> str:
        return plan_html(self.rows, self._summary(), self.findings)

    def _names(self, row: PlanRow) -> Iterable[str]:
        return (row.name, *row.tied)

    def _summary(self) -> str:
        """Return one line: the recipe, how many rows and parameters, how they are known."""
        parameters = [row for row in self.rows if not row.buffer]
        guessed = sum(row.guessed for row in parameters) / max(len(parameters), 1)
        values = sum(row.size for row in parameters)
        buffers = len(self) - len(parameters)
        facts = [
            f"{self.recipe or 'unnamed recipe'}: {len(parameters)} parameters ({values:,} values)",
            f"{buffers} buffers" if buffers else "",
            f"{guessed:.0%} guessed" if guessed else "",
            f"read by {self.how}",
            "" if self.seed is None else f"seed {self.seed}",
        ]
        with suppress(SchemeError):  # a Function has no data to digest
            facts.append(f"digest {self.digest}")
        return ", ".join(filter(None, facts))


def plan(
    model: nn.Module,
    recipe: RecipeLike = "standard",
    *,
    inputs: Inputs | None = None,
    keep: KeepLike = (),
    only: str | Iterable[str] = (),
    prefix: str = "",
) -> Plan:
    """Return what a recipe would do to a model: one row per parameter. Writes nothing.

    Args:
        model: any module; it may be on the meta device.
        recipe: a Recipe, its name, a TOML file, a scheme, or a mapping from module types or globs
            to schemes.
        inputs: a tensor, a tuple of positional arguments or a dict of keyword arguments. If given,
            the model is run once, and the data flow determines kinds, fans, activations and
            residual ends. If None, module types do.
        keep: names, globs, a state dict or the path of a checkpoint (a folder of
            torch.distributed.checkpoint, too): parameters that are already loaded and must not
            be written. If a parameter is larger than its value in the
            state dict (an embedding with new rows), the old part is kept and the rest is drawn.
        only: names or globs: everything else is kept. Empty: nothing is left out.
        prefix: prepended to each name, if ``model`` is a part of a larger model.

    Raises:
        RecipeError: a rule that matches nothing, a parameter that no rule covers, a name in
            ``keep`` that the model doesn't have, or a shape that doesn't fit.
        CheckpointError: a file in ``keep`` that can't be read.
        SchemeError: a scheme that doesn't fit its parameter, such as a fan-based one on a bias.
        ModelError: a parameter that can't be written: lazy, of size 0, expanded, not floating,
            behind a parametrization without ``right_inverse``.
        TraceError: the model raised on these inputs.

    Example:
        >>> import torch
        >>> from goodinit.schemes import XavierUniform
        >>> with torch.device("meta"):
        ...     net = nn.Sequential(nn.Linear(100, 50), nn.ReLU(), nn.Linear(50, 10))
        >>> plan(net, XavierUniform())["2.weight"].fan_in
        50
    """
    return plan_and_slots(model, recipe, inputs=inputs, keep=keep, only=only, prefix=prefix)[0]


def plan_and_slots(
    model: nn.Module,
    recipe: RecipeLike,
    *,
    inputs: Inputs | None,
    keep: KeepLike | Checkpoint,
    prefix: str,
    only: str | Iterable[str] = (),
) -> tuple[Plan, tuple[Slot, ...]]:
    """Return a plan, and where its rows are in the model: a plan itself holds no tensors."""
    check_module(model, "plan")
    check_float(model)
    recipe = as_recipe(recipe)
    if not isinstance(prefix, str) or prefix != prefix.strip("."):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise RecipeError(f"prefix is a dotted name such as 'encoder', got {prefix!r}")
    refuse_objects(model, keep, "keep", prefix)
    refuse_objects(model, only, "only", prefix)
    with progress_line("planning"), collector_paused():
        anatomy = read(model, inputs, prefix)
        found = list(anatomy.slots)
        kept = find_kept_rows(keep, anatomy.rows, prefix).limited_to(only, anatomy.rows)
        for slot in found:
            if not slot.buffer and not kept.why(slot.name):
                check_unsharded(slot)
        rows, wins = resolve(model, anatomy.rows, found, recipe, kept, anatomy.how)
        rows, more = transferred(model, rows, anatomy, recipe, inputs, prefix)
        findings = find_in_plan(rows, found, recipe, wins, kept, anatomy)

        def again(other: Recipe) -> tuple[Finding, ...]:
            planned, won = resolve(model, anatomy.rows, found, other, kept, anatomy.how)
            planned, _ = transferred(model, planned, anatomy, other, inputs, prefix)
            return find_in_plan(planned, found, other, won, kept, anatomy)

        findings = with_tried_rules(findings, recipe, again)
        findings += (*find_packed(packed_modules(model)), *more)
        findings += tuple(find_parts(model, rows, anatomy.slots, recipe))
    return Plan(rows, recipe.name, anatomy.how, prefix, findings), anatomy.slots


@contextmanager
def collector_paused() -> Generator[None]:
    """Pause the garbage collector, which would traverse 100,000 new objects, none of them garbage.

    It took a third of the time of a plan of 10,000 rows.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
