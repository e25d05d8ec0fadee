"""Output of a distillation: a progress bar, or a line now and then."""

import math
import time

import rich.progress
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn

from ..distillation.progress import Progress
from ..training.log import Due


class DistillationLog:
    """Shows where distillations are; use it as a context.

    On a terminal it shows a bar for the teacher and one for the fit. Elsewhere it prints a line every ten seconds.

    Args:
        console: Where they go.
    """

    def __init__(self, console: Console):
        shown = "{task.description}", "error {task.fields[error]}  {task.fields[memory]}"
        name, numbers = (TextColumn(text, markup=False) for text in shown)
        columns = name, BarColumn(bar_width=16), MofNCompleteColumn(), numbers, TimeElapsedColumn()
        self._bar = rich.progress.Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._items: dict[str, rich.progress.TaskID] = {}
        self._console, self._due = console, Due(console)

    def __enter__(self) -> "DistillationLog":
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def __call__(self, now: Progress) -> None:
        """Show where it is."""
        error = "-" if math.isnan(now.error) else f"{now.error:.3g}"
        memory = "" if math.isnan(now.memory) else f"{now.memory / 2**30:.1f} GiB"
        if now.phase not in self._items:
            self._items[now.phase] = self._bar.add_task(now.phase, total=now.total, error=error, memory=memory)
        self._bar.update(self._items[now.phase], total=now.total, completed=now.done, error=error, memory=memory)
        if self._due(time.monotonic()):
            self._console.out(f"distillation, {now}", highlight=False)
