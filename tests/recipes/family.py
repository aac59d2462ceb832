"""What a reference model is."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor, nn

Inputs = Tensor | tuple[Tensor, ...] | dict[str, object]


@dataclass(frozen=True)
class Family:
    """One reference model.

    Attributes:
        name: of the model.
        recipe: name of the recipe.
        build: the model as upstream makes it, its values drawn by torch's generator.
        inputs: an example.
        options: of the recipe.
        fast: whether `make test` compares it; the battery compares all.
    """

    name: str
    recipe: str
    build: Callable[[], nn.Module]
    inputs: Callable[[], Inputs]
    options: dict[str, object] = field(default_factory=dict)
    fast: bool = False
