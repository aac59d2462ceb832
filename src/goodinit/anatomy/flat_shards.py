"""Parameters of which a process holds a run of elements: FSDP 1 and ZeRO-3 flatten them first.

Both say on their objects what a process holds; neither package is imported here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

FLAT = "_flat_param"
"""FSDP 1's attribute for the parameter that replaces the original ones."""


@dataclass(frozen=True, slots=True)
class FlatShard:
    """What a process holds of a parameter, in row-major order.

    Attributes:
        shape: the whole parameter's.
        start: the first element that is held.
        stop: the end of those.
        local: the memory that holds them, one-dimensional.
        by: who split it.
        key: equal for tied parameters.
        problem: why it can't be written as it is now, and what to do; or "".
    """

    shape: tuple[int, ...]
    start: int
    stop: int
    local: Tensor
    by: str
    key: object
    problem: str = ""


def original_parameters(module: nn.Module) -> Iterator[tuple[int, FlatShard]]:
    """Yield (id of a parameter, what is held of it) for FSDP 1 with ``use_orig_params=True``."""
    handle = vars(module).get("_handle")
    flat = _flat_of(handle)
    if flat is None or not flat._params or _is_whole(handle):
        return
    for owner, attr, shard in _shards_by_place(flat):
        yield id(owner._parameters.get(attr)), shard


def flat_parameters(module: nn.Module) -> Iterator[tuple[nn.Module, str, FlatShard]]:
    """Yield (module, attribute, what is held) of what a flat parameter of FSDP 1 replaces."""
    flat = cast("Any", module._parameters.get(FLAT))
    if flat is None or not hasattr(flat, "_param_infos"):
        return
    yield from _shards_by_place(flat)


def zero3_shard(parameter: Tensor) -> FlatShard | None:
    """Return what a process holds of a parameter under DeepSpeed's ZeRO-3; None if it isn't one.

    Every process holds as many elements: those of the last ones end with padding.
    """
    known = vars(parameter)
    if "ds_shape" not in known:
        return None
    shape, local = tuple(known["ds_shape"]), cast("Any", known.get("ds_tensor"))
    total = math.prod(shape)
    if local is None:
        problem = (
            "it is whole here and will be split: initialize the model after deepspeed.zero.Init"
        )
        return FlatShard(shape, 0, 0, parameter.detach()[:0], "ZeRO-3", id(parameter), problem)
    group = known.get("ds_process_group")
    rank, size = (0, 1) if group is None else (int(group.rank()), int(group.size()))
    each = local.numel()
    start, stop = min(rank * each, total), min((rank + 1) * each, total)
    problem = _zero3_problem(known, local)
    if not problem and each != -(-total // size):
        problem = (
            f"{each} elements in each of {size} processes aren't how ZeRO-3 splits {total}: "
            f"initialize the model before it is split"
        )
    held = local.detach().view(-1)[: stop - start]
    return FlatShard(shape, start, stop, held, "ZeRO-3", id(parameter), problem)


def _zero3_problem(known: dict[str, Any], local: Any) -> str:
    status = getattr(known.get("ds_status"), "name", "NOT_AVAILABLE")
    if status != "NOT_AVAILABLE":
        return "it is gathered: leave deepspeed.zero.GatheredParameters first"
    if getattr(getattr(local, "status", None), "name", "AVAILABLE") != "AVAILABLE":
        return "its partition is swapped out: initialize the model before it is offloaded to NVMe"
    if hasattr(local, "ds_quant_scale"):
        return "its partition is quantized: initialize the model without quantized weights"
    if "_z3_optimizer" in known:
        return (
            "the optimizer has a float32 copy of it, which would overwrite it: initialize the "
            "model before deepspeed.initialize"
        )
    return ""


def _flat_of(handle: Any) -> Any:
    flat = getattr(handle, "flat_param", None)
    return flat if hasattr(flat, "_shard_param_infos") else None


def _is_whole(handle: Any) -> bool:
    """Whether the originals are whole, and a write to them stays: ``summon_full_params``."""
    summoned = getattr(getattr(handle, "_training_state", None), "name", "")
    return summoned == "SUMMON_FULL_PARAMS" or not getattr(handle, "uses_sharded_strategy", True)


def _shards_by_place(flat: Any) -> Iterator[tuple[nn.Module, str, FlatShard]]:
    shards = list(_shards(flat))
    primary: dict[tuple[int, str], FlatShard] = {}
    for info, shard in zip(flat._param_infos, shards, strict=True):
        primary[id(info.module), info.param_name] = shard
        yield info.module, info.param_name, shard
    for info in flat._shared_param_infos:
        yield info.module, info.param_name, primary[id(info.prim_module), info.prim_param_name]


def _shards(flat: Any) -> Iterator[FlatShard]:
    gathered = flat.shape != flat._sharded_size
    problem = "it is gathered, as after a forward without a backward" if gathered else ""
    problem += ": call gi.apply_ before the first forward" if gathered else ""
    for number, (shape, info) in enumerate(zip(flat._shapes, flat._shard_param_infos, strict=True)):
        start = stop = at = 0
        if info.in_shard:
            start, stop = info.intra_param_start_idx, info.intra_param_end_idx + 1
            at = info.offset_in_shard
        local = flat.detach()[at : at + stop - start]
        key = (id(flat), number)
        yield FlatShard(tuple(shape), start, stop, local, "FSDP", key, problem)
