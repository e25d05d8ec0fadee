"""Levenberg-Marquardt on the errors: seconds, while a gradient method takes minutes.

Optimistix's solver, called step by step so that the held-out starts can stop it. The Jacobian is built start by start:
a state of D numbers and P parameters give a block of (D, P), from P forward-mode products or D reverse-mode ones,
whichever are fewer.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from jaxtyping import Array, Float

from ..io.checkpoints import restored
from ..solvers.rk.learned import LearnedRK as Student
from .best import BestStudent
from .keep import Stored
from .objectives import AbstractObjective, EndPoint, rmse
from .progress import Reporter
from .starts import Pairs

MOST_STEPS = 200
PATIENCE = 25
"""Steps without a better held-out error after which a fit ends."""

MOST_PARAMETERS = 200
MOST_ENTRIES = 2**25
"""The largest Jacobian, in numbers: 256 MiB, of which the solver stores three."""

_MOVE_EVERY = 3  # accepted steps after which an objective may move the starts


def suits(parameters: int, errors: int) -> bool:
    """Whether there are few enough parameters, and the Jacobian is small enough."""
    return parameters <= MOST_PARAMETERS and parameters * errors <= MOST_ENTRIES


def levenberg_marquardt(
    objective: AbstractObjective, student: Student, seen: Pairs, held: Pairs, steps: int, stored: Stored, say: Reporter
) -> BestStudent:
    """Fit the student to the pairs `seen`, first with errors bounded by their median; all in float64.

    Returns:
        The student with the best error on the pairs `held`, with that error.
    """
    ends, best = EndPoint(objective.frozen, objective.most), BestStudent(PATIENCE)
    unit = rmse(objective, student, seen)
    look = lambda student: best.look(float(rmse(ends, student, held)), student)
    if not 0 < unit < np.inf:  # the student diverges, or is exact
        look(student)
        return best
    parameters = sum(leaf.size for leaf in jax.tree.leaves(student))
    whole = _Errors(objective, seen, unit, objective.size(student, seen) < parameters)
    rounds = replace(whole, objective=objective.for_student(student, seen)), whole
    begin, done, turn = jax.tree.map(jnp.asarray, student), 0, 0
    if (arrays := stored.found()) is not None:
        run, kept = _Run(begin, _begin(rounds[0], begin), seen).restored(arrays, moves=objective.moves)
        done, turn = stored.plain["done"], stored.plain["turn"]
        best.restore(stored.plain, kept)
    else:
        run = _Run.begun(rounds[0], begin, seen)
        look(student)

    def save(*, now: bool = False) -> None:
        arrays = run.arrays(best.student, moves=objective.moves)
        stored.save(arrays, {"done": done, "turn": turn, **best.saved()}, now=now)

    say(done, steps, best.error)
    while done < steps:
        if bool(run.state.terminate) or best.exhausted:
            if turn == len(rounds) - 1:
                break
            turn += 1
            best.go_on()
            run = _Run.begun(rounds[turn], jax.tree.map(jnp.asarray, best.student), run.seen)
        error, before = rounds[turn], run.state.num_accepted_steps
        run = run.step(replace(error, pairs=run.seen))
        done += 1
        if run.state.num_accepted_steps > before:
            look(run.student)
        if objective.moves and run.state.num_accepted_steps > _MOVE_EVERY:
            run = run.moved(error)
        save()
        say(done, steps, best.error)
    save(now=True)
    return best


class _Run(NamedTuple):
    """A fit under way: its student, the state of its solver, and its pairs, whose starts may have moved."""

    student: Student
    state: Any
    seen: Pairs

    @classmethod
    def begun(cls, error: "_Errors", student: Student, seen: Pairs, search: Any = None) -> "_Run":
        """Before the first step; the solver has its first Jacobian."""
        state = _begin(error, student)
        state = state if search is None else eqx.tree_at(lambda s: s.search_state, state, search)
        return cls(*_step(error, student, state), seen)

    def step(self, error: "_Errors") -> "_Run":
        """After one more step of the solver, accepted or not."""
        return _Run(*_step(error, self.student, self.state), self.seen)

    def moved(self, error: "_Errors") -> "_Run":
        """With moved starts; the solver begins there again, with its damping."""
        seen = _moved(error.objective, self.student, self.seen, error.pairs)
        return _Run.begun(replace(error, pairs=seen), self.student, seen, self.state.search_state)

    def arrays(self, best: Student, *, moves: bool) -> list[Any]:
        """What `restored` needs; the starts only if they move."""
        return jax.tree.leaves(eqx.filter(self._kept(best, moves=moves), eqx.is_array))

    def restored(self, arrays: list[Any], *, moves: bool) -> tuple["_Run", Student]:
        """The run, and the best student, of these arrays."""
        varied, constant = eqx.partition(self._kept(self.student, moves=moves), eqx.is_array)
        student, state, start, best = eqx.combine(restored(arrays, varied), constant)
        return _Run(student, state, replace(self.seen, start=start) if moves else self.seen), best

    def _kept(self, best: Student, *, moves: bool) -> Any:
        return self.student, self.state, jax.tree.map(jnp.asarray, self.seen.start) if moves else None, best


class _Errors(eqx.Module):
    """The errors of all starts as one vector, relative to the initial error, with a derivative that holds its Jacobian.

    The rule of `jax.custom_jvp` computes the Jacobian, which does not depend on the tangent: after one linearisation,
    every product with it is a product of matrices.

    Attributes:
        objective, pairs: What the errors are, and of which pairs.
        unit: The root mean square error at the start of the fit.
        reverse: Whether reverse mode builds the Jacobian (static).
    """

    objective: AbstractObjective
    pairs: Pairs
    unit: Float[Array, ""]
    reverse: bool = eqx.field(static=True)

    def __call__(self, student: Student) -> Float[Array, " rows"]:
        differentiate = jax.jacrev if self.reverse else jax.jacfwd

        def one(student, pair):
            value = self.objective.error(student, pair)
            return value, value

        @jax.custom_jvp
        def errors(student):
            return self.objective.errors(student, self.pairs)

        @errors.defjvp
        def _(primals, tangents) -> Any:
            jacobian = jax.vmap(differentiate(one, has_aux=True), (None, 0))
            slopes, values = jacobian(*primals, self.pairs)
            known = jax.tree.map(lambda slope: jnp.where(jnp.isfinite(slope), slope, 0), slopes)  # of a lost start
            along = jax.tree.map(lambda slope, to: jnp.tensordot(slope, to, to.ndim), known, *tangents)
            return values, sum(jax.tree.leaves(along))

        found = errors(student)
        return found.reshape(-1) / (self.unit * np.sqrt(found.size))


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
    """The student after one more step of the solver, accepted or not, and the solver's state.

    The residual does not depend on some directions of the parameters. Without `canonical`, rounding moves the student
    along them, to logits of -1e9 within 80 steps.
    """
    student, state, _ = _METHOD.step(_residual, student, error, _FORWARD, state, _NO_TAGS)
    return student.canonical(), eqx.tree_at(lambda state: state.y_eval, state, state.y_eval.canonical())


@eqx.filter_jit
def _moved(objective: AbstractObjective, student: Student, pairs: Pairs, first: Pairs) -> Pairs:
    return objective.moved(student, pairs, first)
