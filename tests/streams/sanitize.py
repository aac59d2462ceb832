"""Compile the kernels and fuzz.cpp with AddressSanitizer and UndefinedBehaviorSanitizer, and run.

Where a compiler for aarch64 and qemu-user are installed (Debian: g++-aarch64-linux-gnu and
qemu-user-static), the NEON kernels run too, and must draw the same bits. Standard library only, for
``make sanitize``.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
CHECKED = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
CROSS, QEMU, SYSROOT = "aarch64-linux-gnu-g++", "qemu-aarch64-static", "/usr/aarch64-linux-gnu"


def load_build() -> ModuleType:
    """Import the package's build.py without the package."""
    path = ROOT / "src/goodinit/streams/native/build.py"
    spec = importlib.util.spec_from_file_location("build", path)
    assert spec is not None
    assert spec.loader is not None
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    return build


def fuzz(build: ModuleType, flags: Sequence[str], runner: Sequence[str] = ()) -> str:
    """Build in a temporary folder, run the fuzzer, and return the last line that it printed."""
    with tempfile.TemporaryDirectory() as folder:
        library, program = Path(folder, build.NAME), Path(folder, "fuzz")
        build.compile_library(library, flags)
        source = Path(__file__).with_name("fuzz.cpp")
        link = [str(library), f"-Wl,-rpath,{folder}", "-o", str(program)]
        command = [*build.find_compiler(), "-std=c++17", *flags, str(source), *link]
        subprocess.run(command, check=True)
        run = [*runner, str(program), *sys.argv[1:]]
        done = subprocess.run(run, stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, end="")
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout.splitlines()[-1]


def main() -> None:
    """Run natively with the sanitizers, and as aarch64 without them; compare what was drawn."""
    build = load_build()
    here = fuzz(build, CHECKED)
    if not (shutil.which(CROSS) and shutil.which(QEMU)):
        print(f"NEON was not run: {CROSS} or {QEMU} is not installed")
        return
    os.environ["CXX"] = CROSS
    build.platform.machine = lambda: "aarch64"
    if fuzz(build, ["-O2"], [QEMU, "-L", SYSROOT]) != here:
        sys.exit("NEON draws other bits")


if __name__ == "__main__":
    main()
