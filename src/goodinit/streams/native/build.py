"""Compile the library, with whatever C++ compiler there is.

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
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["NAME", "SOURCES", "BuildError", "compile_library", "find_compiler"]

SOURCES = Path(__file__).parent

NAME = "libgoodinit_streams" + (".dylib" if sys.platform == "darwin" else ".so")

# A product and a sum fused to one operation would change about half of the bits, and so would
# arithmetic that is "fast". The library is checked when it is loaded, all the same.
FLAGS = (
    "-std=c++17 -O3 -fPIC -pthread -fvisibility=hidden -fno-exceptions -fno-rtti "
    "-ffp-contract=off -fno-fast-math -fno-math-errno"
).split()

# Of each source: what may be used beyond the machine's base. Which of them runs is decided when
# it runs. avx2.cpp gets no FMA, so that nothing there can be fused.
UNITS = {
    "fill.cpp": (),
    "portable.cpp": (),
    "avx2.cpp": ("-mavx2", "-mf16c"),
    "avx512.cpp": ("-mavx512f",),
}
X86 = ("x86_64", "amd64")


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
    """Compile the library to the file ``target``; a file that is there is replaced at the end.

    Args:
        target: where to.
        extra: flags that come last, and so win over the others.

    Raises:
        BuildError: no compiler, or it fails; nothing is written then.
    """
    compiler = find_compiler()
    with tempfile.TemporaryDirectory() as folder:
        objects = [str(Path(folder, unit + ".o")) for unit in _units()]
        _run(
            [*command, *extra, "-o", o]
            for command, o in zip(_commands(compiler), objects, strict=True)
        )
        built = Path(folder, target.name)
        # What no unit asks for, such as the C++ library, need not be there when it runs.
        linking = () if sys.platform == "darwin" else ("-Wl,--as-needed",)
        _run([[*compiler, *FLAGS, *extra, "-shared", *linking, *objects, "-o", str(built)]])
        target.parent.mkdir(parents=True, exist_ok=True)
        # A process that has the old file mapped keeps it: it is replaced, not written over.
        beside = target.with_name(f"{target.name}.{os.getpid()}")
        shutil.copy(built, beside)
        beside.replace(target)


def _units() -> dict[str, tuple[str, ...]]:
    x86 = platform.machine().lower() in X86
    return {unit: flags for unit, flags in UNITS.items() if x86 or not flags}


def _commands(compiler: Sequence[str]) -> Iterator[list[str]]:
    for unit, flags in _units().items():
        yield [*compiler, *FLAGS, *flags, "-c", str(SOURCES / unit)]


def _run(commands: Iterator[list[str]] | list[list[str]]) -> None:
    """Run commands side by side; raise BuildError if one fails."""
    running: list[tuple[list[str], subprocess.Popen[str]]] = []
    try:
        running.extend(
            (c, subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
            for c in commands
        )
    except OSError as error:
        raise BuildError(f"the compiler can't be started: {error}") from error
    finally:
        said = [process.communicate()[0] for _, process in running]
    for (command, process), text in zip(running, said, strict=True):
        if process.returncode:
            raise BuildError(f"{shlex.join(command)}\nfailed: {text.strip()[-2000:]}")


if __name__ == "__main__":
    compile_library(SOURCES / NAME)
