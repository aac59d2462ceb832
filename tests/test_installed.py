"""goodinit as it may lie on a disk and be started: in a zip, in a folder that can't be written,
with Python's options, without numpy, under another default device."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import venv
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch
from torch import nn

import goodinit as gi
from goodinit._common import torch_private

SOURCE = Path(gi.__file__).parent
ROOT = Path(__file__).parents[1]

# A plan by data flow, with a product that is computed from a parameter; a draw; a run; a verdict.
SCRIPT = """
import torch
from torch import nn
import goodinit as gi
from goodinit._common.torch_private import missing

class Masked(nn.Linear):
    def forward(self, x):
        return nn.functional.linear(x, self.weight * torch.tril(torch.ones(8, 8)), self.bias)

net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), Masked(8, 8), nn.Tanh(), nn.Linear(8, 3))
x = torch.linspace(-1, 1, 48).view(6, 8)
plan = gi.init_(net, "standard", inputs=x, seed=0)
signal = gi.measure(net, x)
explained = gi.explain(net, inputs=x)
theirs = gi.theory.jacobian_spectrum(net, x)
print(plan.digest, net[0].weight.sum().item(), signal.ok, explained.ok, theirs.sum().item())
print(gi.__file__)
print(len(missing()))
"""

# From the last folder it runs with a torch in which no private name is found.
FROM_EACH = """
import builtins, functools, pkgutil, sys, warnings
warnings.filterwarnings("ignore", "Failed to initialize NumPy")  # torch says so
sys.modules["numpy"] = None  # an import of it raises
import torch
compiled = functools.cache(compile)
builtins.compile = lambda *given, **more: compiled(*given, **more | {"optimize": 2})
script, *folders = sys.argv[1:]
for number, folder in enumerate(folders, 1):
    for name in [name for name in sys.modules if name.partition(".")[0] == "goodinit"]:
        del sys.modules[name]
    sys.path.insert(0, folder)
    if number == len(folders):
        pkgutil.resolve_name = lambda name: getattr(None, name)  # no private name is found
    exec(compile(script, "script", "exec"), {})
    if sys.modules["goodinit"].__doc__ is not None:
        sys.exit("goodinit was compiled with docstrings, and so with asserts")
"""


def started(*folders: Path) -> list[tuple[str, str, str]]:
    """Run the script from each folder in turn, in one process: what it found, from where, and how
    many of torch's private names are missing; for the last one they all are.

    goodinit alone is compiled as by ``python -OO``: torch has bytecode without it, and would have
    to be compiled for half of a minute."""
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONOPTIMIZE")}
    options = ("-W", "error", "-B")
    command = [sys.executable, *options, "-c", FROM_EACH, SCRIPT, *map(str, folders)]
    env |= {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, check=False, text=True, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    return list(zip(lines[::3], lines[1::3], lines[2::3], strict=True))


@pytest.fixture(scope="module")
def plain() -> str:
    """What the script finds here, in this process."""
    out = io.StringIO()
    with redirect_stdout(out):
        exec(compile(SCRIPT, "script", "exec"), {})
    return out.getvalue().splitlines()[0]


@pytest.mark.battery  # eight seconds; the wheel's smoke set starts an installed package too
def test_from_a_zip_and_a_folder_that_cannot_be_written(plain: str, tmp_path: Path) -> None:
    """A warning is an error; there are no asserts, no docstrings and no numpy. From the folder
    it is run with a torch that has renamed each of its private names.

    The superuser, who may write anywhere, must find that nothing was.
    """
    folder = tmp_path / "folder" / "goodinit"
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    zipped = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", folder.parent))
    everything = [folder.parent, *folder.parent.rglob("*")]
    for path in everything:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = files_in(folder)
    found = started(zipped, folder.parent)
    for path in everything:
        path.chmod(0o755)  # or the folder could not be removed
    here = str(len(torch_private.missing()))
    assert found == [
        (plain, str(zipped / "goodinit" / "__init__.py"), here),
        (plain, str(folder / "__init__.py"), str(len(torch_private.CONSEQUENCES))),
    ]
    assert files_in(folder) == before


def files_in(folder: Path) -> dict[Path, int]:
    """Return when each file was changed."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: path.stat().st_mtime_ns for path in files}


METADATA = """Metadata-Version: 2.1
Name: torch
Version: {version}
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a wheel without kernels, from a copy of what is in the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("LICENSE", "README.md", "hatch_build.py", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(SOURCE, folder / "src" / "goodinit", ignore=shutil.ignore_patterns("*.so"))
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel"]
    env = os.environ | {"GOODINIT_NO_NATIVE": "1"}
    subprocess.run(command, cwd=folder, env=env, check=True, capture_output=True)
    return next(folder.glob("dist/*.whl"))


@pytest.mark.skipif(not (ROOT / "hatch_build.py").exists(), reason="needs the tree, to build from")
@pytest.mark.parametrize(
    "version", ["2.8.0+cu126", pytest.param("2.4.0", marks=pytest.mark.battery)]
)
def test_an_installation_changes_no_other_package(
    version: str, wheel: Path, tmp_path: Path
) -> None:
    """Without an index: what pip would fetch it would not find."""
    venv.create(tmp_path / "venv")
    installed = next(tmp_path.glob("venv/**/site-packages")) / f"torch-{version}.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text(METADATA.format(version=version))
    (installed / "INSTALLER").write_text("pip")
    pip = [sys.executable, "-m", "pip", "--python", str(tmp_path / "venv"), "install", "--no-index"]
    command = [*pip, "--dry-run", "--quiet", "--report", "-", str(wheel)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    names = [each["metadata"]["name"] for each in json.loads(done.stdout)["install"]]
    assert names == ["goodinit"]


def verdicts(net: nn.Module, x: torch.Tensor) -> list[object]:
    """All that goodinit finds out about a model."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(0.5)
    plan = gi.init_(net, "orthogonal", inputs=x, seed=0)
    return [
        plan.to_dict(),
        [parameter.tolist() for parameter in net.parameters()],
        gi.measure(net, x, loss=lambda y: y.square().mean()).to_dict(),
        gi.explain(net, inputs=x).to_dict(),
        gi.explain(net).to_dict(),
        gi.compare(net, x, ["he", "xavier"], seeds=1).to_dict(),
        gi.theory.jacobian_spectrum(net, x).tolist(),
        gi.theory.independence(net, x, lambda y: y.square().mean(), redraws=2).to_dict(),
    ]


def test_another_default_device_changes_nothing() -> None:
    """Under meta, a tensor of goodinit's own that names no device would have no values."""
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.utils.parametrizations.weight_norm(nn.Linear(64, 6)),
        nn.Tanh(),
        nn.Linear(6, 3),
    )
    x = torch.randn(5, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    wanted = verdicts(net, x)
    torch.manual_seed(0)
    torch.set_default_device("meta")
    try:
        found = verdicts(net, x)
    finally:
        torch.set_default_device(None)
    assert found == wanted
