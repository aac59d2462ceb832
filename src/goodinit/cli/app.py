"""The verbs, and how their errors are printed."""

from __future__ import annotations

import inspect
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import cache
from typing import Annotated

import typer

import goodinit as gi
from goodinit.cli.check import check
from goodinit.cli.compare import compare
from goodinit.cli.corrected_argv import corrected_argv
from goodinit.cli.diff import diff
from goodinit.cli.doctor import doctor
from goodinit.cli.explain import explain
from goodinit.cli.forecast import forecast
from goodinit.cli.identify import identify
from goodinit.cli.init_verb import init
from goodinit.cli.output import CommandError, print_note, print_result
from goodinit.cli.plan import plan
from goodinit.cli.recipes import recipes
from goodinit.cli.shards import shards
from goodinit.cli.verify import verify
from goodinit.errors import GoodinitError

WRONG_CALL = 2
HELP = """Plan, draw and check a model's weights: demo:gpt, hf:gpt2, my:make_net.

\b
    goodinit check demo:gpt --recipe gpt2 --html gpt.html
"""

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: rich's boxes take twice the lines, and break in a pipe
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _help_text(function: Callable[..., None]) -> str:
    r"""Return a docstring for click; \b keeps it from wrapping indented lines, the examples."""
    paragraphs = inspect.cleandoc(function.__doc__ or "").split("\n\n")
    return "\n\n".join(f"\b\n{p}" if p.startswith("  ") else p for p in paragraphs)


for verb in (
    plan,
    init,
    verify,
    diff,
    recipes,
    explain,
    identify,
    check,
    forecast,
    compare,
    shards,
    doctor,
):
    app.command(help=_help_text(verb))(verb)


def _print_version(asked: bool) -> None:
    if asked:
        print_result(f"goodinit {gi.__version__}")
        raise typer.Exit


def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Take the options that stand before a verb."""


app.callback(help=HELP)(options)


@cache
def _command() -> Callable[..., object]:
    """Return what typer makes of the verbs' signatures, which takes 20 ms each time."""
    return typer.main.get_command(app)


def run(argv: Sequence[str]) -> int:
    """Run the command line; return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]
    try:
        _command()(list(argv), prog_name="goodinit")
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
        if code == WRONG_CALL and (meant := corrected_argv(argv)):
            print_note(f"goodinit {shlex.join(meant)}", label="Write", style="bold")
        return code
    except GoodinitError as error:
        if isinstance(error, CommandError) and error.details:
            print(error.details, file=sys.stderr)
        print_note(str(error), label="error", style="bold red")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print_note(f"{where}{error.strerror or error}", label="error", style="bold red")
    except Exception:
        traceback.print_exc()
        print_note("this is a bug in goodinit, not in your call", label="error", style="bold red")
    return WRONG_CALL
