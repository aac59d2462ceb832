"""Compile the kernels and fuzz.cpp with AddressSanitizer and UndefinedBehaviorSanitizer, and run.

Standard library only, for ``make sanitize``.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHECKED = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def main() -> None:
    """Build in a temporary folder; the exit code is that of the fuzzer."""
    path = ROOT / "src/goodinit/streams/native/build.py"
    spec = importlib.util.spec_from_file_location("build", path)
    assert spec is not None
    assert spec.loader is not None
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    with tempfile.TemporaryDirectory() as folder:
        library, program = Path(folder, build.NAME), Path(folder, "fuzz")
        build.compile_library(library, CHECKED)
        source = Path(__file__).with_name("fuzz.cpp")
        link = [str(library), f"-Wl,-rpath,{folder}", "-o", str(program)]
        command = [*build.find_compiler(), "-std=c++17", *CHECKED, str(source), *link]
        subprocess.run(command, check=True)
        sys.exit(subprocess.run([str(program), *sys.argv[1:]], check=False).returncode)


if __name__ == "__main__":
    main()
