"""Convolutions of a field: the fast program for CPUs computes the same numbers, and is used in every loop."""

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from slowness import mostly_slow

import kuttax as kx
from kuttax import FixedSteps
from kuttax.solvers.base.fields.convolution import with_fast_convolutions
from kuttax.solvers.base.fields.traced import traced
from kuttax.solvers.rk.tableaus import DOPRI5, MIDPOINT, RK4

LAYOUTS = {
    "channels first": ((2, 4, 7, 6), (6, 4, 3, 3), {}),
    "stride": ((2, 4, 7, 6), (6, 4, 3, 3), {"window_strides": (2, 1)}),
    "no padding": ((2, 4, 7, 6), (6, 4, 3, 2), {"padding": "VALID"}),
    "uneven padding": ((2, 4, 7, 6), (6, 4, 3, 3), {"padding": ((2, 0), (1, 3))}),
    "dilated kernel": ((2, 4, 7, 6), (6, 4, 3, 3), {"rhs_dilation": (2, 1)}),
    "dilated image": ((2, 4, 4, 3), (6, 4, 3, 3), {"lhs_dilation": (2, 2), "padding": ((1, 1), (1, 1))}),
    "groups": ((2, 4, 7, 6), (6, 2, 3, 3), {"feature_group_count": 2}),
    "depthwise": ((2, 4, 7, 6), (4, 1, 3, 3), {"feature_group_count": 4}),
    "one axis": ((2, 4, 9), (6, 4, 3), {"window_strides": (1,)}),
    "three axes": ((1, 2, 4, 3, 5), (3, 2, 2, 2, 2), {"window_strides": (1, 1, 1)}),
    "channels last": ((2, 7, 6, 4), (3, 3, 4, 6), {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}),
    "mixed": ((7, 2, 6, 4), (3, 4, 3, 6), {"dimension_numbers": ("HNWC", "HIWO", "NCHW")}),
}


def convolution(name):
    """The convolution of this layout, and random arrays for it."""
    x, kernel, options = LAYOUTS[name]
    rng = np.random.default_rng(len(name))
    options = {"window_strides": (1, 1), "padding": "SAME", **options}
    arrays = jnp.asarray(rng.normal(size=x)), jnp.asarray(rng.normal(size=kernel))
    return lambda x, kernel: lax.conv_general_dilated(x, kernel, **options), arrays


def fast(function):
    """The same function with the fast convolution in it."""

    def rewritten(*arguments):
        program = with_fast_convolutions(jax.make_jaxpr(function)(*arguments))
        return jax.extend.core.jaxpr_as_fun(program)(*arguments)[0]

    return rewritten


def close(found, expected):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10), found, expected)


@pytest.mark.parametrize("name", LAYOUTS)
def test_values_and_derivatives_are_those_of_xla(name):
    """Forward and reverse mode, and one over the other."""
    convolve, (x, kernel) = convolution(name)
    cost = lambda f: lambda x, kernel: jnp.sum(jnp.sin(f(x, kernel)))
    for transform in (
        lambda f: f,
        lambda f: jax.grad(cost(f), (0, 1)),
        lambda f: lambda x, kernel: jax.jvp(f, (x, kernel), (jnp.cos(x), jnp.sin(kernel)))[1],
        lambda f: lambda x, kernel: jax.jvp(jax.grad(cost(f), (0, 1)), (x, kernel), (jnp.cos(x), jnp.sin(kernel)))[1],
        lambda f: jax.grad(lambda x, kernel: jnp.sum(jax.grad(cost(f), 1)(x, kernel) ** 2), (0, 1)),
    ):
        close(jax.jit(transform(fast(convolve)))(x, kernel), jax.jit(transform(convolve))(x, kernel))


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0), (2, 1)])
def test_mapped(axes):
    convolve, (x, kernel) = convolution("groups")
    many = lambda x, axis: x if axis is None else jnp.stack([x, 2 * x, x - 1], axis)
    x, kernel = many(x, axes[0]), many(kernel, axes[1])
    one, other = (jax.jit(jax.vmap(f, in_axes=axes)) for f in (fast(convolve), convolve))
    close(one(x, kernel), other(x, kernel))


def test_outside_of_jit():
    convolve, arrays = convolution("stride")
    close(fast(convolve)(*arrays), convolve(*arrays))


class Network(eqx.Module):
    """Convolutions where users have them: in a module, a compiled function, a loop, a branch, a remat."""

    first: eqx.nn.Conv2d
    second: eqx.nn.ConvTranspose2d

    def __init__(self, key):
        a, b = jax.random.split(key)
        self.first = eqx.nn.Conv2d(2, 3, 3, stride=2, padding=1, dtype=jnp.float64, key=a)
        self.second = eqx.nn.ConvTranspose2d(3, 2, 3, stride=2, padding=1, output_padding=1, dtype=jnp.float64, key=b)

    def __call__(self, t, y, args):
        down = jax.jit(jax.vmap(self.first))
        up = jax.checkpoint(jax.vmap(self.second))
        z, _ = lax.scan(lambda z, s: (jax.nn.silu(z + s), None), down(y), jnp.linspace(0.0, 1.0, 2))
        return lax.cond(t < 0.3, up, lambda z: jnp.tanh(up(z)), z)


@pytest.mark.parametrize("batched", [False, True], ids=["whole", "samples"])
@pytest.mark.parametrize("unroll", mostly_slow(["none", "stages", "all"], "all"))
def test_the_solve_of_a_network_is_that_of_a_plain_loop(unroll, batched, key):
    network, y0 = Network(key), jax.random.normal(key, (2, 2, 4, 4), jnp.float64)

    def loop(network, y):
        for n in range(3):
            t, h = 0.25 * n, 0.25
            k1 = network(t, y, None)
            y = y + h * network(t + h / 2, y + h / 2 * k1, None)
        return y

    def solved(network, y):
        field = (lambda t, y, args: network(t, y[None], args)[0]) if batched else network
        solver = FixedSteps(MIDPOINT, 3)
        return kx.solve(field, y, 0.0, 0.75, solver=solver, unroll=unroll, batch_axis=0 if batched else None).y1

    cost = lambda f: eqx.filter_jit(eqx.filter_value_and_grad(lambda network, y: jnp.sum(f(network, y) ** 2)))
    close(cost(solved)(network, y0), cost(loop)(network, y0))


@pytest.mark.parametrize(
    "solver",
    [
        FixedSteps(RK4, 40),
        kx.Adaptive(DOPRI5),
        kx.Adaptive(DOPRI5, control="per_sample"),
        kx.Reversible(FixedSteps(RK4, 9)),
    ],
    ids=str,
)
def test_every_convolution_of_a_gradient_has_channels_last(solver, key):
    """Only those are fast in a loop on a CPU: batch, space, features; and a kernel of space, inputs, outputs."""
    if jax.default_backend() != "cpu":
        pytest.skip("the program for CPUs")
    kernel, y0 = jax.random.normal(key, (2, 2, 3, 3)) / 9, jnp.ones((3, 2, 5, 5))
    own = getattr(solver, "control", "joint") == "per_sample"
    image = lambda y: y[None] if own else y  # what a solve of samples hands to the field has no axis of samples
    field = lambda t, y, kernel: jnp.tanh(lax.conv_general_dilated(image(y), kernel, (1, 1), "SAME")).reshape(y.shape)

    def value(kernel, y0):
        axis = 0 if own else None
        return jnp.sum(kx.solve(field, y0, 0.0, 1.0, args=kernel, solver=solver, batch_axis=axis, throw=False).y1 ** 2)

    program = jax.jit(jax.grad(value, (0, 1))).lower(kernel, y0).as_text()
    layouts = re.findall(r"stablehlo.convolution.*dim_numbers = (\[.*?\])x(\[.*?\])->(\[.*?\]),", program)
    assert len(layouts) >= 4
    assert set(layouts) == {("[b, 0, 1, f]", "[0, 1, i, o]", "[b, 0, 1, f]")}


def test_what_a_traced_field_knows():
    x = jnp.ones((1, 2, 5, 5))
    kernel = jnp.ones((2, 2, 3, 3))
    of = lambda function: traced(function, jnp.zeros(()), x, kernel)
    convolve = lambda t, y, kernel: lax.conv_general_dilated(y, kernel, (1, 1), "SAME")
    assert of(jax.jit(convolve)).convolves and not of(lambda t, y, kernel: t * y).convolves
    once, twice = (of(lambda t, y, args, n=n: sum(jnp.sin(k * y) for k in range(1, n + 1))) for n in (3, 6))
    assert once.operations < twice.operations <= 2 * once.operations + 1
