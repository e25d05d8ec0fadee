"""The trace of a field's Jacobian, the rate at which volumes grow: exact, or estimated from one product."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..errors import UserError

ProbeNoise = Literal["rademacher", "normal"]


class AbstractTrace(eqx.Module):
    """How tr(df/dx) is computed."""

    @abstractmethod
    def noise(self, key: PRNGKeyArray | None, x: Float[Array, "n ..."]) -> Any:
        """The noise of one solve, shaped like the states x; None if there is none.

        Raises:
            UserError: A key is needed, and there is none.
        """

    @abstractmethod
    def __call__(self, f: Callable[[Array], Array], x: Float[Array, "..."], noise: Any) -> tuple[Array, Array]:
        """f(x) and the trace of its Jacobian there, for one state."""


class Exact(AbstractTrace):
    """All d diagonal entries, by d Jacobian-vector products in one batch."""

    def noise(self, key: PRNGKeyArray | None, x: Float[Array, "n ..."]) -> None:
        del key, x

    def __call__(self, f: Callable[[Array], Array], x: Float[Array, "..."], noise: None) -> tuple[Array, Array]:
        del noise
        slope, product = jax.linearize(f, x)
        basis = jnp.eye(x.size, dtype=x.dtype).reshape(x.size, *x.shape)
        return slope, jnp.sum(jax.vmap(product)(basis) * basis)


class Hutchinson(AbstractTrace):
    """eps^T (df/dx) eps, whose mean over eps with E[eps eps^T] = I is the trace: one Jacobian-vector product.

    Hutchinson (1990); for flows Grathwohl et al. (FFJORD, ICLR 2019, arXiv 1810.01367, section 3.1). The noise is drawn
    once for a solve, for each sample, so that the integrand is smooth; the log-density's estimate is unbiased.

    Attributes:
        kind: "rademacher" (signs; the diagonal itself adds no variance) or "normal".

    Raises:
        UserError: The kind is unknown.
    """

    kind: ProbeNoise = eqx.field(static=True, default="rademacher")

    def __check_init__(self):
        if self.kind not in get_args(ProbeNoise):
            raise UserError(f"kind must be one of {', '.join(get_args(ProbeNoise))}, got {self.kind!r}")

    def noise(self, key: PRNGKeyArray | None, x: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        if key is None:
            raise UserError("Hutchinson draws at random: give a key, e.g. key=jax.random.key(0)")
        draw = {"rademacher": jax.random.rademacher, "normal": jax.random.normal}[self.kind]
        return draw(key, x.shape, x.dtype)

    def __call__(self, f: Callable[[Array], Array], x: Float[Array, "..."], noise: Array) -> tuple[Array, Array]:
        slope, product = jax.jvp(f, (x,), (noise,))
        return slope, jnp.sum(noise * product)
