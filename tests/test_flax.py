"""Fields written in Flax, linen and nnx: solves and gradients are those of the same network in plain JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kuttax as kx

flax = pytest.importorskip("flax", reason="Flax is not installed: pip install flax")
pytestmark = pytest.mark.filterwarnings("ignore")  # those of Flax

SOLVER = kx.FixedSteps(kx.tableaus.RK4, 4)


def plain(t, y, weights):
    (a, b), (c, d) = weights
    return jnp.tanh(y @ a + b) @ c + d


@pytest.fixture
def weights(rng):
    shapes = [((3, 8), (8,)), ((8, 3), (3,))]
    return [tuple(jnp.asarray(0.5 * rng.standard_normal(shape)) for shape in pair) for pair in shapes]


def loss(field, args):
    sol = kx.solve(
        field, np.ones((5, 3)) * np.linspace(-1, 1, 5)[:, None], 0.0, 1.0, solver=SOLVER, args=args, batch_axis=0
    )
    return jnp.sum(sol.y1**2)


def agree(found, expected):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(np.sort(a.ravel()), np.sort(b.ravel()), rtol=1e-10)


def test_linen(weights):
    from flax import linen

    options = {"dtype": jnp.float64, "param_dtype": jnp.float64}
    model = linen.Sequential([linen.Dense(8, **options), linen.tanh, linen.Dense(3, **options)])
    names = ("layers_0", "layers_2")
    params = {"params": {n: {"kernel": w, "bias": b} for n, (w, b) in zip(names, weights, strict=True)}}
    found = jax.value_and_grad(lambda args: loss(lambda t, y, args: model.apply(args, y), args))(params)
    expected = jax.value_and_grad(lambda args: loss(plain, args))(weights)
    assert float(found[0]) == pytest.approx(float(expected[0]))
    got = [(found[1]["params"][n]["kernel"], found[1]["params"][n]["bias"]) for n in names]
    agree(got, expected[1])


def test_nnx(weights):
    from flax import nnx

    options = {"dtype": jnp.float64, "param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}
    model = nnx.Sequential(nnx.Linear(3, 8, **options), nnx.tanh, nnx.Linear(8, 3, **options))
    for layer, (kernel, bias) in zip((model.layers[0], model.layers[2]), weights, strict=True):
        layer.kernel[...], layer.bias[...] = kernel, bias
    graph, state = nnx.split(model)
    field = lambda t, y, state: nnx.merge(graph, state)(y)
    value, slopes = jax.value_and_grad(lambda state: loss(field, state))(state)
    expected = jax.value_and_grad(lambda args: loss(plain, args))(weights)
    assert float(value) == pytest.approx(float(expected[0]))
    total = lambda tree: sum(float(jnp.sum(x**2)) for x in jax.tree.leaves(tree))
    assert total(slopes) == pytest.approx(total(expected[1]))
