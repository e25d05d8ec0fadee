"""LearnedRK: it starts where it says, keeps its order whatever its parameters, and refuses what cannot work."""

import functools
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from problems import circle_and_bell, solution
from slowness import mostly_slow

import kuttax as kx
from kuttax.errors import UserError
from kuttax.solvers.rk.chart import CLOSED, closed_at
from kuttax.solvers.rk.order import order_conditions, stability_polynomial
from kuttax.solvers.rk.tableaus import (
    ALL,
    BOSH3,
    DOPRI5,
    DOPRI8,
    EULER,
    HEUN2,
    HEUN3,
    KUTTA3,
    MIDPOINT,
    RALSTON2,
    RALSTON3,
    RK4,
    RK38,
    SSPRK3,
    TSIT5,
    Tableau,
)


def moved(solver, seed, scale):
    """The solver with every free parameter moved at random."""
    leaves, structure = jax.tree.flatten(solver)
    rng = np.random.default_rng(seed)
    return jax.tree.unflatten(structure, [x + scale * rng.normal(size=x.shape).astype(x.dtype) for x in leaves])


# One of every chart, and of every way to share or not to share.
KINDS = {
    "order 1": (MIDPOINT, {"order": 1}),
    "order 1, multistep": (EULER.compose(6), {"order": 1, "learn_steps": True}),
    "order 2": (RK4, {"order": 2, "per_step": True, "learn_steps": True}),
    "order 2, composed": (MIDPOINT.compose(3), {"order": 2, "per_step": True}),
    "order 3": (RK4, {"order": 3, "learn_steps": True}),
    "order 3, extra stages": (RK4, {"order": 3, "stages": 6, "per_step": True}),
    "order 3 of seven stages": (TSIT5, {"order": 3, "per_step": True, "learn_steps": True}),
    "closed 2": (HEUN2, {"per_step": True, "learn_steps": True}),
    "closed 3": (RALSTON3, {"per_step": True}),
    "closed 4": (RK38, {"per_step": True, "learn_steps": True}),
    "closed 4, half": (RK4, {"per_step": True}),
}
EACH_KIND = pytest.mark.parametrize("kind", KINDS)
STEPS = 3


def start_of(kind):
    tableau, options = KINDS[kind]
    return kx.LearnedRK.from_tableau(tableau, STEPS, **options)


@functools.cache
def compiled(kind):
    """Compiled once for all parameters and intervals: the error at the end of an interval of length `span`."""
    structure = jax.tree.structure(start_of(kind))

    @jax.jit
    def y1(leaves, span):
        solver = jax.tree.unflatten(structure, leaves)
        return kx.solve(circle_and_bell, solution(0.5), 0.5, 0.5 + span, solver=solver, throw=False).y1

    return lambda solver, span: np.abs(y1(jax.tree.leaves(solver), span) - solution(0.5 + span)).max()


@EACH_KIND
def test_it_starts_at_its_tableau(kind):
    tableau, options = KINDS[kind]
    learned = start_of(kind)
    ours = kx.solve(circle_and_bell, solution(0.0), 0.0, 1.0, solver=learned)
    classical = kx.solve(circle_and_bell, solution(0.0), 0.0, 1.0, solver=kx.FixedSteps(tableau, STEPS))
    np.testing.assert_allclose(ours.y1, classical.y1, rtol=0, atol=1e-14)
    stages = options.get("stages", tableau.stages)
    assert ours.stats.nfe == learned.nfe == stages * STEPS
    assert learned.name.startswith(tableau.name)


@EACH_KIND
@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(0.01, 0.5))
def test_order_survives_any_update(kind, seed, scale):
    """Order conditions to 1e-13 of the size of the coefficients; and the measured slope of N steps as T shrinks."""
    solver = moved(start_of(kind), seed, scale)
    table = solver.table(jnp.float64)
    assume(bool(table.sound))  # else the solve says so, see below
    a, b, c, h = (np.asarray(x) for x in (table.a, table.b, table.c, table.h))
    np.testing.assert_allclose(h.sum(), 1.0, rtol=1e-14)
    assert (h > 0).all()
    np.testing.assert_allclose(c, a.sum(-1), rtol=0, atol=1e-15 * max(1.0, np.abs(a).sum(-1).max()))
    for row in range(STEPS):
        size = max(1.0, np.abs(b[row]).sum() * max(1.0, np.abs(a[row]).sum(-1).max()) ** (solver.order - 1))
        assert np.abs(order_conditions((a[row], b[row], c[row]), solver.order)).max() <= 1e-13 * size
    # Over one interval of N steps the error is O(T^(p+1)): each step's is, and N is fixed. Below 1e-12 is rounding; the
    # five finest above it are the asymptotic range.
    spans = 0.4 * 0.8 ** np.arange(36)
    errors = np.array([compiled(kind)(solver, span) for span in spans])
    finest = np.flatnonzero(errors > 1e-12)[-5:]
    assert np.polyfit(np.log(spans[finest]), np.log(errors[finest]), 1)[0] >= solver.order + 1 - 0.2


@pytest.mark.parametrize("kind", mostly_slow(["order 2", "closed 3", "closed 4"]))
def test_measured_order_over_more_and_more_intervals(kind):
    """The slope of the error at a fixed end, with the interval cut by ts into ever more parts."""
    solver = moved(start_of(kind), 3, 0.1)
    parts = np.array([4, 8, 16])
    errors = []
    for n in parts:
        ts = np.linspace(0.0, 2.0, n + 1)[1:]
        errors.append(
            np.abs(kx.solve(circle_and_bell, solution(0.0), 0.0, 2.0, solver=solver, ts=ts).y1 - solution(2.0))
        )
    errors = np.array(errors).max(-1)
    assert errors.min() > 1e-12
    assert -np.polyfit(np.log(parts), np.log(errors), 1)[0] >= solver.order - 0.2


@pytest.mark.parametrize("kind", ["order 2", "closed 2", "closed 3", "closed 4", "closed 4, half"])
def test_parameters_do_move_the_scheme(kind):
    """Every leaf has a gradient somewhere: no parameter is dead at the start."""
    start = start_of(kind)

    def loss(solver):
        y1 = kx.solve(circle_and_bell, solution(0.0), 0.0, 2.0, solver=solver).y1
        return jnp.sum((y1 - solution(2.0)) ** 2)

    gradient = eqx.filter_jit(eqx.filter_grad(loss))(start)
    for leaf in jax.tree.leaves(gradient):
        assert np.isfinite(leaf).all()
        assert np.abs(leaf).max() > 0


def test_training_makes_it_better():
    """From RK4 in one step, kept at order 2: the error falls below a tenth of the start's."""
    solver = kx.LearnedRK.from_tableau(RK4, 1, order=2)
    optimiser = optax.adam(1e-2)

    def loss(solver):
        y1 = kx.solve(circle_and_bell, solution(0.0), 0.0, 1.0, solver=solver).y1
        return jnp.sum((y1 - solution(1.0)) ** 2)

    @jax.jit
    def trained(solver):
        def step(now, _):
            solver, state = now
            updates, state = optimiser.update(jax.grad(loss)(solver), state)
            return (eqx.apply_updates(solver, updates), state), None

        return jax.lax.scan(step, (solver, optimiser.init(solver)), length=200)[0][0]

    with jax.numpy_dtype_promotion("standard"):
        after = trained(solver)
    assert loss(after) < loss(solver) / 10


# The closed families.


def families():
    """Members of each family at parameters well inside its chart."""
    inside = {"Order2": (0.4,), "Order3": (0.3, 0.8), "Order4": (0.3, 0.7), "Order4Half": (0.5,)}
    return [pytest.param(family, inside[family.__name__], id=family.__name__) for family in CLOSED]


@pytest.mark.parametrize(("family", "parameters"), families())
def test_closed_families(family, parameters):
    """Bending undoes flattening, the formula has the order, and the stability polynomial is the exponential's."""
    np.testing.assert_allclose(family.bend(jnp.array(family.flatten(*parameters))), parameters, rtol=1e-14)
    rng = np.random.default_rng(0)
    count = len(parameters)
    a, b, sound = family(jnp.asarray(2 * rng.normal(size=(50, count)))).coefficients()
    exponential = 1 / np.cumprod([1.0, *range(1, family.order + 1)])
    for one_a, one_b, one_sound in zip(np.asarray(a), np.asarray(b), sound, strict=True):
        assert one_sound
        size = max(1.0, np.abs(one_b).sum() * np.abs(one_a).sum(-1).max() ** (family.order - 1))
        assert np.abs(order_conditions((one_a, one_b, one_a.sum(-1)), family.order)).max() <= 1e-13 * size
        np.testing.assert_allclose(stability_polynomial(one_a, one_b), exponential, rtol=0, atol=1e-13 * size)
        nodes = one_a.sum(-1)
        assert (nodes > -1e-12).all()


REACHED = {
    MIDPOINT: "Order2",
    RALSTON2: "Order2",
    HEUN2: "Order2",
    HEUN3: "Order3",
    RALSTON3: "Order3",
    BOSH3: "Order3",
}
REACHED |= {RK4: "Order4Half", RK38: "Order4"}


@pytest.mark.parametrize("tableau", REACHED, ids=lambda tableau: tableau.name)
def test_starts_that_a_closed_family_reaches(tableau):
    chart = closed_at(tableau, 1, jnp.float64)
    assert type(chart).__name__ == REACHED[tableau]
    a, b, _ = chart.coefficients()
    np.testing.assert_allclose(a[0], tableau.a, rtol=0, atol=1e-14)
    np.testing.assert_allclose(b[0], tableau.b, rtol=0, atol=1e-14)


BACKWARD_NODE = Tableau.explicit("backwards", [[-0.5]], [2.0, -1.0], 2)
GILL_LIKE = Tableau.explicit("no family's", [[1 / 3], [-1 / 3, 1], [1, -1, 1.001]], [1 / 8, 3 / 8, 3 / 8, 1 / 8], 4)

REFUSED = {
    "kutta3": (KUTTA3, {}, "the chart of 3-stage methods of order 3 cannot reach Kutta3: start at HEUN3, RALSTON3 or"),
    "ssprk3": (SSPRK3, {}, "the chart of 3-stage methods of order 3 cannot reach SSPRK3: start at HEUN3"),
    "negative node": (BACKWARD_NODE, {}, "the chart of 2-stage methods of order 2 cannot reach backwards: start at"),
    "not of the order": (
        GILL_LIKE,
        {},
        "the chart of 4-stage methods of order 4 cannot reach no family's: start at RK4",
    ),
    "order over stages": (MIDPOINT, {"order": 3}, "order 3 needs at least 3 stages, got 2: add stages"),
    "order over the start's": (EULER, {"order": 2, "stages": 4}, "order 2 cannot start at Euler .*, which has order 1"),
    "order 4 projected": (DOPRI5, {"order": 4}, "order 4 with 6 stages is ill-conditioned as a projection: ask for"),
    "order 5": (DOPRI5, {"order": 5}, "order 5 with 6 stages is ill-conditioned"),
    "order 0": (RK4, {"order": 0}, "order must be a whole number >= 1, got 0"),
    "order 1.5": (RK4, {"order": 1.5}, "order must be a whole number >= 1, got 1.5"),
    "order true": (RK4, {"order": True}, "order must be a whole number >= 1, got True"),
    "ill-conditioned": (DOPRI8, {}, r"the order-3 conditions of Dopri8 with 13 stages are ill-conditioned \(3.5e\+03"),
    "fewer stages": (RK4, {"stages": 3}, "stages of a solver that starts at RK4 must be a whole number >= 4, got 3"),
    "half a stage": (
        RK4,
        {"stages": 4.5},
        "stages of a solver that starts at RK4 must be a whole number >= 4, got 4.5",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    tableau, options, message = REFUSED[case]
    with pytest.raises(UserError, match=message) as caught:
        kx.LearnedRK.from_tableau(tableau, 3, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ALL)
def test_every_tableau_can_be_a_start(name):
    """At its own highest order where the charts have it, else at order 2 (Euler: 1)."""
    try:
        solver = kx.LearnedRK.from_tableau(ALL[name], 2)
        assert solver.order == min(ALL[name].order, 4 if ALL[name].stages == 4 else 3)
    except UserError:
        assert name in ("kutta3", "ssprk3", "dopri8")
        solver = kx.LearnedRK.from_tableau(ALL[name], 2, order=2)
    table = solver.table(jnp.float64)
    for row in range(2):
        np.testing.assert_allclose(table.b[row], ALL[name].b, rtol=0, atol=1e-12)
        np.testing.assert_allclose(table.a[row], ALL[name].a, rtol=0, atol=1e-12)


def test_projection_that_drifts_to_dependent_conditions_is_named():
    """All nodes but the first alike: c and c^2 are parallel. A solve must not return a number."""
    solver = kx.LearnedRK.from_tableau(RK4, 1, order=3)
    a = np.zeros((4, 4))
    a[1:, 0] = 0.5
    bad = eqx.tree_at(lambda s: s.chart.lower, solver, jnp.asarray(a[np.tril_indices(4, -1)])[None])
    with pytest.raises(kx.SolveError, match="the learned tableau has drifted to where its order conditions are ill-"):
        kx.solve(circle_and_bell, solution(0.0), 0.0, 1.0, solver=bad)
    sol = kx.solve(circle_and_bell, solution(0.0), 0.0, 1.0, solver=bad, throw=False)
    assert sol.status == kx.Status.ill_conditioned
    assert np.isnan(sol.y1).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weights_that_drift_are_named(dtype):
    """c2 = exp(-16): b = (1 - 1/2u, 1/2u) is 4e6, and float32's rounding of the stages as much larger."""
    rotation = lambda t, y, args: jnp.stack([-y[1], y[0]])
    y0 = jnp.array([1.0, 0.0], dtype)
    for free, ok in ((-16.0, False), (np.nan, False), (np.log(0.5), True)):
        solver = kx.LearnedRK.from_tableau(HEUN2, 20, dtype=dtype)
        solver = eqx.tree_at(lambda x: x.chart.free, solver, jnp.full((1, 1), free, dtype))
        sol = kx.solve(rotation, y0, 0.0, 1.0, solver=solver, throw=False)
        assert (sol.status == kx.Status.ok) == ok
        if ok:
            np.testing.assert_allclose(sol.y1, [np.cos(1), np.sin(1)], atol=1e-3)
        else:
            assert sol.status == kx.Status.ill_conditioned
            assert np.isnan(sol.y1).all()


# Where it came from, and where it is meant for.


def test_anchored_multistep_is_one_step_of_many_stages():
    """N stages of Euler in one step: the same function evaluations, all earlier ones to choose from."""
    solver = kx.LearnedRK.from_tableau(EULER.compose(8), 1, order=1)
    assert (solver.stages, solver.nfe, solver.order) == (8, 8, 1)
    y1 = kx.solve(circle_and_bell, solution(0.0), 0.0, 1.0, solver=solver).y1
    euler = kx.solve(circle_and_bell, solution(0.0), 0.0, 1.0, solver=kx.FixedSteps(EULER, 8)).y1
    np.testing.assert_allclose(y1, euler, rtol=0, atol=1e-14)
    assert solver.chart.lower.size == 8 * 7 // 2


def test_step_sizes_stay_positive():
    """Even where the logits run away: none falls below a hundredth of a uniform step."""
    solver = kx.LearnedRK.from_tableau(RK4, 4, learn_steps=True)
    extreme = eqx.tree_at(lambda s: s.logits, solver, jnp.array([-1e3, 0.0, 50.0, 1e3]))
    h = np.asarray(extreme.table(jnp.float64).h)
    assert h.min() >= 0.01 / 4 * (1 - 1e-12)
    np.testing.assert_allclose(h.sum(), 1.0, rtol=1e-14)
    np.testing.assert_allclose(solver.table(jnp.float64).h, np.full(4, 0.25), rtol=1e-15)


def used_on(t0, t1, ts=None):
    solver = kx.LearnedRK.from_tableau(MIDPOINT, 2, trained_for=(0.0, 2.0))
    return kx.solve(lambda t, y, args: -y, np.ones(1), t0, t1, solver=solver, ts=ts)


@pytest.mark.parametrize(
    ("t0", "t1", "ts", "length"),
    [
        (0.0, 1.0, None, "1"),
        (2.0, 0.0, None, "-2"),
        (0.0, 2.0, [0.5, 2.0], "0.5"),
        (0.0, 6.0, [2.0, 4.0, 5.0], "1"),
    ],
    ids=["shorter", "backwards", "cut", "cut late"],
)
def test_use_off_its_grid_warns(t0, t1, ts, length):
    message = f"trained for 2 steps from t=0 to t=2 and is used on an interval of length {length}: it may be worse"
    with pytest.warns(kx.OffGridWarning, match=message):
        used_on(t0, t1, ts)


@pytest.mark.parametrize(
    ("t0", "t1", "ts"),
    [(0.0, 2.0, None), (0.0, 2.0, [0.0, 2.0]), (3.0, 5.0, None), (0.0, 6.0, [2.0, 4.0]), (1.0, 1.0, None)],
    ids=["its own", "with ends", "moved", "thrice", "empty"],
)
def test_use_on_its_grid_does_not_warn(t0, t1, ts):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        used_on(t0, t1, ts)


def test_a_solver_without_a_grid_does_not_warn_and_can_be_given_one():
    solver = kx.LearnedRK.from_tableau(MIDPOINT, 2)
    kx.solve(lambda t, y, args: -y, np.ones(1), 0.0, 9.0, solver=solver)
    meant = solver.for_interval(1, 0)
    assert meant.trained_for == (1.0, 0.0)
    assert solver.trained_for is None
    with pytest.warns(kx.OffGridWarning, match="trained for 2 steps from t=1 to t=0"):
        kx.solve(lambda t, y, args: -y, np.ones(1), 0.0, 1.0, solver=meant)


def test_printed():
    solver = kx.LearnedRK.from_tableau(RK4, 2, order=2, trained_for=(0.0, 1.0))
    assert str(solver).splitlines() == [
        "LearnedRK from RK4: order 2, 4 stages x 2 steps, shared coefficients, equal steps, for t=0 to 1",
        "every step: h = 0.5 T",
        "  0.00000 |",
        "  0.50000 |   0.50000",
        "  0.50000 |   0.00000   0.50000",
        "  1.00000 |   0.00000   0.00000   1.00000",
        "----------+----------------------------------------",
        "          |   0.16667   0.33333   0.33333   0.16667",
    ]
    assert "-0.00000" not in str(kx.LearnedRK.from_tableau(RK4, 2, order=4))
    own = moved(kx.LearnedRK.from_tableau(RK4, 3, order=2, per_step=True, learn_steps=True), 0, 0.1)
    text = str(own)
    assert "own coefficients a step, learned steps" in text
    shares = [float(line.split("h = ")[1].split()[0]) for line in text.splitlines() if line.startswith("step ")]
    np.testing.assert_allclose(shares, own.table(jnp.float64).h, rtol=1e-5)
    assert "LearnedRK" in str(kx.labels(own))  # a tree of something else prints too


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_parameters_of_one_dtype_solve_in_another(dtype):
    solver = kx.LearnedRK.from_tableau(RK4, 3, order=3, per_step=True, learn_steps=True, dtype=dtype)
    assert solver.dtype == dtype
    for state in (np.float32, np.float64):
        y1 = kx.solve(circle_and_bell, solution(0.0).astype(state), 0.0, 0.5, solver=solver).y1
        assert y1.dtype == state
        np.testing.assert_allclose(y1, solution(0.5), rtol=0, atol=1e-4)


@pytest.mark.parametrize("order", [1, 3])
def test_a_canonical_solver_survives_float32(order):
    """A fit in float64 may leave its parameters far out along directions that change nothing."""
    learned = kx.LearnedRK.from_tableau(
        kx.tableaus.RK4, 3, order=order, per_step=True, learn_steps=True, dtype=np.float64
    )
    logits, push = jnp.asarray([0.5, -1.0, 0.25]), jnp.asarray([1e5, -2e5, 1e5])[:, None]
    along = push * jnp.ones_like(learned.chart.weights)  # all weights alike: their sum is fixed by the first condition
    far = eqx.tree_at(lambda s: (s.logits, s.chart.weights), learned, (logits + 1e9, learned.chart.weights + along))
    near = eqx.tree_at(lambda s: s.logits, learned, logits)
    down = lambda solver: jax.tree.map(lambda x: x.astype(jnp.float32), solver).table(jnp.float32)
    canonical = far.canonical()
    for name in ("h", "b", "a"):
        np.testing.assert_allclose(
            getattr(canonical.table(np.float64), name), getattr(near.table(np.float64), name), atol=1e-7
        )
        np.testing.assert_allclose(getattr(down(canonical), name), getattr(near.table(np.float64), name), atol=1e-6)
    assert np.ptp(down(far).h) == 0, "without it, the steps are equal"
