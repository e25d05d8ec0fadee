"""One step of an SDE with fresh noise, for local penalties (Pal, Edelman & Rackauckas, ICML 2023)."""

import dataclasses
from typing import Any

import diffrax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from .._types import State, Time
from ..errors import UserError
from ..solvers.base.problem import Problem
from ..solvers.base.solver import AbstractSolver
from ..solvers.diffrax.sde import check_solver, estimates_error, is_wrapped, stochastic_terms
from ..solvers.rk.adaptive.adaptive import Adaptive
from ..solvers.rk.step import EstimatedStep
from ..solvers.sde.sde import SDE

TOLERANCE = 1e-2
"""The tolerance if the solver has none: errors of an SDE's step are seldom smaller."""


def estimator(chosen: diffrax.AbstractSolver | None, solver: AbstractSolver, sde: SDE) -> diffrax.AbstractSolver:
    """The diffrax solver that takes the step: the chosen one, the solver's own, or one that suits the SDE.

    An Ito SDE could be converted for SPaRK, at a Jacobian-vector product for each Wiener process. Two half steps of
    Euler-Maruyama compared with a whole one need none.
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
    """The problem with its SDE in the solver's calculus: an equation with the same solutions.

    Raises:
        UserError: The solver does not fit this SDE.
    """
    sde = problem.field
    read = sde.to_ito() if isinstance(solver, diffrax.AbstractItoSolver) else sde.to_stratonovich()
    check_solver(read, solver, adaptive=False)
    return dataclasses.replace(problem, field=read)


def checked_estimator(solver: Any) -> None:
    """Refuse a solver that does not estimate the error of an SDE's step.

    Raises:
        UserError: It does not estimate it.
    """
    if not isinstance(solver, diffrax.AbstractSolver):
        raise UserError(f"sde_solver must be a diffrax solver such as diffrax.SPaRK(), got {solver!r}")
    if not estimates_error(solver):
        name = type(solver).__name__
        raise UserError(f"diffrax's {name} estimates no error: use ShARK, SRA1 or SPaRK, or wrap it in HalfSolver")


def noisy_step(
    problem: Problem, solver: diffrax.AbstractSolver, t: Time, y: State, h: Time, key: PRNGKeyArray, scale: Adaptive
) -> EstimatedStep:
    """One step of size h from y at t with noise drawn from `key`, and the solver's own estimate of its error.

    Args:
        problem: The problem of the SDE.
        solver: A diffrax solver that estimates an error; an SDE of the other calculus is converted for it.
        t, y, h: Start and size of the step.
        key: Draws W on this step.
        scale: Its tolerances and its norm scale the error.
    """
    end = t + jnp.where(h > 0, h, jnp.ones_like(h))  # the path of a step of size zero needs a positive length too
    finest = (end - t) / 2 if is_wrapped(solver) else end - t  # of the steps inside the solver
    there = dataclasses.replace(read_by(solver, problem), t0=t, t1=end, key=key)
    terms, solver = stochastic_terms(there, solver, finest), _in_both_modes(solver)
    state = solver.init(terms, t, t + h, y, problem.args)
    y1, estimate, *_ = solver.step(terms, t, t + h, y, problem.args, state, made_jump=False)
    assert estimate is not None
    return EstimatedStep(scale.controller(t.dtype), t, h, y, y1, estimate, scale.norm(problem))


def _in_both_modes(solver: Any) -> Any:
    """The solver with its stages as a plain scan, so that JAX can also differentiate forwards."""
    if is_wrapped(solver):
        return dataclasses.replace(solver, solver=_in_both_modes(solver.solver))
    scans = "scan_kind" in {field.name for field in dataclasses.fields(solver)} and solver.scan_kind is None
    return dataclasses.replace(solver, scan_kind="lax") if scans else solver
