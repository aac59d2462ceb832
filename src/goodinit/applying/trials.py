"""Remedies that are lines of code, tried on copies of a model before anyone reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch
from torch import nn

from goodinit._common.processes import is_one_of_many
from goodinit.applying.copies import bytes_of, copy_of
from goodinit.applying.lines import FIRST_SEED, Line, Untried
from goodinit.applying.seed_reuse import repeats_allowed
from goodinit.findings import SEVERITIES, Finding
from goodinit.trace import Inputs, tensors_in
from goodinit.trace.real_run import real_run
from goodinit.trace.run import arguments, first_line

SEEDS = (FIRST_SEED, FIRST_SEED + 1)  # the second shows that the first wasn't luck
LARGEST_COPY = 2**31  # bytes: half a billion float32 numbers, copied in about a second

CONTROL = ("", FIRST_SEED)  # the key of a copy that was judged as it is

Judge = Callable[[nn.Module], Sequence[Finding]]
Memo = dict[tuple[str, int], Sequence[Finding] | None]


class Trials:
    """What lines of code do to copies of a model; the model itself stays as it is.

    Args:
        model: with the findings.
        inputs: what the lines call ``inputs``.
        before: the findings, with remedies that weren't tried.
        judge: finds what is wrong with a copy, in the way in which ``before`` was found.
        seeds: that each line is tried with which draws.
        control: whether a copy is judged first as it is: a run may use up inputs.
        shared: what lines left that draw the whole model, for several draws of one model.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Inputs | None,
        before: Sequence[Finding],
        judge: Judge,
        *,
        seeds: Sequence[int] = SEEDS,
        control: bool = True,
        shared: Memo | None = None,
    ) -> None:
        self._model, self._inputs, self._judge = model, inputs, judge
        self._before, self._seeds, self._control = tuple(before), seeds, control
        self._shared: Memo = {} if shared is None else shared
        self._memo: Memo = {}
        self._why: str | None = None

    def findings(self) -> tuple[Finding, ...]:
        """Return the findings, each with a line that fixes it, or else in words what would."""
        return tuple(
            replace(finding, remedy=self._remedy(finding, finding.remedy))
            if isinstance(finding.remedy, Untried)
            else finding
            for finding in self._before
        )

    def first(self, lines: Iterable[Line], accept: Callable[[Sequence[Finding]], bool]) -> str:
        """Return the first line after which the findings are acceptable; "" if none is."""
        if self.obstacle():
            return ""
        return next((line.text for line in lines if self._passes(line, accept)), "")

    def obstacle(self) -> str:
        """Return why nothing can be tried on a copy; "" if it can."""
        if self._why is None:
            self._why = self._find_obstacle()
        return self._why

    def _remedy(self, finding: Finding, remedy: Untried) -> str:
        if not remedy.lines:
            return str(remedy)
        if self.obstacle():
            return f"{remedy} (no line of code was tried: {self.obstacle()})"
        line = self.first(remedy.lines, lambda after: self._fixes(finding, after))
        return line or str(remedy)

    def _fixes(self, finding: Finding, after: Sequence[Finding]) -> bool:
        """Return whether no finding of its code is left, and nothing came that is as grave."""
        rank = SEVERITIES.index
        least = max(rank(finding.severity), rank("warning"))
        for left in after:
            if left.code == finding.code:
                return False
            known = [rank(f.severity) for f in self._before if f.code == left.code]
            if rank(left.severity) >= least and rank(left.severity) > max(known, default=-1):
                return False
        return True

    def _passes(self, line: Line, accept: Callable[[Sequence[Finding]], bool]) -> bool:
        for seed in self._seeds if line.drawn else self._seeds[:1]:
            after = self._after(line, seed)
            if after is None or not accept(after):
                return False
        return True

    def _after(self, line: Line, seed: int) -> Sequence[Finding] | None:
        """Return what is found after a line; None if it raised."""
        memo, key = (self._shared if line.whole else self._memo), (line.text, seed)
        if key not in memo:
            try:
                memo[key] = self._try(line, seed)
            except Exception:  # whatever it is, the line isn't one to paste
                memo[key] = None
        return memo[key]

    def _try(self, line: Line | None, seed: int = FIRST_SEED) -> Sequence[Finding]:
        # A closure may lead from the copy back to the model, which is restored.
        given = [] if self._inputs is None else list(tensors_in(arguments(self._inputs)))
        with repeats_allowed(), real_run(self._model, torch.is_grad_enabled(), given):
            copied = copy_of(self._model)
            if line is not None:
                line.act(copied, self._inputs, seed)
            return self._judge(copied)

    def _find_obstacle(self) -> str:
        if is_one_of_many():
            return "the processes of a distributed model would wait for each other"
        size = bytes_of(self._model)
        if size > LARGEST_COPY:
            return f"a copy of the model takes {size / 2**30:.1f} GiB"
        if not self._control or CONTROL in self._shared:
            return ""
        try:
            control = self._try(None)
        except Exception as error:
            return f"a copy of the model can't be made or run ({first_line(error)})"
        if {f.code for f in control} != {f.code for f in self._before}:
            return "a second run, of a copy, has other findings"
        self._shared[CONTROL] = control
        return ""
