"""What holds for all tests: the same examples each time, no network, threads that fit the cores."""

import gc
import importlib.util
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

# Before transformers is imported: models are built from their configurations, never downloaded.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import pytest
from _pytest.runner import runtestprotocol

if TYPE_CHECKING:
    import torch


def pytest_configure(config: pytest.Config) -> None:
    """Set up a process that runs tests; the one that hands them out to others needs no torch."""
    if config.getoption("numprocesses", None) and "PYTEST_XDIST_WORKER" not in os.environ:
        return
    gc.disable()  # until all is collected: what is imported stays, and was looked through anew
    import hypothesis
    import torch

    # The models are small: on a busy machine a second thread spins ten times as long as it works.
    torch.set_num_threads(1)
    # derandomize: the examples follow from the test alone. No deadline, and no check of how long
    # examples take to make: a slow machine is no bug.
    hypothesis.settings.register_profile(
        "goodinit",
        derandomize=True,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
    hypothesis.settings.load_profile("goodinit")
    declare_torchvision_operators()


@cache  # once, and kept: the declarations go when the library object does
def declare_torchvision_operators() -> "torch.library.Library | None":
    """Declare what `import torchvision` asks for where its compiled operators don't load.

    timm and parts of transformers import torchvision. Its Python part registers rules for two
    operators of its compiled part, and fails where that part was built for another torch.
    The models in the tests call neither.
    """
    import torch

    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return None
    for compiled in Path(spec.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(str(compiled))
        except OSError:
            continue
        return None
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Let a worker send two short messages about a test, not five: a third of what xdist costs.

    Left out are the start and the reports of fixtures that passed, which nobody reads.
    """
    if not os.environ.get("PYTEST_XDIST_WORKER"):
        return None
    for report in runtestprotocol(item, log=False, nextitem=nextitem):
        if report.when == "call" or not report.passed:
            report.keywords = {}  # a dozen names of each test, which nobody reads there
            item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_collection_finish() -> None:
    """Take what was imported out of the garbage collector's sight: a full pass took half a second.

    Models have few objects and die by their counts, so that it is seldom needed.
    """
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(100_000, 20, 20)  # at 10,000 it is a thirtieth of all time
