"""AbstractSDESolver: solves an SDE on a fixed grid, in one scan."""

import dataclasses
from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ..._types import Count, State, Time
from ...errors import UserError
from ...kinds import checked_count
from ..base.grid import AbstractGridSolver, GridState, solution_of, through_times
from ..base.memory import remembering
from ..base.pick import Recorded
from ..base.problem import Derivative, Problem
from ..base.solution import Solution, Status
from ..base.solver import Refined
from .brownian import BrownianPath
from .sde import Calculus, Noise, Terms, check_calculus, sde_of, terms_of


class Draw(NamedTuple):
    """The noise of one step of size h.

    Attributes:
        root: sqrt(h).
        w, mean: The increment of W over the step, and the mean of W above its start, both over sqrt(h); `mean` is None
            if the scheme does not use it. See `Increment`.
    """

    root: Time
    w: PyTree
    mean: PyTree | None

    @property
    def dw(self) -> PyTree:
        """W(t + h) - W(t)."""
        return jax.tree.map(lambda w: self.root * w, self.w)


class OnPath(NamedTuple):
    """The state of a solve on its Brownian path.

    Attributes:
        at: The state, and the number of steps taken.
        cells: The number of cells crossed. An empty interval, as between t0 and an output there, crosses none.
    """

    at: GridState
    cells: Count

    @property
    def y(self) -> State:
        """The state."""
        return self.at.y


class AbstractSDESolver(AbstractGridSolver):
    """A scheme for SDEs with equal steps: a known number of evaluations, no custom derivative.

    With one key, 25 steps of refine=4, 50 of refine=2 and 100 of refine=1 follow the same path, for every scheme.

    Attributes:
        steps: The number of steps; with `ts`, the number in each interval of t0, *ts, t1.
        refine: The number of cells of the `BrownianPath` in a step.

    Raises:
        UserError: `steps` or `refine` is not a whole number of at least 1.
    """

    solves_sdes: ClassVar[bool] = True
    steps: int = eqx.field(static=True, converter=lambda n: checked_count("steps", n))
    refine: int = eqx.field(static=True, default=1, kw_only=True, converter=lambda n: checked_count("refine", n))
    noises: eqx.AbstractClassVar[tuple[Noise, ...]]
    calculi: eqx.AbstractClassVar[tuple[Calculus, ...]]
    uses_mean: eqx.AbstractClassVar[bool]
    strong_order: eqx.AbstractClassVar[float]  # for commuting noise that is not additive

    @abstractmethod
    def step(self, terms: Terms, t: Time, y: State, h: Time, draw: Draw, row: Any) -> State:
        """The state at the end of a step from t to t + h; `row` is this step's part of `rows`."""

    @abstractmethod
    def evaluations(self, noise: Noise) -> tuple[int, int]:
        """Evaluations of the drift and of the diffusion, in one step."""

    def rows(self, dtype) -> tuple[Any, Array]:
        """Each step's own coefficients, leading axis `steps`, or None; and whether they are reliable."""
        del dtype
        return None, jnp.asarray(True)

    def check(self, problem: Problem) -> None:
        name = type(self).__name__
        sde = sde_of(problem, name)
        if sde.noise not in self.noises:
            known = f"{', '.join(self.noises[:-1])} or {self.noises[-1]}"
            raise UserError(f"{name} is for {known} noise, got {sde.noise}: use EulerMaruyama or StochasticHeun")
        if sde.calculus not in self.calculi:
            others = "StochasticHeun or Milstein" if self.calculi == ("ito",) else "EulerMaruyama, Milstein or SRK"
            check_calculus(sde, name, self.calculi[0], others)

    def with_steps(self, steps: int) -> "AbstractSDESolver":
        return dataclasses.replace(self, steps=steps)

    def refined(self, times: int, dtype: Any = None) -> Refined:
        """The same scheme with `times` as many steps on the same path: one key then gives the same noise.

        Raises:
            UserError: `refine` is not a multiple of `times`.
        """
        del dtype
        times = checked_count("steps", times)
        if self.refine % times:
            raise UserError(f"refine={self.refine} must be a multiple of {times}, for {times} times the steps")
        return Refined(dataclasses.replace(self, steps=self.steps * times, refine=self.refine // times))

    def convergence_order(self) -> float:
        return self.strong_order

    def evaluations_per_interval(self) -> int:
        return self.steps * self.evaluations("diagonal")[0]

    def sde_calculi(self) -> tuple[Calculus, ...]:
        return self.calculi

    def keeps_path(self) -> bool:
        return True

    def path_cells(self) -> int:
        return self.steps * self.refine

    def on_cells(self, cells: int) -> "AbstractSDESolver":
        return dataclasses.replace(self, refine=cells // self.steps)

    def __str__(self) -> str:
        refine = "" if self.refine == 1 else f", refine={self.refine}"
        return f"{type(self).__name__}(steps={self.steps}{refine})"

    def run(self, problem: Problem, derivative: Derivative) -> Solution:
        terms, (rows, sound) = terms_of(problem), self.rows(problem.t0.dtype)
        path = BrownianPath(problem.key, terms.wiener)
        cross = lambda at, t0, t1: (self._cross(terms, path, at, t0, t1, rows, derivative), None)
        start = OnPath(GridState.begin(problem, self._starts), jnp.zeros((), jnp.int32))
        end, ys, intervals, _ = through_times(cross, start, problem)
        taken = intervals * self.steps
        drifts, diffusions = (taken * x for x in self.evaluations(terms.sde.noise))
        sol = solution_of(problem, sound, end.y, ys, drifts, taken)
        status = jnp.where(problem.t1 < problem.t0, int(Status.reversed_noise), sol.status).astype(jnp.int32)
        stats = dataclasses.replace(sol.stats, nfe_diffusion=jnp.asarray(diffusions))
        return dataclasses.replace(sol, stats=stats, status=status, recorded=Recorded((), end.at.picked))

    def _starts(self, t0: Time, t1: Time) -> Array:
        """The start times of the steps from t0 to t1, (steps,)."""
        return t0 + (t1 - t0) / self.steps * jnp.arange(self.steps, dtype=t0.dtype)

    def _cross(self, terms: Terms, path: BrownianPath, start: OnPath, t0, t1, rows, derivative: Derivative) -> OnPath:
        """From t0 to t1 in one scan."""
        h = (t1 - t0) / self.steps
        root = _root(h)
        first = (start.cells - start.at.n * self.refine).astype(jnp.int32)  # the first cell of step number zero

        def advance(y, t, draw, row):
            return self.step(terms, t, y, h, draw, row)

        def step(at, x):
            t, row = x
            w, mean = path.increment(first + at.n * self.refine, self.refine, mean=self.uses_mean)
            return at.on(advance(at.y, t, Draw(root, w, mean), row), t, h), None

        if derivative == "steps":  # only the state is stored: the reverse pass draws the noise again
            step = remembering(step, derivative, start.y)
        elif derivative not in ("none", "forward"):
            advance = remembering(advance, derivative, start.y)
        at = jax.lax.scan(step, start.at, (self._starts(t0, t1), rows))[0]
        crossed = jnp.where(h == 0, 0, self.steps * self.refine).astype(jnp.int32)
        return OnPath(at, start.cells + crossed)


def _root(h: Time) -> Time:
    """sqrt(h); if h is zero, as on an empty interval, the derivative is zero too."""
    some = h > 0
    return jnp.where(some, jnp.sqrt(jnp.where(some, h, jnp.ones_like(h))), jnp.zeros_like(h))
