"""The call that a wrong one stands for, found without importing torch."""

from __future__ import annotations

from collections.abc import Sequence

_VERBS = {
    "help": "--help",
    "init_": "init",
    "initialize": "init",
    "list": "recipes",
    "measure": "check",
    "run": "check",
    "show": "plan",
    "version": "--version",
}
_OPTIONS = {
    "--inputs": "--input",
    "--output": "--out",
    "--recipe-name": "--recipe",
    "--weight": "--weights",
}
_TARGETS = ("--model", "--target")  # an argument, except for `diff`
_RECIPE = {"compare": "--recipes"}  # what the option is called where it isn't --recipe
# What a verb needs, and a place to start from.
_NEEDED = {
    "compare": ("--recipes", "he,xavier"),
    "forecast": ("--recipe", "standard"),
    "init": ("--out", "weights.safetensors"),
}
_SHORT = {"--recipe": "-r", "--out": "-o"}
_WITHOUT_RECIPE = ("diff", "doctor", "explain", "recipes", "verify")
_FLAGS = ("--exact", "--full", "--json", "--toml")


def corrected_argv(argv: Sequence[str]) -> list[str] | None:
    """Return the arguments that were probably meant; None if nothing better is known.

    >>> corrected_argv(["check", "demo:gpt", "he"])
    ['check', 'demo:gpt', '--recipe', 'he']
    >>> corrected_argv(["compare", "demo:gpt", "--recipe", "he,xavier"])
    ['compare', 'demo:gpt', '--recipes', 'he,xavier']
    >>> corrected_argv(["check", "demo:gpt", "--sed", "0"]) is None
    True
    """
    if not argv:
        return None
    verb = _VERBS.get(argv[0], argv[0])
    if verb.startswith("--"):
        return [verb]
    recipe = _RECIPE.get(verb, "--recipe")
    words, options = _parsed(argv[1:], verb, recipe)
    if verb not in _WITHOUT_RECIPE and len(words) > 1:
        options += [recipe, ",".join(words[1:])]
        words = words[:1]
    name, example = _NEEDED.get(verb, ("", ""))
    if name and not {name, _SHORT.get(name, name)} & {*options}:
        options += [name, example]
    made = [verb, *words, *options]
    return made if made != list(argv) else None


def _parsed(given: Sequence[str], verb: str, recipe: str) -> tuple[list[str], list[str]]:
    """Return the arguments without a name, and the options with their values, corrected."""
    words: list[str] = []
    options: list[str] = []
    pending = [part for word in given for part in _split(word)]
    while pending:
        word = pending.pop(0)
        if not word.startswith("-"):
            words.append(word)
            continue
        value = [pending.pop(0)] if pending and word not in _FLAGS else []
        if word in _TARGETS and verb != "diff":
            words[:0] = value
        elif word in ("--recipe", "--recipes", "-r"):
            options += [recipe, *value]
        else:
            options += [_OPTIONS.get(word, word), *value]
    return words, options


def _split(word: str) -> list[str]:
    """Return ``--name=value`` as two."""
    name, sign, value = word.partition("=")
    return [name, value] if sign and name.startswith("--") else [word]
