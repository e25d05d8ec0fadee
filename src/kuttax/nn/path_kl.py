"""Path KL: the divergence between the paths of two SDEs, integrated as one more entry of the state."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from .._types import VectorField
from ..solvers.sde.sde import SDE, Noise


class PathKL(eqx.Module):
    """The posterior SDE dz = (h + c) dt + g dW and its prior dz = h dt + g dW, with their divergence.

    The Kullback-Leibler divergence of the posterior's paths from the prior's is the mean of the integral of |u|^2 / 2
    with g u = c (Girsanov; Li, Wong, Chen & Duvenaud, AISTATS 2020, section 5). The integral is the second part of the
    state: solve `sde()` from `(z0, 0)`. Ito, diagonal noise that does not vanish.

    Attributes:
        prior: h(t, z, None), for one sample.
        correction: c(t, z, args).
        diffusion: g(t, z, None), one number for each entry of z.
    """

    prior: VectorField
    correction: VectorField
    diffusion: VectorField

    def sde(self, noise: Noise = "diagonal") -> SDE:
        """The equation of `(z, integral)`; use "additive" if the diffusion does not depend on z."""
        return SDE(self._drift, self._diffusion, noise)

    def _drift(self, t: Any, state: tuple[Array, Array], args: Any) -> tuple[Array, Array]:
        z, _ = state
        c = self.correction(t, z, args)
        return self.prior(t, z, None) + c, jnp.sum((c / self.diffusion(t, z, None)) ** 2) / 2

    def _diffusion(self, t: Any, state: tuple[Array, Array], args: Any) -> tuple[Array, Array]:
        del args
        z, integral = state
        return self.diffusion(t, z, None), jnp.zeros((), integral.dtype)
