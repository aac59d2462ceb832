"""`Base`: the smaller model whose laws and learning rates a wider or deeper one takes over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from goodinit.errors import RecipeError

BaseLike = nn.Module | Callable[[], nn.Module] | int | None
"""A model, a function without arguments that makes one, or the width of its hidden layers."""


@dataclass(frozen=True)
class Base:
    """What a model's width, and depth, are compared with.

    Attributes:
        rule: "mup", by width alone, or "completep", by depth too.
        of: the base model, a function that makes it, or its width. None: the model itself.
        layers: the base's number of layers, if ``of`` is a width. None: as many as the model's.

    Raises:
        RecipeError: something else.
    """

    rule: Literal["mup", "completep"]
    of: BaseLike = None
    layers: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("base", self.of), ("layers", self.layers)):
            if isinstance(value, bool) or (isinstance(value, int) and value < 1):
                raise RecipeError(f"{self.rule}: {name} is a whole number from 1, got {value!r}")
        known = self.of is None or isinstance(self.of, (int, nn.Module)) or callable(self.of)
        if not known or isinstance(self.of, type):
            raise RecipeError(
                f"{self.rule}: base is a width or a function that makes the base model, got "
                f"{self.of!r:.200}. Write gi.recipe({self.rule!r}, base=lambda: Net(width=64))"
            )
        if self.layers is not None and not isinstance(self.of, int):
            raise RecipeError(f"{self.rule}: layers= goes with a base that is a width, base=64")

    def build(self, *, meta: bool) -> nn.Module:
        """Return the base model, on meta if that is asked for and its constructor allows it.

        Raises:
            RecipeError: the function raised, or returned no module.
        """
        if isinstance(self.of, nn.Module):
            return self.of
        assert callable(self.of)
        try:
            with torch.random.fork_rng(devices=[]), torch.device("meta" if meta else "cpu"):
                made = self.of()
        except Exception as error:
            if meta:  # a constructor may need values
                return self.build(meta=False)
            raise RecipeError(
                f"{self.rule}: the function that makes the base model raised {error!r:.300}. It "
                f"takes no arguments: base=lambda: Net(width=64)"
            ) from error
        if not isinstance(made, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise RecipeError(f"{self.rule}: base() returned {made!r:.100}, not an nn.Module")
        return made
