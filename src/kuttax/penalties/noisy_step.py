"""One step of an SDE with fresh noise, for local penalties to look at (Pal, Edelman & Rackauckas, ICML 2023)."""

import dataclasses
from typing import Any

import diffrax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from .._types import State, Time
from ..errors import UserError
from ..solvers.base.solver import AbstractSolver, Problem
from ..solvers.diffrax.sde import check_solver, estimates_error, is_wrapped, stochastic_terms
from ..solvers.rk.adaptive.adaptive import Adaptive
from ..solvers.rk.step import EstimatedStep
from ..solvers.sde.sde import SDE

TOLERANCE = 1e-2
"""What errors are held against where the solver has no tolerance of its own: that of an SDE is seldom smaller."""


def estimator(chosen: diffrax.AbstractSolver | None, solver: AbstractSolver, sde: SDE) -> diffrax.AbstractSolver:
    """The diffrax solver that takes the step: the one that is chosen, the solver's own, or one that suits the SDE.

    An Ito SDE could be converted for SPaRK, at a Jacobian-vector product for each Wiener process; two half steps of
    Euler-Maruyama against a whole one need none.
    """
    if chosen is not None:
        return chosen
    own = solver.sde_estimator()
    if own is not None:
        return own
    if sde.noise == "additive":
        return diffrax.ShARK()
    return diffrax.SPaRK() if sde.calculus == "stratonovich" else diffrax.HalfSolver(diffrax.Euler())


def read_by(solver: diffrax.AbstractSolver, problem: Problem) -> Problem:
    """The problem with its SDE as the solver reads it: an equation with the same solutions.

    Raises:
        UserError: The solver is not for this SDE.
    """
    sde = problem.field
    read = sde.to_ito() if isinstance(solver, diffrax.AbstractItoSolver) else sde.to_stratonovich()
    check_solver(read, solver, adaptive=False)
    return dataclasses.replace(problem, field=read)


def checked_estimator(solver: Any) -> None:
    """Refuse what estimates no error of an SDE's step.

    Raises:
        UserError: It does not.
    """
    if not isinstance(solver, diffrax.AbstractSolver):
        raise UserError(f"sde_solver must be a diffrax solver such as diffrax.SPaRK(), got {solver!r}")
    if not estimates_error(solver):
        name = type(solver).__name__
        raise UserError(f"diffrax's {name} estimates no error: use ShARK, SRA1 or SPaRK, or wrap it in HalfSolver")


def noisy_step(
    problem: Problem, solver: diffrax.AbstractSolver, t: Time, y: State, h: Time, key: PRNGKeyArray, scale: Adaptive
) -> EstimatedStep:
    """One step of size h from y at t with noise that `key` draws, and the solver's own estimate of its error.

    Args:
        problem: Of the SDE.
        solver: A diffrax solver that estimates an error; an SDE of the other calculus is converted for it.
        t, y, h: Start and size of the step.
        key: Draws W on the step alone.
        scale: Its tolerances and its norm are what the error is held against.
    """
    end = t + jnp.where(h > 0, h, jnp.ones_like(h))  # a step of size zero lies on a path of some length too
    finest = (end - t) / 2 if is_wrapped(solver) else end - t  # of the steps that are taken inside
    there = dataclasses.replace(read_by(solver, problem), t0=t, t1=end, key=key)
    terms, solver = stochastic_terms(there, solver, finest), _in_both_modes(solver)
    state = solver.init(terms, t, t + h, y, problem.args)
    y1, estimate, *_ = solver.step(terms, t, t + h, y, problem.args, state, made_jump=False)
    assert estimate is not None
    return EstimatedStep(scale.controller(t.dtype), t, h, y, y1, estimate, scale.norm(problem))


def _in_both_modes(solver: Any) -> Any:
    """The solver, its stages a plain scan, which JAX differentiates forwards too."""
    if is_wrapped(solver):
        return dataclasses.replace(solver, solver=_in_both_modes(solver.solver))
    scans = {field.name for field in dataclasses.fields(solver)} & {"scan_kind"} and solver.scan_kind is None
    return dataclasses.replace(solver, scan_kind="lax") if scans else solver
