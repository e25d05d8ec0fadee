"""Noise: the paths of an SDE's predictions, and the fine steps to compare with."""

import jax
from jaxtyping import Array, Int, PRNGKeyArray

from ...solvers.sde.fixed_sde import AbstractSDESolver
from ...solvers.sde.sde import Calculus
from ...solvers.sde.srk import SRK
from ...solvers.sde.stochastic_heun import StochasticHeun

_SEED = 2023


def noise_of(number: Int[Array, " n"]) -> PRNGKeyArray:
    """The key of the noise in a batch's prediction: the same batch always has the same noise, another batch another.

    So results repeat, and solvers can be compared on one path.
    can be compared on one path; another batch of the data has different noise.

    Args:
        number: The samples' numbers in their data set; only the first one counts.
    """
    return jax.random.fold_in(jax.random.key(_SEED), number[0])


def fine_steps(calculus: Calculus, steps: int) -> AbstractSDESolver:
    """A solver for diagonal noise with `steps` steps, for an SDE of this calculus."""
    return SRK(steps) if calculus == "ito" else StochasticHeun(steps)
