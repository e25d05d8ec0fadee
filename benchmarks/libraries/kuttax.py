"""kuttax, called as its user would."""

import dataclasses

import jax
import jax.numpy as jnp

import kuttax as kx

from ..workload import Workload
from . import jax_fields
from .contract import Counts, Unsupported
from .jax_run import JaxRun, Program


def build(workload: Workload, variant: str, device: str, counts: Counts | None) -> JaxRun:
    """The workload in kuttax.

    Variants: "" (DiscreteAdjoint), "stages" and "steps" (what it stores), "reversible", "learned" (a LearnedRK of the
    same tableau and steps, the gradient in the field alone) and "learned-table" (in its free parameters too). With own
    times for each sample: "joint" (all samples take the same steps), and "common" and "joint-common" (all samples have
    the times of the first, in the same solve).
    """
    del device, counts
    if workload.noise:
        return JaxRun(Program(_solve_sde(workload), jax.random.PRNGKey(0)), workload.problem, None)
    if workload.problem.own_times:
        return _ragged(workload, variant)
    learned = variant.startswith("learned")
    table = _learned(workload) if learned else None
    program = Program(_solve(workload, variant), table, trains_table=variant == "learned-table")
    return JaxRun(program, workload.problem, workload.tolerance)


def _solve(workload: Workload, variant: str):
    problem, adjoint = workload.problem, _adjoint(variant)
    field, ts = jax_fields.field(problem), problem.ts()

    def solve(weights, y0, table, tolerance):
        solver = _solver(workload, variant, tolerance) if table is None else table
        sol = kx.solve(
            field,
            y0,
            0.0,
            problem.t1,
            solver=solver,
            args=weights,
            ts=ts,
            batch_axis=0 if workload.per_sample else None,
            adjoint=adjoint,
        )
        stats = sol.stats
        counts = {"nfe": stats.nfe, "accepted": stats.accepted, "rejected": stats.rejected}
        return (sol.y1 if ts is None else sol.ys), counts

    return solve


def _ragged(workload: Workload, variant: str) -> JaxRun:
    """The output times are an argument: every batch of a user's has others."""
    problem, field = workload.problem, jax_fields.field(workload.problem)
    ts = problem.ts()
    assert ts is not None
    words = variant.split("-")
    workload = dataclasses.replace(workload, per_sample="joint" not in words)
    end = None if workload.steps is not None else problem.t1  # fixed steps end at the last output

    def solve(weights, y0, ts, tolerance):
        solver = _solver(workload, variant, tolerance)
        sol = kx.solve(field, y0, 0.0, end, solver=solver, args=weights, ts=ts, batch_axis=0)
        return sol.ys, {"nfe": sol.stats.nfe, "accepted": sol.stats.accepted, "rejected": sol.stats.rejected}

    return JaxRun(Program(solve, ts[0] if "common" in words else ts), problem, workload.tolerance)


def _solve_sde(workload: Workload):
    problem = workload.problem
    assert workload.steps is not None
    sde, solver = kx.SDE(jax_fields.field(problem), jax_fields.diffusion(problem)), kx.EulerMaruyama(workload.steps)

    def solve(weights, y0, key, tolerance):
        del tolerance
        sol = kx.solve(sde, y0, 0.0, problem.t1, solver=solver, args=weights, key=key)
        return sol.y1, {"nfe": sol.stats.nfe, "accepted": sol.stats.accepted}

    return solve


def _solver(workload: Workload, variant: str, tolerance):
    if workload.steps is None:
        control = "per_sample" if workload.per_sample else "joint"
        return kx.Adaptive(_tableau(workload), tolerance, tolerance, control=control)
    fixed = kx.FixedSteps(_tableau(workload), workload.steps)
    return _known("Reversible")(fixed) if variant == "reversible" else fixed


def _learned(workload: Workload):
    assert workload.steps is not None
    return kx.LearnedRK.from_tableau(
        _tableau(workload), workload.steps, order=2, per_step=True, learn_steps=True, dtype=jnp.float32
    )


def _tableau(workload: Workload) -> kx.tableaus.Tableau:
    return getattr(kx.tableaus, workload.method)


def _adjoint(variant: str):
    if variant not in ("stages", "steps"):
        return kx.DiscreteAdjoint()
    try:
        return kx.DiscreteAdjoint(memory=variant)  # pyright: ignore[reportCallIssue]
    except TypeError:
        raise Unsupported("this kuttax has no DiscreteAdjoint(memory=...)") from None


def _known(name: str):
    if not hasattr(kx, name):
        raise Unsupported(f"this kuttax has no {name}")
    return getattr(kx, name)
