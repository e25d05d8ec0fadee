"""FromDiffrax: any diffrax solver for `solve`."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array

from ...errors import UserError
from ...kinds import checked_count
from ..base.numbers import TIGHTER, least_rtol, number, refuse_low_rtol, said, scaled_tolerances, tightened
from ..base.once import reverse_once
from ..base.pick import Pick, Picked, Recorded
from ..base.problem import Derivative, Problem
from ..base.registry import register_solver
from ..base.solution import Solution, Stats, Status
from ..base.solver import AbstractSolver, Calculus, Feature, Observable, Refined, Scale
from ..rk.adaptive.adaptive import Adaptive
from ..rk.controller import Controller, initial_step, rms
from ..rk.tableaus import DOPRI5
from ..sde.sde import SDE
from .attempts import Attempted, Attempts
from .ends import DiffraxDense, diffrax_event, happened
from .even_steps import EvenSteps
from .observed import Recording
from .sde import NAMED, check_solver, estimates_error, evaluations, is_wrapped, stochastic_terms

_ITO = (diffrax.ItoMilstein,)
_STRATONOVICH = (diffrax.AbstractSRK, diffrax.StratonovichMilstein, diffrax.EulerHeun)


@register_solver({"solver": str, "steps": (int, None), "rtol": (float, None), "atol": (float, None)})
class FromDiffrax(AbstractSolver):
    """Any diffrax solver inside `kuttax.solve`, an implicit one for instance. diffrax steps all samples jointly.

    With `steps` the solver takes that many equal steps and ignores the tolerances, else diffrax's PIDController sets
    the steps. The NFE is exact for explicit Runge-Kutta solvers; for implicit ones it is not known, and is None.

    A VirtualBrownianTree drives an `SDE`; its steps land on all `ts` (`EvenSteps`), and the first one is a hundredth of
    the interval. Additive noise: ShARK or SRA1. Any Stratonovich SDE: SPaRK. Commuting noise:
    diffrax.HalfSolver(SlowRK()), or SlowRK with `steps`. No step is shorter than (t1 - t0) / (2 max_steps): if one
    would be, the status is `step_underflow`.

    Attributes:
        solver: A `diffrax.AbstractSolver`.
        rtol, atol: Tolerances of the PIDController.
        steps: Equal steps instead of tolerances; outputs at `ts` then use diffrax's interpolation.
        options: Further keywords of the PIDController (pcoeff, icoeff, ...).
        max_step: The largest step under the PIDController, without sign; None for no limit. See `Adaptive`.
    """

    solves_sdes: ClassVar[bool] = True
    solver: diffrax.AbstractSolver
    rtol: Any = eqx.field(converter=number("rtol"), default=1e-5)
    atol: Any = eqx.field(converter=number("atol", 0.0), default=1e-5)
    steps: int | None = eqx.field(static=True, default=None)
    options: dict[str, Any] = eqx.field(default_factory=dict)
    max_step: Any = eqx.field(converter=number("max_step", optional=True), default=None, kw_only=True)

    def __check_init__(self):
        if not isinstance(self.solver, diffrax.AbstractSolver):
            raise UserError(f"FromDiffrax needs a diffrax solver such as diffrax.Kvaerno5(), got {self.solver!r}")
        if self.steps is not None:
            checked_count("steps", self.steps)
            if self.max_step is not None:
                raise UserError("max_step limits steps that the tolerances choose: leave it out, or steps")
        elif isinstance(self.solver, diffrax.AbstractImplicitSolver) and _is_zero(self.atol):
            raise UserError(
                "an implicit solver finds its stages to within atol + rtol of their size, which may be zero: "
                "give an atol > 0"
            )
        elif not estimates_error(self.solver):
            name = type(self.solver).__name__
            raise UserError(
                f"diffrax's {name} estimates no error to control steps with: give steps=N, or wrap it in HalfSolver"
            )

    def takes(self) -> frozenset[Feature]:
        return frozenset(("jumps", "events", "dense") if self.steps is None else ("dense",))

    @property
    def chooses_steps(self) -> bool:
        return self.steps is None

    def tolerance(self) -> float:
        return float(self.rtol) if self.steps is None else super().tolerance()

    def with_tolerance(self, rtol: float) -> "FromDiffrax":
        self.tolerance()
        return dataclasses.replace(self, **scaled_tolerances(self.rtol, self.atol, rtol))

    def refined(self, times: int, dtype: Any) -> Refined:
        if self.steps is not None:
            return Refined(dataclasses.replace(self, steps=times * self.steps))
        return self.tightened(TIGHTER[times], dtype)

    def tightened(self, factor: float, dtype: Any) -> Refined:
        return tightened(self, factor, dtype)

    def observable(self, *, sde: bool = False) -> frozenset[Observable]:
        if not sde:
            return frozenset(("times",))
        return frozenset(("times", "steps", "costs") if self.steps is None else ("times", "steps"))

    def scale(self) -> Scale:
        return Scale(None, self.rtol, self.atol) if self.steps is None else Scale()

    def sde_calculi(self) -> tuple[Calculus, ...]:
        if isinstance(self.solver, _ITO):
            return ("ito",)
        return ("stratonovich",) if isinstance(self.solver, _STRATONOVICH) else ()

    def sde_estimator(self) -> diffrax.AbstractSolver | None:
        return self.solver if estimates_error(self.solver) else None

    def keeps_path(self) -> bool:
        """Whether it solves only SDEs: diffrax's path depends on the number of steps if that is fixed."""
        return self.steps is None and isinstance(self.solver, (*_ITO, *_STRATONOVICH))

    def to_data(self) -> dict[str, Any]:
        name = next((name for name, make in NAMED.items() if eqx.tree_equal(self.solver, make()) is True), None)
        if name is None or self.options:
            raise UserError(
                f"a FromDiffrax cannot be saved: save what it was made from ({', '.join(NAMED)} without options can)"
            )
        tolerances = {name: float(x) for name, x in (("rtol", self.rtol), ("atol", self.atol))}
        return {"solver": name, "steps": self.steps, **tolerances}

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> "FromDiffrax":
        return cls(NAMED[data["solver"]](), data["rtol"], data["atol"], steps=data["steps"])

    def check(self, problem: Problem) -> None:
        if problem.events and problem.batched:
            raise UserError(
                "an event ends each sample at its own time, and diffrax takes the same steps for all: use "
                "Adaptive(..., control='per_sample'), or leave batch_axis out for one event of the whole state"
            )
        if isinstance(problem.field, SDE) and (problem.events or problem.dense or problem.jumps is not None):
            raise UserError("jumps, events and dense output are for ODEs: leave them out of the solve of an SDE")
        if self.steps is None:
            refuse_low_rtol(self.rtol, problem.precision)
        if isinstance(problem.field, SDE):
            check_solver(problem.field, self.solver, adaptive=self.steps is None)
            if self.steps is not None and problem.ts is not None:
                raise UserError(
                    "diffrax interpolates between equal steps, and a path of an SDE is rough there: give tolerances, "
                    "leave ts out, or use EulerMaruyama, Milstein, StochasticHeun or SRK"
                )

    def run(self, problem: Problem, derivative: Derivative) -> Solution:
        if derivative != "forward":
            problem = reverse_once(problem)
        dtype = problem.t0.dtype
        terms, finest = self._terms(problem)
        rtol, atol = (jax.lax.stop_gradient(jnp.asarray(x, dtype)) for x in (self.rtol, self.atol))
        if self.steps is None:
            atol = jnp.maximum(atol, jnp.finfo(dtype).tiny)  # avoids 0 / 0 if a component is zero
            limits = {"dtmin": finest, "dtmax": self._max_step(dtype), "force_dtmin": False}
            options = {**limits, **self.options, "norm": self._norm(problem)}
            controller = diffrax.PIDController(rtol, atol, **options)  # pyright: ignore[reportCallIssue]
            if problem.jumps is not None:
                controller = diffrax.ClipStepSizeController(controller, jump_ts=problem.jumps)
            controller = Attempts(controller)  # pyright: ignore[reportCallIssue]
            most = problem.max_steps
            if finest is not None and problem.ts is not None:
                controller = EvenSteps(controller, jnp.asarray(problem.ts))  # pyright: ignore[reportCallIssue]
            dt0 = self._first_step(problem, terms)
        else:
            controller, most = diffrax.ConstantStepSize(), self.steps + 1
            dt0 = (problem.t1 - problem.t0) / self.steps
        subs = [diffrax.SubSaveAt(t1=True)]
        if problem.ts is not None:
            subs.append(diffrax.SubSaveAt(ts=problem.ts))
        records = isinstance(problem.field, SDE) and bool(problem.costs or problem.picks)
        if not records:
            subs += [diffrax.SubSaveAt(ts=pick.at[None]) for pick in problem.picks]
        result = diffrax.diffeqsolve(
            terms,
            Recording(self.solver, problem, self._scale(dtype), self._norm(problem)) if records else self.solver,
            problem.t0,
            problem.t1,
            dt0,
            problem.y0,
            problem.args,
            saveat=diffrax.SaveAt(
                subs=subs, solver_state=records, controller_state=self.steps is None, dense=problem.dense
            ),
            stepsize_controller=controller,
            event=diffrax_event(problem),
            adjoint=diffrax.ForwardMode() if derivative == "forward" else diffrax.RecursiveCheckpointAdjoint(),
            max_steps=most,
            throw=False,
        )
        assert result.ys is not None
        last, *saved = result.ys
        # diffrax leaves infinities at times that it did not reach.
        reached = lambda x: jnp.where(jnp.isfinite(x), x, jnp.nan)
        ys = None if problem.ts is None else jax.tree.map(reached, saved.pop(0))
        if records:
            recorded = result.solver_state.recorded  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
        else:
            recorded = Recorded((), tuple(_picked(pick, y) for pick, y in zip(problem.picks, saved, strict=True)))
        y1 = jax.tree.map(lambda x: x[0], last)
        event, y1 = happened(problem, result, y1)
        if not isinstance(problem.field, SDE):
            y1, ys = _moved_by_times(problem, y1, ys)
        status = _status(result.result, result.controller_state)
        if self.steps is None:  # checked here if it was not known at trace time
            least = least_rtol(problem.precision)
            status = jnp.where(rtol < least, int(Status.tolerance), status).astype(jnp.int32)
        dense = None
        if problem.dense:
            end = problem.t1 if event is None else event.t
            dense = DiffraxDense(result.interpolation, origin=problem.clock.origin, t0=problem.t0, t1=end)
        return Solution(y1, ys, self._stats(problem, result), status, recorded=recorded, event=event, dense=dense)

    def _terms(self, problem: Problem) -> tuple[Any, Array | None]:
        """The terms for diffrax and, for an SDE, the shortest step that its path resolves."""
        if not isinstance(problem.field, SDE):
            field = problem.vector_field()
            return diffrax.ODETerm(lambda t, y, args: field(t, y, args)), None
        finest = (problem.t1 - problem.t0) / (2 * (self.steps or problem.max_steps))
        return stochastic_terms(problem, self.solver, finest / 2), finest

    def _max_step(self, dtype: Any) -> Array | None:
        return None if self.max_step is None else jax.lax.stop_gradient(jnp.asarray(self.max_step, dtype))

    def _norm(self, problem: Problem) -> Callable[[Any], Array]:
        """The norm of an error: the root mean square, or the norm in the options, of the measured part."""
        norm = self.options.get("norm", lambda state: rms(state, False))
        return lambda state: norm(problem.measured(state))

    def _scale(self, dtype: Any) -> Controller:
        """The tolerances that scale errors, from the numbers of the PIDController."""
        return Adaptive(DOPRI5, self.rtol, self.atol).controller(dtype)

    def _first_step(self, problem: Problem, terms: Any) -> Array:
        """Hairer's first step, at two evaluations, as in `Adaptive`: the count is then known and exact."""
        if isinstance(problem.field, SDE):
            return (problem.t1 - problem.t0) / 100
        order = self.solver.error_order(terms)
        f = lambda t, y: terms.vf(t, y, problem.args)
        start = jax.lax.stop_gradient((problem.t0, problem.y0, f(problem.t0, problem.y0), problem.t1 - problem.t0))
        k = 2 if order is None else int(order)
        size = initial_step(f, *start, self._scale(problem.t0.dtype), k, self._norm(problem))
        if isinstance(self.solver, diffrax.AbstractImplicitSolver):  # very short steps fail in float32: Newton's
            size = jnp.maximum(size, jnp.abs(start[-1]) / 100)  # tolerance is then larger than the change of the state
        largest = self._max_step(size.dtype)
        size = size if largest is None else jnp.minimum(size, largest)
        return jax.lax.stop_gradient(size) * problem.direction

    def _stats(self, problem: Problem, result: diffrax.Solution) -> Stats:
        accepted, rejected = (jnp.asarray(result.stats[f"num_{x}_steps"], jnp.int32) for x in ("accepted", "rejected"))
        if isinstance(problem.field, SDE):
            known = evaluations(self.solver)
            drifts, diffusions = (None, None) if known is None else (x * (accepted + rejected) for x in known)
            return Stats(drifts, accepted, rejected, None, diffusions)
        nfe = self._nfe(accepted, rejected, result.controller_state)
        nfe = nfe + 1 if nfe is not None and problem.events else nfe  # the slope at the event
        return Stats(nfe, accepted, rejected, None)

    def _nfe(self, accepted: Array, rejected: Array, control: Any) -> Array | None:
        """The NFE, counted from diffrax's steps; a test compares it with a counter in the field.

        A method whose last stage is the next first one evaluates that stage only at the start and after jumps, once for
        every attempt at the step from there. The choice of the first step costs two more.
        """
        if is_wrapped(self.solver):
            return None
        if isinstance(self.solver, diffrax.Euler):
            return accepted
        if not isinstance(self.solver, diffrax.AbstractERK):
            return None
        tableau = self.solver.tableau
        assert isinstance(tableau, diffrax.ButcherTableau)
        attempts, first = accepted + rejected, 0 if self.steps is not None else 2
        if tableau.fsal:
            starts = 1 if self.steps is not None else 1 + control.again
            return first + starts + (tableau.num_stages - 1) * attempts
        return first + tableau.num_stages * attempts

    def __str__(self) -> str:
        how = f"steps={self.steps}" if self.steps is not None else f"rtol={said(self.rtol)}, atol={said(self.atol)}"
        return f"FromDiffrax({type(self.solver).__name__}, {how})"


def _is_zero(number: Any) -> bool:
    return not isinstance(number, Tracer) and float(number) == 0


def _picked(pick: Pick, y: Any) -> Picked:
    """A state picked at a time; diffrax does not expose its steps."""
    unknown = jnp.full_like(pick.at, jnp.nan)
    return Picked(pick.at, jax.tree.map(lambda y: y[0], y), unknown, jnp.full((), -1, jnp.int32))


def _moved_by_times(problem: Problem, y1: Any, ys: Any) -> tuple[Any, Any]:
    """The states of an interval of length zero, which diffrax skips, with their derivatives in its times."""
    t0, y0 = problem.t0, problem.y0
    empty = problem.t1 == t0

    def moved(y: Any, t: Array) -> Any:
        slope = problem.vector_field()(t0, y0, problem.args)
        return jax.tree.map(lambda y, k: y + (t - t0) * k, y, slope)

    y1 = jax.lax.cond(empty, moved, lambda y, t: y, y1, problem.t1)
    if ys is not None:
        still = lambda ys, ts: ys
        ys = jax.lax.cond(empty, jax.vmap(moved), still, ys, jnp.asarray(problem.ts))
    return y1, ys


def _status(result: Any, control: Any) -> Array:
    status = jnp.asarray(int(Status.ok))
    known = (
        (diffrax.RESULTS.max_steps_reached, Status.max_steps),
        (diffrax.RESULTS.dt_min_reached, Status.step_underflow),
    )
    other = jnp.asarray(int(Status.implicit))
    for theirs, ours in known:
        other = jnp.where(result == theirs, int(ours), other)
    if isinstance(control, Attempted):
        stuck = other == int(Status.step_underflow)
        other = jnp.where(stuck & ~control.finite, int(Status.non_finite), other)
    reached = (result == diffrax.RESULTS.successful) | (result == diffrax.RESULTS.event_occurred)
    return jnp.where(reached, status, other).astype(jnp.int32)
