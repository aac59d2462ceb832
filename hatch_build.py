"""Compile the native kernels into the wheel, if there is a C++ compiler.

Without one, or with GOODINIT_NO_NATIVE=1, the wheel is pure Python and draws the same values.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import sys_tags

FOLDER = "goodinit/streams/native"


class NativeKernels(BuildHookInterface[Any]):
    """Hatchling's hook for wheels and editable installs."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; for a wheel, include the library and name the platform."""
        build = load_build(Path(self.root, "src", FOLDER, "build.py"))
        target = Path(self.root, "src", FOLDER, build.NAME)
        if os.environ.get("GOODINIT_NO_NATIVE", "0") not in ("", "0"):
            target.unlink(missing_ok=True)
            say("GOODINIT_NO_NATIVE is set: no native kernels")
            return
        try:
            build.compile_library(target)
        except build.BuildError as error:
            target.unlink(missing_ok=True)  # one of older sources would be out of date
            say(f"no native kernels, torch code draws the same values more slowly: {error}")
            return
        say(f"native kernels compiled: {target.name}")
        if version != "editable":
            build_data["force_include"][str(target)] = f"{FOLDER}/{build.NAME}"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{next(sys_tags()).platform}"


def load_build(path: Path) -> ModuleType:
    """Load build.py by its path: the package can't be imported here, for lack of torch."""
    spec = importlib.util.spec_from_file_location("goodinit_native_build", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def say(text: str) -> None:
    """Print a line where the build's output goes."""
    print(f"goodinit: {text}", file=sys.stderr)
