"""Tasks: data, model and loss, for any solver."""

from ..prediction import Prediction, mean_nfe
from .base import Metric, Task, Trajectories
from .classification import Classification
from .density import Density
from .dynamics import Dynamics
from .latent import Latent
from .likelihood import Likelihood
from .matching import Matching
from .moment_fit import MomentFit
from .registry import TASKS, build_task, task_options
from .stochastic_classification import StochasticClassification

__all__ = [
    "TASKS",
    "Classification",
    "Density",
    "Dynamics",
    "Latent",
    "Likelihood",
    "Matching",
    "Metric",
    "MomentFit",
    "Prediction",
    "StochasticClassification",
    "Task",
    "Trajectories",
    "build_task",
    "mean_nfe",
    "task_options",
]
