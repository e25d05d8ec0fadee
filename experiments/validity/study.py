"""Study: what a grid is made of."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kuttax.training.settings import Settings


@dataclass(frozen=True)
class Study:
    """A task that is trained with Euler's method at several numbers of steps.

    Attributes:
        name: What its records are called.
        task: The named task.
        options: Of the task.
        settings: Of its training; the last model is kept, as by Ott et al., not the best on validation data.
        ladder: Numbers of steps to train with.
        factors: Step sizes to test with, as factors of the one trained with.
        seeds: How many.
        samples: How many of the test samples are used.
    """

    name: str
    task: str
    options: dict[str, Any]
    settings: Settings
    ladder: tuple[int, ...]
    factors: tuple[float, ...]
    seeds: int
    samples: int


def spheres(smoke: bool) -> Study:
    """Concentric spheres in two dimensions, everything as Ott et al. (ICLR 2021)."""
    options = {"samples": 60, "test_samples": 40} if smoke else {}
    settings = Settings(
        train_steps=3 if smoke else 10_000, batch_size=16 if smoke else 128,
        lr=1e-4, lr_decay=1.0, evaluations=1, per_dispatch=500,
    )  # fmt: skip
    ladder = (2, 4) if smoke else (2, 4, 8, 16, 32, 64, 128, 256)
    factors = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
    return Study("spheres", "spheres", options, settings, ladder, factors, 1 if smoke else 5, 40 if smoke else 1000)


def mnist(data_dir: Path | None, smoke: bool) -> Study:
    """MNIST's 10,000 training digits with a small convolutional field, autonomous as the one of the spheres."""
    options = {"data_dir": data_dir, "field": "conv", "width": 8, "depth": 1, "time_dependent": False}
    settings = Settings(
        train_steps=1 if smoke else 1000, batch_size=16 if smoke else 128,
        lr=1e-2, lr_decay=0.1, evaluations=1, per_dispatch=50,
    )  # fmt: skip
    ladder = (1, 2) if smoke else (1, 2, 4, 8, 16)
    return Study(
        "mnist", "mnist", options, settings, ladder, (0.25, 0.5, 1.0, 2.0), 1 if smoke else 5, 20 if smoke else 2000
    )


def cifar10(data_dir: Path | None, smoke: bool) -> Study:
    """CIFAR-10 with the field of Ott et al. (ICLR 2021) at a sixteenth of its width, which two cores can train."""
    options = {"data_dir": data_dir, "width": 2 if smoke else 8, "time_dependent": False}
    settings = Settings(
        train_steps=1 if smoke else 600, batch_size=16 if smoke else 128,
        lr=1e-2, lr_decay=0.1, evaluations=1, per_dispatch=50,
    )  # fmt: skip
    ladder = (1, 2) if smoke else (1, 2, 4, 8, 16)
    return Study(
        "cifar10", "cifar10", options, settings, ladder, (0.25, 0.5, 1.0, 2.0), 1 if smoke else 3, 20 if smoke else 2000
    )
