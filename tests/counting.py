"""Counting what a running program does with a field."""

import contextlib

import jax


@contextlib.contextmanager
def counted(vector_field):
    """The field with a counter of its calls in a running program, and of its vector-Jacobian products."""
    calls = {"values": 0, "products": 0}

    def count(name):
        calls[name] += 1

    @jax.custom_vjp
    def value(t, y):
        jax.debug.callback(lambda: count("values"))
        return vector_field(t, y, None)

    def forward(t, y):
        return value(t, y), (t, y)

    def backward(kept, dy):
        jax.debug.callback(lambda: count("products"))
        return jax.vjp(lambda t, y: vector_field(t, y, None), *kept)[1](dy)

    value.defvjp(forward, backward)
    yield lambda t, y, args: value(t, y), calls
    jax.effects_barrier()
