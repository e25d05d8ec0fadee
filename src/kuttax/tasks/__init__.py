"""Tasks: data, model and loss, for any solver."""

from ..validity.prediction import Prediction, mean_nfe
from .base import Metric, Task, Trajectories
from .classification.task import Classification
from .density.likelihood import Likelihood
from .density.matching import Matching
from .density.task import Density
from .dynamics.task import Dynamics
from .latent.task import Latent
from .registry import TASKS, build, task_options
from .series.task import Controlled
from .stochastic.classification import StochasticClassification
from .stochastic.moment_fit import MomentFit

__all__ = [
    "TASKS",
    "Classification",
    "Controlled",
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
    "build",
    "mean_nfe",
    "task_options",
]
