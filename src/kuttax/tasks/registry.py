"""The named tasks of the command line."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..errors import UserError

if TYPE_CHECKING:
    from .base import Task
    from .options import TaskOptions

_WHERE = {
    "digits": ("classification.digits", "Digits"),
    "mnist": ("classification.mnist", "Mnist"),
    "spheres": ("classification.spheres", "Spheres"),
    "dynamics": ("dynamics.options", "DynamicsOptions"),
    "density": ("density.options", "DensityOptions"),
    "flow": ("density.options", "FlowOptions"),
    "latent": ("latent.options", "LatentOptions"),
    "series": ("series.options", "SeriesOptions"),
    "spiral-sde": ("stochastic.spiral_sde", "SpiralSDE"),
    "mnist-sde": ("stochastic.mnist_sde", "MnistSDE"),
    "moons": ("classification.moons", "Moons"),
    "cifar10": ("classification.cifar10", "Cifar10"),
    "fashion-mnist": ("classification.fashion_mnist", "FashionMnist"),
}
"""Name -> module and class of the options."""


class _Tasks(Mapping[str, "type[TaskOptions]"]):
    """The names are known without the tasks; only the options that are looked up are imported."""

    def __getitem__(self, name: str) -> "type[TaskOptions]":
        module, kind = _WHERE[name]
        return getattr(import_module(f"..{module}", __name__), kind)

    def __iter__(self) -> Iterator[str]:
        return iter(_WHERE)

    def __len__(self) -> int:
        return len(_WHERE)


TASKS: Mapping[str, "type[TaskOptions]"] = _Tasks()
"""Name -> options with their defaults."""


def task_options(name: str) -> "type[TaskOptions]":
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


def build(name: str, **options: Any) -> "Task":
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
