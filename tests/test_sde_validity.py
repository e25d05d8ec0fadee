"""Certificates and step control of SDEs, on one Brownian path: against closed forms and hand-made numbers."""

import json
import math

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kuttax as kx
from kuttax.commands.options.step_control import proposed_steps
from kuttax.errors import UserError
from kuttax.validity import CertifiedControl, StepControl, certify
from kuttax.validity.certificate.moments import of_moment
from kuttax.validity.certificate.one_path import finer_on_path, on_fine_path, on_one_path
from kuttax.validity.control.control import Moment
from kuttax.validity.control.dial import StepDial
from kuttax.validity.control.reading import Reading

SAMPLES, KEY = 1200, jax.random.key(11)


def of_sde(sde, samples=SAMPLES):
    """`predict` of X(1), X(0) = 1, on the path of KEY; the metric is the mean."""

    @eqx.filter_jit
    def predict(solver, batch):
        sol = kx.solve(sde, batch, 0.0, 1.0, solver=solver, batch_axis=0, key=KEY, throw=False)
        return kx.Prediction(sol.y1, jnp.mean(sol.y1), stats=sol.stats, status=sol.status)

    return predict, np.ones((samples, 1))


def geometric(mu, s, noise="diagonal"):
    wide = (lambda x: x[:, None]) if noise == "general" else (lambda x: x)
    return kx.SDE(lambda t, y, args: mu * y, lambda t, y, args: wide(s * y), noise)


@pytest.fixture(scope="module")
def of_euler():
    """dX = X dW / 2 under Euler-Maruyama at four steps: as a martingale right in the mean, and wrong on every path."""
    return certify(*swapped(geometric(0.0, 0.5), kx.EulerMaruyama(4)))


def swapped(sde, solver):
    predict, batch = of_sde(sde)
    return predict, solver, batch


def test_deviations_are_those_of_the_closed_form(of_euler):
    """X = exp(W / 2 - 1 / 8) on the path of 1,024 cells that all rows follow."""
    path = kx.BrownianPath(KEY, jax.ShapeDtypeStruct((SAMPLES, 1), jnp.float64))
    cells = np.asarray(jax.jit(jax.vmap(lambda n: path.increment(n).w))(jnp.arange(1024))) / 32
    exact = np.exp(0.5 * cells.sum(0) - 1 / 8)
    scale = np.std(exact)
    assert [row.role for row in of_euler.rows] == ["own", "finer", "finer", "reference", "reference"]
    names = ["EulerMaruyama(steps=4)", "EulerMaruyama(steps=8, refine=128)", "EulerMaruyama(steps=16, refine=64)"]
    names += ["SRK(steps=512, refine=2)", "Milstein(steps=1024)"]
    assert [row.solver for row in of_euler.rows] == names
    for row, steps in zip(of_euler.rows[:3], (4, 8, 16), strict=True):
        euler = np.prod(1 + 0.5 * cells.reshape(steps, -1, SAMPLES, 1).sum(1), axis=0)
        np.testing.assert_allclose(row.from_reference, np.abs(euler - exact)[:, 0] / scale, rtol=0, atol=5e-3)
    assert max(row.from_reference.max() for row in of_euler.measured.references) < 0.02
    assert abs(of_euler.measured.order - 0.5) < 0.15 and of_euler.measured.expected_order == 0.5


def test_wrong_on_paths_and_right_in_law(of_euler):
    """Its variance is (1 + 1/16)^4 - 1, near e^(1/4) - 1: both have standard deviations near 0.53."""
    assert (of_euler.verdict, of_euler.in_law) == ("invalid", "valid")
    exact = 1 - math.sqrt(((1 + 1 / 16) ** 4 - 1) / (math.exp(1 / 4) - 1))
    for row in of_euler.measured.references:
        assert row.mean_gap.low == 0 < row.mean_gap.high < 0.05
        assert row.std_gap.low <= exact <= row.std_gap.high < 0.05
    assert "% of the samples deviate" in of_euler.reasons[0]
    assert all(reason.startswith("in law valid: the") or "in law" not in reason for reason in of_euler.reasons)
    said = json.loads(json.dumps(of_euler.to_json(), allow_nan=False))
    assert said["in_law"] == "valid" and said["rows"][3]["mean_gap"]["low"] == 0


@pytest.mark.slow
def test_wrong_in_law():
    """With a drift the mean is (1 + 1/2)^2 after two steps, and e."""
    found = certify(*swapped(geometric(1.0, 0.3), kx.EulerMaruyama(2)), refine=())
    assert (found.verdict, found.in_law) == ("invalid", "invalid")
    gap, (size,) = found.measured.references[0].mean_gap, found.measured.scales
    assert size == pytest.approx(math.e * math.sqrt(math.exp(0.09) - 1), rel=0.1)
    assert gap.low < (math.e - 2.25) / size < gap.high and gap.high - gap.low < 0.1


@pytest.mark.slow
def test_right_on_every_path():
    """Ornstein-Uhlenbeck by SRK, whose noise is additive."""
    sde = kx.SDE(lambda t, y, args: -y, lambda t, y, args: jnp.full_like(y, 0.4), "diagonal")
    found = certify(*swapped(sde, kx.SRK(8)), refine=())
    assert (found.verdict, found.in_law) == ("valid", "valid")
    assert [row.solver for row in found.measured.references] == ["SRK(steps=512, refine=2)", "Milstein(steps=1024)"]


def test_a_scheme_with_coefficients_of_each_step_is_its_own_reference_with_each_row_repeated():
    own = on_fine_path(kx.LearnedSRK.from_tableau(steps=4, per_step=True))
    found = [solver for (solver,) in finer_on_path(own)]
    assert [solver.number_of_steps() for solver in found] == [512, 1024, 512, 1024]
    assert {solver.path_cells() for solver in found} == {own.path_cells()}
    assert all(len(solver.lower) == 4 for solver in found[2:])


@pytest.mark.slow
def test_noise_without_schemes_of_higher_order():
    """The references are the own scheme at many more steps."""
    found = certify(*swapped(geometric(0.0, 0.5, "general"), kx.EulerMaruyama(4, refine=3)), refine=())
    failed = [row for row in found.rows if row.failure]
    assert ["SRK is for" in failed[0].failure, "Milstein is for" in failed[1].failure] == [True, True]
    names = ["EulerMaruyama(steps=512, refine=6)", "EulerMaruyama(steps=1024, refine=3)"]
    assert [row.solver for row in found.measured.references] == names and found.in_law == "valid"


@pytest.mark.slow
def test_adaptive_steps():
    """diffrax's tree is one path at all tolerances; X = exp(W / 2) on it. They tell how far off the own one is."""
    sde = kx.SDE(lambda t, y, args: 0 * y, lambda t, y, args: 0.5 * y, calculus="stratonovich")
    predict, batch = of_sde(sde, 80)
    found = certify(predict, kx.FromDiffrax(diffrax.SPaRK(), 0.1, 0.1), batch, refine=(2,))
    names = [f"FromDiffrax(SPaRK, rtol={tol:g}, atol={tol:g})" for tol in (0.1, 0.01, 0.001, 0.00333333)]
    assert [row.solver for row in found.rows] == names and found.in_law is not None
    shape = jax.ShapeDtypeStruct((80, 1), jnp.float64)
    w = diffrax.VirtualBrownianTree(0.0, 1.0, 0.5, shape, KEY, levy_area=diffrax.SpaceTimeLevyArea).evaluate(0.0, 1.0)
    exact = np.exp(w / 2)
    own = predict(kx.FromDiffrax(diffrax.SPaRK(), 0.1, 0.1), batch).outputs
    apart = np.abs(own - exact)[:, 0] / np.std(exact)
    missed = np.sqrt(np.mean((found.rows[0].from_reference - apart) ** 2) / np.mean(apart**2))
    assert missed < 0.15 and apart.max() > 0.1


def test_moments_hold_as_often_as_they_say(rng):
    """The upper bound of one entry, for normal numbers, each with 95 %."""
    held = []
    for _ in range(400):
        mine = rng.normal(1.0, 0.5, (50, 1))
        gap = of_moment(mine, mine + rng.normal(0.2, 0.3, (50, 1)), 1, np.array([0.5]))
        held.append((gap.low * 0.5 <= 0.2, gap.high * 0.5 >= 0.2))
    assert np.all(np.abs(np.mean(held, axis=0) - 0.95) < 0.04)
    assert of_moment(np.ones((1, 2)), np.ones((1, 2)), 1, np.ones(2)) is None


def test_the_largest_change_of_a_standard_deviation_counts(rng):
    """Twice the spread of one component of two, whatever its mean; a component that is exact hides nothing."""
    mine = rng.normal([100.0, -3.0], [1.0, 5.0], (4000, 2))
    theirs = mine * [2.0, 1.0] + [7.0, 0.0]
    for power, exact in ((1, 107.0), (2, 1.0)):
        gap = of_moment(mine, theirs, power, np.array([1.0, 5.0]))
        assert gap.low < exact < gap.high and gap.high - gap.low < 0.1 * exact


# Step control.


def test_solvers_with_different_steps_follow_one_path():
    """X = W: the same end, be it reached in 3, 6 or 8 steps."""
    sde = kx.SDE(lambda t, y, args: jnp.zeros_like(y), lambda t, y, args: jnp.ones_like(y))
    solvers = on_one_path(kx.EulerMaruyama(3, refine=5), kx.EulerMaruyama(6), kx.EulerMaruyama(8))
    assert [solver.steps * solver.refine for solver in solvers] == [24, 24, 24]
    ends = [kx.solve(sde, jnp.ones(4), 0.0, 1.0, solver=solver, key=KEY).y1 for solver in solvers]
    np.testing.assert_allclose(ends, np.tile(ends[0], (3, 1)), rtol=1e-12)
    rk4 = kx.FixedSteps(kx.tableaus.RK4, 3)
    assert on_one_path(rk4, rk4) == (rk4, rk4)


@pytest.mark.parametrize("solver", [kx.EulerMaruyama(20, refine=2), kx.LearnedSRK.from_tableau(steps=20)], ids=str)
def test_the_steps_of_an_sde_solver_are_turned(solver):
    """By twos; compared with the scheme itself at 16 times the steps."""
    dial = StepDial.of(solver, 1000)
    assert dial.order == solver.strong_order
    assert [dial.size(1 / n) for n in (11, 20, 29, 50, 3000)] == [10, 20, 40, 40, 640]
    turned = dial.turned(solver, 1 / 40)
    assert (turned.steps, turned.refine, type(turned)) == (40, solver.refine, type(solver))
    asked = StepControl().asks(StepControl().init(solver), solver)
    assert [one.steps for one in asked] == [20, 20, 320]
    assert len({one.steps * one.refine for one in asked}) == 1


def test_own_coefficients_a_step_belong_to_their_steps():
    solver = kx.LearnedSRK.from_tableau(steps=4, per_step=True)
    with pytest.raises(UserError, match=r"own coefficients a step belong to their steps: use LearnedSRK.from_tableau"):
        StepDial.of(solver, 100).turned(solver, 1 / 8)


def test_hairer_proposes_no_steps_for_an_sde():
    with pytest.raises(UserError, match="no number of steps can be proposed for an SDE: give --steps"):
        proposed_steps(None, kx.EulerMaruyama(4), 32, 0)


def test_certified_control_finds_the_steps_of_an_sde():
    """Where the strain is 8 h^(1/2), as of Euler-Maruyama, 64 steps are just enough, and 128 in the band."""
    solver, control = kx.EulerMaruyama(16), CertifiedControl()
    state = control.init(solver)
    for _ in range(20):
        own, better = control.asks(state, solver)
        assert better.steps == 16 * own.steps and better.refine * 16 == own.refine
        reading = Reading(1.0, nfe=float(own.steps), strain=8 / math.sqrt(own.steps))
        steps, state = control.update((reading, reading), state, Moment(0, 100))
        if not state.pending:
            break
    assert state.phase == "train" and steps in (64, 128)
