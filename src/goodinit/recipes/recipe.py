"""Recipes: rules in order, under a name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, cast

from torch import nn

from goodinit._common.files import atomic_write
from goodinit._common.late import late
from goodinit._common.text import escaped, html_table
from goodinit._common.unfit_arguments import answered
from goodinit.errors import CallError, RecipeError
from goodinit.recipes.base import Base
from goodinit.recipes.by_place import Fixup, LayerRamp, MimeticOut
from goodinit.recipes.deferred import FirstLayer, LowRankPart
from goodinit.recipes.rule import Rule
from goodinit.schemes import Scaled, Scheme, Zeros
from goodinit.schemes.fields import one_line
from goodinit.schemes.mimetic import Mimetic

# What others' objects have, and the line that does it here.
_MEANT = {
    "apply": "model.apply(recipe.each)",
    "apply_": "gi.init_(model, recipe)",
    "init": "gi.init_(model, recipe)",
    "init_": "gi.init_(model, recipe)",
    "plan": "gi.plan(model, recipe)",
    "to_json": "recipe.to_toml()",
}


@dataclass(frozen=True)
class Recipe:
    """An ordered list of rules. The last rule that matches wins, block by block.

    Attributes:
        rules: the rules; a general one first, its exceptions after it.
        name: shown in plans.
        why: what the recipe is for, and where it comes from.
        base: the smaller model whose laws and learning rates this one takes over (muP).
        options: those that ``gi.recipe`` was given. They tell recipes of one name apart.

    Raises:
        RecipeError: something in ``rules`` that isn't a Rule.

    Example:
        >>> from goodinit.recipes.rule import Rule, sel
        >>> from goodinit.schemes import Normal, Zeros
        >>> recipe = Recipe([Rule(sel.all(), Normal(0.02)), Rule("*.bias", Zeros())], name="mine")
        >>> print(recipe)
        mine
          all() -> Normal(std=0.02)
          name('*.bias') -> Zeros()
    """

    rules: tuple[Rule, ...]
    name: str = ""
    why: str = ""
    base: Base | None = None
    options: Mapping[str, object] = field(init=False, compare=False, repr=False)

    @answered("gi.Recipe([gi.Rule('*.bias', gi.Zeros())])")
    def __init__(
        self, rules: Iterable[Rule], name: str = "", why: str = "", base: Base | None = None
    ) -> None:
        if isinstance(rules, Rule):
            raise RecipeError("Recipe takes a list of rules. Write gi.Recipe([rule])")
        if isinstance(rules, str):
            raise RecipeError(f"Recipe takes a list of rules. Write gi.recipe({rules!r})")
        if isinstance(rules, Scheme):
            raise RecipeError(f"Recipe takes a list of rules. Write gi.Recipe([{_rule(rules)}])")
        if isinstance(rules, Recipe):
            raise RecipeError("Recipe takes a list of rules. Write gi.Recipe(recipe.rules)")
        if isinstance(rules, Mapping):
            raise RecipeError(
                f"Recipe takes a list of rules. Write {_as_rules((cast('object', rules),))}"
            )
        given = tuple(rules)
        for number, rule in enumerate(given):
            if not isinstance(rule, Rule):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise RecipeError(
                    f"rules[{number}] of a recipe must be a gi.Rule, got {one_line(rule)}. Write "
                    f"{_as_rules(given[number:])}"
                )
        vars(self).update(rules=given, name=name, why=why, base=base, options={})

    def override(self, *rules: Rule) -> Recipe:
        """Return this recipe with more rules after its own: they win where they match.

        >>> from goodinit.schemes import Normal, Zeros
        >>> len(Recipe([Rule("*", Normal(0.02))]).override(Rule("head.*", Zeros())).rules)
        2
        """
        made = Recipe((*self.rules, *rules), self.name, self.why, self.base)
        return made.with_options(self.options)

    def with_options(self, options: Mapping[str, object]) -> Recipe:
        """Return this recipe with a note of the options that it was made with."""
        made = Recipe(self.rules, self.name, self.why, self.base)
        vars(made)["options"] = dict(options)
        return made

    @property
    def each(self) -> Callable[[nn.Module], None]:
        """A function for ``net.apply`` that initializes a module's own parameters by its type.

        The function sees one module at a time, so it can only follow rules that depend on a
        module's type: ``sel.all``, ``type``, ``kind``, ``part``, ``block`` and ``attr``. It sees
        neither what follows a weight nor what ends a residual branch: the library's recipes
        draw such weights like others (`standard` and `gpt2` lose their scaling by depth). A
        weight tied to another is drawn twice, and a module of unknown type keeps its own raw
        parameters. Each call draws a fresh seed from torch's default CPU generator. Buffers are
        left alone. ``gi.init_`` has none of these limits.

        Raises:
            UncoveredError: (when called) a parameter that no rule covers.
            RecipeError: (here) rules by name, by ``when``, by residual ends, or scaled by depth,
                layer or width.

        Example:
            >>> import torch
            >>> from goodinit.recipes.rule import sel
            >>> from goodinit.schemes import Ones
            >>> net = nn.Sequential(nn.Linear(2, 3))
            >>> _ = net.apply(Recipe([Rule(sel.all(), Ones())]).each)
            >>> net[0].weight.sum().item()
            6.0
        """
        if self.base is not None and self.base.of is not None:
            raise RecipeError(
                f"recipe {self.name!r} compares a model with its base: use gi.init_(net, recipe) "
                f"instead of net.apply(recipe.each)"
            )
        for rule in self.rules:
            reason = _beyond_one_module(rule)
            if reason:
                raise RecipeError(
                    f"the rule {rule.text} of recipe {self.name!r} {reason}, which can't be "
                    f"known from one module: use gi.init_(net, recipe) instead of "
                    f"net.apply(recipe.each)"
                )
        init_module_ = late("goodinit.applying.apply:init_module_")

        def each(*modules: nn.Module) -> None:
            if len(modules) != 1:
                raise CallError("each is itself the function. Write model.apply(recipe.each)")
            init_module_(modules[0], self)

        return each

    def __call__(self, module: nn.Module) -> None:
        """Raise: ``net.apply`` takes a function, ``recipe.each``."""
        raise RecipeError(
            f"a recipe isn't a function of a {type(module).__name__}; gi.init_(model, recipe) "
            f"takes one. Write model.apply(recipe.each)"
        )

    @answered("recipe.save('recipe.toml')")
    def to_toml(self) -> str:
        """Return the recipe as TOML, for a file; ``from_toml`` reads it back.

        Raises:
            RecipeError: a rule that can't be written: ``sel.when`` and ``Function`` hold code,
                and a class must be importable by its name. Names the rule, and what to do.

        Example:
            >>> from goodinit.schemes import Zeros
            >>> print(Recipe([Rule("*.bias", Zeros())], "mine").to_toml())
            goodinit_recipe = 1
            name = "mine"
            <BLANKLINE>
            [[rule]]
            where = "*.bias"
            scheme = "Zeros"
            <BLANKLINE>
        """
        return late("goodinit.recipes.toml:dumps")(self)

    @classmethod
    def from_toml(cls, text: str, source: str = "") -> Recipe:
        r"""Return the recipe in a TOML text. Nothing in it is run or imported.

        Args:
            text: as ``to_toml`` writes it; docs/recipe-files.md has the format.
            source: named first in errors; a file's name.

        Raises:
            RecipeFileError: the text holds no valid recipe; names the rule and key that are wrong,
                or the line of a syntax error.

        Example:
            >>> text = 'goodinit_recipe = 1\n[[rule]]\nwhere = "*.bias"\nscheme = "Zeros"'
            >>> Recipe.from_toml(text).rules[0].where
            name('*.bias')
        """
        return late("goodinit.recipes.toml:loads")(text, source)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the recipe as TOML; the file is replaced whole or not at all.

        Raises:
            RecipeError: a rule that can't be written, as for ``to_toml``.
            OSError: the file can't be written.
        """
        text = self.to_toml()
        with atomic_write(path) as new:
            new.write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Recipe:
        """Read a recipe's file. Nothing in it is run or imported.

        Raises:
            RecipeFileError: the file can't be read, or holds no valid recipe; names the rule and
                key that are wrong, or the line of a syntax error.
        """
        return late("goodinit.recipes.toml:load")(path)

    if not TYPE_CHECKING:  # type checkers must not take any name for an attribute

        def __getattr__(self, name: str) -> object:
            """Raise: what people ask recipes for has a function that does it."""
            line = _MEANT.get(name, "")
            hint = f". Write {line}" if line else ""
            raise AttributeError(f"'Recipe' object has no attribute {name!r}{hint}")

    def __str__(self) -> str:
        return "\n".join([self.name or "recipe", *(f"  {rule.text}" for rule in self.rules)])

    def _repr_html_(self) -> str:
        rules = [(str(rule.where), str(rule.scheme), rule.why) for rule in self.rules]
        name = f"<p><b>{escaped(self.name or 'recipe')}</b></p>"
        return f"{name}{html_table(('where (the last match wins)', 'scheme', 'why'), rules)}"


def _as_rules(given: tuple[object, ...]) -> str:
    """Return code with the rules that a mapping, or a glob and a scheme, stand for."""
    first = given[0]
    of_pairs = [cast("tuple[object, object]", pair) for pair in given if isinstance(pair, tuple)]
    if isinstance(first, Mapping):
        pairs = list(cast("Mapping[object, object]", first).items())
    elif of_pairs == list(given):
        pairs = of_pairs
    elif len(given) == 2 and isinstance(given[1], Scheme):
        pairs = [(first, given[1])]
    elif isinstance(first, list):
        return "gi.recipe('he').override(*rules)"
    else:
        pairs = [("head.*", Zeros())]
    if isinstance(pairs[0][0], Scheme):  # of schemes alone: for weights, for biases
        pairs = [("*.weight", pairs[0][0]), ("*.bias", pairs[0][1])]
    rules = ", ".join(_rule(scheme, where) for where, scheme in pairs)
    return f"gi.recipe('he').override({rules})"


def _rule(scheme: object, where: object = "*.weight") -> str:
    return f"gi.Rule({_code(where)}, {_code(scheme)})"


def _code(value: object) -> str:
    if isinstance(value, type):
        return f"nn.{value.__name__}"
    return f"gi.{value!r}" if isinstance(value, Scheme) else repr(value)


def _beyond_one_module(rule: Rule) -> str:
    """Return what a rule needs that can't be known from one module, or ""."""
    aspects = rule.where.aspects
    if "last_norm()" in repr(rule.where):  # an option that was asked for
        return "asks which norm ends a residual branch"
    if "residual" in aspects and rule.optional:
        return ""  # a library's refinement of the rules before it, which hold without it
    if "residual" in aspects:
        return "asks which weights end a residual branch"
    if "head" in aspects:
        return "asks which biases are a head's or a gate's"
    by_pair = "kind('adapter')" in repr(rule.where) and not rule.optional
    if by_pair or "adapter" in aspects or isinstance(rule.scheme, LowRankPart):
        return "asks which weights have an adapter"
    if isinstance(rule.scheme, FirstLayer):
        return "asks which layer comes first"
    if isinstance(rule.scheme, Mimetic | MimeticOut):
        return "asks which matrices are of one attention"
    if isinstance(rule.scheme, Fixup | LayerRamp):
        return "asks for the residual branch or the layer"
    if "row" in aspects:
        return "asks a function of the row"
    if "name" in aspects:
        return "goes by name"
    if "activation" in aspects and not rule.optional:
        return "asks for the activation that follows"
    scheme = rule.scheme
    if isinstance(scheme, Scaled):
        wide = {"depth", "layer", "width"}.intersection(fact for fact, _ in scheme.powers)
        if wide:
            return f"scales by {' and '.join(sorted(wide))}"
    return ""
