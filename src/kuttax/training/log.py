"""Output of training: a progress bar or a line now and then, and one JSON line per dispatch."""

import statistics
import time
from datetime import timedelta
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from ..io import records
from .failure import Failures
from .loop import Progress

EVERY = 10.0
"""Seconds between two lines of progress where there is no terminal."""

_COMPILE = 2  # dispatches that may also compile: the slowest ones do not count for the time left


class Due:
    """Tells whether a line of progress is due: on a terminal never, elsewhere every ten seconds.

    Args:
        console: Where the line would go.
    """

    def __init__(self, console: Console):
        self._never, self._last = console.is_terminal, time.monotonic()

    def __call__(self, now: float) -> bool:
        """Whether a line is to be printed at this time, of `time.monotonic`."""
        if self._never or now - self._last < EVERY:
            return False
        self._last = now
        return True


class Log:
    """Reports one training run to the terminal and to `metrics.jsonl`; use it as a context.

    On a terminal it shows a bar with steps, loss, NFE and the time left, and says that it compiles before the first
    step. Elsewhere, as in a file or under a batch system, it prints a line every ten seconds.

    Args:
        console: The console of the bar.
        label: The name of the run.
        total: The number of training steps.
        path: The JSONL file, or None.
        since: Optimiser steps taken before: rows of later steps, from before a kill, are removed from the file.
    """

    def __init__(self, console: Console, label: str, total: int, path: Path | None, since: int = 0):
        self.path = path
        if path is not None:
            records.keep(path, lambda row: row["step"] <= since, {"step": int})
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}  NFE {task.fields[nfe]}"),
            TimeRemainingColumn(compact=True),
        )
        self.bar = Bar(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.item = self.bar.add_task(f"{label}, compiling", total=total, completed=since, loss="-", nfe="-")
        self.console, self.label, self.total = console, label, total
        self._before: tuple[int, float] | None = None
        self._paces: list[float] = []  # seconds for a step, of each dispatch after the first
        self._due = Due(console)

    def __enter__(self) -> "Log":
        self.bar.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bar.stop()

    def __call__(self, now: Progress) -> None:
        """Show and record one dispatch."""
        loss, nfe = f"{now.loss:.4f}", f"{now.nfe:.0f}"
        self.bar.update(self.item, description=self.label, completed=now.step, loss=loss, nfe=nfe)
        self._say(now)
        if self.path is None:
            return
        row = {"step": now.step, "loss": now.loss, "metric": now.metric, "nfe": now.nfe, "seconds": now.seconds}
        if now.validation is not None:
            row |= {"validation": now.validation.metric, "validation_loss": now.validation.loss}
        if now.controlled is not None:
            row |= {"nfe_train": now.controlled.nfe_train, "nfe_checks": now.controlled.nfe_checks}
        if now.failures != Failures():
            row |= {"failures": now.failures._asdict()}
        records.append(self.path, row)

    def _say(self, now: Progress) -> None:
        """Print a line, if one is due."""
        seen = time.monotonic()
        if self._before is not None and now.step > self._before[0]:
            self._paces.append((seen - self._before[1]) / (now.step - self._before[0]))
        self._before = now.step, seen
        if not self._due(seen):
            return
        left = ""
        if len(self._paces) > _COMPILE:
            seconds = statistics.mean(sorted(self._paces)[:-_COMPILE]) * (self.total - now.step)
            left = f", about {timedelta(seconds=round(seconds))} left"
        steps = f"step {now.step} of {self.total}"
        self.console.out(f"{self.label}: {steps}, loss {now.loss:.4g}, NFE {now.nfe:.4g}{left}", highlight=False)
