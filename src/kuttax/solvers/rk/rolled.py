"""The stages of an explicit step as one loop, forward and backward: a program that contains the field once.

Written out, a step contains its field s times, and its reverse pass three times as often; compilation takes time in
proportion. As a loop it is as fast: sums of s slopes cost more memory traffic, but the reverse pass needs the
intermediate values of one evaluation at a time, and these stay in the processor's cache (docs/performance.md).
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..._types import State, Time
from ..base.spread import inner, put, spread
from .tableau import Tableau

Slope = Callable[[Time, State], State]


def blank_slopes(tableau: Tableau, y: State) -> State:
    """Room for the slopes of the s stages and of the end: leaves (s + 1, *shape)."""
    return jax.tree.map(lambda x: jnp.zeros((tableau.stages + 1, *x.shape), x.dtype), y)


def with_first(ks: State, k1: State) -> State:
    """The slopes with `k1` as the first."""
    return jax.tree.map(lambda ks, k1: put(ks, jnp.asarray(0), k1), ks, k1)


def each_slope(ks: State) -> list[State]:
    """The slopes of the stages and of the end, one by one."""
    return [jax.tree.map(lambda k, i=i: k[i], ks) for i in range(len(jax.tree.leaves(ks)[0]))]


def looped_stages(
    f: Slope,
    t: Time,
    y: State,
    h: Time,
    a: Float[Array, "s s"],
    c: Float[Array, " s"],
    sparsity: tuple[tuple[bool, ...], ...],
    k1: State | None = None,
) -> list[State]:
    """The slopes that `stages` returns, from a loop that JAX differentiates."""
    first = 0 if k1 is None else 1
    ks = jax.tree.map(lambda x: jnp.zeros((len(sparsity), *x.shape), x.dtype), y)
    if k1 is not None:
        ks = with_first(ks, k1)

    def stage(ks: State, row: Any) -> tuple[State, None]:
        i, a, c, used = row
        k = f(t + c * h, _sum(y, h, a, used, ks))
        return jax.tree.map(lambda ks, k: put(ks, i, k), ks, k), None

    rows = (jnp.arange(len(sparsity)), a, c, jnp.asarray(sparsity))
    ks, _ = jax.lax.scan(stage, ks, jax.tree.map(lambda x: x[first:], rows))
    return each_slope(ks)


def with_slopes(
    tableau: Tableau, f: Slope, t: Time, y: State, h: Time, ks: State, *, known: bool, end: bool
) -> tuple[State, State]:
    """The state at the end of a step, and the slopes of its stages.

    Args:
        tableau: The coefficients.
        f: The field.
        t, y, h: The start of the step, the state there, and the step's size.
        ks: Room for the slopes.
        known: Whether the first of them is the slope at y already.
        end: Whether to evaluate the slope at the end too.
    """
    a, c, used = _rows(tableau, h.dtype)

    def put_at(i: Array, ks: State, g: State) -> State:
        return jax.tree.map(lambda ks, k: put(ks, i, k), ks, f(t + c[i] * h, g))

    # The state of a stage is carried from one round to the next: XLA would else fuse its sum into the field's first
    # operation, which then runs on one number at a time.
    def up_to_end(i: Array, carry: tuple[State, State]) -> tuple[State, State]:
        ks, _ = carry
        g = _sum(y, h, a[i], used[i], ks)
        return put_at(i, ks, g), g

    def without_end(i: Array, carry: tuple[State, State]) -> tuple[State, State]:
        ks, g = carry
        ks = put_at(i, ks, g)
        return ks, _sum(y, h, a[i + 1], used[i + 1], ks)

    if end:
        ks, y1 = jax.lax.fori_loop(int(known), tableau.stages + 1, up_to_end, (ks, y))
    else:
        assert not known
        ks, y1 = jax.lax.fori_loop(0, tableau.stages, without_end, (ks, y))
    return y1, ks


def pull_back(
    tableau: Tableau,
    field: Callable[[PyTree], Slope],
    varied: PyTree,
    t: Time,
    y: State,
    h: Time,
    ks: State,
    y1: State,
    dy1: State,
    dks: Sequence[State] | None,
    *,
    total: PyTree,
    end: bool,
    times: bool,
) -> tuple[PyTree, State, tuple[Time, Time] | None]:
    """Pull the cotangents of a step's end state and of its slopes back to the parameters, its start and its times.

    Stage i is evaluated at g_i = y + h sum_j a_ij k_j; g_s = y1 is the end. From the last stage to the first,

        dk_i += h sum_j a_ji dg_j,    dg_i = (df/dy)^T dk_i,    and dy = sum_i dg_i.

    Args:
        tableau: The coefficients.
        field: The field with given parameters.
        varied: The parameters.
        t, y, h: The start of the step, the state there, and the step's size.
        ks: The slopes.
        y1, dy1: The end state, and its cotangent.
        dks: The cotangents of the slopes, without what comes through the states g_i; None if they are zero.
        total: The cotangents of the parameters so far.
        end: Whether the cotangent of the slope at the end may differ from zero.
        times: Whether t and h are differentiated.

    Returns:
        `total` plus the cotangents of the parameters, that of y, and those of t and h if they are differentiated.
    """
    a, c, used = _rows(tableau, h.dtype)
    s = tableau.stages
    of_stage, used_by = (jnp.pad(x, ((0, 0), (0, 1))).T for x in (a, used))  # the end's slope is in no sum
    zeros = lambda tree: jax.tree.map(jnp.zeros_like, tree)
    at = lambda buffer, i: jax.tree.map(lambda x: x[i], buffer)
    given = None if dks is None else jax.tree.map(lambda *x: jnp.stack(x), *dks)
    rate = lambda i: _sum(zeros(y), jnp.ones_like(h), a[i], used[i], ks)  # the derivative of g_i in h

    def stage(n: Array, carry: Any) -> Any:
        g, dgs, total, moved = carry  # g is carried as in `with_slopes`
        i = last - n
        dk = _sum(zeros(y) if given is None else at(given, i), h, of_stage[i], used_by[i], dgs)
        inputs = (varied, t + c[i] * h, g) if times else (varied, g)
        value = lambda varied, *at: field(varied)(*(at if times else (t + c[i] * h, *at)))
        more, *dt, dg = jax.vjp(value, *inputs)[1](dk)
        if end:
            dg = jax.tree.map(jnp.add, dg, at(dgs, i))
        if times:
            moved = moved[0] + dt[0], moved[1] + c[i] * dt[0] + inner(dg, rate(i), h)
        dgs = jax.tree.map(lambda dgs, dg: put(dgs, i, dg), dgs, dg)
        following = jnp.maximum(i - 1, 0)
        g = _sum(y, h, a[following], used[following], ks)
        return g, dgs, jax.tree.map(jnp.add, total, more), moved

    last = s if end else s - 1
    g = y1 if end else _sum(y, h, a[last], used[last], ks)
    dgs = jax.tree.map(lambda ks, dy1: put(jnp.zeros_like(ks), jnp.asarray(s), dy1), ks, dy1)
    moved = zeros((t, h)) if times else None
    if moved is not None and not end:
        moved = moved[0], inner(dy1, rate(s), h)
    _, dgs, total, moved = jax.lax.fori_loop(0, last + 1, stage, (g, dgs, total, moved))
    return total, jax.tree.map(lambda dgs: functools.reduce(jnp.add, dgs), dgs), moved


def _rows(tableau: Tableau, dtype: Any) -> tuple[Array, Array, Array]:
    """a and c with one more row, for the end of the step: weights b, time t + h; and which of a are not zero."""
    a, c = np.concatenate([tableau.a, tableau.b[None]]), np.append(tableau.c, 1.0)
    return jnp.asarray(a, dtype), jnp.asarray(c, dtype), jnp.asarray(a != 0)


def _sum(y: State, h: Time, weights: Array, used: Array, ks: State) -> State:
    """y + h sum_j weights_j k_j over the used slopes; the others need not be finite."""

    def on_leaf(leaf: Array, ks: Array) -> Array:
        terms = [spread(h * weights[j], leaf) * ks[j] for j in range(weights.shape[0])]
        chosen = [jnp.where(used[j], x, jnp.zeros_like(x)) for j, x in enumerate(terms)]
        return leaf + functools.reduce(jnp.add, chosen)

    return jax.tree.map(on_leaf, y, ks)
