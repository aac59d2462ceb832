"""What is installed, and whether this machine draws the right numbers."""

from __future__ import annotations

import ctypes
import hashlib
import importlib.metadata
import os
import platform
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import torch

import goodinit as gi
from goodinit._common import torch_private
from goodinit.streams import VERSION, Law, Stream, native

PACKAGES = {
    "cli": ("plotext", "rich", "safetensors", "typer"),
    "report": ("matplotlib", "plotly"),
    "demo": ("scikit-learn",),
    "models": ("transformers", "timm", "torchvision", "lightning"),
}

# SHA-256 of values drawn with seed 7 and the name "fc.weight", as float32 and as bfloat16. The
# tests of the streams pin a million of these values; here the first 2^16 keep the check short.
VALUES = 2**16
MANY = 300_000  # enough values to be split among several threads
ORTHOGONAL_ERROR = 1e-5  # 64 products are summed in float32: 64 * 2^-24 is 4e-6
GOLDEN = (
    (
        "normal",
        Law.normal(0.5, 0.02),
        "cedd88728f6cf6eaa2dc8ebc2a8a600535bf5f8e6eebfa1bbcc87ef40c4403ab",
        "37e6302c28a5f995c7e7703c82b9ae5115050cdcf8d3f61de455d33f4554b4aa",
    ),
    (
        "uniform",
        Law.uniform(-0.1, 0.3),
        "32f52a5a68d5b07f3d608a48deb560546534bb535791aac1acbbe678deb06c06",
        "e4a110bf8799c68ab66950d12a8e5b77802502bbd8b055f3682d7be7aeb11a93",
    ),
    (
        "truncated normal",
        Law.truncated(0.0, 0.02, -2.0, 1.5),
        "f2944e43706dae6cc763c73b6d7a1749fed60095d47fee2518498acb5b2ff076",
        "7b49db2cabcf4c7f785906fd51686351d6c4ec4a133b6a342b629fd575095011",
    ),
)


@dataclass(frozen=True, slots=True)
class Line:
    """A fact about the installation, or the result of a check.

    Attributes:
        what: its subject.
        found: what was found.
        ok: whether the check passed; None for a fact.
    """

    what: str
    found: str
    ok: bool | None = None


def check_installation() -> list[Line]:
    """Return the facts, and the results of the checks."""
    return [*_facts(), *_golden_values(), _thread_counts(), _orthogonal()]


def _facts() -> Iterator[Line]:
    yield Line("goodinit", gi.__version__)
    yield Line("python", f"{platform.python_version()}, {sys.executable}")
    yield Line("platform", f"{platform.platform(terse=True)}, {platform.machine()}")
    yield Line("torch", f"{torch.__version__}, {torch.backends.cpu.get_cpu_capability()}")
    cuda = torch.cuda.is_available()
    yield Line("gpu", torch.cuda.get_device_name() if cuda else "none that torch can use")
    yield Line("threads", f"{torch.get_num_threads()} of {os.cpu_count()} cores")
    yield Line("streams", f"version {VERSION}")
    yield _kernels()
    for name in torch_private.missing():
        yield Line("torch lacks", f"{name.partition(':')[2]}: {torch_private.CONSEQUENCES[name]}")
    for extra, packages in PACKAGES.items():
        for package in packages:
            yield Line(f"{extra}: {package}", _package_version(package))


def _kernels() -> Line:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the line shows the same message
        library = native.load()
    return Line("native kernels", library.found, False if library.refused else None)


def _package_version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _golden_values() -> Iterator[Line]:
    for name, law, *wanted in GOLDEN:
        found = [_hash_values(law, dtype) for dtype in (torch.float32, torch.bfloat16)]
        checked = zip(("float32", "bfloat16"), found, wanted, strict=True)
        wrong = [dtype for dtype, a, b in checked if a != b]
        text = f"{' and '.join(wrong)} differ from streams {VERSION}" if wrong else "golden values"
        yield Line(name, text, not wrong)


def _thread_counts() -> Line:
    """Draw with one thread, and with all or at least two."""
    law, before = GOLDEN[0][1], torch.get_num_threads()
    drawn: list[torch.Tensor] = []
    try:
        for threads in (1, max(before, 2)):
            torch.set_num_threads(threads)
            drawn.append(Stream(7).draw("fc.weight", law, (MANY,)))
    finally:
        torch.set_num_threads(before)
    same = torch.equal(*drawn)
    text = f"{'same' if same else 'other'} bits with 1 and with {max(before, 2)}"
    return Line("threads", text, same)


def _orthogonal() -> Line:
    matrix = torch.empty(64, 64, device="cpu")
    try:
        gi.init_(matrix, gi.Orthogonal(), seed=0)
    except (RuntimeError, gi.GoodinitError) as error:
        return Line("orthogonal", str(error), ok=False)
    error = (matrix.T @ matrix - torch.eye(64, device="cpu")).abs().max().item()
    return Line("orthogonal", f"Q'Q is 1 within {error:.1e}", error < ORTHOGONAL_ERROR)


def _hash_values(law: Law, dtype: torch.dtype) -> str:
    drawn = Stream(7).draw("fc.weight", law, (VALUES,), dtype=dtype)
    data = ctypes.string_at(drawn.data_ptr(), drawn.numel() * drawn.itemsize)
    return hashlib.sha256(data).hexdigest()
