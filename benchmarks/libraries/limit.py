"""The limit: the time that the field alone takes.

As many bare evaluations of the field as kuttax's solve of the workload made, in one `lax.scan`: y <- f(t, y), nothing
between them. For the gradient each one comes with its vector-Jacobian product, taken on the spot, so that nothing is
stored or read back: a <- a df/dy, and the sum of all a df/dweights. The work of a gradient, though not a gradient.

- Fixed steps: every evaluation is differentiated.
- Adaptive steps: evaluated are the stages of accepted and rejected steps and what the choice of a first step takes;
  differentiated are the stages of accepted steps, and, where outputs are interpolated, the slope at the end of the last
  one. What a replay evaluates a second time is overhead, not limit.
- Own steps for each sample: a batch evaluates together, so that the sample with most evaluations counts.

The variant "stored" is JAX's own gradient of mean(y^2) through the forward scan, which stores what it needs: the least
time of a reverse pass that recomputes nothing.

Inside loops XLA convolves several times more slowly on a CPU. So there, where the field convolves and the number of
evaluations is fixed, they are written out one after the other, without a scan.

An SDE has no such limit: its noise must be drawn. There it is the scan that one would write by hand, with the draws of
kuttax, a step checkpointed, and its gradient by JAX; "stored" without the checkpoint.
"""

import jax
import jax.numpy as jnp

from ..workload import Workload
from . import jax_fields
from .contract import Counts, Unsupported
from .jax_run import JaxRun, Program


def build(workload: Workload, variant: str, device: str, counts: Counts | None) -> JaxRun:
    """The bare evaluations of the workload."""
    del device
    if workload.noise:
        return _by_hand(workload, stored=variant == "stored")
    evaluations, products = _counts(workload, counts)
    if variant == "stored" and evaluations != products:
        raise Unsupported("an adaptive solve does not differentiate every evaluation")
    problem = workload.problem
    field = jax_fields.field(problem)

    def times(y0):
        return jnp.linspace(0.0, problem.t1, evaluations, dtype=y0.dtype)

    written_out = problem.convolves and workload.steps is not None and jax.default_backend() == "cpu"

    def fold(step, carry, ts):
        if not written_out:
            return jax.lax.scan(lambda carry, t: (step(carry, t), None), carry, ts)[0]
        for n in range(len(ts)):
            carry = step(carry, ts[n])
        return carry

    def chain(weights, y, ts):
        return fold(lambda y, t: field(t, y, weights), y, ts)

    def solve(weights, y0, table, tolerance):
        del table, tolerance
        return chain(weights, y0, times(y0)), {"nfe": jnp.asarray(evaluations)}

    def gradient(weights, y0, table, tolerance):
        del table, tolerance

        def step(carry, t):
            y, cotangent, total = carry
            y, back = jax.vjp(lambda weights, y: field(t, y, weights), weights, y)
            in_weights, cotangent = back(cotangent)
            return y, cotangent, jax.tree.map(jnp.add, total, in_weights)

        ts = times(y0)
        start = (chain(weights, y0, ts[products:]), y0, jax.tree.map(jnp.zeros_like, weights))
        y, cotangent, total = fold(step, start, ts[:products])
        return y, (total, cotangent)

    return JaxRun(Program(solve, gradient=None if variant == "stored" else gradient), problem, None)


def _by_hand(workload: Workload, *, stored: bool) -> JaxRun:
    """Euler-Maruyama with diagonal noise."""
    problem, steps = workload.problem, workload.steps
    assert steps is not None
    drift, diffusion, h = jax_fields.field(problem), jax_fields.diffusion(problem), problem.t1 / steps

    def solve(weights, y0, key, tolerance):
        del tolerance

        def advance(y, n, draw):
            t = h * n.astype(y.dtype)
            return y + h * drift(t, y, weights) + h**0.5 * diffusion(t, y, weights) * draw

        advance = advance if stored else jax.checkpoint(advance, prevent_cse=False)

        def step(y, n):
            draw = jax.random.normal(jax.random.split(jax.random.fold_in(key, n))[0], y.shape, y.dtype)
            return advance(y, n, draw), None

        return jax.lax.scan(step, y0, jnp.arange(steps))[0], {"nfe": jnp.asarray(steps)}

    return JaxRun(Program(solve, jax.random.PRNGKey(0)), problem, None)


def _counts(workload: Workload, counts: Counts | None) -> tuple[int, int]:
    """Evaluations, and how many of them are differentiated."""
    stages = workload.stages
    if workload.total_steps is not None:
        return stages * workload.total_steps, stages * workload.total_steps
    if counts is None:
        raise Unsupported("what an adaptive solve evaluates is counted by kuttax: measure both")
    return int(counts["nfe"]), stages * int(counts["accepted"]) + bool(workload.problem.times)
