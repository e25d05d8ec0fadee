"""Noise: which paths an SDE's predictions follow, and the fine steps that they are held against."""

import jax
from jaxtyping import Array, Int, PRNGKeyArray

from ...solvers.sde.fixed_sde import AbstractSDESolver
from ...solvers.sde.sde import Calculus
from ...solvers.sde.srk import SRK
from ...solvers.sde.stochastic_heun import StochasticHeun

_SEED = 2023


def noise_of(number: Int[Array, " n"]) -> PRNGKeyArray:
    """The key that draws the noise of a batch's prediction: the same batch always has the same, so that numbers repeat
    and solvers can be compared on one path, and another batch of the data has another.

    Args:
        number: Of the samples in their data set; the first one's counts.
    """
    return jax.random.fold_in(jax.random.key(_SEED), number[0])


def fine_steps(calculus: Calculus, steps: int) -> AbstractSDESolver:
    """A solver for diagonal noise with so many steps, for an SDE of this calculus."""
    return SRK(steps) if calculus == "ito" else StochasticHeun(steps)
