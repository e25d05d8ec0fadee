"""diffrax: its defaults, and with `max_steps` tuned to the solve."""

from typing import ClassVar

import diffrax
import jax
import jax.numpy as jnp
import lineax
import numpy as np

from ..workload import Method, Workload
from . import jax_fields
from .contract import Counts
from .jax_run import JaxRun, Program

_DEFAULT = 4096


class RK4(diffrax.AbstractERK):
    """The classical fourth-order method, which diffrax does not have, as one of its own explicit methods."""

    tableau: ClassVar[diffrax.ButcherTableau] = diffrax.ButcherTableau(
        c=np.array([0.5, 0.5, 1.0]),
        b_sol=np.array([1 / 6, 1 / 3, 1 / 3, 1 / 6]),
        b_error=np.zeros(4),
        a_lower=(np.array([0.5]), np.array([0.0, 0.5]), np.array([0.0, 0.0, 1.0])),
    )
    interpolation_cls: ClassVar = diffrax.ThirdOrderHermitePolynomialInterpolation.from_k

    def order(self, terms):
        del terms
        return 4


_SOLVERS: dict[Method, type[diffrax.AbstractERK]] = {
    "RK4": RK4,
    "DOPRI5": diffrax.Dopri5,
    "DOPRI8": diffrax.Dopri8,
    "TSIT5": diffrax.Tsit5,
}


def build(workload: Workload, variant: str, device: str, counts: Counts | None) -> JaxRun:
    """The workload in diffrax: RecursiveCheckpointAdjoint; a PIDController with its default coefficients if adaptive.

    Variants: "" (max_steps as it comes, 4096) and "tuned": max_steps is the number of fixed steps, or the least
    multiple of eight that the adaptive solve at the workload's tolerance can do with. With own times for each sample,
    `jax.vmap` over the samples; fixed steps by `StepTo`.
    """
    del device, counts
    if workload.noise:
        return JaxRun(Program(_solve_sde(workload), jax.random.PRNGKey(0)), workload.problem, None)
    most = _least_steps(workload) if variant == "tuned" else _DEFAULT
    return _run(workload, most)


def _run(workload: Workload, max_steps: int) -> JaxRun:
    problem = workload.problem
    if problem.own_times:
        return JaxRun(Program(_solve_ragged(workload, max_steps), problem.ts()), problem, workload.tolerance)
    return JaxRun(Program(_solve(workload, max_steps)), problem, workload.tolerance)


def _least_steps(workload: Workload) -> int:
    if workload.total_steps is not None:
        return workload.total_steps
    trial = _run(workload, _DEFAULT)
    attempts = trial.forward()[1]["attempts"]
    jax.clear_caches()  # the trial must not make the compilation that is timed any shorter
    return 8 * -(-int(np.max(attempts)) // 8)


def _solve(workload: Workload, max_steps: int):
    problem, field, ts = workload.problem, jax_fields.field(workload.problem), workload.problem.ts()
    saveat = diffrax.SaveAt(t1=True) if ts is None else diffrax.SaveAt(ts=jnp.asarray(ts))
    solver = _SOLVERS[workload.method]()
    dt0 = None if workload.steps is None else problem.t1 / workload.steps

    def solve_one(weights, y0, tolerance):
        sol = diffrax.diffeqsolve(
            diffrax.ODETerm(field),  # pyright: ignore[reportArgumentType]
            solver,
            0.0,
            problem.t1,
            dt0,
            y0,
            weights,
            saveat=saveat,
            stepsize_controller=_controller(workload, tolerance),
            max_steps=max_steps,
        )
        assert sol.ys is not None
        return (sol.ys[0] if ts is None else sol.ys), _counts(workload, sol.stats)

    def solve(weights, y0, table, tolerance):
        del table
        if workload.per_sample:
            axis = 0 if ts is None else 1
            return jax.vmap(solve_one, (None, 0, None), (axis, 0))(weights, y0, tolerance)
        return solve_one(weights, y0, tolerance)

    return solve


def _solve_ragged(workload: Workload, max_steps: int):
    """Every sample by itself, with its own times."""
    problem, field, steps = workload.problem, jax_fields.field(workload.problem), workload.steps

    def controller(ts, tolerance):
        if steps is None:
            return _controller(workload, tolerance)
        gaps = jnp.diff(ts, prepend=jnp.zeros_like(ts[:1]))
        inner = [ts - gaps * (1 - i / steps) for i in range(1, steps)]
        nodes = jnp.stack([*inner, ts], axis=1).reshape(-1)
        return diffrax.StepTo(jnp.concatenate([jnp.zeros_like(ts[:1]), nodes]))

    def solve_one(weights, y0, ts, tolerance):
        sol = diffrax.diffeqsolve(
            diffrax.ODETerm(field),  # pyright: ignore[reportArgumentType]
            _SOLVERS[workload.method](),
            0.0,
            problem.t1,
            None,
            y0,
            weights,
            saveat=diffrax.SaveAt(ts=ts),
            stepsize_controller=controller(ts, tolerance),
            max_steps=max_steps,
        )
        return sol.ys, _counts(workload, sol.stats)

    return jax.vmap(solve_one, (None, 0, 0, None), (1, 0))


def _solve_sde(workload: Workload):
    """Euler's method on a VirtualBrownianTree that is as coarse as its steps allow; max_steps tuned."""
    problem, steps = workload.problem, workload.steps
    assert steps is not None
    drift, diffusion, h = jax_fields.field(problem), jax_fields.diffusion(problem), problem.t1 / steps

    def solve(weights, y0, key, tolerance):
        del tolerance
        like = jax.ShapeDtypeStruct(y0.shape, y0.dtype)
        path = diffrax.VirtualBrownianTree(0.0, problem.t1, h / 2, like, key)
        matrix = lambda t, y, args: lineax.DiagonalLinearOperator(diffusion(jnp.asarray(t), y, args))
        noise = diffrax.ControlTerm(matrix, path)
        terms = diffrax.MultiTerm(diffrax.ODETerm(drift), noise)  # pyright: ignore[reportArgumentType]
        sol = diffrax.diffeqsolve(terms, diffrax.Euler(), 0.0, problem.t1, h, y0, weights, max_steps=steps)
        assert sol.ys is not None
        return sol.ys[0], {"nfe": sol.stats["num_steps"], "accepted": sol.stats["num_accepted_steps"]}

    return solve


def _controller(workload: Workload, tolerance) -> diffrax.AbstractStepSizeController:
    if workload.steps is None:
        return diffrax.PIDController(tolerance, tolerance)
    return diffrax.ConstantStepSize()


def _counts(workload: Workload, stats) -> dict:
    """Counted from diffrax's steps, which it reports; of the evaluations it says nothing.

    A method whose last stage is the next step's first one evaluates its first stage once a solve, and choosing a first
    step costs two more.
    """
    tableau = _SOLVERS[workload.method].tableau
    assert isinstance(tableau, diffrax.ButcherTableau)
    attempts, accepted = stats["num_steps"], stats["num_accepted_steps"]
    once = tableau.fsal + 2 * (workload.steps is None)
    nfe = (tableau.num_stages - tableau.fsal) * attempts + once
    return {"nfe": nfe, "accepted": accepted, "rejected": stats["num_rejected_steps"], "attempts": attempts}
