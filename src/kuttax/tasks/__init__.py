"""Tasks: data, model and loss, for any solver."""

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from ..validity.prediction import Prediction as Prediction
    from ..validity.prediction import mean_nfe as mean_nfe
    from .base import Metric as Metric
    from .base import Task as Task
    from .base import Trajectories as Trajectories
    from .classification.task import Classification as Classification
    from .density.likelihood import Likelihood as Likelihood
    from .density.matching import Matching as Matching
    from .density.task import Density as Density
    from .dynamics.task import Dynamics as Dynamics
    from .latent.task import Latent as Latent
    from .registry import TASKS as TASKS
    from .registry import build as build
    from .registry import task_options as task_options
    from .series.task import Controlled as Controlled
    from .stochastic.classification import StochasticClassification as StochasticClassification
    from .stochastic.moment_fit import MomentFit as MomentFit
else:
    __getattr__, __dir__, __all__ = lazy_names(
        __name__,
        {
            "Classification": ".classification.task",
            "Controlled": ".series.task",
            "Density": ".density.task",
            "Dynamics": ".dynamics.task",
            "Latent": ".latent.task",
            "Likelihood": ".density.likelihood",
            "Matching": ".density.matching",
            "Metric": ".base",
            "MomentFit": ".stochastic.moment_fit",
            "Prediction": "..validity.prediction",
            "StochasticClassification": ".stochastic.classification",
            "TASKS": ".registry",
            "Task": ".base",
            "Trajectories": ".base",
            "build": ".registry",
            "mean_nfe": "..validity.prediction",
            "task_options": ".registry",
        },
    )
