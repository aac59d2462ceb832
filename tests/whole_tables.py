"""Tables that hold what the code says of many cases, word for word, for one version of torch."""

from pathlib import Path

import pytest
import torch

VERSION = ".".join(torch.__version__.split(".")[:2])


def expected(file: Path) -> str:
    """Return a table; another torch may name its calls, draw and fail in another way."""
    text = file.read_text(encoding="utf-8")
    if not text.startswith(f"{VERSION}\n"):
        pytest.skip(f"{file.name} holds for the torch of its first line")
    return text
