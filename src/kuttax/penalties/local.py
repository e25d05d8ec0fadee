"""Local penalties: the solver's cost estimates at one random time (Pal, Edelman & Rackauckas, ICML 2023)."""

from abc import abstractmethod
from typing import Any, ClassVar, Literal, get_args

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from .._types import State, Time
from ..errors import UserError
from ..kinds import checked_count
from ..solvers.base.numbers import number
from ..solvers.base.pick import Pick, Picked
from ..solvers.base.problem import Problem
from ..solvers.base.solver import AbstractSolver
from ..solvers.rk.adaptive.adaptive import Adaptive
from ..solvers.rk.controller import initial_step
from ..solvers.rk.step import EstimatedStep, Step, step_with_end
from ..solvers.rk.tableau import Tableau, checked_tableau
from ..solvers.rk.tableaus import TSIT5
from ..solvers.sde.sde import SDE
from .base import AbstractPenalty, Observation, Request, needs_key
from .global_ import refuse_without_stiffness
from .noisy_step import TOLERANCE, checked_estimator, estimator, noisy_step, read_by

Sampling = Literal["unbiased", "biased"]
StepSize = Literal["budget", "solver", "initial"]
Through = Literal["stages", "step", "state"]
Transform = Literal["log", "scaled", "plain"]


class AbstractLocal(AbstractPenalty):
    """The cost of one step of an embedded pair at one random time of the solve.

    Attributes:
        sampling: "unbiased": the time is uniform on the interval; for a `size` of "budget", on the interval without its
            last step. On a fixed grid, and for an SDE, it is moved back to the start of the step that contains it.
            "biased": it is the start of one of the solver's own steps, drawn uniformly.
        size: The size of the step. "budget": |t1 - t0| / steps: can the field be solved in that many steps? "solver":
            the size of the solver's step there. "initial": Hairer's first step, as in the paper's released code; its
            scale depends on dtype and tolerance. A step that would pass t1, or a jump, is shortened to end there:
            with "budget" t1 can be passed if `sampling` is "biased", with "solver" if it is "unbiased".
        steps: The number of steps N for "budget".
        through: What the gradient sees. "step": the step, with constant start, time and size, so any adjoint works.
            "stages": the first slope is a constant too, as in the paper's released code. The error is a small
            difference of large slopes, so this is not its gradient, and it costs accuracy (docs/penalties.md). "state":
            all but time and size.
        tableau: The embedded pair; None for the solver's own, or TSIT5 if that has none.
        rtol, atol: Tolerances that scale errors; None for the solver's own, or if it has none 1e-6, and 1e-2 for an
            SDE.
        sde_solver: Takes the step of an SDE, with its own noise: any diffrax solver with an error estimate. An SDE of
            the other calculus is converted for it. None for the solver's own; if that has no estimate, ShARK for
            additive noise, else SPaRK (Stratonovich) or diffrax.HalfSolver(diffrax.Euler()) (Ito).
    """

    sampling: Sampling = eqx.field(static=True, default="unbiased")
    size: StepSize = eqx.field(static=True, default="budget", kw_only=True)
    steps: int = eqx.field(static=True, default=2, kw_only=True, converter=lambda n: checked_count("steps", n))
    through: Through = eqx.field(static=True, default="step", kw_only=True)
    tableau: Tableau | None = eqx.field(static=True, default=None, kw_only=True)
    rtol: Any = eqx.field(converter=number("rtol", optional=True), default=None, kw_only=True)
    atol: Any = eqx.field(converter=number("atol", 0.0, optional=True), default=None, kw_only=True)
    sde_solver: diffrax.AbstractSolver | None = eqx.field(default=None, kw_only=True)

    def __check_init__(self):
        for name, kinds in (("sampling", Sampling), ("size", StepSize), ("through", Through)):
            check_known(name, getattr(self, name), get_args(kinds))
        if self.sde_solver is not None:
            checked_estimator(self.sde_solver)
        if self.tableau is not None and checked_tableau(self.tableau).error is None:
            raise UserError(f"{self.tableau.name} has no embedded pair: use one like TSIT5, or leave tableau out")

    @abstractmethod
    def cost(self, step: Step | EstimatedStep) -> Time:
        """The cost of the step, a scalar, or one for each sample."""

    def request(self, problem: Problem, solver: AbstractSolver, key: Any) -> Request:
        key = needs_key(self, key)
        if isinstance(problem.field, SDE):
            key, _ = jax.random.split(key)  # the other half draws the noise
            self._check_sde(problem, solver)
        else:
            self._check_ode(solver)
        moves = self.through == "state"
        otherwise = "through='step'" if moves else None
        if self.sampling == "biased":
            return Request(pick=Pick(None, key, moves), otherwise=otherwise)
        length = problem.t1 - problem.t0
        share = 1 - 1 / self.steps if self.size == "budget" else 1.0
        at = problem.t0 + share * length * jax.random.uniform(key, (), length.dtype)
        return Request(pick=Pick(jax.lax.stop_gradient(at), moves=moves), otherwise=otherwise)

    def _check_ode(self, solver: AbstractSolver) -> None:
        name = type(self).__name__
        if self.sde_solver is not None:
            raise UserError("sde_solver is for SDEs: with an ODE give a tableau, or leave it out")
        seen = solver.observable()
        if "times" not in seen:
            refuse_without_steps(self, solver)
        elif "steps" not in seen and (self.sampling == "biased" or self.size == "solver"):
            kind = type(solver).__name__
            raise UserError(f"{kind} does not show {name} its steps: use sampling='unbiased' and size='budget'")

    def _check_sde(self, problem: Problem, solver: AbstractSolver) -> None:
        if self.tableau is not None:
            raise UserError("tableau is for ODEs: with an SDE give sde_solver=diffrax.SPaRK(), say, or leave it out")
        if self.size == "initial":
            raise UserError("size='initial' is a heuristic for ODEs: with an SDE use size='budget' or 'solver'")
        if self.through == "stages":
            raise UserError("through='stages' is for ODEs: with an SDE use through='step' or 'state'")
        read_by(estimator(self.sde_solver, solver, problem.field), problem)

    def value(self, seen: Observation) -> Array:
        return jnp.mean(self.cost(self.step(seen)))

    def step(self, seen: Observation) -> Step | EstimatedStep:
        """The sampled step."""
        assert seen.picked is not None
        problem, picked = seen.problem, seen.picked
        if isinstance(problem.field, SDE):
            return self._noisy_step(seen, picked)
        pair = self.pair(seen.solver)
        controller, norm = pair.controller(problem.t0.dtype), pair.norm(problem)
        hold, t, y = jax.lax.stop_gradient, picked.t, picked.y
        field = problem.vector_field(t)
        f = lambda t, y: field(t, y, problem.args)
        k1 = hold(f(t, y)) if self.through == "stages" else f(t, y)
        size = jnp.abs(self._size(problem, picked, pair, f, k1))
        h = hold(jnp.minimum(size, jnp.abs(problem.next_node(t) - t)) * problem.direction)
        y1, ks = step_with_end(pair.tableau, f, t, y, h, k1)
        return Step(pair.tableau, controller, t, h, y, y1, ks, norm)

    def _noisy_step(self, seen: Observation, picked: Picked) -> EstimatedStep:
        """The step of an SDE, with noise independent of its path."""
        problem = seen.problem
        size = picked.h if self.size == "solver" else (problem.t1 - problem.t0) / self.steps
        h = jax.lax.stop_gradient(jnp.minimum(size, problem.t1 - picked.t))
        solver, scale = estimator(self.sde_solver, seen.solver, problem.field), self._scale(seen.solver)
        return noisy_step(problem, solver, picked.t, picked.y, h, jax.random.split(seen.key)[1], scale)

    def _scale(self, solver: AbstractSolver) -> Adaptive:
        """The tolerances that scale the error of an SDE's step."""
        rtol = atol = TOLERANCE
        own = solver.scale()
        if own.rtol is not None:
            rtol, atol = own.rtol, own.atol
        return Adaptive(TSIT5, rtol if self.rtol is None else self.rtol, atol if self.atol is None else self.atol)

    def pair(self, solver: AbstractSolver) -> Adaptive:
        """The embedded pair of the step, and the tolerances that scale its error."""
        own = solver.scale()
        rtol, atol = (
            first if first is not None else 1e-6 if second is None else second
            for first, second in ((self.rtol, own.rtol), (self.atol, own.atol))
        )
        control = "per_sample" if own.per_sample else "joint"
        return Adaptive(self.tableau or own.tableau or TSIT5, rtol, atol, control=control)

    def _size(self, problem: Problem, picked: Picked, pair: Adaptive, f: Any, k1: State) -> Time:
        if self.size == "solver":
            return picked.h
        if self.size == "budget":
            return jnp.broadcast_to((problem.t1 - problem.t0) / self.steps, picked.t.shape)
        controller, norm = pair.controller(problem.t0.dtype), pair.norm(problem)
        start = jax.lax.stop_gradient((picked.t, picked.y, k1))
        left = problem.next_node(picked.t) - picked.t
        return initial_step(f, *start, left, controller, pair.error_exponent, norm)


def refuse_without_steps(penalty: AbstractPenalty, solver: AbstractSolver) -> None:
    """Refuse a solver whose steps cannot be observed.

    Raises:
        UserError: They cannot be observed.
    """
    if "steps" not in solver.observable():
        name, got = type(penalty).__name__, type(solver).__name__
        raise UserError(f"{name} cannot look into {got}: use Adaptive, FixedSteps or LearnedRK")


def check_known(name: str, value: Any, known: tuple[str, ...]) -> None:
    """Refuse an unknown option.

    Raises:
        UserError: `value` is not in `known`.
    """
    if value not in known:
        raise UserError(f"{name} must be {' or '.join(repr(kind) for kind in known)}, got {value!r}")


class LocalError(AbstractLocal):
    """The error estimate E of one step at a random time (Pal et al. 2023, section 3; "local regularisation").

    E = RMS[h sum_i btilde_i k_i / (atol + rtol max(|y|, |y1|))]: at most one if a solver would accept the step. diffrax
    takes the step of an SDE, with fresh noise, so that E does not depend on the rest of the path; its own error
    estimate replaces the sum. The path is the same with a penalty and without.

    Attributes:
        transform: "log": log(1 + E), whose gradient is bounded. "scaled": E |h|, as in the paper. "plain": E.
        power: The power of E in all of them, at least 1; 2 emphasises the worst steps.
    """

    of_sdes: ClassVar[bool] = True
    transform: Transform = eqx.field(static=True, default="log", kw_only=True)
    power: float = eqx.field(static=True, default=1, kw_only=True)

    def __check_init__(self):
        check_known("transform", self.transform, get_args(Transform))
        if not self.power >= 1:
            raise UserError(f"power must be >= 1, got {self.power!r}: the gradient of a root is infinite at no error")

    def cost(self, step: Step | EstimatedStep) -> Time:
        return transformed(self.transform, step.error() ** self.power, step.h)


def transformed(transform: Transform, error: Time, h: Time) -> Time:
    """The charge for the error of a step of size h: log(1 + E), E |h| or E."""
    if transform == "log":
        return jnp.log1p(error)
    return error * jnp.abs(h) if transform == "scaled" else error


class LocalStiffness(AbstractLocal):
    """The stiffness estimate S |h| of one step at a random time (Pal et al. 2023, section 3)."""

    def cost(self, step: Step | EstimatedStep) -> Time:
        assert isinstance(step, Step)
        refuse_without_stiffness(step.tableau)
        return step.stiffness() * jnp.abs(step.h)
