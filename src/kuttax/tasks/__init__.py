"""Tasks: data, model and loss, for any solver."""

from .base import Metric, Prediction, Task, mean_nfe
from .classification import Classification
from .registry import TASKS, build_task, task_options

__all__ = ["TASKS", "Classification", "Metric", "Prediction", "Task", "build_task", "mean_nfe", "task_options"]
