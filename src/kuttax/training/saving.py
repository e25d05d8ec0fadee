"""Saving: when a run is saved, and how it is stopped."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Mapping
from types import FrameType, TracebackType
from typing import Any

from ..io.checkpoints import Checkpoints, SavedPart
from .parallel import OneDevice, Placement


class Stopped(Exception):
    """A signal stopped a run, which was saved.

    Attributes:
        signal: The signal: SIGINT (Ctrl-C) or SIGTERM.
        step: Optimiser steps taken.
    """

    def __init__(self, number: int, step: int):
        super().__init__(f"stopped at training step {step} and saved: go on with the same command and --resume")
        self.signal, self.step = number, step


class Saving:
    """Saves a run regularly, and when a signal stops it; use it as a context whose last call is `look(now=True)`.

    The first Ctrl-C (or SIGTERM, which schedulers send) lets the current compiled call finish; the second one has its
    usual effect. An ignored signal stays ignored. Python delivers signals only to its main thread: in other threads
    none is caught.

    Args:
        checkpoints: Where to save; None saves nothing and catches no signal.
        state: Returns the current state of the run.
        step: Returns the optimiser steps taken.
        place: With several processes the first one writes, and a signal to one stops them all.
    """

    def __init__(
        self,
        checkpoints: Checkpoints | None,
        state: Callable[[], Mapping[str, SavedPart]],
        step: Callable[[], int],
        place: Placement | None = None,
    ):
        self.checkpoints, self.state, self.step, self.place = checkpoints, state, step, place or OneDevice()
        self._asked = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Saving":
        if self.checkpoints is not None and threading.current_thread() is threading.main_thread():
            heard = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) != signal.SIG_IGN]  # nohup, "&"
            self._before = {number: signal.signal(number, self._ask) for number in heard}
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._release()
        if error is None and self._asked:  # after the last look, which has saved the end
            raise Stopped(self._asked, self.step())

    def look(self, *, now: bool = False) -> None:
        """Save if it is time, if a signal asks for the end, or if `now`; call it between two compiled calls.

        Raises:
            Stopped: A signal asked for the end.
        """
        if self.checkpoints is None:
            return
        asked = self.place.largest(self._asked)
        if self.place.leads and (now or asked or self.checkpoints.due):
            self.checkpoints.save(self.state())
        if asked:
            raise Stopped(asked, self.step())

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._asked = number
        self._release()
        with contextlib.suppress(OSError):  # not print: the signal may have interrupted one
            os.write(2, b"kuttax: stopping after this call; once more stops at once\n")

    def _release(self) -> None:
        """Restore the previous signal handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
