"""The rules of every recipe, with each option: rules.txt, where a change is made on purpose.

That they are the laws of papers and upstream codes is held by test_families.py and
test_headlines.py, which draw.
"""

import inspect
import typing
from collections.abc import Iterator
from pathlib import Path

import goodinit as gi
from goodinit.recipes import by_name
from goodinit.recipes.library.general import REST

FILE = Path(__file__).parent / "rules.txt"


def test_the_rules_are_those_of_the_file() -> None:
    """After a change on purpose, run this file: it writes the new one."""
    assert "".join(table()).splitlines() == FILE.read_text().splitlines()


def table() -> Iterator[str]:
    yield "begin: what most recipes begin with\n"
    yield from (f"  {line(rule)}\n" for rule in REST)
    for name in gi.recipes.names():
        for options in variants(name):
            rules = gi.recipe(name, **options).rules
            if options and rules == gi.recipe(name).rules:
                continue  # a default, given
            begins = rules[: len(REST)] == REST
            yield f"{name}({', '.join(f'{k}={v!r}' for k, v in options.items())})\n"
            yield from ["  begin\n"] * begins
            yield from (f"  {line(rule)}\n" for rule in rules[len(REST) * begins :])
    for alias, (name, options) in by_name.ALIASES.items():
        yield f"{alias}: {':'.join([name, *(f'{k}={v}' for k, v in options.items())])}\n"


def line(rule: gi.Rule) -> str:
    whose = "library" if rule.library else "optional" if rule.optional else "required"
    return f"{rule.text} [{whose}]"


def variants(name: str) -> Iterator[dict[str, object]]:
    """No options, and each option by itself: each word, True, a number that isn't its default."""
    yield {}
    function = by_name.maker(name)
    hints = typing.get_type_hints(function)
    for option, parameter in inspect.signature(function).parameters.items():
        if typing.get_origin(hints[option]) is typing.Literal:
            yield from ({option: word} for word in typing.get_args(hints[option]))
        elif isinstance(parameter.default, bool):
            yield {option: True}
        elif isinstance(parameter.default, int | float):
            least = 3 if isinstance(parameter.default, int) else 0.5
            yield {option: type(parameter.default)(parameter.default / 2) or least}


if __name__ == "__main__":
    FILE.write_text("".join(table()))
