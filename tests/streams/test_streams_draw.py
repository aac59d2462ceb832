"""Stream: boxes, chunks, threads, layouts and dtypes change nothing; what is refused."""

from __future__ import annotations

import contextlib
import mmap
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._subclasses import FakeTensor, FakeTensorMode
from torch._subclasses.fake_tensor import DataDependentOutputException

import goodinit as gi
from goodinit.errors import ModelError, StreamError
from goodinit.nn import init
from goodinit.nn.errors import InitMemoryError
from goodinit.streams import Law, Stream, fresh_seed, spec, stream
from goodinit.streams.native import library

pytestmark = pytest.mark.filterwarnings("error")

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]
LAWS = [Law.normal(0.1, 0.02), Law.uniform(-0.1, 0.3), Law.truncated(0.0, 0.02, -2.0, 2.0)]
Box = tuple[tuple[int, int], ...]


def oracle(seed: int, name: str, law: Law, shape: tuple[int, ...]) -> torch.Tensor:
    """Element i takes word i % 4 of block i // 4, and nothing clever."""
    index = torch.arange(torch.Size(shape).numel())
    words = spec.philox(spec.make_key(seed, name), index // 4)
    return spec.values(law, words[index, index % 4]).view(shape)


@st.composite
def shapes_and_boxes(draw: st.DrawFn) -> tuple[tuple[int, ...], Box]:
    shape = tuple(draw(st.lists(st.integers(0, 9), max_size=4)))
    box = tuple(
        (start, draw(st.integers(start, size)))
        for size in shape
        for start in (draw(st.integers(0, size)),)
    )
    return shape, box


def without_kernels(patch: pytest.MonkeyPatch) -> None:
    """Let torch code draw: the compiled kernels know no chunks."""
    patch.setenv("GOODINIT_KERNELS", "plain")  # or a slow machine would be warned
    patch.setattr(library, "load", lambda: library.Library(None, "none"))


def slices(box: Box) -> tuple[slice, ...]:
    return tuple(slice(start, stop) for start, stop in box)


@given(shapes_and_boxes(), st.sampled_from(LAWS), st.sampled_from(DTYPES), st.integers(1, 300))
@settings(max_examples=300, deadline=None)
def test_a_box_is_the_slice_of_the_whole(
    case: tuple[tuple[int, ...], Box], law: Law, dtype: torch.dtype, chunk: int
) -> None:
    shape, box = case
    whole = oracle(3, "w", law, shape).to(dtype)
    drawn = Stream(3).draw("w", law, shape, box=box, dtype=dtype)
    with pytest.MonkeyPatch.context() as patch:
        without_kernels(patch)
        patch.setattr(stream, "CHUNK", chunk)
        plain = Stream(3).draw("w", law, shape, box=box, dtype=dtype)
    assert drawn.dtype == plain.dtype == dtype
    assert torch.equal(drawn, whole[slices(box)])
    assert torch.equal(plain, drawn)


@pytest.mark.parametrize("few", [0, 1, 256])
@pytest.mark.parametrize("chunk", [1, 7, 1000, 1 << 18])
def test_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch, chunk: int, few: int) -> None:
    expected = oracle(0, "w", LAWS[0], (7, 5, 9))
    without_kernels(monkeypatch)
    monkeypatch.setattr(stream, "CHUNK", chunk)
    monkeypatch.setattr(stream, "MOST_BLOCKS", few)
    assert torch.equal(Stream(0).draw("w", LAWS[0], (7, 5, 9)), expected)


@pytest.mark.parametrize("law", LAWS)
def test_large_draws_equal_the_oracle(law: Law) -> None:
    shape = (3, stream.CHUNK + 5)
    expected = oracle(0, "w", law, shape)
    assert torch.equal(Stream(0).draw("w", law, shape), expected)
    column = Stream(0).draw("w", law, shape, box=((0, 3), (stream.CHUNK - 1, stream.CHUNK + 4)))
    assert torch.equal(column, expected[:, stream.CHUNK - 1 : stream.CHUNK + 4])


def test_threads_do_not_matter() -> None:
    before = torch.get_num_threads()
    drawn: list[torch.Tensor] = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            drawn.append(Stream(0).draw("w", LAWS[2], (300_001,)))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_layouts_do_not_matter(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, kernels: bool
) -> None:
    if not kernels:
        without_kernels(monkeypatch)
    monkeypatch.setattr(stream, "CHUNK", 50)
    shape = (4, 6, 5, 3)
    expected = oracle(0, "w", LAWS[0], shape).to(dtype)
    targets = [
        torch.empty(shape, dtype=dtype, memory_format=torch.channels_last),
        torch.empty(shape[::-1], dtype=dtype).permute(3, 2, 1, 0),
        torch.empty((8, 6, 5, 9), dtype=dtype)[::2, :, :, 1::3],
        torch.empty((6, 4, 5, 3), dtype=dtype).transpose(0, 1),
    ]
    for out in targets:
        strides = out.stride()
        assert Stream(0).fill_(out, "w", LAWS[0]) is out
        assert out.stride() == strides
        assert torch.equal(out, expected)


def test_only_the_target_is_written() -> None:
    around = torch.full((4, 9), 7.0)
    Stream(0).fill_(around[1:3, 2:8:2], "w", LAWS[0])
    around[1:3, 2:8:2] = 7.0
    assert torch.equal(around, torch.full((4, 9), 7.0))


def test_fill_a_box() -> None:
    whole = Stream(0).draw("w", LAWS[1], (8, 6))
    shard = torch.empty(6, 3).t()[1:]
    Stream(0).fill_(shard, "w", LAWS[1], shape=(8, 6), box=((5, 7), (0, 6)))
    assert torch.equal(shard, whole[5:7])


@pytest.mark.parametrize("box", [((1, 2), (1, 3)), ((0, 3), (1, 3)), ((1, 2), (0, 4))])
def test_a_box_in_the_middle(monkeypatch: pytest.MonkeyPatch, box: Box) -> None:
    """Its ends add up to the axis, as those of a whole axis do."""
    without_kernels(monkeypatch)
    expected = oracle(0, "w", LAWS[0], (3, 4))[slices(box)]
    assert torch.equal(Stream(0).draw("w", LAWS[0], (3, 4), box=box), expected)


def test_a_small_box_of_a_huge_tensor() -> None:
    rows = 1 << 58
    box = ((rows - 3, rows - 1), (1, 6))
    drawn = Stream(0).draw("w", LAWS[0], (rows, 7), box=box)
    key = spec.make_key(0, "w")
    for row in range(2):
        for column in range(5):
            index = (rows - 3 + row) * 7 + column + 1
            words = spec.philox(key, torch.tensor([index // 4]))[0, index % 4]
            assert drawn[row, column] == spec.values(LAWS[0], words[None])
    longest = Stream(0).draw("w", LAWS[0], (2**63 - 1,), box=((0, 3),))
    assert torch.equal(longest, Stream(0).draw("w", LAWS[0], (3,)))


def test_parameters_gradients_and_versions() -> None:
    weight = torch.nn.Parameter(torch.zeros(3, 4))
    version = weight._version  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(StreamError, match=r"w: the tensor requires a gradient.*no_grad"):
        Stream(0).fill_(weight, "w", LAWS[0])
    assert not weight.any()
    with torch.no_grad():
        Stream(0).fill_(weight, "w", LAWS[0])
    assert weight._version > version  # pyright: ignore[reportPrivateUsage]
    assert weight.requires_grad
    assert weight.is_leaf
    assert torch.equal(weight, oracle(0, "w", LAWS[0], (3, 4)))


def test_a_stale_graph_is_noticed() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    loss = (weight * weight).sum()
    with torch.no_grad():
        Stream(0).fill_(weight, "w", LAWS[0])
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()  # pyright: ignore[reportUnknownMemberType]


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,)])
def test_tiny_shapes(shape: tuple[int, ...]) -> None:
    assert torch.equal(Stream(0).draw("w", LAWS[0], shape), oracle(0, "w", LAWS[0], shape))
    out = torch.empty(shape)
    assert Stream(0).fill_(out, "w", LAWS[0]).shape == shape


def test_prefix_of_a_longer_draw() -> None:
    assert torch.equal(
        Stream(0).draw("w", LAWS[0], (10,)), Stream(0).draw("w", LAWS[0], (1000,))[:10]
    )


def test_numbers_of_numpy_do_not_wrap_around() -> None:
    shape, box = (70_000, 70_000), ((69_999, 70_000), (0, 4))
    narrow = np.array(shape, np.int32), np.array(box, np.int32)
    expected = Stream(0).draw("w", LAWS[0], shape, box=box)
    assert torch.equal(Stream(0).draw("w", LAWS[0], narrow[0], box=narrow[1]), expected)


def test_a_name_is_a_text() -> None:
    with pytest.raises(StreamError, match="pass texts"):
        Stream(0).draw(3, LAWS[0], (4,))  # pyright: ignore[reportArgumentType]


def test_purpose_is_part_of_the_key() -> None:
    s = Stream(0)
    assert s.key("w", "q") == spec.make_key(0, "w", "q")
    assert not torch.equal(
        s.draw("w", LAWS[0], (9,), purpose="q"), s.draw("w", LAWS[0], (9,), purpose="k")
    )


@pytest.mark.parametrize(
    ("out", "arguments", "message"),
    [
        (torch.zeros(3, dtype=torch.int64), {}, "int64.*float32"),
        (torch.zeros(3, dtype=torch.complex64), {}, "complex64.*float32"),
        (torch.zeros(3, dtype=torch.float8_e4m3fn), {}, "float8_e4m3fn.*float32"),
        (torch.zeros(3, dtype=torch.bool), {}, "bool.*float32"),
        (torch.zeros(3, device="meta"), {}, "meta.*to_empty"),
        (torch.zeros(3).to_sparse(), {}, "layout.*strided"),
        (torch.zeros(3).expand(2, 3), {}, "share memory.*clone"),
        (torch.zeros(9).as_strided((3, 3), (2, 1)), {}, "share memory.*clone"),
        (torch.zeros(3, 4), {"shape": (4, 3)}, "pass the global shape"),
        (torch.zeros(3, 4), {"box": ((0, 3), (0, 2))}, "has the shape.*the box"),
        (torch.zeros(3, 4), {"box": ((0, 3), (1, 5))}, "isn't inside"),
        (torch.zeros(3, 4), {"box": ((0, 3), (-1, 3))}, "isn't inside"),
        (torch.zeros(3, 4), {"box": ((2, 1), (0, 4))}, "isn't inside"),
        (torch.zeros(3, 4), {"box": ((0, 3),)}, "isn't inside"),
        (torch.zeros(3), {"shape": (-3,)}, "no tensor has the shape"),
        (torch.zeros(3), {"shape": 3}, "a sequence of ints"),
        (torch.zeros(3), {"shape": (3.0,)}, "a sequence of ints"),
        (torch.zeros(3), {"box": (0, 3)}, "pairs"),
        (torch.zeros(3), {"shape": (2**40, 2**30)}, "no tensor has the shape"),
        (torch.zeros(3), {"shape": (2**32, 2**31)}, "no tensor has the shape"),
    ],
)
def test_refused_before_anything_is_written(
    out: torch.Tensor, arguments: dict[str, Any], message: str
) -> None:
    version = out._version  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(StreamError, match=f"^fc.weight: .*{message}"):
        Stream(0).fill_(out, "fc.weight", LAWS[0], **arguments)
    assert out._version == version  # pyright: ignore[reportPrivateUsage]


def test_draw_refuses_other_dtypes() -> None:
    with pytest.raises(StreamError, match="float64, bfloat16"):
        Stream(0).draw("w", LAWS[0], (3,), dtype=torch.int32)


class OwnTensor(Tensor):
    pass


class OwnParameter(nn.Parameter):
    pass


@pytest.fixture
def mapped(tmp_path: Path) -> Iterator[Tensor]:
    """A tensor in a file that is mapped for reading: a write there ends the process."""
    path = tmp_path / "weights"
    path.write_bytes(bytes(4 * 64))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch: it can't be written
            tensor = torch.frombuffer(memory, dtype=torch.float32)
        yield tensor
        del tensor


def test_read_only_memory_is_refused(mapped: Tensor) -> None:
    law = Law.normal()
    net = nn.Linear(8, 8, bias=False)
    net.weight = nn.Parameter(mapped.view(8, 8))
    other = nn.Linear(8, 8, bias=False)
    other.weight = OwnParameter(mapped.view(8, 8))
    for call, error in [
        (lambda: Stream(0).fill_(mapped, "w", law), StreamError),
        (lambda: Stream(0).fill_(mapped.view(8, 8).T, "w", law), StreamError),
        (lambda: Stream(0).fill_(mapped[3:5], "w", law, shape=(64,), box=((3, 5),)), StreamError),
        (lambda: gi.init_(net, "he"), ModelError),
        (lambda: gi.init_(other, "he"), ModelError),
        (lambda: init.normal_(net.weight), InitMemoryError),
        (lambda: init.normal_(mapped.as_subclass(OwnTensor)), InitMemoryError),
        (lambda: Stream(0).fill_(mapped.as_subclass(OwnTensor), "w", law), StreamError),
        *[(lambda f=f: f(mapped), InitMemoryError) for f in (init.zeros_, init.ones_)],
        (lambda: init.constant_(mapped, 3.0), InitMemoryError),
    ]:
        with pytest.raises(error, match="read-only"):
            call()
    assert not mapped.any()


def test_other_peoples_memory_is_written() -> None:
    memory = bytearray(4 * 64)
    theirs = torch.frombuffer(memory, dtype=torch.float32)
    assert torch.equal(
        Stream(0).fill_(theirs, "w", Law.normal()), Stream(0).draw("w", Law.normal(), (64,))
    )


def test_a_seed_drawn_first_under_a_transform_leaves_none_behind() -> None:
    """The number that a thread keeps is plain, whatever was active when it drew its first seed."""
    kept: list[bool] = []

    def act() -> None:
        torch.func.functionalize(lambda x: x * fresh_seed())(torch.ones(1))
        fresh_seed()
        kept.append(torch._is_functional_tensor(stream._thread.number))

    thread = threading.Thread(target=act)
    thread.start()
    thread.join()
    assert kept == [False]


def test_a_seed_drawn_first_under_a_mode_leaves_none_behind() -> None:
    kept: list[bool] = []

    def act() -> None:
        with FakeTensorMode(), contextlib.suppress(DataDependentOutputException):
            fresh_seed()  # it has no value here
        fresh_seed()
        kept.append(isinstance(stream._thread.number, FakeTensor))

    thread = threading.Thread(target=act)
    thread.start()
    thread.join()
    assert kept == [False]
