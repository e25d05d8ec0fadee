"""Tasks: data, model and loss, for any solver."""

from .base import Metric, Prediction, Task, Trajectories, mean_nfe
from .classification import Classification
from .registry import TASKS, build_task, task_options

__all__ = [
    "TASKS",
    "Classification",
    "Metric",
    "Prediction",
    "Task",
    "Trajectories",
    "build_task",
    "mean_nfe",
    "task_options",
]
