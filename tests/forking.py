"""A pytest plugin: `-p tests.forking --forks N` collects once, then runs the tests in N forks.

pytest-xdist starts N processes of which each imports torch, transformers and all tests, and
collects: ten seconds of a core each. Forks have that from the start. Each gets a run of
neighboring tests, so that what a file sets up is set up once, and takes over the end of another's
when its own is done. Where a process can't be forked safely (macOS, Windows), use `-n auto`.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from itertools import pairwise
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

PART = 8  # tests that are handed out at once: some .3 s
# torch looks for a GPU without starting CUDA, after which a process couldn't be forked.
os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--forks", metavar="N", help="run the tests in N processes; auto: a core each")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    number = session.config.getoption("forks")
    if not number or session.testsfailed or session.config.getoption("collectonly"):
        return None  # pytest's own loop
    session.config._tmp_path_factory.getbasetemp()  # for all forks
    session.config.pluginmanager.getplugin("terminalreporter").showfspath = False
    Forks(session, len(os.sched_getaffinity(0)) if number == "auto" else int(number)).run()
    if session.shouldfail:
        raise session.Failed(session.shouldfail)
    if session.shouldstop:
        raise session.Interrupted(session.shouldstop)
    return True


class Fork:
    """A forked process, as the parent sees it."""

    def __init__(self, queue: Iterable[int]) -> None:
        self.queue = deque(queue)  # the tests that are meant for it
        self.sent: dict[int, None] = {}  # those that it was sent, until they are done
        self.pipe, self.other_end = Pipe()
        self.process = 0


class Forks:
    """All of them."""

    def __init__(self, session: pytest.Session, number: int) -> None:
        self.session, self.items = session, session.items
        count = len(self.items)
        ends = [count * n // number for n in range(number + 1)]
        self.running = [Fork(range(*pair)) for pair in pairwise(ends)]

    def run(self) -> None:
        try:
            for fork in self.running:
                self.start(fork)
            while self.running:
                for pipe in wait([fork.pipe for fork in self.running]):
                    self.receive(next(fork for fork in self.running if fork.pipe is pipe))
        finally:
            for fork in (each for each in self.running if each.process):
                os.kill(fork.process, signal.SIGKILL)
                os.waitpid(fork.process, 0)

    def start(self, fork: Fork) -> None:
        sys.stdout.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python 3.12's, of other threads, which wait for work
            fork.process = os.fork()
        if fork.process:
            fork.other_end.close()
            return
        try:
            for each in self.running:  # a pipe ends once no process has its other end
                each.pipe.close()
            Child(self.session, fork.other_end).run()
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(1)

    def receive(self, fork: Fork) -> None:
        """Take one message: a need of tests, the outcome of one, or the end."""
        message: Any = "end"
        with suppress(EOFError, ConnectionError):
            message = fork.pipe.recv()
        if message == "end":
            self.end(fork)
            return
        if message == "more":
            with suppress(ConnectionError):  # if it has died, the pipe's end comes next
                fork.pipe.send(self.part_for(fork))
            return
        number, seconds, reports = message
        del fork.sent[number]
        if seconds is not None:
            self.report(number, "passed", None, seconds)
        for data in reports:
            hook = self.session.config.hook
            report = hook.pytest_report_from_serializable(config=self.session.config, data=data)
            hook.pytest_runtest_logreport(report=report)

    def part_for(self, fork: Fork) -> list[int]:
        """The next tests of its queue, or the last of the longest; none if there are no more."""
        if self.session.shouldfail or self.session.shouldstop:
            return []
        longest = max((each.queue for each in self.running), key=len)
        take = fork.queue.popleft if fork.queue else longest.pop
        part = sorted(take() for _ in range(min(PART, len(fork.queue or longest))))
        fork.sent |= dict.fromkeys(part)
        return part

    def end(self, fork: Fork) -> None:
        """Where a process died in a test, that test failed, and another process has the rest."""
        self.running.remove(fork)
        code = os.waitstatus_to_exitcode(os.waitpid(fork.process, 0)[1])
        if code or fork.sent:
            number, *rest = [*fork.sent, *fork.queue]
            self.report(number, "failed", f"its process died with exit code {code}", 0.0)
            self.running.append(Fork(rest))
            self.start(self.running[-1])

    def report(self, number: int, outcome: str, text: str | None, seconds: float) -> None:
        item = self.items[number]
        of = (item.nodeid, item.location, {}, outcome, text, "call")
        report = pytest.TestReport(*of, duration=seconds)
        item.ihook.pytest_runtest_logreport(report=report)


class Child:
    """A plugin in a fork, which runs the tests that it is sent."""

    def __init__(self, session: pytest.Session, pipe: Connection) -> None:
        self.items, self.config, self.pipe = session.items, session.config, pipe
        self.config.pluginmanager.register(self)
        if torch := sys.modules.get("torch"):
            # It makes its pool of threads anew. If two threads ask for it first, one finds none.
            torch.set_num_threads(torch.get_num_threads())
        capture = self.config.pluginmanager.getplugin("capturemanager")
        capture.stop_global_capturing()  # all forks would write into one file
        capture.start_global_capturing()
        folders = self.config._tmp_path_factory
        folders._basetemp = folders.mktemp("fork")

    def run(self) -> None:
        waiting: deque[int] = deque(self.more())
        while waiting:
            self.number = waiting.popleft()
            waiting.extend(self.more() if not waiting else ())
            nextitem = self.items[waiting[0]] if waiting else None
            item = self.items[self.number]
            self.config.hook.pytest_runtest_protocol(item=item, nextitem=nextitem)

    def more(self) -> list[int]:
        self.pipe.send("more")
        return self.pipe.recv()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        """Send the reports, of a call that passed the seconds alone."""
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
        passed = [report.duration for report in reports if report.passed and report.when == "call"]
        to_data = self.config.hook.pytest_report_to_serializable
        data = [to_data(config=self.config, report=r) for r in reports if not r.passed]
        self.pipe.send((self.number, passed[0] if passed else None, data))
        return True
