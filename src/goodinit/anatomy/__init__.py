"""What a model's parameters are: names, kinds, parts, fans, layers, ties."""

from goodinit.anatomy.read import Anatomy, read
from goodinit.anatomy.rows import KINDS, PARTS, Block, Facets, Row

__all__ = ["KINDS", "PARTS", "Anatomy", "Block", "Facets", "Row", "read"]
