"""Starts: initial value problems from training samples, for distilling a solver."""

from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from .base import Trajectories


def some_trajectories(task: Any, model: Any, most: int, key: PRNGKeyArray) -> Trajectories:
    """The initial value problems that `model` solves for some training samples.

    Args:
        task: A `Task` that `HasTrajectories`.
        model: A model of the task.
        most: The number of samples; all, if there are fewer.
        key: Draws them.
    """
    samples = len(jax.tree.leaves(task.train)[0])
    rows = np.asarray(jax.random.permutation(key, samples))[:most]
    return task.trajectories(model, jax.tree.map(lambda x: x[rows], task.train))
