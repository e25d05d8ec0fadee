"""A bilinear network as vector field: exact for systems whose terms are linear, or products of two components."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, PRNGKeyArray

from ...errors import UserError
from ..cast import cast_floating


class BilinearField(eqx.Module):
    """`dy/dt = A v + C ((P v + p) * (Q v + q)) + b` of v = [y, u], with elementwise products.

    The bilinear residual networks of Fablet, Ouala, Herzet (EUSIPCO 2018, arXiv 1712.07003), with their linear units
    combined. Lorenz-63 needs two products, Lorenz-96 as many as it has components.

    Attributes:
        linear: A and b.
        left, right: P with p, and Q with q.
        products: C, which starts at zero: products of random numbers reach infinity in finite time.
        controls: The number of control inputs u, the field's args.
    """

    linear: eqx.nn.Linear
    left: eqx.nn.Linear
    right: eqx.nn.Linear
    products: eqx.nn.Linear
    controls: int = eqx.field(static=True)

    def __init__(self, size: int, width: int, *, key: PRNGKeyArray, controls: int = 0, dtype: DTypeLike = jnp.float32):
        """Draws the weights as `equinox.nn.Linear` does.

        Args:
            size: Number of components of the state.
            width: Number of products.
            key: Draws the initial weights.
            controls: See the attribute.
            dtype: Dtype of the weights; the computation follows the state's dtype.

        Raises:
            UserError: size or width is below 1.
        """
        if size < 1 or width < 1:
            raise UserError(f"BilinearField needs size >= 1, width >= 1, got {size}, {width}")
        keys = jax.random.split(key, 4)
        shapes = [(size + controls, size), (size + controls, width), (size + controls, width), (width, size)]
        self.linear, self.left, self.right, self.products = (
            eqx.nn.Linear(*shape, use_bias=i < 3, dtype=dtype, key=own)
            for i, (shape, own) in enumerate(zip(shapes, keys, strict=True))
        )
        self.products = eqx.tree_at(lambda layer: layer.weight, self.products, jnp.zeros((size, width), dtype))
        self.controls = controls

    def __call__(
        self, t: Float[Array, ""] | float, y: Float[Array, " size"], args: Any = None
    ) -> Float[Array, " size"]:
        """The derivative of one sample's state, in the dtype of `y`; `args` are its control inputs, if it has any."""
        del t
        seen = jnp.concatenate([y, args]) if self.controls else y
        linear, left, right, products = cast_floating((self.linear, self.left, self.right, self.products), y.dtype)
        return linear(seen) + products(left(seen) * right(seen))
