"""A field that reads what has changed gives the new answer, and one that has not changed compiles once."""

import dataclasses
import functools
import math
import types

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kuttax as kx
from kuttax.solvers.rk.tableaus import RK4

SOLVER = kx.FixedSteps(RK4, 8)
RATE = {"k": 1.0}


def end(field):
    return float(kx.solve(field, jnp.ones(1), 0.0, 1.0, solver=SOLVER).y1[0])


class Decay:
    """A field that is an object, and one that is its method."""

    rate = 1.0

    def __call__(self, t, y, args):
        return -self.rate * y

    def slope(self, t, y, args):
        return -self.rate * y


@dataclasses.dataclass(slots=True)
class Slotted:
    rate: float = 1.0


def of_global(t, y, args):
    return -RATE["k"] * y


def helper(y):
    return -RATE["k"] * y


def of_helper(t, y, args):
    return helper(y)


def an_object():
    decay = Decay()
    return decay, lambda: setattr(decay, "rate", 2.0)


def a_method():
    decay = Decay()
    return decay.slope, lambda: setattr(decay, "rate", 2.0)


def a_class_attribute():
    kind = type("Other", (Decay,), {"rate": 1.0, "__module__": __name__})
    return kind(), lambda: setattr(kind, "rate", 2.0)


def an_array():
    rate = np.ones(1)
    return lambda t, y, args: -jnp.asarray(rate) * y, lambda: rate.__setitem__(0, 2.0)


def a_large_array():
    rate = np.ones(10_000)
    return lambda t, y, args: -jnp.asarray(rate).max() * y, lambda: rate.__setitem__(slice(None), 2.0)


def a_list():
    rate = [{"k": [1.0]}]
    return lambda t, y, args: -rate[0]["k"][0] * y, lambda: rate[0]["k"].__setitem__(0, 2.0)


def a_slot():
    slotted = Slotted()
    return lambda t, y, args: -slotted.rate * y, lambda: setattr(slotted, "rate", 2.0)


def a_cell():
    rate = 1.0

    def change():
        nonlocal rate
        rate = 2.0

    return lambda t, y, args: -rate * y, change


def a_global():
    RATE["k"] = 1.0
    return of_global, lambda: RATE.__setitem__("k", 2.0)


def a_global_of_a_helper():
    RATE["k"] = 1.0
    return of_helper, lambda: RATE.__setitem__("k", 2.0)


def a_module():
    module = types.ModuleType("settings")
    module.rate = 1.0
    scope = {"settings": module}
    exec("def field(t, y, args):\n    return -settings.rate * y\n", scope)
    return scope["field"], lambda: setattr(module, "rate", 2.0)


def a_partial():
    rate = np.ones(1)
    return functools.partial(lambda rate, t, y, args: -jnp.asarray(rate) * y, rate), lambda: rate.__setitem__(0, 2.0)


def a_module_with_an_object(static=False):
    class Field(eqx.Module):
        decay: Decay = eqx.field(static=static)

        def __call__(self, t, y, args):
            return self.decay(t, y, args)

    decay = Decay()
    return Field(decay), lambda: setattr(decay, "rate", 2.0)


def a_module_with_a_static_object():
    return a_module_with_an_object(static=True)


MAKERS = [an_object, a_method, a_class_attribute, an_array, a_large_array, a_list, a_slot, a_cell, a_global]
MAKERS += [a_global_of_a_helper, a_module, a_partial, a_module_with_an_object]
MAKERS += [a_module_with_a_static_object]


@pytest.mark.parametrize("make", MAKERS, ids=[make.__name__ for make in MAKERS])
def test_what_a_field_reads_may_change(make):
    field, change = make()
    assert end(field) == pytest.approx(math.exp(-1), rel=1e-5)
    change()
    assert end(field) == pytest.approx(math.exp(-2), rel=1e-3)


def test_objects_in_args_too():
    decay = Decay()

    def of_args(t, y, args):
        return args[0](t, y, None)

    def run():
        return float(kx.solve(of_args, jnp.ones(1), 0.0, 1.0, solver=SOLVER, args=[decay]).y1[0])

    assert run() == pytest.approx(math.exp(-1), rel=1e-5)
    decay.rate = 2.0
    assert run() == pytest.approx(math.exp(-2), rel=1e-3)


def test_the_parts_of_an_sde_too():
    size = np.ones(1)
    sde = kx.SDE(lambda t, y, args: 0 * y, lambda t, y, args: jnp.asarray(size) * jnp.ones_like(y), "additive")
    run = lambda: kx.solve(sde, jnp.zeros(1), 0.0, 1.0, solver=kx.EulerMaruyama(4), key=jax.random.key(0)).y1
    before = run()
    size[:] = 2
    np.testing.assert_allclose(run(), 2 * before, rtol=1e-12)


def test_nothing_changed_compiles_once():
    """Not even for a field that notes or counts what is done with it."""
    traces, counts, numbers, decay = [], {"n": 0}, [0], Decay()

    def noted(t, y, args):
        traces.append(t)
        counts["n"] += 1
        numbers[0] += 1
        return decay(t, y, args)

    first, seen = end(noted), len(traces)
    assert [end(noted) for _ in range(3)] == [first] * 3
    assert len(traces) == seen > 0
    decay.rate = 2.0
    end(noted)
    assert len(traces) == 2 * seen
