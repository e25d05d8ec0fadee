"""Latent: a generative model of time series whose latent state follows an ODE or an SDE."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .cast import cast_floating
from .fields.layer_stack import apply_layers
from .fields.mlp import MLPField
from .path_kl import PathKL
from .recognition import RecognitionGRU

_FIRST_SCALE = 0.1  # initial diffusion of a latent SDE


class LatentModel(eqx.Module):
    """Encoder, latent dynamics and decoder (Chen et al., NeurIPS 2018, section 5; Rubanova et al., NeurIPS 2019).

    Attributes:
        encoder: From a series to the distribution of its latent state at time 0.
        field: dz/dt, autonomous; for a latent SDE the drift of the prior.
        decoder: Layers from the latent state to the means of the features, tanh between them.
        correction: For a latent SDE: the posterior's drift minus the prior's, from state, time and the encoder's
            context (Li et al., AISTATS 2020). None for an ODE.
        log_scale: For a latent SDE: the logarithm of the diffusion, a constant for each entry. None for an ODE.
    """

    encoder: RecognitionGRU
    field: MLPField
    decoder: tuple[eqx.nn.Linear, ...]
    correction: MLPField | None
    log_scale: Float[Array, " latent"] | None

    def __init__(
        self,
        features: int,
        latent: int,
        width: int,
        depth: int,
        hidden: int,
        *,
        stochastic: bool,
        key: PRNGKeyArray,
    ):
        """Draws fresh float32 weights.

        Args:
            features: Number of features of the series.
            latent: Entries of the latent state.
            width: Hidden units of the field, and of the decoder.
            depth: Hidden layers of the field.
            hidden: Size of the encoder's state.
            stochastic: Whether the latent state follows an SDE.
            key: Draws the initial weights.
        """
        encoder_key, field_key, first_key, last_key, correction_key = jax.random.split(key, 5)
        self.encoder = RecognitionGRU(features, hidden, latent, key=encoder_key)
        self.field = MLPField(latent, width, depth, key=field_key, time_dependent=False)
        linear = lambda inputs, outputs, key: eqx.nn.Linear(inputs, outputs, dtype=jnp.float32, key=key)
        self.decoder = (linear(latent, width, first_key), linear(width, features, last_key))
        self.correction = self.log_scale = None
        if stochastic:
            self.correction = MLPField(latent, width, depth, key=correction_key, controls=hidden)
            self.log_scale = jnp.full(latent, jnp.log(_FIRST_SCALE), jnp.float32)

    def decode(self, z: Float[Array, " latent"]) -> Float[Array, " d"]:
        """The means of the features in one latent state."""
        return apply_layers(self.decoder, jnp.tanh, 0.0, z, time_dependent=False)

    @property
    def paths(self) -> PathKL:
        """The latent SDE."""
        assert self.correction is not None and self.log_scale is not None
        return PathKL(self.field, self.correction, Constant(self.log_scale))


class Constant(eqx.Module):
    """A diffusion that depends on nothing: exp(log_scale)."""

    log_scale: Float[Array, " latent"]

    def __call__(self, t: Any, z: Float[Array, " latent"], args: Any = None) -> Float[Array, " latent"]:
        del t, args
        return jnp.exp(cast_floating(self.log_scale, z.dtype))
