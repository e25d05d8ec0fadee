"""What per-sample control costs: a ratio of medians, measured in one run."""

import functools
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kuttax as kx
from kuttax.solvers.rk.tableaus import DOPRI5

COMPILED = {
    "xla_cpu_use_fusion_emitters": True,
    "xla_cpu_parallel_codegen_split_count": 32,
    "xla_backend_optimization_level": 3,
    "xla_llvm_disable_expensive_passes": False,
}
"""As for a user, and not as for the other tests."""

SAMPLES, WIDTH = 64, 64
SPREAD = np.geomspace(1.0, 200.0, SAMPLES)
UNIFORM = np.full(SAMPLES, 200.0)


def weights():
    """Of an MLP 3-64-64-3."""
    rng = np.random.default_rng(0)
    sizes = [(3, WIDTH), (WIDTH, WIDTH), (WIDTH, 3)]
    return [jnp.asarray(rng.normal(size=size) / np.sqrt(size[0]), jnp.float32) for size in sizes]


def run(layers, rates, control):
    """Every sample follows a curve at its own rate, which is its third component."""

    def field(t, y, args):
        del args
        first, second, third = layers
        hidden = jnp.tanh(jnp.tanh(y.at[2].set(t) @ first) @ second) @ third
        return (y[2] * (0.1 * hidden + jnp.cos(3 * t) - y)).at[2].set(0.0)

    rng = np.random.default_rng(1)
    y0 = jnp.asarray(np.column_stack([rng.normal(size=(SAMPLES, 2)), rates]), jnp.float32)
    solver = kx.Adaptive(DOPRI5, 1e-4, 1e-4, control=control)
    return kx.solve(field, y0, 0.0, 5.0, solver=solver, batch_axis=0)


def loss(layers, rates, control):
    sol = run(layers, rates, control)
    return jnp.sum(sol.y1[:, :2] ** 2), sol.stats.accepted


def seconds(function, layers):
    start = time.perf_counter()
    jax.block_until_ready(function(layers))
    return time.perf_counter() - start


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["value", "gradient"])
def test_per_sample_control_costs_less_than_twice_joint_control(mode):
    """64 samples, whose stiffness differs by 200, against a uniform batch: time per accepted step of the slowest."""
    functions, steps = {}, {}
    for control, rates in (("joint", UNIFORM), ("per_sample", SPREAD)):
        of = jax.grad(loss, has_aux=True) if mode == "gradient" else loss
        bound = functools.partial(of, rates=rates, control=control)
        functions[control] = jax.jit(bound, compiler_options=COMPILED)
        accepted = np.asarray(functions[control](weights())[1])
        assert control == "joint" or accepted.max() > 10 * accepted.min()  # very different indeed
        steps[control] = accepted.max()
    layers = weights()
    times = {control: [] for control in functions}
    for _ in range(15):
        for control, function in functions.items():
            times[control].append(seconds(function, layers) / steps[control])
    paired = np.array(times["per_sample"]) / np.array(times["joint"])
    ratio = np.median(paired)
    print(
        f"{mode}: per sample {np.median(times['per_sample']) * 1e6:.1f} us a step ({steps['per_sample']} steps), "
        f"joint {np.median(times['joint']) * 1e6:.1f} us ({steps['joint']} steps), ratio {ratio:.2f}"
    )
    assert ratio < 2
