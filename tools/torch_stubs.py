"""Empty CUDA libraries beside torch's own, so that a CUDA build imports on a machine without CUDA.

    python tools/torch_stubs.py SITE_PACKAGES

PyPI's wheels of torch for Linux are CUDA builds, which load a dozen libraries of NVIDIA's packages
(several gigabytes) when they are imported. On a CPU nothing in these is ever called: libraries of
the same names with the same symbols, which do nothing, are enough. They need gcc and binutils.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

SOURCE = "long {name}(void) {{ return 100; }}\n"  # 100 is cudaErrorNoDevice
OF_CUDA = re.compile(r"cu|nv|nccl", re.IGNORECASE)  # how names without a version begin there


def main(site_packages: Path) -> None:
    """Write a stub for each library that torch's own need and that isn't there."""
    folder = site_packages / "torch" / "lib"
    libraries = [*folder.glob("*.so*"), *(site_packages / "torch").glob("_C*.so")]
    missing = {name for library in libraries for name in _not_found(library, folder)}
    if not missing:
        return
    versions = {version: name for lib in libraries for name, version in _needed_versions(lib)}
    symbols: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    defined = {name for lib in libraries for name, _ in _symbols(lib, "--defined-only")}
    unversioned: set[str] = set()
    for library in libraries:
        for name, version in _symbols(library, "--undefined-only"):
            if version in versions:
                symbols[versions[version]][version].add(name)
            elif not version and name not in defined and OF_CUDA.match(name):
                unversioned.add(name)
    for number, name in enumerate(sorted(missing)):
        # A name without a version is found in whichever library has it: the first will do.
        _compile(folder / name, symbols[name], unversioned if number == 0 else set())
    print(f"{folder}: {len(missing)} stubs")


def _compile(target: Path, symbols: dict[str, set[str]], unversioned: set[str]) -> None:
    names = {*unversioned, *(name for group in symbols.values() for name in group)}
    with tempfile.TemporaryDirectory() as folder:
        source, script = Path(folder, "stub.c"), Path(folder, "stub.map")
        lines = (SOURCE.format(name=name) for name in sorted(names))
        source.write_text("".join(lines) or "int unused;\n")
        groups = (f"{v} {{ global: {' '.join(f'{n};' for n in g)} }};" for v, g in symbols.items())
        script.write_text("\n".join(groups))
        command = ["gcc", "-w", "-fno-builtin", "-shared", "-fPIC", "-o", target, source]
        command += [f"-Wl,-soname,{target.name}"]
        command += [f"-Wl,--version-script={script}"] if symbols else []
        subprocess.run(command, check=True)


def _not_found(library: Path, folder: Path) -> list[str]:
    text = _output(["ldd", library], {"LD_LIBRARY_PATH": str(folder), "PATH": "/usr/bin:/bin"})
    return re.findall(r"(\S+) => not found", text)


def _needed_versions(library: Path) -> list[tuple[str, str]]:
    """Return (library, version of its symbols) for each that this one needs."""
    found: list[tuple[str, str]] = []
    needed = ""
    for line in _output(["readelf", "-V", "-W", library]).splitlines():
        if match := re.search(r"File: (\S+)", line):
            needed = match[1]
        elif (match := re.search(r"Name: (\S+)\s+Flags", line)) and needed:
            found.append((needed, match[1]))
    return found


def _symbols(library: Path, which: str) -> list[tuple[str, str]]:
    names = (line.split()[-1] for line in _output(["nm", "-D", which, library]).splitlines())
    return [
        (name, version) for name, _, version in (re.sub("@+", "@", n).partition("@") for n in names)
    ]


def _output(command: list[str | Path], env: dict[str, str] | None = None) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env).stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]))
