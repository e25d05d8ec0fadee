"""Cases: the tasks that are fitted, at the settings that suit them, and the levers that are pulled."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import kuttax as kx
from kuttax.training.settings import Settings

LEVERS = ("warm-up", "learned", "consistency", "distillation")


def levers_of(task: str) -> tuple[str, ...]:
    """The levers that there are for a task: an SDE has no warm-up, and nothing is distilled for it."""
    return ("learned", "consistency") if task == "spiral-sde" else LEVERS


def label(task: str, names: Sequence[str]) -> str:
    """What these levers are called where they are pulled for the task."""
    return "none" if not names else "all" if len(names) == len(levers_of(task)) else "+".join(names)


@dataclass(frozen=True)
class Case:
    """One task.

    Attributes:
        task: The named task.
        options: Of the task.
        settings: Of its training.
    """

    task: str
    options: dict[str, Any]
    settings: Settings

    @property
    def levers(self) -> tuple[str, ...]:
        """That there are for it."""
        return levers_of(self.task)

    @property
    def alone(self) -> list[tuple[str, ...]]:
        """None of them, each alone, all."""
        return [(), *((name,) for name in self.levers), self.levers]

    @property
    def pairs(self) -> list[tuple[str, ...]]:
        """Any two of them, where these are not all."""
        return list(combinations(self.levers, 2)) if len(self.levers) > 2 else []


def cases(data_dir: Path | None, smoke: bool) -> dict[str, Case]:
    """Name -> case; tiny ones where it is only to be seen that it runs."""
    density = {"width": 8, "samples": 256, "test_samples": 128} if smoke else {"penalised": 32}
    spiral = {"trajectories": 32, "held_out": 16, "width": 4} if smoke else {}
    lorenz = {"samples": 151, "width": 8, "horizon": 4, "curriculum": (1, 2)}
    if smoke:
        lorenz = {"trajectories": 5, "samples": 12, "width": 2, "horizon": 2}

    def settings(train_steps: int, **chosen: Any) -> Settings:
        tiny = {"train_steps": 4, "per_dispatch": 2, "evaluations": 1}
        return Settings(**{**chosen, "train_steps": train_steps, **(tiny if smoke else {})})

    found = {
        "moons": Case("density", {"data": "moons", **density}, settings(1000, batch_size=128, lr=3e-3)),
        "checkerboard": Case("density", {"data": "checkerboard", **density}, settings(1000, batch_size=128, lr=3e-3)),
        "lorenz63": Case(
            "dynamics",
            {"system": "lorenz63", "dt": 0.15, "field": "bilinear", **lorenz},
            settings(1500, batch_size=16 if smoke else 64, lr=5e-3, lr_decay=0.02),
        ),
        "spiral-sde": Case(
            "spiral-sde",
            {"calculus": "ito", **spiral},
            settings(300, batch_size=8 if smoke else 100, lr=3e-2),
        ),
    }
    if data_dir is not None:
        found["mnist"] = Case("mnist", {"data_dir": data_dir}, settings(600, batch_size=512, lr=1e-3))
        small = {"data_dir": data_dir, "width": 2 if smoke else 8, "time_dependent": False}
        found["cifar10"] = Case("cifar10", small, settings(600, batch_size=128, lr=1e-2, lr_decay=0.1))
    return found


def pulled(names: Sequence[str]) -> kx.FitOptions:
    """These levers at their defaults, the others switched off."""
    default = kx.FitOptions()
    return kx.FitOptions(
        warm_up=default.warm_up if "warm-up" in names else 0.0,
        learned="always" if "learned" in names else "never",
        consistency=default.consistency if "consistency" in names else 0.0,
        distill="distillation" in names,
    )
