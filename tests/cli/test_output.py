"""Help, terminals, pipes, a missing extra."""

import doctest
import json
import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from tests.forks import MAY_FORK

from goodinit import cli
from goodinit.cli.app import app, run
from goodinit.cli.output import byte_size, wrap_for_terminal
from goodinit.demos import models

VERBS = ("plan", "init", "verify", "diff", "recipes", "explain", "identify")
VERBS = (*VERBS, "check", "forecast", "compare", "shards", "doctor")
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_fits_a_screen_and_has_an_example(call, verb, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    done = call(*verb.split(), "--help")
    lines = done.out.splitlines()
    assert done.code == 0
    assert len(lines) < 24  # and the prompt
    assert max(map(len, lines)) <= 80
    assert done.out.isascii()
    examples = [line.split() for line in lines if line.startswith("      goodinit ")]
    assert examples
    assert all(example[1] in VERBS for example in examples)
    assert all(example[1] == verb for example in examples if verb)
    assert call(*verb.split(), "-h").out == done.out


def test_every_verb_is_in_the_list(call):
    out = call("--help").out
    assert [line.split()[0] for line in out.partition("Commands:\n")[2].splitlines()] == [*VERBS]
    assert "..." not in out.partition("\n")[2]  # no verb's line is cut


@pytest.mark.parametrize(
    "argv",
    [
        ["nope"],
        ["plan"],
        ["plan", "demo:mlp", "--nope"],
        ["plan", "demo:mlp", "--seed", "x"],
        ["plan", "demo:mlp", "--seed", "-1"],
        ["init", "demo:mlp", "--seed", str(2**64), "-o", "w"],
        ["init", "demo:mlp"],
        ["verify", "w"],
        [],
    ],
)
def test_wrong_usage(call, argv):
    done = call(*argv)
    assert done.code == 2
    assert "Traceback" not in done.err + done.out


def test_the_examples_of_the_page(call):
    """Every ``$ goodinit`` in docs/cli.md, in order; "..." in its output stands for anything."""
    page = Path(__file__).parents[2] / "docs" / "cli.md"
    checker, flags = doctest.OutputChecker(), doctest.ELLIPSIS
    ran = 0
    for block in re.findall(r"^```console\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, _, wanted = part.partition("\n")
            argv = shlex.split(line)
            if argv[0] != "goodinit":
                continue
            ran += 1
            done = call(*(word for word in argv[1:]))
            got = done.out + done.err
            assert checker.check_output(wanted, got, flags), f"{line}\n{got}"
    assert ran > 10


def test_json_alone_is_on_stdout(call):
    call("init", "demo:mlp", "-o", "w.safetensors")
    for argv in (
        ["plan", "demo:mlp"],
        ["init", "toy:loud", "-o", "x.safetensors"],
        ["verify", "w.safetensors", "demo:mlp"],
        ["verify", "w.safetensors", "demo:mlp", "--seed", "1"],
        ["diff", "he", "xavier", "-t", "toy:loud"],
        ["recipes"],
        ["recipes", "he"],
        ["explain", "toy:loud"],
        ["identify", "toy:loud"],
        ["check", "demo:mlp"],
        ["compare", "demo:mlp", "--recipes", "he,xavier", "--seeds", "1"],
        ["shards", "demo:mlp", "--mesh", "dp=2"],
    ):
        out = call(*argv, "--json").out
        json.loads(out)
        assert out.isascii()


def test_a_bug_of_ours_says_so_and_is_no_finding(call, monkeypatch):
    def bug(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("goodinit.cli.targets._find_factory", bug)
    done = call("plan", "demo:mlp")
    assert done.code == 2
    assert "ZeroDivisionError" in done.err
    assert "a bug in goodinit" in done.err


def test_text_and_sizes():
    assert wrap_for_terminal("long " * 50, "  ") == "  " + "long " * 50
    assert [byte_size(n) for n in (0, 1000, 999_499, 1e15)] == ["0 B", "1 kB", "999 kB", "1e+03 TB"]


class TestNarrow:
    def table(self, call, monkeypatch, width: int | None = None, model: str = "demo:moe") -> str:
        """The table that a terminal of this width is sent; None stands for a pipe."""
        monkeypatch.setattr("goodinit._common.text.terminal_width", lambda: width)
        return call("plan", model, "--full").out.split("\n\n")[1]

    @pytest.mark.parametrize("width", [40, 60, 80, 100])
    def test_lines_fit_and_nothing_is_lost(self, call, monkeypatch, width):
        wide = self.table(call, monkeypatch).splitlines()
        assert max(map(len, wide)) > width
        lines = self.table(call, monkeypatch, width).splitlines()
        names = [line for line in lines if not line.startswith((" ", "-"))]
        rows = [line for line in wide if not line.startswith((" ", "-"))]
        assert [line.split("  ")[0] for line in rows] == names
        if width >= 80:
            assert max(map(len, lines)) <= width
            words = [word for line in lines if "---" not in line for word in line.split()]
            assert words == [w for line in wide if "---" not in line for w in line.split()]

    @pytest.mark.parametrize(("model", "width"), [("demo:mlp", 80), ("demo:moe", 200)])
    def test_a_table_that_fits_stays(self, call, monkeypatch, model, width):
        piped = self.table(call, monkeypatch, model=model)
        assert self.table(call, monkeypatch, width, model) == piped


# Processes.


def on_a_terminal(*calls: list[str]) -> list[str]:
    """Return what a terminal of 80 columns was sent for each call, and the exit code after it.

    The process behind it is forked, for a new one would import torch.
    """
    child, leader = pty.fork()
    if child == 0:
        sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
        os.environ.update(TERM="xterm-256color", COLUMNS="80", LINES="24")
        for name in ("NO_COLOR", "FORCE_COLOR"):
            os.environ.pop(name, None)
        for each in calls:
            print(run(each), end="\0", flush=True)
        os._exit(0)
    sent = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:  # the other end was closed
            break
        if not part:
            break
        sent += part
    os.close(leader)
    assert os.waitpid(child, 0)[1] == 0
    return sent.decode().replace("\r\n", "\n").split("\0")[:-1]


@MAY_FORK
def test_eighty_columns_and_colors_on_a_terminal(folder):
    plan, wrong = on_a_terminal(
        ["plan", "demo:gpt", "--arg", "layers=2"],
        ["plan", "demo:nope"],
    )
    *lines, code = ESCAPE.sub("", plan.rpartition("\r")[2]).splitlines()
    assert code == "0"
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("    384x128   linear") for line in lines)
    assert "\x1b[1;31merror: \x1b[0m" in wrong
    assert wrong.endswith("2")


@pytest.mark.parametrize("unwanted", [True, False])
def test_no_colours_where_unwanted(call, unwanted, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as if it were a terminal
    monkeypatch.delenv("NO_COLOR", raising=False)
    if unwanted:
        monkeypatch.setenv("NO_COLOR", "1")
    assert ("31m" in call("plan", "demo:nope").err) != unwanted
    call("init", "demo:mlp", "-o", "w.safetensors")
    assert ("32m" in call("verify", "w.safetensors", "demo:mlp").out) != unwanted


def test_the_progress_line_leaves_stdout_alone(call, monkeypatch):
    monkeypatch.setattr("goodinit._common.progress.DELAY", 0)
    plain = call("plan", "toy:broken_example")
    monkeypatch.setattr("goodinit._common.progress._is_terminal", lambda stream: True)
    shown = call("plan", "toy:broken_example")
    assert "\rreading toy:broken_example  0 s" in shown.err
    assert shown.out == plain.out
    assert "\r" not in shown.out


def test_without_the_extra_it_says_what_to_install():
    code = (
        "import sys; sys.modules['typer'] = sys.modules['rich'] = None\n"
        "from goodinit.cli import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == 'goodinit needs rich, typer: pip install "goodinit[cli]"\n'


def test_main_takes_the_arguments_of_the_process(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["goodinit", "--version"])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    assert cli.main() == 0
    assert re.fullmatch(r"goodinit \S+\n", capsys.readouterr().out)


def test_the_app_is_typers_and_the_demos_are_listed(call):
    assert isinstance(app, typer.Typer)
    done = call("plan", "demo:")
    assert all(f"demo:{name}" in done.err for name in models.__all__)
