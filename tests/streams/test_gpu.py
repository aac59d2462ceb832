"""The GPU kernel without a GPU: its values in Triton's interpreter, its code as compiled.

Triton reads TRITON_INTERPRET when the kernel is defined. So a process of its own, which is this
file run as a script, draws all cases in the interpreter; here the kernel is compiled for an H100.
"""

from __future__ import annotations

import os
import random
import re
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

from goodinit._common.memory import bump_version, kernel_may_write
from goodinit.streams import Law, Stream
from goodinit.streams.gpu import fill
from goodinit.streams.spec import key_from_bytes, philox, values
from goodinit.streams.stream import _fill_box_by_torch

KEY = struct.pack("=4I", 0xFFFFFFFE, 7, 0x80000001, 123)
LAWS = {
    "normal": Law.normal(0.5, 0.02),
    "uniform": Law.uniform(-0.1, 0.3),
    "symmetric": Law.uniform(-0.1, 0.1),
    "truncated": Law.truncated(0.0, 1e-6, -2.0, 1.5),
    "one-sided": Law.truncated(0.0, 1.0, 0.0, 9.0),
    "hardly cut": Law.truncated(1.0, 1.0, -9.0, 9.0),
    "constant": Law.normal(0.25, 0.0),
    "small constant": Law.normal(1e-40, 0.0),
    "large": Law.normal(0.0, 2e4),  # float16 becomes infinite
    "tiny": Law.normal(0.0, 2.0**-64),
}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16,
          "fp64": torch.float64}  # fmt: skip
SIZES = [1, 4, 5, 1023, 1024, 1031]

Box = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Case:
    """What is drawn: ``order`` permutes the axes in memory, and only each ``step``-th is used."""

    law: str
    dtype: str
    shape: tuple[int, ...]
    box: Box
    order: tuple[int, ...]
    step: int = 1
    wide: bool = False

    def make(self) -> tuple[Tensor, Tensor]:
        """The memory, full of threes, and the view of it that is to be written."""
        sizes = [stop - start for start, stop in self.box]
        extent = [sizes[axis] * self.step for axis in self.order]
        extent[-1] += 2  # neither the first nor the last element may be written
        memory = torch.full(extent, 3.0, dtype=DTYPES[self.dtype])
        view = memory[..., 1:-1][tuple(slice(None, None, self.step) for _ in self.order)]
        return memory, view.permute(*(self.order.index(axis) for axis in range(len(sizes))))


def whole(
    law: str, dtype: str, shape: tuple[int, ...], order: tuple[int, ...], **more: Any
) -> Case:
    return Case(law, dtype, shape, tuple((0, size) for size in shape), order, **more)


def some_boxes(count: int) -> Iterator[Case]:
    draw = random.Random(0)
    for _ in range(count):
        shape = tuple(draw.randint(1, 9) for _ in range(draw.randint(1, 4)))
        starts = [draw.randrange(size) for size in shape]
        box = tuple(
            (start, draw.randint(start + 1, size))
            for start, size in zip(starts, shape, strict=True)
        )
        order = tuple(draw.sample(range(len(shape)), len(shape)))
        law, dtype = draw.choice(list(LAWS)), draw.choice(list(DTYPES))
        yield Case(law, dtype, shape, box, order, draw.randint(1, 3))


FAR = 4 * 2**32  # the first index whose block number has a second word
CASES = [
    *(whole("normal", "fp32", (size,), (0,)) for size in SIZES),
    *(whole(law, dtype, (1031,), (0,)) for law in LAWS for dtype in DTYPES),
    *some_boxes(40),
    whole("normal", "fp32", (16, 12, 3, 3), (0, 2, 3, 1)),  # channels_last
    whole("normal", "bf16", (8, 16, 4, 4), (0, 2, 3, 1)),
    whole("truncated", "fp32", (64, 48), (1, 0)),  # transposed
    whole("uniform", "fp32", (5, 6, 7), (2, 0, 1)),
    whole("normal", "fp32", (40, 8), (0, 1), step=2, wide=True),
    Case("normal", "fp32", (2**40,), ((FAR - 9, FAR + 1100),), (0,)),
    Case("truncated", "bf16", (2**40,), ((FAR - 16, FAR + 16),), (0,), wide=True),
    Case("normal", "fp32", (2**34, 64), ((2**33 - 3, 2**33 + 4), (5, 18)), (1, 0)),
    Case("uniform", "fp64", (2**20, 2**31, 2), ((7, 9), (2**31 - 5, 2**31), (0, 2)), (0, 1, 2)),
    Case("normal", "fp32", (2**40,), ((2**33, 2**33 + 20_000),), (0,)),  # many programs
    whole("normal", "fp32", (2, 3, 2, 3, 2, 3, 5), (3, 1, 6, 0, 5, 2, 4)),  # several launches
]


def specified(case: Case) -> Tensor:
    """spec.py's values of a box, by one index an element."""
    index = torch.zeros((), dtype=torch.int64)
    for size, ends in zip(case.shape, case.box, strict=True):
        index = index[..., None] * size + torch.arange(*ends)
    words = philox(key_from_bytes(KEY), index.reshape(-1) // 4)
    picked = words.gather(1, index.reshape(-1, 1) % 4).view(index.shape)
    return values(LAWS[case.law], picked)


def bits(tensor: Tensor) -> Tensor:
    """What tells 0.0 from -0.0."""
    kinds = {2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tensor.contiguous().view(kinds[tensor.itemsize])


def interpret(to: str) -> None:
    """Draw all cases, in a process that has TRITON_INTERPRET set."""
    Stream(0).draw("w", Law.normal(), (8,))
    assert "triton" not in sys.modules, "Triton was imported before it is needed"
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

    from goodinit.streams.gpu import kernels

    def create_fma(self: object, x: Any, y: Any, z: Any) -> Any:
        """Round once; the interpreter's own rounds the product to float32 first."""
        exact = x.data.astype("float64") * y.data + z.data
        return TensorHandle(exact.astype("float32"), z.dtype.scalar)

    InterpreterBuilder.create_fma = create_fma  # type: ignore[method-assign]
    torch.set_num_threads(1)
    drawn: list[Tensor] = []
    for case in CASES:
        memory, view = case.make()
        launches = kernels.launch_arguments(LAWS[case.law], KEY, case.shape, case.box, view)
        for place, given, constants, programs in launches:
            assert not constants["wide"]
            kernels.draw_kernel[(programs,)](place, *given, **constants | {"wide": case.wide})
        drawn.append(memory)
    torch.save(drawn, to)


needs_triton = pytest.mark.skipif(
    find_spec("triton") is None, reason="needs triton: pip install triton, 200 MB"
)


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory: pytest.TempPathFactory) -> list[Tensor]:
    to = tmp_path_factory.mktemp("interpreted") / "drawn.pt"
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, __file__, str(to)], env=environment, check=True, timeout=300)
    return torch.load(to)


@needs_triton
@pytest.mark.parametrize("law", LAWS)
def test_the_bits_of_the_specification(law: str, interpreted: list[Tensor]) -> None:
    found = 0
    for case, memory in zip(CASES, interpreted, strict=True):
        if case.law == law:
            wanted, view = case.make()
            view.copy_(specified(case))
            assert torch.equal(bits(memory), bits(wanted)), case
            found += 1
    assert found >= len(DTYPES)


# The compiled code.


class Driver:
    """Stands for the driver of an H100, so that launches compile; nothing can be run."""

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", 90, 32)


Compile = Callable[..., Any]


@pytest.fixture
def compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Compile]:
    """A function that compiles what ``launch`` would launch on a tensor."""
    triton = pytest.importorskip("triton", reason="needs triton: pip install triton, 200 MB")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    if triton.knobs.runtime.interpret:
        pytest.skip("TRITON_INTERPRET is set: nothing is compiled")
    from goodinit.streams.gpu import kernels

    found: list[Any] = []

    class Draw:
        options: ClassVar[dict[str, object]] = {}

        def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
            return lambda *given, **more: found.append(
                kernel.run(*given, grid=grid, warmup=True, **more | self.options)
            )

    kernel = kernels.draw_kernel
    monkeypatch.setattr(kernels, "draw_kernel", Draw())

    def compile_it(law: Law, out: Tensor, box: Box | None = None, **options: object) -> Any:
        Draw.options = options
        shape = tuple(out.shape) if box is None else tuple(stop for _, stop in box)
        kernels.launch(out, KEY, law, shape, box or tuple((0, size) for size in shape))
        return found[-1]

    monkeypatch.setattr(triton.runtime.driver, "_active", Driver())
    yield compile_it
    kernel.device_caches.clear()


FUSED = re.compile(r"\bfma\.rn\.f32")
ROUNDED = re.compile(r"\b(?:mul|add|sub)\.rn\.f32")
FREE = re.compile(r"\b(?:mul|add|sub)\.f32")  # ptxas may fuse such a pair
STEPS = 22  # fused multiply-adds of a normal value: 1 for y, 5 for L, 1 for t, 15 for P


def machine_code(kernel: Any, folder: Path) -> str:
    import triton

    (folder / "kernel.cubin").write_bytes(kernel.asm["cubin"])
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/nvdisasm"
    command = [str(tool), "-c", str(folder / "kernel.cubin")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("law", "out"),
    [
        ("normal", torch.empty(4096)),
        pytest.param(
            *("normal", torch.empty(4099, dtype=torch.bfloat16)), marks=pytest.mark.battery
        ),
        ("uniform", torch.empty(4096, dtype=torch.float16)),
        ("truncated", torch.empty(64, 32).t()),
        pytest.param(
            *("hardly cut", torch.empty(40, 30, 20, dtype=torch.float64).transpose(0, 2)),
            marks=pytest.mark.battery,
        ),
    ],
    ids=["normal", "ragged", "uniform", "transposed", "three axes"],
)
def test_only_the_steps_of_the_polynomials_are_fused(
    law: str, out: Tensor, compiled: Compile, tmp_path: Path
) -> None:
    kernel = compiled(LAWS[law], out)
    ptx = kernel.asm["ptx"]
    assert not FREE.search(ptx)
    products = len(ROUNDED.findall(ptx))
    assert products
    code = machine_code(kernel, tmp_path)
    # A value has one product and one sum, which scale and shift it, beside the law's own: of y
    # and c, P and x, n and 2^-31.
    own, fused = (0, 0) if law == "uniform" else (2, STEPS)
    values = products // (3 + own)
    assert len(FUSED.findall(ptx)) == fused * values
    assert len(re.findall(r"\bFFMA\b", code)) == fused * values
    assert len(re.findall(r"\bFADD\b", code)) == values


@pytest.mark.battery  # a test of the tests above
def test_these_checks_notice_contraction(compiled: Compile, tmp_path: Path) -> None:
    kernel = compiled(LAWS["normal"], torch.empty(4096), enable_fp_fusion=True)
    ptx = kernel.asm["ptx"]
    assert FREE.search(ptx)
    assert not ROUNDED.search(ptx)
    fused = len(re.findall(r"\bFFMA\b", machine_code(kernel, tmp_path)))
    named = len(FUSED.findall(compiled(LAWS["normal"], torch.empty(4096)).asm["ptx"]))
    assert fused > named > 0


def test_whole_tensors_are_written_in_wide_stores(compiled: Compile) -> None:
    out = torch.empty(4096)
    assert out.data_ptr() % 16 == 0
    assert "st.global.v4.b32" in compiled(LAWS["normal"], out).asm["ptx"]
    assert "st.global.v2.b32" in compiled(LAWS["normal"], out.bfloat16()).asm["ptx"]


def test_no_key_law_or_size_compiles_anew(compiled: Compile) -> None:
    one = compiled(Law.normal(), torch.empty(16, 4, 32).transpose(0, 1))
    two = compiled(
        Law.normal(1.0, 0.5), torch.empty(20, 2, 1).expand(20, 2, 8).clone().transpose(0, 1)
    )
    assert one is two
    assert one is not compiled(Law.uniform(0.0, 1.0), torch.empty(16, 4, 32).transpose(0, 1))


# Whether the kernel is taken.


def by_torch(out: Tensor, key: bytes, law: Law, shape: tuple[int, ...], box: Box) -> None:
    _fill_box_by_torch(out, key_from_bytes(key), law, shape, box)


def test_a_kernel_of_other_bits_is_not_trusted() -> None:
    cpu = torch.device("cpu")

    def fused(out: Tensor, *more: Any) -> None:
        by_torch(out, *more)
        out[-1] = torch.nextafter(out[-1], out[-2])

    def broken(out: Tensor, *more: Any) -> None:
        raise OSError("no compiler")

    for kind in ("normal", "uniform", "truncated"):
        for dtype in DTYPES.values():
            assert fill._agrees(by_torch, cpu, kind, dtype)
        with pytest.warns(RuntimeWarning, match="draws other bits on cpu in torch.float32"):
            assert not fill._agrees(fused, cpu, kind, torch.float32)
    with pytest.warns(RuntimeWarning, match="drawn on the CPU and copied.*no compiler"):
        assert not fill._agrees(broken, cpu, "normal", torch.float32)


def test_only_tensors_on_a_gpu_are_taken() -> None:
    for device in ("cpu", "meta"):
        out = torch.ones(8, device=device)
        assert not fill.fill_box(out, KEY, LAWS["normal"], (8,), ((0, 8),))
        assert not fill.fill_whole(out, KEY, LAWS["normal"])
        assert out._version == 0
    with FakeTensorMode():
        fake = torch.empty(8, device="cuda")
    assert not fill.fill_box(fake, KEY, LAWS["normal"], (8,), ((0, 8),))
    assert not fill.fill_whole(fake, KEY, LAWS["normal"])


def test_plain_memory() -> None:
    class Own(Tensor):
        """A subclass."""

    assert kernel_may_write(torch.empty(2))
    assert kernel_may_write(torch.nn.Parameter(torch.empty(2)))
    assert not kernel_may_write(torch.empty(2).as_subclass(Own))
    assert not kernel_may_write(torch.empty(2, dtype=torch.complex64).conj().imag)
    with torch.inference_mode():
        made = torch.empty(2)
        assert kernel_may_write(made)
        bump_version(made)
    assert not kernel_may_write(made)
    with torch.device("cpu"):
        assert kernel_may_write(torch.empty(2))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: make gpu-check does more")
def test_a_gpu() -> None:
    out = torch.empty(1000, device="cuda")
    assert fill.fill_box(out, KEY, LAWS["normal"], (1000,), ((0, 1000),))
    stream = Stream(0)
    drawn = stream.fill_(out, "w", LAWS["normal"]).cpu()
    assert torch.equal(drawn, stream.draw("w", LAWS["normal"], (1000,)))


if __name__ == "__main__":
    interpret(sys.argv[1])
