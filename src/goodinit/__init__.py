"""goodinit: weight initialization for PyTorch.

    >>> import goodinit as gi
    >>> from torch import nn
    >>> net = nn.Sequential(nn.Linear(100, 50), nn.ReLU(), nn.Linear(50, 10))
    >>> plan = gi.init_(net, "he", seed=0)
    >>> plan["0.weight"].scheme, round(plan["0.weight"].std, 4)
    (HeNormal(), 0.1414)

``gi.recipes.names()`` lists the recipes, ``gi.schemes`` holds the schemes, ``gi.errors`` the
exceptions and ``gi.theory`` the assumptions of the theory, measured on a model.

The names are in ``goodinit/_face.py``, which is imported when the first of them is used: until
then ``import goodinit`` costs a hundredth of ``import torch``, and the command line answers
``--help`` without either.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0.dev0"

if TYPE_CHECKING:
    from goodinit import _face
    from goodinit._face import *
    from goodinit._face import GlorotNormal as GlorotNormal
    from goodinit._face import GlorotUniform as GlorotUniform
    from goodinit._face import KaimingNormal as KaimingNormal
    from goodinit._face import KaimingUniform as KaimingUniform

    __all__ = ["__version__"]
    __all__ += _face.__all__
else:

    def __getattr__(name: str) -> Any:
        """Import the public names when the first of them is asked for."""
        # Python and its tools probe for names such as __wrapped__; `import *` asks for __all__.
        if name.startswith("__") and name != "__all__":
            raise AttributeError(f"module 'goodinit' has no attribute {name!r}")
        if name in ("nn", "testing"):
            return import_module(f"goodinit.{name}")
        face = import_module("goodinit._face")
        # A folder of the package, such as goodinit.nn, is an attribute once it has been imported.
        found = vars(face).get(name, globals().get(name))
        if name == "__all__":
            found = ["__version__", *face.__all__]
        if found is None:
            hint = import_module("goodinit.recipes.first_guesses").meant_name(name, face.__all__)
            raise AttributeError(f"module 'goodinit' has no attribute {name!r}{hint}")
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        """List the public names only, not what this file imports to define them."""
        return sorted(__getattr__("__all__"))
