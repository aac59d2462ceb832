"""What the build adds to the package: the native kernels, and the project's address.

The kernels are compiled into the wheel, if there is a C++ compiler. Without one, or with
GOODINIT_NO_NATIVE=1, the wheel is pure Python and draws the same values.

A package index shows README.md outside the repository, where relative links lead nowhere. With the
``repository`` in pyproject.toml they become absolute, and the index shows links to the project;
as long as it is empty, links become plain text, and the picture is left out.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface
from packaging.tags import sys_tags

FOLDER = "goodinit/streams/native"
# A link or a picture in Markdown whose target is a path in the repository.
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\((?![a-z]+:|#)([^()\s]+)\)")


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


class Address(MetadataHookInterface):
    """Hatchling's hook for metadata: the README with links that work anywhere, and URLs."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the README, and the URLs if the project has an address."""
        repository: str = self.config["repository"].rstrip("/")
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        text = with_absolute_links(text, repository)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
        pages = {"Documentation": "docs/start.md", "Changelog": "CHANGELOG.md"}
        urls = {"Source": "", "Issues": "/issues"}
        urls |= {name: f"/blob/main/{page}" for name, page in pages.items()}
        metadata["urls"] = {name: repository + end for name, end in urls.items() if repository}


def with_absolute_links(text: str, repository: str) -> str:
    """Return Markdown whose relative links lead to the repository; without one, none.

    >>> with_absolute_links("[a](docs/a.md) ![b](b.svg)", "https://host/owner/name")
    '[a](https://host/owner/name/blob/main/docs/a.md) ![b](https://host/owner/name/raw/main/b.svg)'
    >>> with_absolute_links("[a](docs/a.md) ![b](b.svg)", "")
    'a '
    """

    def replaced(link: re.Match[str]) -> str:
        picture, label, target = link.groups()
        if not repository:
            return "" if picture else label
        kind = "raw" if picture else "blob"
        return f"{picture}[{label}]({repository}/{kind}/main/{target})"

    return LINK.sub(replaced, text)


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
