"""diffrax both ways: its solvers inside kx.solve, and our tableaus, learned ones too, as solvers of its own."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from slowness import mostly_slow, slow

import kuttax as kx
from kuttax.errors import UserError
from kuttax.solvers.rk.tableaus import BOSH3, DOPRI5, HEUN2, RK4

Y0 = jnp.array([0.3, 1.0])


def field(t, y, args):
    del args
    return jnp.sin(y) * jnp.cos(3 * t) - y * y


def run_in_diffrax(solver, controller, dt0=None, y0=Y0, t1=2.0, ts=None):
    saveat = diffrax.SaveAt(t1=True) if ts is None else diffrax.SaveAt(ts=ts)
    terms = diffrax.ODETerm(field)
    return diffrax.diffeqsolve(terms, solver, 0.0, t1, dt0, y0, stepsize_controller=controller, saveat=saveat)


# From diffrax.

METHODS = [diffrax.Euler, diffrax.Heun, diffrax.Midpoint, diffrax.Ralston, diffrax.Bosh3, diffrax.Dopri5, diffrax.Tsit5]
METHODS += [diffrax.Dopri8]
EXPLICIT = {f"{kind.__name__}, steps": kx.FromDiffrax(kind(), steps=7) for kind in (*METHODS[:2], diffrax.Dopri5)}
EXPLICIT |= {kind.__name__: kx.FromDiffrax(kind(), 1e-4, 1e-4) for kind in METHODS[1:]}


@pytest.mark.parametrize("name", mostly_slow(EXPLICIT, "Heun, steps", "Tsit5"))
def test_nfe_is_what_the_field_counts(name):
    solver, calls = EXPLICIT[name], [0]

    def counted(t, y, args):
        jax.debug.callback(lambda: calls.__setitem__(0, calls[0] + 1))
        return field(t, y, args)

    sol = kx.solve(counted, Y0, 0.0, 5.0, solver=solver, max_steps=1000)
    jax.effects_barrier()
    assert sol.stats.nfe == calls[0] > 0
    assert sol.stats.accepted == 7 or solver.steps is None


def test_implicit_solvers():
    """Stiff: the rate is 1e4. What their inner iterations cost is not known beforehand."""

    def stiff(t, y, args):
        del args
        return -1e4 * (y - jnp.cos(t))

    sol = kx.solve(stiff, jnp.array([2.0]), 0.0, 1.0, solver=kx.FromDiffrax(diffrax.Kvaerno3(), 1e-6, 1e-6), ts=[0.5])
    assert sol.stats.nfe is None
    assert sol.stats.accepted < 200
    rate = 1e4
    truth = [(rate**2 * np.cos(t) + rate * np.sin(t)) / (1 + rate**2) for t in (0.5, 1.0)]
    np.testing.assert_allclose(sol.y1[0], truth[1], rtol=0, atol=1e-5)
    np.testing.assert_allclose(sol.ys[0, 0], truth[0], rtol=0, atol=1e-3)  # diffrax's cubic interpolation


def test_from_diffrax_is_diffrax():
    """The same steps in number, size and outcome; forward and backward in time."""
    solver = kx.FromDiffrax(diffrax.Tsit5(), steps=20)
    ts = jnp.array([0.0, 0.7, 2.0])
    ours = kx.solve(field, Y0, 0.0, 2.0, solver=solver, ts=ts)
    theirs = run_in_diffrax(diffrax.Tsit5(), diffrax.ConstantStepSize(), 0.1, ts=ts)
    np.testing.assert_allclose(ours.ys, theirs.ys, rtol=0, atol=1e-14)
    back = kx.solve(field, ours.y1, 2.0, 0.0, solver=kx.FromDiffrax(diffrax.Tsit5(), 1e-8, 1e-8))
    np.testing.assert_allclose(back.y1, Y0, rtol=0, atol=2e-5)


def test_its_failures_are_ours():
    def blow_up(t, y, args):
        del t, args
        return y * y

    with pytest.raises(kx.SolveError, match="raise max_steps") as caught:
        kx.solve(blow_up, jnp.array([1.0]), 0.0, 2.0, solver=kx.FromDiffrax(diffrax.Heun(), 1e-4, 1e-4), max_steps=30)
    assert caught.value.status == kx.Status.max_steps
    with pytest.raises(kx.SolveError, match="became NaN or infinite"):
        kx.solve(blow_up, jnp.array([10.0]), 0.0, 2.0, solver=kx.FromDiffrax(diffrax.Heun(), steps=50))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: kx.FromDiffrax(diffrax.Euler()),
            "diffrax's Euler estimates no error to control steps with: give steps=N",
        ),
        (lambda: kx.FromDiffrax(diffrax.Heun(), steps=0), "steps must be a whole number >= 1, got 0"),
        (lambda: kx.FromDiffrax(diffrax.Heun(), rtol=-1e-3), "rtol must be a number > 0, got -0.001"),
        (lambda: kx.FromDiffrax(RK4), "FromDiffrax needs a diffrax solver such as diffrax.Kvaerno5.., got"),
        (lambda: kx.to_diffrax("rk4"), "to_diffrax takes a Tableau, FixedSteps or LearnedRK, got str"),
        (
            lambda: kx.to_diffrax(kx.Adaptive(DOPRI5)),
            "to_diffrax takes a Tableau, FixedSteps or LearnedRK, got Adaptive",
        ),
        (
            lambda: kx.solve(field, Y0.astype(jnp.float32), 0, 1, solver=kx.FromDiffrax(diffrax.Heun(), 1e-9, 1e-9)),
            "rtol=1e-09 is below what float32 can carry",
        ),
    ],
    ids=["no error estimate", "no steps", "negative", "no solver", "text", "adaptive", "float32"],
)
def test_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_other_tolerances_do_not_recompile():
    traces = []

    @jax.jit
    def run(rtol):
        traces.append(rtol)
        return kx.solve(field, Y0, 0.0, 1.0, solver=kx.FromDiffrax(diffrax.Bosh3(), rtol, 1e-6)).y1

    assert np.abs(run(jnp.asarray(1e-3)) - run(jnp.asarray(1e-5))).max() > 1e-9
    assert len(traces) == 1


def test_tolerance_that_is_traced_and_too_small():
    @jax.jit
    def status(rtol):
        solver = kx.FromDiffrax(diffrax.Bosh3(), rtol, 1e-4)
        return kx.solve(field, Y0.astype(jnp.float32), 0.0, 1.0, solver=solver, throw=False, max_steps=50).status

    assert status(jnp.asarray(1e-4)) == kx.Status.ok
    assert status(jnp.asarray(1e-9)) == kx.Status.tolerance


def test_none_of_its_numbers_are_trained():
    tree = ({"weight": jnp.ones(2)}, kx.FromDiffrax(diffrax.Kvaerno3(), jnp.asarray(1e-5), options={"pcoeff": 0.3}))
    trained, rest = eqx.partition(tree, kx.trainable(tree))
    assert jax.tree.leaves(trained[1]) == []
    assert bool(eqx.tree_equal(eqx.combine(trained, rest), tree))
    assert jax.tree.leaves(kx.labels(trained)) == ["field"]


# To diffrax.


@pytest.mark.parametrize(
    ("tableau", "theirs"), [(DOPRI5, diffrax.Dopri5), slow(BOSH3, diffrax.Bosh3)], ids=["dopri5", "bosh3"]
)
def test_tableaus_under_the_controllers_of_diffrax(tableau, theirs):
    """Our tableau there takes the very steps of its own implementation of the method."""
    controller = diffrax.PIDController(1e-6, 1e-6)
    one = run_in_diffrax(kx.to_diffrax(tableau), controller, 0.1)
    other = run_in_diffrax(theirs(), controller, 0.1)
    np.testing.assert_allclose(one.ys, other.ys, rtol=0, atol=1e-13)
    assert one.stats["num_accepted_steps"] == other.stats["num_accepted_steps"] > 5
    assert one.stats["num_rejected_steps"] == other.stats["num_rejected_steps"]


@pytest.mark.slow
def test_dense_output_there():
    """Third-order Hermite: right to the fourth power of the step."""
    ts = jnp.linspace(0.0, 2.0, 11)
    sol = run_in_diffrax(kx.to_diffrax(RK4), diffrax.ConstantStepSize(), 0.02, ts=ts)
    truth = run_in_diffrax(diffrax.Dopri8(), diffrax.PIDController(1e-11, 1e-11), ts=ts)
    np.testing.assert_allclose(sol.ys, truth.ys, rtol=0, atol=1e-6)


def test_order_there():
    """diffrax asks for it: the order of the error estimate sets its controller's exponent."""
    terms = diffrax.ODETerm(field)
    for tableau, theirs in ((DOPRI5, diffrax.Dopri5()), (BOSH3, diffrax.Bosh3()), (HEUN2, diffrax.Heun())):
        ours = kx.to_diffrax(tableau)
        assert ours.order(terms) == theirs.order(terms)
        assert ours.error_order(terms) == theirs.error_order(terms)
    learned = kx.to_diffrax(kx.LearnedRK.from_tableau(RK4, 3, order=2))
    assert learned.order(terms) == 2


def learned(kind):
    tableau, options = {
        "per step": (RK4, {"order": 2, "per_step": True, "learn_steps": True}),
        "closed": (HEUN2, {"per_step": True}),
    }[kind]
    start = kx.LearnedRK.from_tableau(tableau, 4, **options)
    leaves, structure = jax.tree.flatten(start)
    rng = np.random.default_rng(5)
    return jax.tree.unflatten(structure, [leaf + 0.1 * rng.normal(size=leaf.shape) for leaf in leaves])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["per step", "closed"])
def test_learned_solvers_train_there(kind):
    """Row by row under StepTo: the values and, through the default checkpointed adjoint, the gradients of kx.solve."""

    def theirs(solver):
        steps = diffrax.StepTo(ts=solver.times(0.0, 2.0))
        return jnp.sum(jnp.sin(run_in_diffrax(solver, steps).ys))

    def ours(solver):
        return jnp.sum(jnp.sin(kx.solve(field, Y0, 0.0, 2.0, solver=solver).y1))

    solver = learned(kind)
    value, gradient = eqx.filter_jit(eqx.filter_value_and_grad(theirs))(kx.to_diffrax(solver))
    our_value, our_gradient = eqx.filter_jit(eqx.filter_value_and_grad(ours))(solver)
    np.testing.assert_allclose(value, our_value, rtol=1e-13)
    for a, b in zip(jax.tree.leaves(gradient.source), jax.tree.leaves(our_gradient), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)
        assert np.abs(b).max() > 1e-5


def test_backward_in_time_there():
    solver = learned("per step")
    to = kx.to_diffrax(solver)
    theirs = diffrax.diffeqsolve(
        diffrax.ODETerm(field), to, 2.0, 1.0, None, Y0, stepsize_controller=diffrax.StepTo(ts=to.times(2.0, 1.0))
    )
    np.testing.assert_allclose(theirs.ys[0], kx.solve(field, Y0, 2.0, 1.0, solver=solver).y1, rtol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [10.0, 50.0])
def test_implicit_solvers_in_float32_begin_with_steps_that_are_long_enough(rate):
    """In a very short first step the state changes by less than Newton's tolerance, and no step succeeds."""
    field = lambda t, y, args: -rate * (y - jnp.cos(t).astype(y.dtype))
    solver = kx.FromDiffrax(diffrax.Kvaerno5(), rtol=1e-5, atol=1e-5)
    y1 = kx.solve(field, jnp.zeros(1, jnp.float32), 0.0, 1.0, solver=solver).y1
    truth = solve_ivp(lambda t, y: -rate * (y - np.cos(t)), (0, 1), [0.0], method="Radau", rtol=1e-9, atol=1e-12)
    assert float(y1[0]) == pytest.approx(truth.y[0, -1], abs=2e-4)
