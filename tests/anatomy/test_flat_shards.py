"""Which elements a process holds of a parameter that FSDP 1 or ZeRO-3 has flattened and split."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from goodinit.anatomy.flat_shards import flat_parameters, original_parameters, zero3_shard

NOT_SPLIT = SimpleNamespace(name="NOT_AVAILABLE")


def zero3(part: torch.Tensor | None, rank: int = 0, size: int = 1) -> nn.Parameter:
    """A 2x5 matrix as DeepSpeed leaves it."""
    parameter = nn.Parameter(torch.empty(0))
    parameter.ds_shape, parameter.ds_tensor = torch.Size((2, 5)), part
    parameter.ds_process_group = SimpleNamespace(rank=lambda: rank, size=lambda: size)
    parameter.ds_status = NOT_SPLIT
    return parameter


@pytest.mark.parametrize(
    ("rank", "size", "start", "stop"),
    [(0, 1, 0, 10), (0, 4, 0, 3), (2, 4, 6, 9), (3, 4, 9, 10), (5, 6, 10, 10)],
)
def test_the_last_parts_of_zero3_end_with_padding(rank, size, start, stop) -> None:
    each = -(-10 // size)
    held = torch.arange(float(each)) + rank * each
    shard = zero3_shard(zero3(held, rank, size))
    assert (shard.shape, shard.start, shard.stop, shard.problem) == ((2, 5), start, stop, "")
    assert shard.local.tolist() == list(range(start, stop))


def test_what_zero3_holds_as_it_cannot_be_written() -> None:
    whole = zero3_shard(zero3(None))
    assert (whole.start, whole.stop, whole.local.numel()) == (0, 0, 0)
    assert "will be split" in whole.problem
    assert "aren't how ZeRO-3 splits 10" in zero3_shard(zero3(torch.zeros(4), 0, 4)).problem
    alone = zero3(torch.zeros(10))
    alone.ds_process_group = None
    assert zero3_shard(alone).stop == 10
    del alone.ds_status
    assert zero3_shard(alone).problem == ""
    alone.ds_status = SimpleNamespace(name="AVAILABLE")
    assert "it is gathered" in zero3_shard(alone).problem
    assert zero3_shard(nn.Parameter(torch.ones(3))) is None


def fsdp(
    own: nn.Module, other: nn.Module, sharded: int = 6, **handle: object
) -> tuple[nn.Module, torch.Tensor]:
    """Two matrices of 2x3 and 3x4 in one flat parameter, of which elements 4 to 9 are here."""
    flat = nn.Parameter(torch.arange(4.0, 10.0))
    infos = (
        SimpleNamespace(module=own, param_name="a"),
        SimpleNamespace(module=own, param_name="b"),
    )
    flat._param_infos, flat._shapes, flat._params = infos, ((2, 3), (3, 4)), [own.a, own.b]
    flat._shared_param_infos = (
        SimpleNamespace(module=other, param_name="c", prim_module=own, prim_param_name="b"),
    )
    flat._sharded_size = torch.Size((sharded,))
    place = {"intra_param_start_idx": 4, "intra_param_end_idx": 5, "offset_in_shard": 0}
    rest = {"intra_param_start_idx": 0, "intra_param_end_idx": 3, "offset_in_shard": 2}
    flat._shard_param_infos = (
        SimpleNamespace(in_shard=True, **place), SimpleNamespace(in_shard=True, **rest),
    )  # fmt: skip
    unit = nn.Module()
    unit._handle = SimpleNamespace(flat_param=flat, **handle)
    return unit, flat


def modules() -> tuple[nn.Module, nn.Module]:
    own, other = nn.Module(), nn.Module()
    own.a, own.b = nn.Parameter(torch.zeros(2, 3)), nn.Parameter(torch.zeros(3, 4))
    other.c = own.b
    return own, other


def test_fsdp_says_where_the_elements_of_each_parameter_lie() -> None:
    own, other = modules()
    unit, flat = fsdp(own, other)
    found = dict(original_parameters(unit))
    assert found.keys() == {id(own.a), id(own.b)}
    first, second = found[id(own.a)], found[id(own.b)]
    assert (first.shape, first.start, first.stop, first.problem) == ((2, 3), 4, 6, "")
    assert (second.shape, second.start, second.stop) == ((3, 4), 0, 4)
    assert (first.local.tolist(), second.local.tolist()) == ([4, 5], [6, 7, 8, 9])
    assert first.key != second.key
    flat._shard_param_infos[0].in_shard = False
    gone = dict(original_parameters(unit))[id(own.a)]
    assert (gone.start, gone.stop, gone.local.numel()) == (0, 0, 0)
    unit.register_parameter("_flat_param", flat)
    assert [(m, n) for m, n, _ in flat_parameters(unit)] == [(own, "a"), (own, "b"), (other, "c")]
    unit._flat_param = nn.Parameter(torch.zeros(3))
    assert [*flat_parameters(unit), *flat_parameters(own)] == []


@pytest.mark.parametrize(
    ("handle", "held"),
    [
        ({}, 2),
        ({"uses_sharded_strategy": True}, 2),
        ({"uses_sharded_strategy": False}, 0),
        ({"_training_state": SimpleNamespace(name="SUMMON_FULL_PARAMS")}, 0),
        ({"_training_state": SimpleNamespace(name="IDLE")}, 2),
    ],
)
def test_originals_that_are_whole_are_written_as_they_are(handle, held: int) -> None:
    unit, _ = fsdp(*modules(), **handle)
    assert len(dict(original_parameters(unit))) == held


def test_what_fsdp_has_gathered_cannot_be_written() -> None:
    unit, flat = fsdp(*modules(), sharded=3)
    (problem,) = {shard.problem for _, shard in original_parameters(unit)}
    assert problem.startswith("it is gathered, as after a forward without a backward: call gi.app")
    flat._params = None  # use_orig_params=False
    assert [*original_parameters(unit), *original_parameters(nn.Module())] == []
