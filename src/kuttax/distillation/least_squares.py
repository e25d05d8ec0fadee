"""Levenberg-Marquardt on the errors at the end: seconds, while a gradient method takes minutes.

Optimistix's solver, called step by step so that the held-out starts can stop it. The Jacobian is built start by start:
a state of D numbers and P parameters give a block of (D, P), from P forward-mode products or D reverse-mode ones,
whichever are fewer.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from jaxtyping import Array, Float

from ..solvers.rk.learned import LearnedRK as Student
from .best import BestStudent
from .frozen import Frozen, rmse
from .starts import Pairs

MOST_STEPS = 200
PATIENCE = 25
"""Steps without a better held-out error after which a fit ends."""

MOST_PARAMETERS = 200
MOST_ENTRIES = 2**25
"""The largest Jacobian, in numbers: 256 MiB, of which the solver stores three."""


def suits(parameters: int, seen: Pairs) -> bool:
    """Whether there are few enough parameters, and the Jacobian is small enough."""
    return parameters <= MOST_PARAMETERS and parameters * seen.number * seen.size <= MOST_ENTRIES


def levenberg_marquardt(frozen: Frozen, student: Student, seen: Pairs, held: Pairs, steps: int) -> BestStudent:
    """Fit the student to the pairs `seen`; all in float64.

    Returns:
        The student with the best error on the pairs `held`, with that error.
    """
    most = jnp.asarray(seen.spread)
    unit = rmse(frozen, student, seen, most)
    best = BestStudent(PATIENCE)
    best.look(float(rmse(frozen, student, held, most)), student)
    if not 0 < unit < np.inf:  # the student diverges, or is exact
        return best
    parameters = sum(leaf.size for leaf in jax.tree.leaves(student))
    error = _Errors(frozen, seen, unit, most, seen.size < parameters)
    state = _begin(error, student)
    for _ in range(steps):
        before = state.num_accepted_steps
        student, state = _step(error, student, state)
        if state.num_accepted_steps > before:
            best.look(float(rmse(frozen, student, held, most)), student)
        if bool(state.terminate) or best.exhausted:
            break
    return best


class _Errors(eqx.Module):
    """The errors of all starts as one vector, relative to the initial error, with a derivative that holds its Jacobian.

    The rule of `jax.custom_jvp` computes the Jacobian, which does not depend on the tangent: after one linearisation,
    every product with it is a product of matrices.

    Attributes:
        frozen, pairs: The field and the pairs of the errors.
        unit: The root mean square error at the start of the fit.
        most: The bound of one start's error.
        reverse: Whether reverse mode builds the Jacobian (static).
    """

    frozen: Frozen
    pairs: Pairs
    unit: Float[Array, ""]
    most: Float[Array, ""]
    reverse: bool = eqx.field(static=True)

    def __call__(self, student: Student) -> Float[Array, " rows"]:
        differentiate = jax.jacrev if self.reverse else jax.jacfwd

        def one(student, start, end):
            value = self.frozen.bounded_error(student, start, end, self.most)
            return value, value

        @jax.custom_jvp
        def errors(student):
            return self.frozen.bounded_errors(student, self.pairs, self.most)

        @errors.defjvp
        def _(primals, tangents) -> Any:
            jacobian = jax.vmap(differentiate(one, has_aux=True), (None, 0, 0))
            slopes, values = jacobian(*primals, self.pairs.start, self.pairs.end)
            known = jax.tree.map(lambda slope: jnp.where(jnp.isfinite(slope), slope, 0), slopes)  # of a lost start
            along = jax.tree.map(lambda slope, to: jnp.tensordot(slope, to, to.ndim), known, *tangents)
            return values, sum(jax.tree.leaves(along))

        return errors(student).reshape(-1) / (self.unit * np.sqrt(self.pairs.number * self.pairs.size))


# Compiled here, once for each structure of field and student, and not at every fit.

_METHOD = optx.LevenbergMarquardt(rtol=1e-8, atol=1e-8)
_FORWARD, _NO_TAGS = {"jac": "fwd"}, frozenset()


def _residual(student: Student, error: _Errors) -> tuple[Array, None]:
    return error(student), None


@eqx.filter_jit
def _begin(error: _Errors, student: Student) -> Any:
    """The solver's state before its first step."""
    shape = jax.eval_shape(error, student)
    return _METHOD.init(_residual, student, error, _FORWARD, shape, None, _NO_TAGS)


@eqx.filter_jit
def _step(error: _Errors, student: Student, state: Any) -> tuple[Student, Any]:
    """The student after one more step of the solver, accepted or not, and the solver's state."""
    return _METHOD.step(_residual, student, error, _FORWARD, state, _NO_TAGS)[:2]
