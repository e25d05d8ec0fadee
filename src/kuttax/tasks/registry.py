"""The named tasks of the command line."""

from dataclasses import fields
from typing import Any

from ..errors import UserError
from .base import Task
from .classification.digits import Digits
from .classification.mnist import Mnist
from .classification.moons import Moons
from .classification.spheres import Spheres
from .density.options import DensityOptions, FlowOptions
from .dynamics.options import DynamicsOptions
from .latent.options import LatentOptions
from .options import TaskOptions
from .series.options import SeriesOptions
from .stochastic.mnist_sde import MnistSDE
from .stochastic.spiral_sde import SpiralSDE

Options = type[TaskOptions]

TASKS: dict[str, Options] = {
    "digits": Digits,
    "mnist": Mnist,
    "spheres": Spheres,
    "dynamics": DynamicsOptions,
    "density": DensityOptions,
    "flow": FlowOptions,
    "latent": LatentOptions,
    "series": SeriesOptions,
    "spiral-sde": SpiralSDE,
    "mnist-sde": MnistSDE,
    "moons": Moons,
}
"""Name -> options with their defaults."""


def task_options(name: str) -> Options:
    """The options of the task `name`.

    Raises:
        UserError: No task has this name.
    """
    if str(name).lower().endswith((".csv", ".npz")):
        raise UserError(
            f"{name!r} is a file: name a task, dynamics for trajectories, series for labelled series or density for "
            f"points, with --file {name}"
        )
    if name not in TASKS:
        raise UserError(f"unknown task {name!r}; known: {', '.join(TASKS)}")
    return TASKS[name]


def build(name: str, **options: Any) -> Task:
    """Makes the task `name`, with its defaults changed by `options`.

    Raises:
        UserError: The task or an option is unknown, an option is out of range, or the data are not available.
    """
    kind = task_options(name)
    known = [field.name for field in fields(kind)]
    unknown = [option for option in options if option not in known]
    if unknown:
        raise UserError(f"task {name!r} has no option {unknown[0]!r}; known: {', '.join(known)}")
    return kind(**options).build()
