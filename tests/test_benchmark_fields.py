"""The benchmarks' larger fields against Equinox's layers, and the limit written out."""

from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from slowness import slow

import kuttax as kx
from benchmarks.blueprints import FREQUENCIES, HEADS, NORM_GROUPS
from benchmarks.libraries import LIBRARIES, jax_fields
from benchmarks.libraries.diffrax import _SOLVERS
from benchmarks.problems import Problem
from benchmarks.workload import STAGES
from benchmarks.workloads import find

KEY = jax.random.PRNGKey(0)  # every weight that it draws is replaced


class Layers:
    """Equinox's layers with a problem's weights, each for one sample."""

    def __init__(self, weights):
        self.weights = weights

    def _filled(self, layer, name, shape=(-1,)):
        weight, bias = (self.weights[f"{name}.{part}"] for part in ("weight", "bias"))
        weight = weight.T if isinstance(layer, eqx.nn.Linear) else weight
        return eqx.tree_at(lambda layer: (layer.weight, layer.bias), layer, (weight, bias.reshape(shape)))

    def dense(self, name):
        return self._filled(eqx.nn.Linear(*self.weights[f"{name}.weight"].shape, key=KEY), name)

    def conv(self, name, stride=1):
        outputs, inputs, side, _ = self.weights[f"{name}.weight"].shape
        layer = eqx.nn.Conv2d(inputs, outputs, side, stride, padding=side // 2, key=KEY)
        return self._filled(layer, name, (-1, 1, 1))

    def group_norm(self, name):
        return self._filled(eqx.nn.GroupNorm(NORM_GROUPS, len(self.weights[f"{name}.weight"])), name)

    def layer_norm(self, name):
        return jax.vmap(self._filled(eqx.nn.LayerNorm(len(self.weights[f"{name}.weight"])), name))

    def attention(self, name):
        width = len(self.weights[f"{name}.out.weight"])
        biases = {f"use_{part}_bias": True for part in ("query", "key", "value", "output")}
        layer = eqx.nn.MultiheadAttention(HEADS, width, **biases, key=KEY)
        parts = zip(*(jnp.split(self.weights[f"{name}.qkv.{part}"], 3, -1) for part in ("weight", "bias")), strict=True)
        filled = [
            eqx.tree_at(lambda layer: (layer.weight, layer.bias), layer.query_proj, (weight.T, bias))
            for weight, bias in parts
        ]
        where = lambda layer: (layer.query_proj, layer.key_proj, layer.value_proj, layer.output_proj)
        layer = eqx.tree_at(where, layer, (*filled, self.dense(f"{name}.out")))
        return lambda tokens: layer(tokens, tokens, tokens)

    def time(self, t):
        waves = jnp.array([wave(f * t) for wave in (np.sin, np.cos) for f in FREQUENCIES])
        return self.dense("time1")(jax.nn.silu(self.dense("time0")(waves)))

    def block(self, x, t, name):
        y = self.conv(f"{name}.conv0")(jax.nn.silu(self.group_norm(f"{name}.norm0")(x)))
        y = y + self.dense(f"{name}.time")(jax.nn.silu(self.time(t)))[:, None, None]
        y = self.conv(f"{name}.conv1")(jax.nn.silu(self.group_norm(f"{name}.norm1")(y)))
        return y + (self.conv(f"{name}.past")(x) if f"{name}.past.weight" in self.weights else x)


def unet(t, y, layers):
    """Three resolutions, written out."""
    x = layers.conv("first")(y)
    a = layers.block(x, t, "down0")
    b = layers.block(layers.conv("shrink0", 2)(a), t, "down1")
    x = layers.block(layers.conv("shrink1", 2)(b), t, "middle0")
    tokens = layers.group_norm("middle.norm")(x).reshape(len(x), -1).T
    x = x + layers.attention("middle")(tokens).T.reshape(x.shape)
    x = layers.block(x, t, "middle1")
    for i, kept in ((1, b), (0, a)):
        large = jax.image.resize(x, (len(x), *kept.shape[1:]), "nearest")
        x = layers.block(jnp.concatenate([layers.conv(f"grow{i}")(large), kept]), t, f"up{i}")
    return layers.conv("last")(jax.nn.silu(layers.group_norm("last.norm")(x)))


def transformer(t, y, layers):
    x = y + layers.time(t)[None]
    mixed = layers.attention("attention")(layers.layer_norm("norm0")(x))
    hidden = jax.nn.gelu(jax.vmap(layers.dense("mlp0"))(layers.layer_norm("norm1")(x + mixed)))
    return mixed + jax.vmap(layers.dense("mlp1"))(hidden)


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        slow(Problem("unet", (2, 8, 16, 24), batch=2, side=8), unet),
        (Problem("transformer", (8, 12), batch=2, tokens=5), transformer),
    ],
)
def test_the_larger_fields_against_equinox(problem, expected):
    weights = [jnp.asarray(w, float) for w in problem.weights()]
    y0, layers = jnp.asarray(problem.y0(), float), Layers(problem.named(weights))
    given = jax.jit(jax_fields.field(problem))(0.3, y0, weights)
    assert given.shape == y0.shape
    np.testing.assert_allclose(given, jnp.stack([expected(0.3, y, layers) for y in y0]), rtol=1e-10, atol=1e-10)


def test_the_unet_has_twenty_convolutions_at_three_resolutions():
    problem = find("unet-rk4").problem
    kernels = [w.shape for w in problem.blueprint() if len(w.shape) == 4]
    assert len(kernels) == 20 and sum(shape[2:] == (3, 3) for shape in kernels) == 18
    assert problem.y0().shape == (16, 1, 28, 28) and {shape[0] for shape in kernels} == {1, 16, 32, 64}


def test_the_state_of_a_transformer_is_a_sequence():
    assert find("transformer-rk4").problem.y0().shape == (16, 64, 64)


@pytest.mark.parametrize("layers", [2, 8, 32, 64])
def test_deep_networks_are_compiled_under_every_method(layers):
    found = [find(f"mlp{layers}-{method}") for method in ("rk4", "dopri5", "dopri8", "tsit5")]
    assert all(len(workload.problem.weights()) == 2 * layers for workload in found)
    assert all({"kuttax", "diffrax"} <= set(workload.libraries) for workload in found)
    assert [workload.steps is None for workload in found] == [False, True, True, True]


def test_a_method_is_the_same_one_in_kuttax_and_in_diffrax():
    for method, solver in _SOLVERS.items():
        tableau, peer = getattr(kx.tableaus, method), solver.tableau
        assert STAGES[method] == tableau.stages == peer.num_stages - peer.fsal
        b = np.concatenate([np.asarray(tableau.b, float), np.zeros(int(peer.fsal))])
        np.testing.assert_allclose(peer.b_sol, b, atol=1e-12)


def test_the_limit_of_convolutions_is_written_out_and_counts_every_evaluation():
    """Bare evaluations, y <- f(t, y), and the sum of their products; no loop, inside of which XLA is slow."""
    workload = find("conv-rk4", smoke=True)
    run = LIBRARIES["limit"].build(workload, "cpu", None)
    field, evaluations = jax_fields.field(workload.problem), 8
    y, steps = run.y0, jnp.linspace(0.0, 1.0, evaluations)
    for t in steps:
        y = field(t, y, run.weights)
    np.testing.assert_allclose(run.forward()[0], y, rtol=1e-5, atol=1e-5)
    for kind in ("forward", "gradient"):
        text = str(run._functions[kind].trace(*run._arguments).jaxpr)
        assert "scan" not in text and text.count("conv_general_dilated") >= 2 * evaluations
    looped = LIBRARIES["limit"].build(find("small-rk4", smoke=True), "cpu", None)
    assert "scan" in str(looped._functions["forward"].trace(*looped._arguments).jaxpr)


def test_a_seed_draws_the_same_weights_as_ever():
    """Records of different days are of the same problem: the first layer, drawn by hand."""
    drawn = np.random.default_rng(0).standard_normal((4, 64))
    np.testing.assert_array_equal(find("small-rk4").problem.weights()[0], (1.5 / np.sqrt(4) * drawn).astype(np.float32))
    sizes = find("small-rk4").problem.sizes
    assert [w.shape for w in find("small-rk4").problem.weights()[::2]] == [(i + 1, o) for i, o in pairwise(sizes)]
