"""Order conditions, the projection onto them, and the stability polynomial."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kuttax.errors import UserError
from kuttax.solvers.rk.order import (
    condition_number,
    condition_rows,
    density,
    order_conditions,
    project,
    rooted_trees,
    stability_polynomial,
    tree_order,
)
from kuttax.solvers.rk.tableaus import ALL, BOSH3, DOPRI5, DOPRI8, RK4

# Stages for a well-conditioned projection of that order.
ORDERS = pytest.mark.parametrize(("p", "stages"), [(1, 1), (1, 3), (2, 2), (2, 4), (3, 4), (3, 6)])


def random_tableau(stages, seed=0, dtype=np.float64):
    """Nodes spread over the step, no structure otherwise."""
    rng = np.random.default_rng(seed)
    a = np.tril(rng.normal(size=(stages, stages)), -1)
    a += np.tri(stages, k=-1) * ((np.arange(stages) / stages - a.sum(1)) / np.maximum(np.arange(stages), 1))[:, None]
    return rng.normal(size=stages).astype(dtype), a.astype(dtype)


def symmetry(tree):
    """sigma(tree), the order of the tree's automorphism group."""
    groups = [list(group) for _, group in itertools.groupby(tree)]
    return math.prod(math.factorial(len(group)) * symmetry(group[0]) ** len(group) for group in groups)


def test_rooted_trees_are_all_there():
    """As many as Cayley (OEIS A000081) counted, and Butcher's identity: the sum of n! / (gamma sigma) is (n - 1)!."""
    counts = [1, 1, 2, 4, 9, 20, 48, 115]
    for nodes, count in enumerate(counts, start=1):
        trees = rooted_trees(nodes)
        assert len(set(trees)) == len(trees) == count
        assert {tree_order(tree) for tree in trees} == {nodes}
        weights = [math.factorial(nodes) // (density(tree) * symmetry(tree)) for tree in trees]
        assert sum(weights) == math.factorial(nodes - 1)
    assert sum(counts) == len(order_conditions(RK4, 8)) == 200


def test_order_conditions_as_written_out():
    """The eight conditions up to order 4, residual by residual, for any a, b and c."""
    rng = np.random.default_rng(1)
    a, b, c = np.tril(rng.normal(size=(5, 5)), -1), rng.normal(size=5), rng.normal(size=5)
    written = [
        b.sum() - 1,
        b @ c - 1 / 2,
        b @ c**2 - 1 / 3,
        b @ a @ c - 1 / 6,
        b @ c**3 - 1 / 4,
        b @ (c * (a @ c)) - 1 / 8,
        b @ a @ c**2 - 1 / 12,
        b @ a @ a @ c - 1 / 24,
    ]
    for order, count in ((1, 1), (2, 2), (3, 4), (4, 8)):
        residuals = order_conditions((a, b, c), order)
        np.testing.assert_allclose(np.sort(residuals), np.sort(written[:count]), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("tableau", [t for t in ALL.values() if t.stages == t.order], ids=lambda t: t.name)
def test_stability_polynomial_of_as_many_stages_as_order(tableau):
    """R(z) = sum_{k <= p} z^k / k! for s = p."""
    exponential = [1 / math.factorial(k) for k in range(tableau.order + 1)]
    np.testing.assert_allclose(stability_polynomial(tableau.a, tableau.b), exponential, rtol=1e-14)


@pytest.mark.parametrize("tableau", ALL.values(), ids=ALL.keys())
def test_stability_polynomial_by_its_closed_form(tableau):
    """Against R(z) = 1 + z b^T (I - z A)^{-1} 1 at complex z."""
    for z in (-0.7, 1.3j, -2.0 + 0.4j):
        stages = np.linalg.solve(np.eye(tableau.stages) - z * tableau.a, np.ones(tableau.stages))
        polynomial = np.polynomial.Polynomial(stability_polynomial(tableau.a, tableau.b))
        np.testing.assert_allclose(polynomial(z), 1 + z * tableau.b @ stages, rtol=1e-12)


def test_stability_polynomial_of_dormand_prince():
    """Hairer & Wanner, "Solving Ordinary Differential Equations II", IV.2: z^6 / 600 beyond the exponential."""
    polynomial = stability_polynomial(DOPRI5.a, DOPRI5.b)
    np.testing.assert_allclose(polynomial, [1, 1, 1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 600], rtol=1e-13)


@pytest.mark.parametrize("to", [np.asarray, jnp.asarray], ids=["numpy", "jax"])
def test_condition_rows_are_met_by_methods_of_that_order(to):
    for tableau in (RK4, DOPRI5, DOPRI8):
        for p, count in ((1, 1), (2, 2), (3, 4)):
            rows, right_side = condition_rows(to(tableau.a), p)
            assert isinstance(rows, type(to(tableau.a)))
            assert rows.shape == (count, tableau.stages)
            np.testing.assert_allclose(np.asarray(rows) @ tableau.b, right_side, rtol=1e-13)


@ORDERS
def test_project_solves_the_least_distance_problem(p, stages):
    """Against the KKT system of min |b - b0|^2 subject to M b = r."""
    b0, a = random_tableau(stages)
    b, _ = project(jnp.asarray(b0), jnp.asarray(a), p)
    c = a.sum(1)
    m = np.stack([np.ones(stages), c, c**2, a @ c][: (1, 2, 4)[p - 1]])
    r = np.array([1, 1 / 2, 1 / 3, 1 / 6][: len(m)])
    kkt = np.block([[np.eye(stages), m.T], [m, np.zeros((len(m), len(m)))]])
    truth = np.linalg.solve(kkt, np.concatenate([b0, r]))[:stages]
    np.testing.assert_allclose(b, truth, rtol=0, atol=1e-11)
    np.testing.assert_allclose(b, b0 - np.linalg.lstsq(m, m @ b0 - r, rcond=None)[0], rtol=0, atol=1e-11)


@ORDERS
def test_project_meets_the_conditions_in_float32(p, stages):
    b0, a = random_tableau(stages, dtype=np.float32)
    b, condition = project(jnp.asarray(b0), jnp.asarray(a), p)
    assert b.dtype == condition.dtype == jnp.float32
    b, a = np.asarray(b, np.float64), a.astype(np.float64)
    assert np.abs(order_conditions((a, b, a.sum(1)), p)).max() < 1e-5
    assert condition_number(a, p) < 1e3


@pytest.mark.parametrize("tableau", [t for t in ALL.values() if t.stages >= 4], ids=lambda t: t.name)
def test_project_leaves_a_method_of_that_order_alone(tableau):
    for p in (1, 2, 3):
        b, _ = project(jnp.asarray(tableau.b), jnp.asarray(tableau.a), p)
        np.testing.assert_allclose(b, tableau.b, rtol=0, atol=1e-12)


@ORDERS
def test_project_gradients_against_finite_differences(p, stages):
    b0, a = random_tableau(stages)
    rng = np.random.default_rng(2)
    db, da, cotangent = rng.normal(size=stages), np.tril(rng.normal(size=(stages, stages)), -1), rng.normal(size=stages)

    def loss(b0, a):
        return jnp.sum(project(b0, a, p)[0] * jnp.asarray(cotangent))

    def along(eps):
        return float(loss(jnp.asarray(b0 + eps * db), jnp.asarray(a + eps * da)))

    eps = 1e-4
    # Fourth-order central difference.
    truth = (8 * (along(eps) - along(-eps)) - (along(2 * eps) - along(-2 * eps))) / (12 * eps)
    primals, tangents = (jnp.asarray(b0), jnp.asarray(a)), (jnp.asarray(db), jnp.asarray(da))
    _, forward = jax.jvp(loss, primals, tangents)
    of_b0, of_a = jax.grad(loss, argnums=(0, 1))(*primals)
    np.testing.assert_allclose(forward, truth, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(np.sum(of_b0 * db) + np.sum(of_a * da), truth, rtol=1e-6, atol=1e-8)


def test_project_maps_over_tables_and_compiles():
    tables = [random_tableau(5, seed) for seed in range(3)]
    b0, a = (jnp.asarray(np.stack(arrays)) for arrays in zip(*tables, strict=True))
    mapped, conditions = jax.jit(jax.vmap(lambda b0, a: project(b0, a, 3)))(b0, a)
    assert mapped.shape == (3, 5)
    assert conditions.shape == (3,)
    for i in range(3):
        np.testing.assert_allclose(mapped[i], project(b0[i], a[i], 3)[0], rtol=0, atol=1e-12)


@ORDERS
def test_condition_estimate_is_a_lower_bound_of_the_condition_number(p, stages):
    """And no worse than a factor of ten for these few rows."""
    b0, a = random_tableau(stages)
    rows = np.asarray(condition_rows(a, p)[0])
    singular = np.sqrt(np.linalg.eigvalsh(rows @ rows.T))
    truth = condition_number(a, p)
    np.testing.assert_allclose(truth, singular[-1] / singular[0], rtol=1e-8)
    estimate = float(project(jnp.asarray(b0), jnp.asarray(a), p)[1])
    assert truth / 10 <= estimate <= truth * (1 + 1e-12)


def test_condition_estimate_tells_dependent_rows():
    """With all nodes but the first alike, c and c^2 are parallel."""
    a = np.zeros((5, 5))
    a[1:, 0] = 0.5
    _, condition = project(jnp.ones(5), jnp.asarray(a), 3)
    assert not float(condition) < 1e12


@pytest.mark.parametrize("p", [0, 4])
def test_orders_that_are_refused(p):
    for call in (
        lambda: condition_rows(RK4.a, p),
        lambda: project(RK4.b, RK4.a, p),
        lambda: condition_number(RK4.a, p),
    ):
        with pytest.raises(UserError, match=f"p must be 1, 2 or 3, got {p}; "):
            call()
    with pytest.raises(UserError, match="order must be >= 1, got 0"):
        order_conditions(RK4, 0)


def test_too_few_stages_are_refused():
    with pytest.raises(UserError, match="order 3 is 4 conditions, got 3 stages"):
        project(BOSH3.b, BOSH3.a, 3)
