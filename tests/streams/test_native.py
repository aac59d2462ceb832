"""The native kernels beside spec.py: the same bits, whatever the instructions, shape or strides.

Without a library the tests of the library skip; those of the fallback don't.
"""

from __future__ import annotations

import shutil
import struct
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from goodinit.errors import StreamError
from goodinit.streams import Law, Stream, native
from goodinit.streams.native import build, fill, library
from goodinit.streams.spec import key_from_bytes, philox, values
from goodinit.streams.stream import _fill_box_by_torch

KEY = struct.pack("<4I", 0xFFFFFFFE, 7, 0x80000001, 123)
LAWS = {
    "normal": Law.normal(0.5, 0.02),
    "uniform": Law.uniform(-0.1, 0.3),
    "unit": Law.uniform(0.0, 1.0),
    "symmetric": Law.uniform(-0.1, 0.1),  # float32's 0.1 is larger: the ends are clipped
    "truncated": Law.truncated(0.0, 1e-6, -2.0, 1.5),
    "one-sided": Law.truncated(0.0, 1.0, 0.0, 9.0),
    "hardly cut": Law.truncated(1.0, 1.0, -9.0, 9.0),
    "constant": Law.normal(0.25, 0.0),
    "zero": Law("uniform", 0.0, 0.0),  # none of its numbers is -0.0
    "large": Law.normal(0.0, 2e4),  # float16 becomes infinite
    "tiny": Law.normal(0.0, 2.0**-64),
}
DTYPES = list(library.TYPES)
SIZES = [1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 127, 255, 257, 1023, 1025, 4099]

needs_library = pytest.mark.skipif(
    native.load().fill is None, reason=f"no native kernels here: {native.load().found}"
)


def names() -> list[tuple[int, str]]:
    """The instruction sets that this machine runs, by their numbers."""
    if native.load().fill is None:
        return []
    import ctypes

    handle = ctypes.CDLL(str(build.SOURCES / build.NAME))
    handle.goodinit_instructions.restype = ctypes.c_char_p
    found = ((n, handle.goodinit_instructions(n)) for n in (1, 2, 3))
    return [(n, name.decode()) for n, name in found if name is not None]


SETS = names()


@pytest.fixture(params=[n for n, _ in SETS], ids=[name for _, name in SETS])
def instructions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    use(request.param, monkeypatch)
    return request.param


def use(instructions: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the kernels of this number draw."""
    chosen = replace(native.load(), instructions=instructions)
    monkeypatch.setattr(library, "load", lambda: chosen)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def slowly(law: Law, shape: tuple[int, ...], box: tuple[tuple[int, int], ...]) -> Tensor:
    """spec.py's values of a box, by one index an element."""
    index = torch.arange(int(torch.tensor(shape).prod())).view(shape)
    index = index[tuple(slice(*ends) for ends in box)]
    words = philox(key_from_bytes(KEY), index.reshape(-1) // 4)
    picked = words.gather(1, index.reshape(-1, 1) % 4).view(index.shape)
    return values(law, picked)


def bits(tensor: Tensor) -> Tensor:
    """What tells 0.0 from -0.0."""
    kinds = {2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tensor.contiguous().view(kinds[tensor.itemsize])


@needs_library
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d).removeprefix("torch."))
@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_the_bits_of_the_specification(law: Law, dtype: torch.dtype, instructions: int) -> None:
    most = slowly(law, (max(SIZES),), ((0, max(SIZES)),))
    for size in SIZES:
        out = torch.full((size + 2,), 3.0, dtype=dtype)
        assert fill.may_fill_whole(out[1:-1])
        fill.write_whole(out[1:-1], KEY, law)
        assert torch.equal(bits(out[1:-1]), bits(most[:size].to(dtype))), size
        assert out[0] == 3.0 == out[-1], "wrote beside its memory"


@needs_library
@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_runs_of_any_start_and_length(law: Law, instructions: int) -> None:
    """From 1024 values on, batches of 256 skip the tile, which draws the beginning and the rest."""
    most = slowly(law, (4000,), ((0, 4000),))
    for start in (0, 1, 2, 3, 4, 6, 253):
        for size in (1023, 1024, 1025, 1027, 1028, 1279, 1280, 1281, 2047, 2303, 3700):
            dtype = DTYPES[(start + size) % len(DTYPES)]
            out = torch.full((size + 2,), 3.0, dtype=dtype)
            box = ((start, start + size),)
            assert fill.fill_box(out[1:-1], KEY, law, (4000,), box)
            assert torch.equal(bits(out[1:-1]), bits(most[slice(*box[0])].to(dtype))), (start, size)
            assert out[0] == 3.0 == out[-1], "wrote beside its memory"


@needs_library
@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
@pytest.mark.parametrize(("index", "word"), [(121325294, 16), (4774304, 2**32 - 1)])
def test_words_at_both_ends(index: int, word: int, law: Law, instructions: int) -> None:
    """Rounded to float32, only these few of the words are -1 and 1, and reach a law's bounds."""
    assert philox(key_from_bytes(KEY), torch.tensor([index // 4]))[0, index % 4] == word
    box = ((index - 700, index + 700),)
    out = torch.empty(1400)
    assert fill.fill_box(out, KEY, law, (2**27,), box)
    words = philox(key_from_bytes(KEY), torch.arange(box[0][0] // 4, box[0][1] // 4 + 1)).view(-1)
    start = box[0][0] % 4
    assert torch.equal(bits(out), bits(values(law, words[start : start + 1400])))


@needs_library
@settings(max_examples=150)
@given(st.data())
def test_any_box_and_any_strides(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=4)))
    box = tuple(
        data.draw(st.tuples(st.integers(0, s), st.integers(0, s)).map(sorted).map(tuple))
        for s in shape
    )
    order = data.draw(st.permutations(range(len(shape))))
    step = data.draw(st.integers(1, 3))
    law = data.draw(st.sampled_from(list(LAWS.values())))
    dtype = data.draw(st.sampled_from(DTYPES))
    sizes = [stop - start for start, stop in box]
    memory = torch.full([sizes[axis] * step for axis in order], 3.0, dtype=dtype)
    every = memory[tuple(slice(None, None, step) for _ in order)]
    out = every.permute(*(order.index(axis) for axis in range(len(order))))
    assert list(out.shape) == sizes
    native_set = data.draw(st.sampled_from([n for n, _ in SETS]))
    with pytest.MonkeyPatch.context() as monkeypatch:
        use(native_set, monkeypatch)
        if out.numel():
            assert fill.fill_box(out, KEY, law, shape, box)
    assert torch.equal(bits(out), bits(slowly(law, shape, box).to(dtype)))
    every.fill_(3.0)
    assert bool((memory == 3.0).all()), "wrote into the gaps"


@needs_library
@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.empty(64, 48, 5, 5).to(memory_format=torch.channels_last),
        lambda: torch.empty(700, 300).t(),
        lambda: torch.empty(40, 30, 20).transpose(0, 2),
        lambda: torch.empty(200, 400)[:, ::3],
        lambda: torch.empty(3, 70_000)[:, 5:-5],
        lambda: torch.empty(5, 1400)[:, :1300],
        lambda: torch.empty(()),
    ],
    ids=["channels_last", "transposed", "turned", "every third", "cut", "long rows", "scalar"],
)
def test_layouts_of_memory(make: Callable[[], Tensor], instructions: int) -> None:
    out = make()
    law = LAWS["normal"]
    whole = tuple((0, size) for size in out.shape)
    assert fill.fill_box(out, KEY, law, out.shape, whole)
    assert torch.equal(out, slowly(law, tuple(out.shape), whole))


@needs_library
def test_any_number_of_threads(threads: Callable[[int], None], instructions: int) -> None:
    size = 1_000_003
    drawn: list[Tensor] = []
    for number in (1, 2, 3, 7):
        threads(number)
        drawn.append(torch.empty(size))
        fill.write_whole(drawn[-1], KEY, LAWS["normal"])
    assert all(torch.equal(drawn[0], other) for other in drawn[1:])
    assert torch.equal(drawn[0], slowly(LAWS["normal"], (size,), ((0, size),)))


@needs_library
def test_blocks_beyond_32_bits(instructions: int) -> None:
    """A box far out in a parameter of 2^40 elements: the counter's second word."""
    shape, box = (2**20, 2**20), ((2**19 + 3, 2**19 + 6), (2**20 - 9, 2**20))
    law = LAWS["normal"]
    ours, torchs = torch.empty(3, 9), torch.empty(3, 9)
    assert fill.fill_box(ours, KEY, law, shape, box)
    _fill_box_by_torch(torchs, key_from_bytes(KEY), law, shape, box)
    assert torch.equal(ours, torchs)


@needs_library
def test_a_run_across_32_bits(instructions: int) -> None:
    """The number of a block exceeds 32 bits in the middle of a run."""
    box = ((2**34 - 1100, 2**34 + 1100),)
    law = LAWS["normal"]
    ours, torchs = torch.empty(2200), torch.empty(2200)
    assert fill.fill_box(ours, KEY, law, (2**36,), box)
    _fill_box_by_torch(torchs, key_from_bytes(KEY), law, (2**36,), box)
    assert torch.equal(ours, torchs)


@needs_library
def test_the_words_are_philoxs(instructions: int) -> None:
    """Of spec.philox, whose known answers are Random123's."""
    import ctypes

    handle = ctypes.CDLL(str(build.SOURCES / build.NAME))
    words = (ctypes.c_uint32 * 400)()
    first = 2**34 - 50
    assert not handle.goodinit_philox(KEY, ctypes.c_int64(first), 100, words, instructions)
    wanted = philox(key_from_bytes(KEY), torch.arange(first, first + 100)).flatten().tolist()
    assert list(words) == wanted


# What doesn't take the native path, and what it leaves as torch would.


class Watching(TorchDispatchMode):
    """Sees every torch call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls += 1
        return func(*args, **(kwargs or {}))


class Own(Tensor):
    """A subclass."""


def test_only_plain_memory_is_written_natively() -> None:
    law, stream = LAWS["normal"], Stream(0)
    wanted = stream.fill_(torch.empty(40), "w", law)
    with Watching() as watching:
        watched = stream.fill_(torch.empty(40), "w", law)
    assert watching.calls > 3
    assert torch.equal(watched, wanted)
    with FakeTensorMode():
        fake = torch.empty(40)
    assert not fill.may_fill_whole(fake)
    assert not fill.may_fill_whole(torch.empty(40, device="meta"))
    own = torch.empty(40).as_subclass(Own)
    assert not fill.may_fill_whole(own)
    assert torch.equal(stream.fill_(own, "w", law).as_subclass(Tensor), wanted)
    negated = torch.empty(8, dtype=torch.complex64).conj().imag
    assert negated.is_neg()
    assert not fill.may_fill_whole(negated)
    for tensor in (torch.empty(4, dtype=torch.int32), torch.empty(4, dtype=torch.complex64)):
        assert not fill.may_fill_whole(tensor)
    with pytest.raises(StreamError, match="share memory"):
        stream.fill_(torch.empty(1).expand(4), "w", law)


def test_autograd_sees_the_write() -> None:
    weight = torch.nn.Parameter(torch.ones(8))
    loss = (weight * weight).sum()
    version = weight._version
    with torch.no_grad():
        Stream(0).fill_(weight, "w", LAWS["normal"])
    assert weight._version > version
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    assert weight.grad is None


def test_inference_tensors() -> None:
    with torch.inference_mode():
        made = torch.empty(8)
        Stream(0).fill_(made, "w", LAWS["normal"])
    wanted = Stream(0).draw("w", LAWS["normal"], (8,))
    assert torch.equal(made, wanted)
    with pytest.raises(RuntimeError, match="inference"):
        Stream(0).fill_(made, "w", LAWS["normal"])


def test_without_a_library_the_bits_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = [Stream(3).draw("w", law, (30, 7)) for law in LAWS.values()]
    monkeypatch.setattr(library, "load", lambda: library.Library(None, "none"))
    again = [Stream(3).draw("w", law, (30, 7)) for law in LAWS.values()]
    assert all(torch.equal(bits(a), bits(b)) for a, b in zip(drawn, again, strict=True))


@pytest.mark.parametrize(
    ("shape", "box", "strides", "expected"),
    [
        ((5, 2), ((0, 5), (0, 2)), (6, 3), (0, ((10, 1, 3),))),
        ((5, 2), ((0, 5), (0, 2)), (9, 3), (0, ((5, 2, 9), (2, 1, 3)))),  # a gap between rows
        ((5, 3), ((1, 5), (0, 2)), (2, 1), (3, ((4, 3, 2), (2, 1, 1)))),  # a gap in the order
        ((5, 2), ((1, 2), (0, 2)), (7, 1), (2, ((2, 1, 1),))),
        ((5, 2), ((0, 5), (1, 2)), (1, 9), (1, ((5, 2, 1), (1, 1, 1)))),
        ((2, 3, 4), ((0, 2), (0, 3), (0, 4)), (1, 8, 2), (0, ((2, 12, 1), (12, 1, 2)))),
        ((), (), (), (0, ((1, 1, 1),))),
    ],
)
def test_axes_that_one_step_joins_are_one(shape, box, strides, expected) -> None:
    assert fill.box_axes(shape, box, strides) == expected


def test_long_strided_runs_are_cut_into_pieces() -> None:
    short, run = ((70, 1, 70), (64, 70, 1)), ((70, 1, 70), (65, 70, 2))
    assert list(fill.in_cache_order(((3, 9, 9), (65, 1, 1)))) == [(0, 0, ((3, 9, 9), (65, 1, 1)))]
    assert list(fill.in_cache_order(((65, 1, 2),))) == [(0, 0, ((65, 1, 2),))]
    assert list(fill.in_cache_order(short)) == [(0, 0, short)]
    assert list(fill.in_cache_order(run)) == [
        (0, 0, ((8, 560, 16), (70, 1, 70), (8, 70, 2))),
        (64 * 70, 64 * 2, ((70, 1, 70), (1, 70, 2))),
    ]
    assert list(fill.in_cache_order(((5, 9, 1), (7, 99, 50), (16 * 5, 1, 4)))) == [
        (0, 0, ((7, 99, 50), (10, 8, 32), (5, 9, 1), (8, 1, 4)))
    ]


# The library's own flags.


@pytest.mark.battery  # it compiles the library once more
@pytest.mark.skipif(not shutil.which("c++"), reason="needs a C++ compiler")
def test_contraction_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library whose compiler fuses products and sums draws other values, and isn't used.

    It fuses those of the kernels that this machine takes; the others are compiled at once.
    """
    words = {number: word for word, number in library.CHOICES.items()}
    taken = [f"{words[n]}.cpp" for n, name in SETS if name == native.load().found]
    fused = ["-O1", "-fexpensive-optimizations", "-ffp-contract=fast", "-mfma"]  # -O1 is quick
    units = {
        unit: (*flags, *(["-O0"] if taken and unit not in taken else fused))
        for unit, flags in build.UNITS.items()
    }
    monkeypatch.setattr(build, "UNITS", units)
    bad = tmp_path / "bad.so"
    build.compile_library(bad)
    opened = library.open_library(bad)
    assert opened.fill is None
    assert opened.refused
    assert "other bits" in opened.found


@pytest.mark.skipif(not shutil.which("c++"), reason="needs a C++ compiler")
def test_fast_math_does_not_compile(tmp_path: Path) -> None:
    with pytest.raises(build.BuildError, match="fast-math"):
        build.compile_library(tmp_path / "fast.so", ["-ffast-math", "-Wfatal-errors"])


def test_no_compiler_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(build.BuildError, match="no-such-compiler not found"):
        build.compile_library(tmp_path / "none.so")
    assert not list(tmp_path.iterdir())


def test_a_broken_library_is_warned_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / build.NAME
    broken.write_bytes(b"no library")
    monkeypatch.setattr(library, "__file__", str(tmp_path / "library.py"))
    library.load.cache_clear()
    try:
        with pytest.warns(RuntimeWarning, match="can't be loaded"):
            assert library.load().fill is None
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert library.load().refused
    finally:
        library.load.cache_clear()


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], library.Library]]:
    """Load the library as in a process with GOODINIT_KERNELS set."""

    def load(name: str) -> library.Library:
        monkeypatch.setenv("GOODINIT_KERNELS", name)
        library.load.cache_clear()
        return library.load()

    yield load
    library.load.cache_clear()


@needs_library
@pytest.mark.parametrize(("number", "name"), SETS)
def test_kernels_can_be_chosen(number: int, name: str, kernels) -> None:
    choice = {n: word for word, n in library.CHOICES.items()}[number]
    loaded = kernels(choice)
    assert (loaded.instructions, loaded.found) == (number, name)


def test_plain_torch_code_can_be_chosen(kernels) -> None:
    assert kernels("plain").fill is None
    assert kernels("plain").found == "plain torch code: GOODINIT_KERNELS=plain"


def test_unknown_kernels_are_refused(kernels) -> None:
    with pytest.raises(StreamError, match=r"GOODINIT_KERNELS='avx'.*portable, avx2, avx512"):
        kernels("avx")


@needs_library
def test_kernels_that_the_machine_lacks_are_refused(kernels, monkeypatch) -> None:
    best = kernels("").found
    monkeypatch.setitem(library.CHOICES, "avx512", 77)  # no machine has a set of this number
    with pytest.raises(StreamError, match=rf"GOODINIT_KERNELS='avx512'.*has only up to {best};"):
        kernels("avx512")


def test_a_second_of_plain_drawing_is_warned_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "load", lambda: library.Library(None, "no library"))
    monkeypatch.setattr(library, "_drawn", {"seconds": 0.0})
    monkeypatch.setattr(library, "NOTICED", 0.0)
    with pytest.warns(RuntimeWarning, match="no library"):
        Stream(3).draw("w", LAWS["normal"], (30,))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Stream(3).draw("w", LAWS["normal"], (30,))
    monkeypatch.setattr(library, "_drawn", {"seconds": 0.0})
    monkeypatch.setattr(library, "NOTICED", 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        library.note_plain_drawing(0.5)
        library.note_plain_drawing(0.5)
    with pytest.warns(RuntimeWarning, match=r"for 1\.5 s"):
        library.note_plain_drawing(0.5)
    monkeypatch.setattr(library, "_drawn", {"seconds": 0.0})
    monkeypatch.setenv("GOODINIT_KERNELS", "plain")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Stream(3).draw("w", LAWS["normal"], (30,))
