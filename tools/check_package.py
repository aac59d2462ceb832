"""What a release would upload, built and checked as a package index and its users would.

    make package

Builds the sdist, and from it the wheel of this machine and the pure wheel, in build/package; checks
them with twine, pyroma and, on Linux, auditwheel. It uploads nothing. `make compat` tries the wheel
on each Python.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "package"
TOOLS = ("build", "hatchling", "twine", "pyroma", "auditwheel")

# Of 10. One each is missing for the project's address and an email, which the first release gives.
LEAST_RATING = 8
KERNELS = "libgoodinit.streams"
# Parts of what a distribution must hold, and of what it must not.
IN_SDIST = ("ARCHITECTURE.md", "CHANGELOG.md", "tests/conftest.py", "src/goodinit/py.typed")
IN_WHEEL = ("goodinit/py.typed", "goodinit/report/page.css", "goodinit/streams/native/fill.cpp")
NOT_IN_WHEEL = ("tests/", "tools/", ".pyc")


def main() -> None:
    """Build and check; the first check that fails ends the script with an exit code."""
    tools = make_tools()
    dist = BUILD / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    build = [tools / "python", "-m", "build", "--no-isolation", "--outdir", dist]
    run([*build, "--sdist", ROOT])
    sdist = next(dist.glob("*.tar.gz"))
    source = unpack(sdist)
    run([*build, "--wheel", source])
    compiled = next(dist.glob("*.whl"))
    run([*build, "--wheel", source], GOODINIT_NO_NATIVE="1")
    (pure,) = set(dist.glob("*.whl")) - {compiled}
    check_contents(sdist, compiled, pure)
    run([tools / "twine", "check", "--strict", *dist.iterdir()])
    run([tools / "pyroma", "--min", str(LEAST_RATING), sdist])
    if sys.platform == "linux":
        run([tools / "auditwheel", "show", compiled])


def make_tools() -> Path:
    """Return the folder of the tools' executables."""
    environment = BUILD / "tools"
    folder = environment / ("Scripts" if os.name == "nt" else "bin")
    if not environment.exists():
        run([sys.executable, "-m", "venv", environment])
        run([folder / "python", "-m", "pip", "install", "-q", *TOOLS])
    return folder


def unpack(sdist: Path) -> Path:
    """Return the folder of an sdist's sources, without git and without the tree's kernels."""
    folder = BUILD / "source"
    shutil.rmtree(folder, ignore_errors=True)
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    return next(folder.iterdir())


def check_contents(sdist: Path, compiled: Path, pure: Path) -> None:
    """Check names of files: what is missing, what doesn't belong there, where the kernels are."""
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    expect(sdist, [each for each in IN_SDIST if each not in names], "is missing")
    for wheel in (compiled, pure):
        names = zipfile.ZipFile(wheel).namelist()
        expect(wheel, [each for each in IN_WHEEL if each not in names], "is missing")
        wrong = [name for name in names if any(each in name for each in NOT_IN_WHEEL)]
        expect(wheel, wrong, "doesn't belong there")
        kernels = [name for name in names if KERNELS in name]
        expect(wheel, kernels if wheel == pure else [], "is not pure Python")
        expect(wheel, [] if kernels or wheel == pure else [KERNELS], "is missing: no compiler?")


def expect(where: Path, wrong: list[str], what: str) -> None:
    """End the script if there is anything wrong."""
    if wrong:
        sys.exit(f"{where.name}: {', '.join(wrong[:5])} {what}")


def run(command: list[str | Path], **variables: str) -> None:
    """Run a command, with these variables of the environment as well."""
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(command, check=False, cwd=ROOT, env=env | variables)
    if done.returncode:
        sys.exit(f"failed: {' '.join(map(str, command))}")


if __name__ == "__main__":
    main()
