"""Early stopping: the best student on the held-out starts, and whether to continue."""

import math
from typing import Any


class BestStudent:
    """The student with the least held-out error so far.

    Args:
        patience: Evaluations without an improvement after which to stop.
    """

    _WORTH = 1e-3  # the smallest relative improvement that resets patience

    def __init__(self, patience: int):
        self.student: Any = None
        self.patience, self.error, self.looks = patience, math.inf, 0
        self._goal, self._since = math.inf, 0

    def look(self, error: float, student: Any) -> None:
        """Record one evaluation; an error that is NaN is never the best."""
        self.looks += 1
        self._since += 1
        if error < self.error:
            self.error, self.student = error, student
        if error < self._goal:
            self._goal, self._since = error * (1 - self._WORTH), 0

    @property
    def exhausted(self) -> bool:
        """Whether patience has run out."""
        return self._since >= self.patience

    def go_on(self) -> None:
        """Wait for an improvement anew."""
        self._since = 0

    def saved(self) -> dict[str, Any]:
        """Everything but the student."""
        return {"error": self.error, "looks": self.looks, "goal": self._goal, "since": self._since}

    def restore(self, saved: dict[str, Any], student: Any) -> None:
        """Take over what was saved."""
        self.error, self.looks, self.student = saved["error"], saved["looks"], student
        self._goal, self._since = saved["goal"], saved["since"]
