"""Tableaus: published numbers against other libraries, orders by Butcher's conditions and as measured, and refusals."""

import json
from fractions import Fraction

import diffrax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import RK23, RK45

import kuttax as kx
from kuttax.distillation.students import stages_of, start_of
from kuttax.errors import UserError
from kuttax.solvers.rk.order import order_conditions
from kuttax.solvers.rk.tableaus import ALL, BOSH3, DOPRI5, DOPRI8, EULER, HEUN3, MIDPOINT, RK4, TSIT5, Tableau

EVERY = pytest.mark.parametrize("tableau", ALL.values(), ids=ALL.keys())
PAIRS = pytest.mark.parametrize(
    "tableau", [t for t in ALL.values() if t.error is not None], ids=[k for k, t in ALL.items() if t.error is not None]
)
ROUNDING = 1e-13


def violation(a, b, c, order):
    """The largest residual among the conditions of exactly this order."""
    lower = len(order_conditions((a, b, c), order - 1)) if order > 1 else 0
    return np.abs(order_conditions((a, b, c), order)[lower:]).max()


def with_end_point(tableau):
    """a and c with the end point as a further stage."""
    s = tableau.stages
    a = np.zeros((s + 1, s + 1))
    a[:s, :s], a[s, :s] = tableau.a, tableau.b
    return a, np.append(tableau.c, 1.0)


def step(tableau, field, t, y, h):
    k = []
    for i in range(tableau.stages):
        k.append(field(t + tableau.c[i] * h, y + h * sum((tableau.a[i, j] * k[j] for j in range(i)), 0.0 * y)))
    return y + h * sum(tableau.b[i] * k[i] for i in range(tableau.stages))


def circle_and_bell(t, y):
    """Solved by (cos t, sin t, 1 / (1 + t^2)): coupled, non-linear and dependent on time."""
    u, v, w = y
    return np.array([-v * (u * u + v * v), u * (u * u + v * v), -2 * t * w * w])


def solution(t):
    return np.array([np.cos(t), np.sin(t), 1 / (1 + t * t)])


@EVERY
def test_order_by_conditions(tableau):
    a, b, c = tableau.a, tableau.b, tableau.c
    assert np.abs(order_conditions(tableau, tableau.order)).max() <= ROUNDING
    assert violation(a, b, c, tableau.order + 1) > 1e-6


@EVERY
def test_order_as_measured(tableau):
    steps = np.array([2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128])
    errors = []
    for n in steps:
        y = solution(0.0)
        for i in range(n):
            y = step(tableau, circle_and_bell, 2.0 * i / n, y, 2.0 / n)
        errors.append(np.abs(y - solution(2.0)).max())
    # Below 1e-12 is rounding; the five finest above it are the asymptotic range.
    log_n, log_error = (np.log(x[np.array(errors) > 1e-12][-5:]) for x in (steps, np.array(errors)))
    assert len(log_n) == 5
    assert -np.polyfit(log_n, log_error, 1)[0] >= tableau.order - 0.2


@PAIRS
def test_embedded_order(tableau):
    a, c = with_end_point(tableau)
    embedded = np.append(tableau.b, 0.0) - tableau.error
    assert np.abs(order_conditions((a, embedded, c), tableau.error_order)).max() <= ROUNDING
    assert violation(a, embedded, c, tableau.error_order + 1) > 1e-6


@EVERY
@pytest.mark.parametrize("theta", [0.1, 0.37, 0.5, 0.82, 1.0])
def test_dense_order(tableau, theta):
    """b(theta) is a method for the step theta h: its tableau is a / theta, b(theta) / theta."""
    a, c = with_end_point(tableau)
    b = tableau.dense @ theta ** np.arange(1, tableau.dense.shape[1] + 1)
    # In units of theta h a residual of n nodes is scaled by theta^-n; compared unscaled, with the weights as they are.
    for order in range(1, tableau.dense_order + 1):
        assert violation(a / theta, b / theta, c / theta, order) * theta**order <= ROUNDING
    if theta < 1:
        assert violation(a / theta, b / theta, c / theta, tableau.dense_order + 1) > 1e-6


@EVERY
def test_dense_is_continuous_with_its_derivative(tableau):
    s = tableau.stages
    slope = tableau.dense * np.arange(1, tableau.dense.shape[1] + 1)
    scale = max(1.0, np.abs(slope).max())
    np.testing.assert_allclose(tableau.dense.sum(axis=1), [*tableau.b, 0.0], rtol=0, atol=1e-15 * scale)
    np.testing.assert_allclose(slope[:, 0], np.eye(s + 1)[0], rtol=0, atol=1e-15)
    np.testing.assert_allclose(slope.sum(axis=1), np.eye(s + 1)[s], rtol=0, atol=1e-15 * scale)


@pytest.mark.parametrize(
    ("tableau", "theirs", "dense_atol"),
    [
        (BOSH3, diffrax.Bosh3, 1e-14),
        (DOPRI5, diffrax.Dopri5, 1e-14),
        (TSIT5, diffrax.Tsit5, 1e-13),
        # As printed, the coefficients of theta^2 and theta^3 miss the slope at the end point by 3e-11.
        (DOPRI8, diffrax.Dopri8, 2e-11),
    ],
    ids=["bosh3", "dopri5", "tsit5", "dopri8"],
)
def test_against_diffrax(tableau, theirs, dense_atol):
    s = tableau.stages
    for i, row in enumerate(theirs.tableau.a_lower[: s - 1]):
        np.testing.assert_allclose(tableau.a[i + 1, : i + 1], row, rtol=1e-15)
    np.testing.assert_allclose([*tableau.b, 0.0], theirs.tableau.b_sol, rtol=1e-15)
    np.testing.assert_allclose(tableau.error, theirs.tableau.b_error, rtol=1e-13, atol=1e-16)
    slopes = jnp.asarray(np.random.default_rng(0).normal(size=s + 1))
    y1 = jnp.sum(jnp.asarray(tableau.b) * slopes[:-1])
    interpolant = theirs.interpolation_cls(t0=0.0, t1=1.0, y0=jnp.zeros_like(y1), y1=y1, k=slopes)
    for theta in (0.2, 0.5, 0.9):
        ours = tableau.dense @ theta ** np.arange(1, tableau.dense.shape[1] + 1) @ np.asarray(slopes)
        np.testing.assert_allclose(ours, interpolant.evaluate(jnp.asarray(theta)), rtol=0, atol=dense_atol)


@pytest.mark.parametrize(("tableau", "theirs", "factor"), [(BOSH3, RK23, -1.0), (DOPRI5, RK45, -1.5)])
def test_against_scipy(tableau, theirs, factor):
    """SciPy's error estimate is the embedded solution minus y1, its Dormand-Prince pair the one of 1980."""
    np.testing.assert_allclose(tableau.a[:, : theirs.A.shape[1]], theirs.A, rtol=1e-15)
    np.testing.assert_allclose(tableau.b, theirs.B, rtol=1e-15)
    np.testing.assert_allclose(factor * tableau.error, theirs.E, rtol=1e-13)
    degree = theirs.P.shape[1]
    np.testing.assert_allclose(tableau.dense[:, :degree], theirs.P, rtol=1e-13, atol=1e-14)


@EVERY
@pytest.mark.parametrize("steps", [2, 3])
def test_compose_is_so_many_steps(tableau, steps):
    composed = tableau.compose(steps)
    h, y = 0.7, np.array([0.8, -0.3, 0.5])
    once = step(composed, circle_and_bell, 0.4, y, h)
    for i in range(steps):
        y = step(tableau, circle_and_bell, 0.4 + i * h / steps, y, h / steps)
    np.testing.assert_allclose(once, y, rtol=0, atol=2e-15)
    assert composed.stages == steps * tableau.stages
    assert composed.order == tableau.order
    assert composed.name == f"{tableau.name} x {steps}"
    a, c = with_end_point(composed)
    b = composed.dense @ 0.3 ** np.arange(1, 4)
    residuals = order_conditions((a / 0.3, b / 0.3, c / 0.3), composed.dense_order)
    assert np.abs(residuals).max() <= 1e-12


def test_compose_once_is_the_tableau_itself():
    assert RK4.compose(1) is RK4 and RK4.then() is RK4


def test_one_after_the_other_is_a_step_of_each():
    """RK4 for the first 4/9 of the step, Heun's third-order method for the next 3/9, the midpoint rule for the rest."""
    both = RK4.then(HEUN3, MIDPOINT)
    h, y, done = 0.7, np.array([0.8, -0.3, 0.5]), 0.0
    once = step(both, circle_and_bell, 0.4, y, h)
    for part, share in ((RK4, 4 / 9), (HEUN3, 3 / 9), (MIDPOINT, 2 / 9)):
        y = step(part, circle_and_bell, 0.4 + done * h, y, share * h)
        done += share
    np.testing.assert_allclose(once, y, rtol=0, atol=2e-15)
    assert (both.name, both.stages, both.order) == ("RK4 then Heun3 then Midpoint", 9, 2)


@pytest.mark.parametrize("stages", range(1, 14))
def test_a_scheme_of_any_number_of_stages(stages):
    """The order conditions up to the order it names."""
    scheme = start_of(stages)
    assert scheme.stages == stages and scheme.order >= (1, 2, 3, 4, 4, *[3] * 8)[stages - 1]
    assert np.abs(order_conditions(scheme, scheme.order)).max() <= 1e-12


def test_a_budget_that_2_and_3_do_not_divide_has_steps_that_can_learn():
    chosen = [stages_of(nfe) for nfe in (1, 4, 5, 6, 7, 10, 11, 13, 17, 25, 35)]
    assert chosen == [1, 4, 5, 3, 7, 2, 11, 13, 1, 5, 5]


def test_names():
    """Of the command line: those of the tableaus, in lower case, each once; saved solvers name them."""
    names = "euler midpoint heun2 ralston2 ralston3 heun3 kutta3 ssprk3 rk4 rk38 bosh3 dopri5 tsit5 dopri8"
    assert set(names.split()) <= set(ALL)
    assert all(name == tableau.name.lower() for name, tableau in ALL.items())
    assert ALL["rk4"] is RK4


def test_ones_own_from_rows_of_any_length():
    """The two-stage method with c2 = 3/4, in four ways of writing it."""
    b = [Fraction(1, 3), Fraction(2, 3)]
    for rows in ([[0.75]], [[], [Fraction(3, 4)]], [[0, 0], [0.75, 0]], np.array([[0.0, 0.0], [0.75, 0.0]])):
        own = Tableau.explicit("own", rows, b, 2, error=[-2 / 3, 2 / 3], error_order=1)
        np.testing.assert_array_equal(own.a, [[0, 0], [0.75, 0]])
        np.testing.assert_array_equal(own.c, [0, 0.75])
        np.testing.assert_array_equal(own.error, [-2 / 3, 2 / 3, 0])
        assert own.dense_order == 2
    assert own.sparsity == ((False, False), (True, False))


def test_nodes_are_rounded_once():
    """Summed in float64 Dormand-Prince's nodes are 0.8000000000000003 and 0.9999999999999998."""
    np.testing.assert_array_equal(DOPRI5.c, [0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1])


def test_arrays_are_read_only_copies():
    b = np.array([0.25, 0.75])
    own = Tableau.explicit("own", [[2 / 3]], b, 2)
    b[0] = 7.0
    assert own.b[0] == 0.25
    for array in (own.a, own.b, own.c, own.dense, DOPRI5.error):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0.0


def test_identity_is_the_key():
    twin = Tableau.explicit("Euler", [], [1], 1)
    assert twin != EULER
    assert len({twin, EULER, EULER}) == 2


def test_printed():
    assert str(RK4).splitlines() == [
        "RK4: order 4, 4 stages, embedded order 3",
        "    0 |",
        "  1/2 | 1/2",
        "  1/2 |   0  1/2",
        "    1 |   0    0    1",
        "------+-------------------------",
        "    b | 1/6  1/3  1/3  1/6",
        "error |   0    0    0  1/6  -1/6",
    ]


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([[1 / 2]], [0.5, 0.6], 2), {}, "own: b must sum to 1, got 1.1; correct b"),
        (([[1 / 2, 0.1], [0.0, 0.0]], [0, 1], 2), {}, "strictly lower triangular, got a.0, 0. = 0.5"),
        (([[0, 0], [0.5, 0.25]], [0, 1], 2), {}, "strictly lower triangular, got a.1, 1. = 0.25"),
        (([[1 / 2], [0, 1], [1, 0, 0]], [0, 1], 2), {}, "a must have 2 rows, as b has entries, got 3"),
        (([[0.5], [1]], [0, 0, 1], 2), {}, "row 3 of a must have 2 entries, got 1"),
        (([[np.nan]], [0, 1], 2), {}, "entries of a must be finite numbers, got nan"),
        (([[np.inf]], [0, 1], 2), {}, "entries of a must be finite numbers, got inf"),
        (([["half"]], [0, 1], 2), {}, "entries of a must be finite numbers, got 'half'"),
        (([], [], 1), {}, "b must have at least one entry"),
        (([], [1], 0), {}, "order must be a whole number >= 1, got 0"),
        (([[1]], [0, 1], 1), {"error": [1, -1]}, "error was given without error_order"),
        (([[1]], [0, 1], 1), {"error_order": 1}, "error_order was given without error"),
        (([[1]], [0, 1], 1), {"error": [1, 1], "error_order": 1}, "error must sum to 0, got 2"),
        (([[1]], [0, 1], 1), {"error": [1, 1, 1, -3], "error_order": 1}, r"error must have shape \(3,\) for 2 stages"),
        (([], [1], 1), {"dense": [[1], [0]]}, "dense was given without dense_order"),
        (([], [1], 1), {"dense": [[1]], "dense_order": 1}, r"dense must have shape \(2, degree\)"),
        (([], [1], 1), {"dense": [[1], [0, 1]], "dense_order": 1}, "dense must be a rectangular array of numbers"),
        (([], [1], 1), {"dense": [[0.5], [0]], "dense_order": 1}, "dense must end at b"),
        (([], [1], 1), {"dense": [[1], [np.nan]], "dense_order": 1}, "dense must be finite, got nan"),
    ],
)
def test_refused(arguments, options, message):
    with pytest.raises(UserError, match=message) as caught:
        Tableau.explicit("own", *arguments, **options)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("own: ")


def test_refused_when_built_by_hand():
    with pytest.raises(UserError, match="c must be the row sums of a"):
        Tableau("own", RK4.a, RK4.b, RK4.c[::-1], 4, None, None, RK4.dense, 3)
    with pytest.raises(UserError, match="steps must be a whole number >= 1, got 0"):
        RK4.compose(0)


def test_numpys_whole_numbers_are_pythons_in_files():
    own = Tableau.explicit("own", [], [1.0], np.int64(1))
    assert json.dumps(own.to_data()) and json.dumps(kx.student("shared", 6, order=np.int64(1)).to_data())
    with pytest.raises(UserError, match="tableau"):
        RK4.then("RK4")
