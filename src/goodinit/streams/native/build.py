"""Compile the library with any C++ compiler.

Standard library only: the package's build runs this file before the package can be imported.
``python build.py`` compiles into the folder of the sources.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

__all__ = ["NAME", "SOURCES", "BuildError", "compile_library", "find_compiler"]

SOURCES = Path(__file__).parent

# The dot keeps tools that import each file of a package from taking the library for a module.
NAME = "libgoodinit.streams" + (".dylib" if sys.platform == "darwin" else ".so")

# The compiler fuses nothing: the kernels say which products and sums are one operation. Other fused
# ones would change about half of the values, as would "fast" arithmetic. The library is checked
# when it is loaded, too.
FLAGS = (
    "-std=c++17 -O3 -fPIC -pthread -fvisibility=hidden -fno-exceptions -fno-rtti "
    "-ffp-contract=off -fno-fast-math -fno-math-errno"
).split()

# Each source with the instructions it may use beyond the machine's base. Which kernel is used is
# decided at run time.
UNITS = {
    "fill.cpp": (),
    "portable.cpp": (),
    "neon.cpp": (),
    "avx2.cpp": ("-mavx2", "-mfma", "-mf16c"),
    "avx512.cpp": ("-mavx512f", "-mavx512dq"),
}
X86 = ("x86_64", "amd64")

LONGEST_OUTPUT = 2000
"""Characters of a compiler's output in an error: its last messages name the cause."""


class BuildError(Exception):
    """No compiler, or one that fails; the message says which and how."""


def find_compiler() -> list[str]:
    """Return the command of the C++ compiler: $CXX, or the first of c++, g++ and clang++.

    Raises:
        BuildError: there is none.
    """
    named = shlex.split(os.environ.get("CXX", ""))
    for command in [named] if named else [["c++"], ["g++"], ["clang++"]]:
        if shutil.which(command[0]):
            return command
    raise BuildError(f"no C++ compiler: {named[0] if named else 'c++, g++, clang++'} not found")


def compile_library(target: Path, extra: Sequence[str] = ()) -> None:
    """Compile the library to the file ``target``; an existing file is replaced at the end.

    Args:
        target: path of the library.
        extra: flags that come last and so override the others.

    Raises:
        BuildError: no compiler, or it fails; nothing is written then.
    """
    compiler = find_compiler()
    with tempfile.TemporaryDirectory() as folder:
        x86 = platform.machine().lower() in X86
        units = {unit: flags for unit, flags in UNITS.items() if x86 or not flags}
        objects = [str(Path(folder, unit + ".o")) for unit in units]
        _run(
            [*compiler, *FLAGS, *units[unit], "-c", str(SOURCES / unit), *extra, "-o", o]
            for unit, o in zip(units, objects, strict=True)
        )
        built = Path(folder, target.name)
        # Libraries that no unit uses, such as the C++ library, are not needed at run time.
        linking = () if sys.platform == "darwin" else ("-Wl,--as-needed",)
        _run([[*compiler, *FLAGS, *extra, "-shared", *linking, *objects, "-o", str(built)]])
        target.parent.mkdir(parents=True, exist_ok=True)
        # A process that has the old file mapped keeps it: the file is replaced, not overwritten.
        beside = target.with_name(f"{target.name}.{os.getpid()}")
        shutil.copy(built, beside)
        beside.replace(target)


def _run(commands: Iterable[list[str]]) -> None:
    """Run commands in parallel; raise BuildError if one fails."""
    running: list[tuple[list[str], subprocess.Popen[str]]] = []
    try:
        running.extend(
            (c, subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
            for c in commands
        )
    except OSError as error:
        raise BuildError(f"the compiler can't be started: {error}") from error
    finally:
        outputs = [process.communicate()[0] for _, process in running]
    for (command, process), text in zip(running, outputs, strict=True):
        if process.returncode:
            raise BuildError(f"{shlex.join(command)}\nfailed: {text.strip()[-LONGEST_OUTPUT:]}")


if __name__ == "__main__":
    compile_library(SOURCES / NAME)
