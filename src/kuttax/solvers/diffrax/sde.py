"""diffrax's solvers on an SDE: which of them fit, their terms, and their evaluations."""

from collections.abc import Callable
from typing import Any

import diffrax
from jaxtyping import Array, PyTree

from ...errors import UserError
from ..base.problem import Problem
from ..sde.sde import SDE, check_calculus, terms_of

NAMED = {"spark": diffrax.SPaRK, "shark": diffrax.ShARK, "sra1": diffrax.SRA1}
"""Solvers with names, on the command line and in files: they estimate their error, and their cost is known."""

_AREAS = (diffrax.BrownianIncrement, diffrax.SpaceTimeLevyArea, diffrax.SpaceTimeTimeLevyArea)


def check_solver(sde: SDE, solver: diffrax.AbstractSolver, *, adaptive: bool) -> None:
    """Refuse a solver that does not fit this SDE.

    Raises:
        UserError: It is for ODEs, for the other calculus, only for additive noise, or only for equal steps.
    """
    name = f"diffrax's {type(solver).__name__}"
    ito = isinstance(solver, diffrax.AbstractItoSolver)
    if not ito and not isinstance(solver, diffrax.AbstractStratonovichSolver):
        raise UserError(f"{name} is for ODEs: for an SDE use ShARK, SRA1, SlowRK or SPaRK")
    if ito:
        check_calculus(sde, name, "ito", "diffrax's SPaRK")
    else:
        check_calculus(sde, name, "stratonovich", "EulerMaruyama, Milstein or SRK")
    inner = _inner(solver)
    if adaptive and isinstance(inner, diffrax.Euler):
        raise UserError(f"{name} with Euler inside may converge to another solution: give steps=N, or use SPaRK")
    additive = isinstance(inner, diffrax.AbstractSRK) and inner.tableau.is_additive_noise()
    if additive and sde.noise != "additive":
        raise UserError(f"{name} is for additive noise, got {sde.noise}: use SPaRK, or SlowRK with steps=N")


def estimates_error(solver: diffrax.AbstractSolver) -> bool:
    """Whether the solver estimates an error; diffrax does not mark its stochastic Runge-Kutta solvers that do."""
    if isinstance(solver, diffrax.AbstractSRK) and not is_wrapped(solver):
        return solver.tableau.b_error is not None
    return isinstance(solver, diffrax.AbstractAdaptiveSolver)


def stochastic_terms(problem: Problem, solver: diffrax.AbstractSolver, finest: Array) -> diffrax.MultiTerm:
    """The SDE of `problem` for diffrax; its VirtualBrownianTree is exact for steps longer than `finest`."""
    terms = terms_of(problem)
    drift, there = problem.mapped(terms.sde.drift), problem.mapped(terms.sde.diffusion)
    diffusion = lambda t, y, args: there(t, y, args)  # equinox warns of a bare jax.vmap as a field
    if terms.sde.noise == "additive":  # in a form that diffrax recognises
        anywhere = problem.y0
        diffusion = lambda t, y, args: there(t, anywhere, args)
    path = diffrax.VirtualBrownianTree(
        problem.t0, problem.t1, finest, terms.wiener, problem.key, levy_area=_area(solver)
    )
    ode = diffrax.ODETerm(lambda t, y, args: drift(t, y, args))
    return diffrax.MultiTerm(ode, _NoiseTerm(diffusion, terms.times, path))


def evaluations(solver: diffrax.AbstractSolver) -> tuple[int, int] | None:
    """Evaluations of the drift and of the diffusion in one step; None if not known.

    A test compares this with counters in the functions. diffrax evaluates the diffusion once for each integral of W
    that it multiplies.
    """
    if is_wrapped(solver):
        return None
    if isinstance(solver, diffrax.Euler):
        return 1, 1
    if not isinstance(solver, diffrax.AbstractSRK):
        return None
    tableau = solver.tableau
    skipped = [0 if x is None else int(sum(x)) for x in (tableau.ignore_stage_f, tableau.ignore_stage_g)]
    drifts, diffusions = (len(tableau.b_sol) - x for x in skipped)
    if tableau.is_additive_noise():
        return drifts, 2
    return drifts, diffusions * sum(x is not None for x in (tableau.coeffs_w, tableau.coeffs_hh, tableau.coeffs_kk))


class _NoiseTerm(diffrax.AbstractTerm):
    """g dW, with g and W in the shapes of an `SDE`."""

    diffusion: Callable[[Any, Any, Any], Any]
    times: Callable[[Any, Any], Any]
    path: diffrax.AbstractBrownianPath

    def vf(self, t, y, args) -> PyTree:
        return self.diffusion(t, y, args)

    def contr(self, t0, t1, **kwargs) -> PyTree:
        return self.path.evaluate(t0, t1, **kwargs)

    def prod(self, vf, control) -> PyTree:
        return self.times(vf, control)


def is_wrapped(solver: diffrax.AbstractSolver) -> bool:
    """Whether this is a wrapper such as `diffrax.HalfSolver`, which passes as an instance of the wrapped solver."""
    return isinstance(solver, diffrax.AbstractWrappedSolver)


def _inner(solver: diffrax.AbstractSolver) -> diffrax.AbstractSolver:
    """The solver inside a wrapper such as `diffrax.HalfSolver`."""
    return solver.solver if is_wrapped(solver) else solver  # pyright: ignore[reportAttributeAccessIssue]


def _area(solver: diffrax.AbstractSolver) -> Any:
    """The cheapest kind of increment that the solver accepts."""
    least = getattr(_inner(solver), "minimal_levy_area", diffrax.BrownianIncrement)
    return next(area for area in _AREAS if issubclass(area, least))
