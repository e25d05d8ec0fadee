"""The oracle: a problem solved in float64 by diffrax's Dopri8, with every step's error below 1e-11.

`python -m benchmarks.oracle WORKLOAD FILE [--smoke]`: a process of its own, for JAX has one precision a process.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from . import workloads
from .libraries import jax_fields
from .peer import PeerError, environment, last_line
from .problems import Problem
from .reference import Reference
from .workload import Workload

_TOLERANCE = 1e-11


def solve(problem: Problem) -> Reference:
    """Steps end at the times to save, so that nothing is interpolated. Needs `jax_enable_x64`."""
    weights = [jnp.asarray(w, jnp.float64) for w in problem.weights()]
    y0, ts = jnp.asarray(problem.y0(), jnp.float64), problem.ts()
    ts = None if ts is None else jnp.asarray(ts, jnp.float64)
    field = diffrax.ODETerm(jax_fields.field(problem, _convolve))  # pyright: ignore[reportArgumentType]

    def outputs(weights, y0, ts):
        controller, saveat = diffrax.PIDController(_TOLERANCE, _TOLERANCE), diffrax.SaveAt(t1=True)
        if ts is not None:
            controller, saveat = diffrax.ClipStepSizeController(controller, step_ts=ts), diffrax.SaveAt(ts=ts)
        sol = diffrax.diffeqsolve(
            field, diffrax.Dopri8(), 0.0, problem.t1, None, y0, weights, saveat=saveat, stepsize_controller=controller
        )
        assert sol.ys is not None
        return sol.ys[0] if ts is None else sol.ys

    if problem.own_times:
        outputs = jax.vmap(outputs, (None, 0, 0), 1)

    def loss(weights, y0):
        found = outputs(weights, y0, ts)
        return jnp.mean(jnp.square(found)), found

    (_, found), (in_weights, in_y0) = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(weights, y0)
    return Reference(np.asarray(found), [np.asarray(w) for w in in_weights], np.asarray(in_y0))


def _convolve(x: Array, weight: Array) -> Array:
    """Nine products in place of XLA's convolution, which takes minutes in float64 on a CPU."""
    height, width = x.shape[2:]
    padded = jnp.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    shifted = [(i, j, padded[:, :, i : i + height, j : j + width]) for i in range(3) for j in range(3)]
    products = [jnp.tensordot(weight[:, :, i, j], image, ((1,), (1,))) for i, j, image in shifted]
    return jnp.moveaxis(sum(products[1:], start=products[0]), 0, 1)


def write(workload: Workload, path: Path, *, smoke: bool) -> None:
    """Write the reference of a workload's problem, from a process of its own.

    Raises:
        PeerError: That process failed.
    """
    command = [sys.executable, "-m", f"{__package__}.oracle", workload.name, str(path)]
    with tempfile.TemporaryFile("w+") as errors:
        if subprocess.run(command + ["--smoke"] * smoke, env=environment("cpu"), stderr=errors).returncode != 0:
            raise PeerError(f"no reference for {workload.name}: {last_line(errors)}")


def _main(name: str, path: str, *flags: str) -> None:
    jax.config.update("jax_enable_x64", True)
    solve(workloads.find(name, smoke="--smoke" in flags).problem).save(Path(path))


if __name__ == "__main__":
    _main(*sys.argv[1:])
