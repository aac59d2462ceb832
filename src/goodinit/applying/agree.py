"""Whether the processes of a group draw one model: the only place where goodinit asks others."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from goodinit._common.text import count, several
from goodinit.errors import PlanError
from goodinit.plans.plan import Plan
from goodinit.plans.rows import PlanBlock, PlanRow
from goodinit.schemes import Function
from goodinit.schemes.fields import one_line
from goodinit.streams import VERSION, stream_of

CAUSES = (
    "how same_everywhere is called: pass seed= and drawn= in all processes, or in none",
    "the plan: plan the whole model, never a stage alone, with equal inputs in all processes",
    "the seed: pass one number in all processes",
    "the dtypes of parameters: build the model in one dtype",
    "the version of goodinit, its streams or torch: install one",
)
"""What each number that is compared stands for, and the fix."""

SEED = 2  # its place there
MOST_NAMED = 4  # processes, or rows, in one message


def same_everywhere(
    plan: Plan, seed: int | None = None, *, drawn: Plan | None = None, group: Any = None
) -> int:
    """Raise unless all processes draw one model; return the seed. Call it in each of them.

    One collective of 40 bytes, before the first step of long training. Nothing else in goodinit
    asks other processes. Without a process group there is one process, and nothing to ask.

    Args:
        plan: the plan of the whole model.
        seed: as for ``gi.apply_``. If None, the first process takes one from torch's default CPU
            generator, and all return it.
        drawn: what ``gi.apply_`` returned here. One more collective, of a byte for each row, then
            finds rows that no process has drawn, such as those of a stage whose layers were
            numbered from 0 again.
        group: a process group of torch.distributed; None is the default one.

    Raises:
        PlanError: names the processes that differ, in what, and the fix; in all of them.

    Example:
        >>> from torch import nn
        >>> from goodinit.plans.plan import plan
        >>> same_everywhere(plan(nn.Linear(3, 2)), seed=7)
        7
    """
    if not isinstance(plan, Plan):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise PlanError(
            f"same_everywhere takes a Plan, got {one_line(plan)}. Write gi.same_everywhere(plan)"
        )
    if drawn is not None and not isinstance(drawn, Plan):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise PlanError(f"drawn is the plan that gi.apply_ returned here, got {one_line(drawn)}")
    mine = stream_of(seed).seed
    names = {row.name for row in drawn or () if not row.kept}
    here = torch.tensor([row.name in names for row in plan], dtype=torch.uint8, device="cpu")
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        if drawn is not None:
            check_drawn(plan, [here])
        return mine
    group = distributed.group.WORLD if group is None else group  # torch 2.4 takes no None
    ranks = distributed.get_process_group_ranks(group)
    call = (seed is None) + 2 * (drawn is not None)
    facts = [call, _hash(map(_drawing, plan)), mine, _hash(str(row.dtype) for row in plan)]
    version = vars(sys.modules["goodinit"])["__version__"]
    facts.append(_hash([version, VERSION, torch.__version__]))
    words = torch.tensor([_signed(fact) for fact in facts], dtype=torch.int64, device="cpu")
    gathered = [cast("list[int]", other.tolist()) for other in _gather(words, ranks, group)]
    check_facts(gathered, ranks)
    if drawn is not None:
        check_drawn(plan, _gather(here, ranks, group))
    return gathered[0][SEED] % 2**64


def check_facts(gathered: Sequence[Sequence[int]], ranks: Sequence[int]) -> None:
    """Raise PlanError if the processes' numbers differ from those of the first."""
    first = gathered[0]
    for place, cause in enumerate(CAUSES):
        if place == SEED and first[0] & 1:
            continue  # no process has a seed: the first one's number counts
        others = [rank for rank, facts in zip(ranks, gathered, strict=True)
                  if facts[place] != first[place]]  # fmt: skip
        if others:
            names = several((f"{rank}" for rank in others), MOST_NAMED)
            one = "process" if len(others) == 1 else "processes"
            raise PlanError(f"{one} {names} and process {ranks[0]} differ in {cause}")


def check_drawn(plan: Plan, gathered: Sequence[Tensor]) -> None:
    """Raise PlanError if rows of the plan were drawn by no process."""
    somewhere = cast("list[bool]", torch.stack(list(gathered)).any(0).tolist())
    missing = [row.name for row, found in zip(plan, somewhere, strict=True)
               if not found and not row.kept]  # fmt: skip
    if missing:
        raise PlanError(
            f"no process has drawn {several(missing, MOST_NAMED)}, {count(len(missing), 'row')} of "
            f"the plan: a part of the model is nowhere, or goes by the names of another part, such "
            f"as a stage whose layers are numbered from 0 again: keep the whole model's names"
        )


def _drawing(row: PlanRow) -> str:
    """Return everything that determines the values of a row except its dtype, as text."""
    blocks = [(b.box, b.fan_in, b.fan_out, _scheme(b)) for b in row.parts()]
    return repr((row.name, row.shape, row.layout, sorted(row.zero_rows), row.grown_from, blocks))


def _scheme(block: PlanBlock) -> str:
    scheme = block.scheme
    if isinstance(scheme, Function):  # code: its name is all that can be compared
        name = getattr(scheme.f, "__qualname__", type(scheme.f).__qualname__)
        return f"Function {name} {scheme.factor!r}"
    return json.dumps(scheme.to_dict(), sort_keys=True)


def _hash(texts: Iterable[str]) -> int:
    return int.from_bytes(hashlib.sha256("\0".join(texts).encode()).digest()[:8], "little")


def _signed(word: int) -> int:
    return word - 2**64 if word >= 2**63 else word


def _gather(mine: Tensor, ranks: Sequence[int], group: Any) -> list[Tensor]:
    """Return what each process passes, on the CPU."""
    distributed = torch.distributed
    on_gpu = "nccl" in str(distributed.get_backend(group)).lower()
    mine = mine.to("cuda" if on_gpu else "cpu")
    others = [torch.empty_like(mine) for _ in ranks]
    distributed.all_gather(others, mine, group=group)
    return [other.cpu() for other in others]
