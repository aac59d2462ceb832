"""What the training callbacks share: when to measure, and what an error or a finding leads to."""

from __future__ import annotations

import logging
from typing import Any

from goodinit.errors import GoodinitError
from goodinit.signal.checks import Loss, check_count
from goodinit.signal.measure import measure, measured
from goodinit.trace import Inputs

LOGGER = logging.getLogger("goodinit")


class Monitor:
    """Measures a model in training, at step 0 and every few steps.

    Attributes:
        every: number of steps between two measurements.
    """

    def __init__(self, every: int) -> None:
        self.every = check_count(every, "every", 1, "a callback")
        self._last = -1

    def is_due(self, step: int) -> bool:
        """Whether to measure now; once per step, also while gradients are accumulated."""
        return step % self.every == 0 and step != self._last

    def scalars(self, step: int, model: Any, inputs: Inputs, loss: Loss | None) -> dict[str, float]:
        """Return the numbers to log; none where measuring failed in the middle of a training.

        Raises:
            GoodinitError: the first measurement failed, before any training was done.
        """
        first, self._last = self._last < 0, step
        try:
            # Nobody reads the later remedies, and to try them costs runs.
            signal = (measure if first else measured)(model, inputs, loss)
        except GoodinitError as error:
            if first:
                raise
            LOGGER.warning("step %d isn't measured: %s", step, error)
            return {}
        if first:
            for finding in signal.findings:
                if finding.severity != "info":
                    LOGGER.warning("step %d: %s", step, finding)
        return signal.scalars()
