"""Sets: what was measured, as tasks, at the settings that suit each; chosen once, on validation data."""

from collections.abc import Callable
from dataclasses import dataclass
from math import degrees
from pathlib import Path
from typing import Any

from kuttax.data.systems import trajectory_files
from kuttax.data.systems.windows import TrajectorySplits
from kuttax.tasks import Dynamics

from . import pendulums


@dataclass(frozen=True)
class MeasuredSet:
    """One set of data.

    Attributes:
        file: Its name in the folder of the data.
        split: Reads the parts.
        options: Of the task.
        settings: Of the training.
        budgets: Evaluations between two observations.
        units: Of the observed components.
        factors: From the file's units to these.
        known: Makes known physics from the file; None if there are none.
    """

    file: str
    split: Callable[[Path], TrajectorySplits]
    options: dict[str, Any]
    settings: dict[str, Any]
    budgets: tuple[int, ...]
    units: tuple[str, ...]
    factors: tuple[float, ...]
    known: Callable[[Path], Any] | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        """The kinds of field that are trained."""
        return ("mlp",) if self.known is None else ("mlp", "physics")

    def task(self, folder: Path, field: str) -> Dynamics:
        """The identification of the field."""
        path = folder / self.file
        known = self.known(path) if field == "physics" and self.known is not None else None
        return Dynamics("dynamics", self.split(path), known=known, **self.options)


def halves(file: Path) -> TrajectorySplits:
    """The tanks: the first recording for training, its last fifth for choices; the second for the report."""
    first, second = trajectory_files.load(file).trajectories
    cut = len(first.t) - len(first.t) // 5
    return TrajectorySplits([first.part(0, cut)], [first.part(cut, len(first.t))], [second])


def _pendulum(name: str, every: int, horizon: int, budgets: tuple[int, ...], known: Callable[[Path], Any], rods: int):
    return MeasuredSet(
        f"{name}_pendulum.csv",
        lambda file: pendulums.splits(file, every),
        {"horizon": horizon, "curriculum": (1, 2), "width": 64, "depth": 2},
        {"train_steps": 4000, "batch_size": 64, "lr": 5e-3, "lr_decay": 0.02},
        budgets,
        ("degrees",) * rods + ("degrees/s",) * rods,
        (degrees(1.0),) * 2 * rods,
        known,
    )


# Observations are such that DOPRI5 crosses from one to the next in about 15 and 25 evaluations.
SETS = {
    "single-pendulum": _pendulum("single", 15, 10, (4, 8), pendulums.single, 1),
    "double-pendulum": _pendulum("double", 12, 5, (4, 8), pendulums.double, 2),
    "tanks": MeasuredSet(
        "cascaded_tanks.csv",
        halves,
        {"hidden": 1, "memory": 20, "input": "hold", "horizon": 60, "curriculum": (10, 30), "width": 32, "depth": 2},
        {"train_steps": 4000, "batch_size": 64, "lr": 3e-3, "lr_decay": 0.02},
        (1, 2, 4),
        ("V",),
        (1.0,),
    ),
}
