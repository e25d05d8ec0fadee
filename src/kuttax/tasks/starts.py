"""Starts: the initial value problems of some training samples, for a solver to be distilled on."""

from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from .base import Trajectories


def some_trajectories(task: Any, model: Any, most: int, key: PRNGKeyArray) -> Trajectories:
    """What `model` solves for some training samples.

    Args:
        task: A `Task` that `HasTrajectories`.
        model: Of the task.
        most: How many samples; all, where there are fewer.
        key: Draws them.
    """
    samples = len(jax.tree.leaves(task.train)[0])
    rows = np.asarray(jax.random.permutation(key, samples))[:most]
    return task.trajectories(model, jax.tree.map(lambda x: x[rows], task.train))
