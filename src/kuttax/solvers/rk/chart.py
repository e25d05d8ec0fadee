"""Charts: smooth maps from free parameters to the coefficients of a tableau. The order holds by construction.

There are two kinds. With more stages than the order, a chart projects the weights b onto the order conditions, which
are linear in b (`Projected`). With as many stages as the order, the families of all such methods are known in closed
form (Butcher, Numerical Methods for ODEs, 3.2; Ralston 1962), and smooth charts cover them (`Order2`, ...).

Every chart holds its parameters with a leading axis of rows: one row for coefficients shared by all steps, or one row
for each step.
"""

import dataclasses
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...errors import UserError
from .order import condition_number, project
from .tableau import Tableau

MOST_CONDITION = 1e3
"""The largest condition number of the order conditions at the start of a solver: float32 then keeps four digits."""

MOST_DRIFT = 10 * MOST_CONDITION
"""The largest condition number and the largest coefficient that training may reach."""


class AbstractChart(eqx.Module):
    """Free parameters of explicit Runge-Kutta methods of one order and number of stages."""

    order: eqx.AbstractVar[int]
    stages: eqx.AbstractVar[int]

    @classmethod
    @abstractmethod
    def of_arrays(cls, arrays: dict[str, Array], order: int, stages: int) -> "AbstractChart":
        """The chart with these parameters, by their names."""

    @property
    @abstractmethod
    def widths(self) -> dict[str, int]:
        """How many parameters a row of each array has."""

    @abstractmethod
    def coefficients(self) -> tuple[Array, Array, Array]:
        """The methods (a, b), shapes (rows, s, s) and (rows, s), and whether each is reliable, (rows,)."""

    def nodes(self, a: Array) -> Array:
        """The nodes c of the methods with these a, (rows, s)."""
        return a.sum(-1)

    def scales(self) -> Array | None:
        """The factors of a step's first state in each stage and at the end, (rows, s + 1); None: all one."""
        return None

    def canonical(self) -> "AbstractChart":
        """The same methods, with parameters that are least sensitive to rounding."""
        return self

    def through(
        self,
        times: Float[np.ndarray, " s"],
        path: Callable[[float], Float[np.ndarray, "n d"]],
        slope: Callable[[float, Float[np.ndarray, "n d"]], Float[np.ndarray, "n d"]],
    ) -> "AbstractChart | None":
        """A chart of one row whose states follow given paths; None if its weights are not free to, or if it fails.

        Args:
            times: Of the evaluations, as shares of the step.
            path: The states after a share of the step.
            slope: The derivatives of such states with respect to that share.
        """
        del times, path, slope
        return None


class Projected(AbstractChart):
    """Free strictly lower A and free weights b0; b is b0 projected onto the order conditions up to `order` (1, 2, 3).

    Attributes:
        lower: The entries of A below the diagonal, row by row, (rows, s (s - 1) / 2).
        weights: b0, (rows, s).
    """

    lower: Array
    weights: Array
    order: int = eqx.field(static=True)
    stages: int = eqx.field(static=True)

    @classmethod
    def at(cls, tableau: Tableau, order: int, rows: int, dtype) -> "Projected":
        """The chart with the given tableau, of at least this order, in every row."""
        condition = condition_number(tableau.a, order)
        if not condition <= MOST_CONDITION:
            raise UserError(
                f"the order-{order} conditions of {tableau.name} with {tableau.stages} stages are ill-conditioned "
                f"({condition:.1e}, at most {MOST_CONDITION:.0e}): ask for a lower order or start at another tableau"
            )
        lower = tableau.a[np.tril_indices(tableau.stages, -1)]
        lower, weights = in_rows(lower, rows, dtype), in_rows(tableau.b, rows, dtype)
        return cls(lower=lower, weights=weights, order=order, stages=tableau.stages)

    @classmethod
    def of_arrays(cls, arrays: dict[str, Array], order: int, stages: int) -> "Projected":
        return cls(**arrays, order=order, stages=stages)

    @property
    def widths(self) -> dict[str, int]:
        return {"lower": self.stages * (self.stages - 1) // 2, "weights": self.stages}

    def coefficients(self) -> tuple[Array, Array, Array]:
        def one(lower, weights):
            a = jnp.zeros((self.stages, self.stages), lower.dtype)
            a = a.at[np.tril_indices(self.stages, -1)].set(lower)
            b, condition = project(weights, a, self.order)
            return a, b, (condition < MOST_DRIFT) & moderate(a, b)

        return jax.vmap(one)(self.lower, self.weights)

    def canonical(self) -> "Projected":
        """The same methods, with weights that the projection does not change; training may have moved them off."""
        return dataclasses.replace(self, weights=self.coefficients()[1])


class AbstractClosed(AbstractChart):
    """A closed family of methods with as many stages as their order.

    The family is a formula in its nodes or weights (u, v, w), for NumPy and JAX numbers alike. The chart maps free real
    parameters, shape (rows, q), smoothly into the range where the formula holds.
    """

    free: eqx.AbstractVar[Array]
    stages: eqx.AbstractClassVar[int]
    order: eqx.AbstractClassVar[int]

    @staticmethod
    @abstractmethod
    def method(*parameters: Any) -> tuple[list[list[Any]], list[Any]]:
        """The rows of A below the diagonal, and b."""

    @staticmethod
    @abstractmethod
    def parameters(a: np.ndarray) -> tuple[float, ...]:
        """The parameters of the family's member with coefficients `a`, if there is one."""

    @staticmethod
    @abstractmethod
    def flatten(*parameters: float) -> list[float]:
        """The free parameters of a member; not finite if the chart does not contain it."""

    @staticmethod
    @abstractmethod
    def bend(free: Array) -> tuple[Array, ...]:
        """The member with these free parameters; the inverse of `flatten`."""

    @classmethod
    def of_arrays(cls, arrays: dict[str, Array], order: int, stages: int) -> "AbstractClosed":
        parameters: Any = {"free": arrays["free"]}
        return cls(**parameters)

    @property
    def widths(self) -> dict[str, int]:
        return {"free": len(self.bend(jnp.zeros(self.stages)))}

    def coefficients(self) -> tuple[Array, Array, Array]:
        def one(free):
            lower, b = self.method(*self.bend(free))
            a = jnp.zeros((self.stages, self.stages), free.dtype)
            a = a.at[np.tril_indices(self.stages, -1)].set(jnp.stack([x for row in lower for x in row]))
            b = jnp.stack(b)
            return a, b, moderate(a, b)

        return jax.vmap(one)(self.free)


class Order2(AbstractClosed):
    """Two stages, order 2: c2 = u, b = (1 - 1/2u, 1/2u), u = exp(alpha). Midpoint 1/2, Ralston 2/3, Heun 1."""

    free: Array
    stages: ClassVar[int] = 2
    order: ClassVar[int] = 2

    @staticmethod
    def method(u):
        return [[u]], [1 - 1 / (2 * u), 1 / (2 * u)]

    @staticmethod
    def parameters(a):
        return (a[1, 0],)

    @staticmethod
    def flatten(u):
        return [np.log(u)]

    @staticmethod
    def bend(free):
        return (jnp.exp(free[0]),)


class Order3(AbstractClosed):
    """Three stages, order 3: c = (0, u, v) with u = (2/3) sig(alpha), v = u + (1 - u) sig(beta).

    alpha = beta = 0 is Heun's method.
    """

    free: Array
    stages: ClassVar[int] = 3
    order: ClassVar[int] = 3

    @staticmethod
    def method(u, v):
        a32 = v * (v - u) / (u * (2 - 3 * u))
        b1 = (6 * u * v - 3 * u - 3 * v + 2) / (6 * u * v)
        b2 = (3 * v - 2) / (6 * u * (v - u))
        b3 = (2 - 3 * u) / (6 * v * (v - u))
        return [[u], [v - a32, a32]], [b1, b2, b3]

    @staticmethod
    def parameters(a):
        return tuple(a.sum(1)[1:])

    @staticmethod
    def flatten(u, v):
        return [_logit(3 * u / 2), _logit((v - u) / (1 - u))]

    @staticmethod
    def bend(free):
        u = 2 / 3 * jax.nn.sigmoid(free[0])
        return u, u + (1 - u) * jax.nn.sigmoid(free[1])


class Order4(AbstractClosed):
    """Four stages, order 4: c = (0, u, v, 1).

    u = sig(alpha) / 2, v = u + (vbar - u) sig(beta), vbar = (3 - 4u) / (4 - 6u).
    alpha = beta = ln 2 is the 3/8 rule. The classical RK4 is a singular corner: see `Order4Half`.
    """

    free: Array
    stages: ClassVar[int] = 4
    order: ClassVar[int] = 4

    @staticmethod
    def method(u, v):
        d = 6 * u * v - 4 * u - 4 * v + 3
        a32 = v * (v - u) / (2 * u * (1 - 2 * u))
        a42 = (1 - u) * (u + v - 1 - (2 * v - 1) ** 2) / (2 * u * (v - u) * d)
        a43 = (1 - 2 * u) * (1 - u) * (1 - v) / (v * (v - u) * d)
        b1 = (6 * u * v - 2 * u - 2 * v + 1) / (12 * u * v)
        b2 = (2 * v - 1) / (12 * u * (1 - u) * (v - u))
        b3 = (1 - 2 * u) / (12 * v * (1 - v) * (v - u))
        b4 = d / (12 * (1 - u) * (1 - v))
        return [[u], [v - a32, a32], [1 - a42 - a43, a42, a43]], [b1, b2, b3, b4]

    @staticmethod
    def parameters(a):
        return tuple(a.sum(1)[1:3])

    @staticmethod
    def flatten(u, v):
        return [_logit(2 * u), _logit((v - u) / ((3 - 4 * u) / (4 - 6 * u) - u))]

    @staticmethod
    def bend(free):
        u = jax.nn.sigmoid(free[0]) / 2
        return u, u + ((3 - 4 * u) / (4 - 6 * u) - u) * jax.nn.sigmoid(free[1])


class Order4Half(AbstractClosed):
    """Four stages, order 4, c = (0, 1/2, 1/2, 1): b = (1/6, 2/3 - w, w, 1/6), w = exp(alpha). w = 1/3 is RK4."""

    free: Array
    stages: ClassVar[int] = 4
    order: ClassVar[int] = 4

    @staticmethod
    def method(w):
        a32 = 1 / (6 * w)
        one = w / w  # so that every entry has the type of w
        return [[one / 2], [1 / 2 - a32, a32], [0 * w, 1 - 3 * w, 3 * w]], [one / 6, 2 / 3 - w, w, one / 6]

    @staticmethod
    def parameters(a):
        return (1 / (6 * a[2, 1]),)

    @staticmethod
    def flatten(w):
        return [np.log(w)]

    @staticmethod
    def bend(free):
        return (jnp.exp(free[0]),)


CLOSED = (Order2, Order3, Order4, Order4Half)
_STARTS = {2: "MIDPOINT, RALSTON2 or HEUN2", 3: "HEUN3, RALSTON3 or BOSH3", 4: "RK4 or RK38"}


def closed_at(tableau: Tableau, rows: int, dtype) -> AbstractClosed:
    """The closed chart that contains `tableau`, which has as many stages as its order, at the tableau's parameters."""
    for family in CLOSED:
        if family.stages == tableau.stages:
            with np.errstate(all="ignore"):
                parameters = family.parameters(tableau.a)
                free = np.asarray(family.flatten(*parameters), np.float64)
                if np.isfinite(free).all() and _is_member(family.method(*parameters), tableau):
                    return family(in_rows(free, rows, dtype))
    s = tableau.stages
    raise UserError(
        f"the chart of {s}-stage methods of order {s} cannot reach {tableau.name}: "
        f"start at {_STARTS[s]}, or ask for a lower order"
    )


def _is_member(method: tuple[list[list[float]], list[float]], tableau: Tableau) -> bool:
    lower, b = method
    below = [x for row in lower for x in row]
    return np.allclose(below, tableau.a[np.tril_indices(tableau.stages, -1)], atol=1e-9) and np.allclose(
        b, tableau.b, atol=1e-9
    )


def moderate(*coefficients: Array) -> Array:
    """Whether all coefficients are small enough that sums of stages keep their digits; false for NaN."""
    return jnp.stack([jnp.max(jnp.abs(x)) for x in coefficients]).max() < MOST_DRIFT


def in_rows(values: np.ndarray, rows: int, dtype) -> Array:
    """The same values in every row."""
    return jnp.asarray(np.tile(values, (rows, 1)), dtype)


def _logit(p: float) -> float:
    return np.log(p / (1 - p))
