"""Times of each sample's own: t0, t1 and ts, against closed forms, with gradients; rows that end in NaN."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from differences import assert_gradient_is_a_difference
from slowness import mostly_slow, slow

import kuttax as kx
from kuttax.errors import UserError
from kuttax.solvers.rk.tableaus import BOSH3, DOPRI5, DOPRI8, EULER, RK4, TSIT5

B = 4
RATE, PULSE = 0.7, np.array([1.0, 2.0, 0.5, 3.0])
Y0 = np.array([[1.0, -2.0], [0.5, 1.5], [2.0, 0.3], [-1.0, 1.0]])
T0 = np.array([0.0, -1.0, 2.5, 0.3])
T1 = np.array([2.0, 1.0, 5.0, 4.0])
TS = np.array([[0.1, 1.0, 2.0], [-0.5, 0.0, 0.4], [2.5, 3.0, np.nan], [0.7, np.nan, np.nan]])
ARGS = (jnp.asarray(RATE), jnp.asarray(PULSE))

PER_SAMPLE = [kx.Adaptive(pair, 1e-11, 1e-11, control="per_sample") for pair in (DOPRI5, TSIT5, DOPRI8)]
FIXED = [kx.FixedSteps(DOPRI8, 24), kx.LearnedRK.from_tableau(DOPRI5, steps=60)]
SOLVERS = [*PER_SAMPLE, *FIXED]


def title(part):
    """A solver's first line."""
    return str(part).splitlines()[0]


def field(t, y, args):
    """dy/dt = rate cos(w t) y, whose solution is in closed form; w belongs to the sample."""
    rate, w = args
    return rate * jnp.cos(w * t) * y


def truth(y0, t0, t, rate, w, xp=np):
    """y0 exp(rate (sin(w t) - sin(w t0)) / w), for times of every sample."""
    grown = xp.exp(rate * (xp.sin(w * t) - xp.sin(w * t0)) / w)
    return y0 * grown[:, None]


def solve(solver, y0=Y0, t0=T0, t1=T1, ts=TS, args=ARGS, **more):
    return kx.solve(field, y0, t0, t1, solver=solver, args=args, ts=ts, batch_axis=0, args_axes=(None, 0), **more)


@pytest.mark.parametrize("solver", mostly_slow(SOLVERS, PER_SAMPLE[0], FIXED[1]), ids=title)
@pytest.mark.parametrize("way", [1, -1], ids=["forward", "backward"])
def test_against_the_closed_form(solver, way):
    t0, t1, ts = (T0, T1, TS) if way == 1 else (T1, T0, np.sort(-TS, axis=1) * -1)
    sol = solve(solver, t0=t0, t1=t1, ts=ts)
    np.testing.assert_allclose(sol.y1, truth(Y0, t0, t1, RATE, PULSE), rtol=1e-8)
    for n in range(TS.shape[1]):
        expected = truth(Y0, t0, ts[:, n], RATE, PULSE)
        np.testing.assert_allclose(sol.ys[n], expected, rtol=1e-8)  # NaN where the row has ended
    assert np.all(np.asarray(sol.status) == 0)


@pytest.mark.parametrize("solver", mostly_slow([*SOLVERS, kx.Adaptive(DOPRI8, 1e-12, 1e-12)]), ids=title)
def test_one_interval_with_own_outputs(solver):
    """Joint control takes own ts too: the interval is common."""
    ts = np.array([[0.1, 1.0, 2.0], [0.5, 0.6, 0.7], [1.5, np.nan, np.nan], [0.0, 2.0, np.nan]])
    sol = solve(solver, t0=0.0, t1=2.0, ts=ts)
    for n in range(3):
        np.testing.assert_allclose(sol.ys[n], truth(Y0, 0.0, ts[:, n], RATE, PULSE), rtol=1e-7)
    np.testing.assert_allclose(sol.y1, truth(Y0, 0.0, 2.0, RATE, PULSE), rtol=1e-8)


@pytest.mark.parametrize("solver", mostly_slow(SOLVERS), ids=title)
def test_only_one_end_is_its_own(solver):
    np.testing.assert_allclose(solve(solver, t1=5.5, ts=None).y1, truth(Y0, T0, 5.5, RATE, PULSE), rtol=1e-8)
    np.testing.assert_allclose(solve(solver, t0=-2.0, ts=None).y1, truth(Y0, -2.0, T1, RATE, PULSE), rtol=1e-8)
    common = solve(solver, t1=5.5, ts=[5.0, 5.2])
    np.testing.assert_allclose(common.ys[1], truth(Y0, T0, 5.2, RATE, PULSE), rtol=1e-7)


WEIGHTS = np.arange(1.0, 25.0).reshape(3, B, 2) / 10


def measure(y1, ys, ts):
    """A number made of all that is there; what follows a row's end is masked as users mask it."""
    there = ~jnp.isnan(jnp.asarray(ts).T)[:, :, None]
    return jnp.sum(jnp.sin(y1)) + jnp.sum(jnp.where(there, ys * WEIGHTS + ys**2, 0.0))


@pytest.mark.parametrize("solver", mostly_slow(SOLVERS, PER_SAMPLE[0], FIXED[1]), ids=title)
def test_gradients_against_the_closed_form(solver):
    """Of y0, t0, t1, ts and args at once: each entry of the gradient."""

    def of_solve(y0, t0, t1, ts, args):
        sol = solve(solver, y0, t0, t1, ts, args)
        return measure(sol.y1, sol.ys, ts)

    def of_truth(y0, t0, t1, ts, args):
        ts = jnp.asarray(ts)
        filled = jnp.where(jnp.isnan(ts), 0.0, ts)
        ys = jnp.stack([truth(y0, t0, filled[:, n], *args, jnp) for n in range(3)])
        return measure(truth(y0, t0, t1, *args, jnp), ys, ts)

    at = (*(jnp.asarray(x) for x in (Y0, T0, T1, TS)), ARGS)
    found = jax.jit(jax.grad(of_solve, argnums=(0, 1, 2, 3, 4)))(*at)
    expected = jax.grad(of_truth, argnums=(0, 1, 2, 3, 4))(*at)
    for got, want in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert np.all(np.isfinite(got))
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7)


@pytest.mark.slow
def test_joint_gradients_of_own_outputs():
    """Joint control: the gradient in ts of each sample's own."""
    solver, ts = kx.Adaptive(DOPRI8, 1e-12, 1e-12), jnp.asarray([[0.1, 1.0], [0.5, 0.6], [1.5, 1.9], [0.2, 2.0]])
    value = lambda ts, t0, t1: jnp.sum(jnp.sin(solve(solver, t0=t0, t1=t1, ts=ts).ys))

    def expected(ts, t0, t1):
        del t1
        return sum(jnp.sum(jnp.sin(truth(Y0, t0, ts[:, n], RATE, PULSE, jnp))) for n in range(2))

    at = (ts, jnp.asarray(0.0), jnp.asarray(2.5))
    found = jax.grad(value, argnums=(0, 1, 2))(*at)
    for got, want in zip(found, jax.grad(expected, argnums=(0, 1, 2))(*at), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("adjoint", [slow(kx.ForwardMode()), kx.DiscreteAdjoint("steps")], ids=title)
@pytest.mark.parametrize("solver", mostly_slow([PER_SAMPLE[0], FIXED[0]]), ids=title)
def test_adjoints_agree(solver, adjoint):
    value = lambda adjoint: lambda t1: jnp.sum(solve(solver, t1=t1, ts=None, adjoint=adjoint, max_steps=200).y1)
    t1 = jnp.asarray(T1)
    np.testing.assert_allclose(jax.grad(value(adjoint))(t1), jax.grad(value(None))(t1), rtol=1e-8)
    if isinstance(adjoint, kx.ForwardMode):
        slope = np.sum(RATE * np.cos(PULSE * T1)[:, None] * truth(Y0, T0, T1, RATE, PULSE), axis=1)
        np.testing.assert_allclose(
            np.diag(
                jax.jacfwd(
                    lambda t1: jnp.sum(solve(solver, t1=t1, ts=None, adjoint=adjoint, max_steps=200).y1, axis=1)
                )(t1)
            ),
            slope,
            rtol=1e-7,
        )


@pytest.mark.parametrize("solver", mostly_slow([PER_SAMPLE[0], FIXED[0]]), ids=title)
def test_under_vmap_and_scan(solver):
    """Several sets of own times at once, and a scan that solves on from where it was."""
    shift = jnp.asarray([0.0, 0.5])
    many = jax.vmap(lambda s: solve(solver, t1=T1 + s, ts=None).y1)(shift)
    for got, s in zip(many, shift, strict=True):
        np.testing.assert_allclose(got, truth(Y0, T0, T1 + s, RATE, PULSE), rtol=1e-8)

    def on(carry, length):
        y, t = carry
        return (solve(solver, y, t, t + length, None).y1, t + length), None

    lengths = jnp.asarray([PULSE, 2 * PULSE])
    (y1, t1), _ = jax.lax.scan(on, (jnp.asarray(Y0), jnp.asarray(T0)), lengths)
    np.testing.assert_allclose(y1, truth(Y0, T0, np.asarray(t1), RATE, PULSE), rtol=1e-8)


@pytest.mark.parametrize("solver", mostly_slow([PER_SAMPLE[1], FIXED[0]]), ids=title)
def test_late_starts_of_float32_lose_no_digits(solver):
    """Known times are subtracted in float64, for every sample."""
    late = np.array([1e6, 2e6, 0.0, 3e6])
    solver = kx.Adaptive(TSIT5, 1e-6, 1e-6, control="per_sample") if isinstance(solver, kx.Adaptive) else solver
    sol = kx.solve(
        lambda t, y, args: -y, Y0.astype(np.float32), late, late + T1 - T0, solver=solver, ts=None, batch_axis=0
    )
    np.testing.assert_allclose(sol.y1, Y0 * np.exp(T0 - T1)[:, None], rtol=1e-5)


PENALTIES = {
    "local": kx.LocalError(steps=8),
    "biased": kx.LocalError("biased", size="solver"),
    "state": kx.LocalError(steps=8, through="state"),
    "initial": kx.LocalError(size="initial"),
    "kinetic": kx.penalties.Kinetic(),
    "global": kx.GlobalError(),
    "consistency": kx.Consistency(rtol=1e-6, atol=1e-6),
    "steer": kx.penalties.Steer(0.1),
}


@pytest.mark.parametrize("name", mostly_slow(PENALTIES, "local", "global", "kinetic", "steer"))
@pytest.mark.parametrize(
    "solver", [kx.Adaptive(BOSH3, 1e-3, 1e-3, control="per_sample"), kx.FixedSteps(RK4, 3)], ids=str
)
def test_penalties(name, solver, key):
    if name == "global" and isinstance(solver, kx.FixedSteps):
        pytest.skip("made of an adaptive solver's steps")

    def value(rate):
        sol = solve(solver, ts=None, args=(rate, ARGS[1]), penalty=PENALTIES[name], key=key)
        return sol.penalty + jnp.sum(sol.y1)

    found, gradient = jax.value_and_grad(value)(jnp.asarray(RATE))
    assert np.isfinite(found) and np.isfinite(gradient)
    step = 1e-5
    if name in ("kinetic", "local", "state", "consistency", "steer") and isinstance(solver, kx.FixedSteps):
        difference = (value(RATE + step) - value(RATE - step)) / (2 * step)
        if name in ("kinetic", "state", "steer"):  # the others hold the start of their step fixed
            np.testing.assert_allclose(gradient, difference, rtol=1e-5)


def test_the_kinetic_energy_of_own_intervals():
    """The integral over each sample's own interval, against quadrature."""
    sol = solve(kx.FixedSteps(DOPRI8, 20), ts=None, penalty=kx.penalties.Kinetic())
    total = []
    for b in range(B):
        nodes, weights = np.polynomial.legendre.leggauss(60)
        t = (T1[b] - T0[b]) / 2 * nodes + (T1[b] + T0[b]) / 2
        y = np.array([truth(Y0, T0, np.full(B, s), RATE, PULSE)[b] for s in t])
        slope = RATE * np.cos(PULSE[b] * t)[:, None] * y
        total.append((T1[b] - T0[b]) / 2 * np.sum(weights * np.sum(slope**2, axis=1)))
    np.testing.assert_allclose(sol.penalty, np.mean(total), rtol=1e-8)


REFUSED = {
    "joint t0": (
        {"solver": kx.Adaptive(DOPRI5)},
        "each sample has its own t0 or t1, and control='joint' takes the same",
    ),
    "too many": ({"t0": np.zeros(3)}, r"t0 must be one number, or one for each of 4 samples, got shape \(3,\)"),
    "rows": ({"ts": np.ones((3, 2))}, r"ts must have one row for each of 4 samples, got shape \(3, 2\)"),
    "order": ({"ts": np.tile([1.0, 0.5], (4, 1)), "t0": 0.0, "t1": 2.0}, "ts must be sorted from t0 towards t1"),
    "a gap": ({"ts": np.tile([1.0, np.nan, 1.5], (4, 1)), "t0": 0.0, "t1": 2.0}, "ts must be sorted from t0 towards"),
    "infinite": ({"ts": np.tile([1.0, np.inf], (4, 1))}, "ts must be finite"),
    "reversible": ({"solver": kx.Reversible(kx.FixedSteps(RK4, 3))}, "does not take times of each sample's own: use"),
    "diffrax": ({"solver": "diffrax"}, "does not take times of each sample's own: use"),
    "backsolve": ({"adjoint": kx.BacksolveAdjoint()}, "BacksolveAdjoint does not take times of each sample's own: use"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_line(case):
    import diffrax

    changed, message = REFUSED[case]
    call = {"solver": PER_SAMPLE[0], "ts": None, **changed}
    if call["solver"] == "diffrax":
        call["solver"] = kx.FromDiffrax(diffrax.Tsit5())
    with pytest.raises(UserError, match=message) as caught:
        solve(**call)
    assert "\n" not in str(caught.value)


def test_an_sde_has_one_interval():
    sde = kx.SDE(lambda t, y, args: -y, lambda t, y, args: jnp.ones_like(y))
    with pytest.raises(UserError, match=r"EulerMaruyama.* does not take times of each sample's own"):
        kx.solve(sde, Y0, T0, 9.0, solver=kx.EulerMaruyama(4), key=jax.random.key(0), batch_axis=0)


def test_a_gap_in_a_traced_row_is_a_status():
    ts = jnp.asarray(np.tile([0.5, np.nan, 1.5], (4, 1)))
    status = jax.jit(lambda ts: solve(FIXED[0], t0=0.0, t1=2.0, ts=ts, throw=False).status)(ts)
    assert np.all(np.asarray(status) == int(kx.Status.unordered_times))


@pytest.mark.slow
def test_differences_of_everything(rng):
    """A network's field, whose gradient in all that moves is a difference."""
    weights = rng.normal(size=(2, 2))

    def value(x):
        net = lambda t, y, args: jnp.tanh(args @ y) + jnp.sin(t)
        sol = kx.solve(net, x["y0"], x["t0"], x["t1"], solver=FIXED[0], args=x["w"], ts=x["ts"], batch_axis=0)
        return jnp.sum(jnp.sin(sol.ys)) + jnp.sum(sol.y1**2)

    ts = np.sort(rng.uniform(0.2, 0.8, size=(B, 3)), axis=1) * (T1 - T0)[:, None] + T0[:, None]
    at = {"y0": Y0, "t0": T0, "t1": T1, "w": weights, "ts": ts}
    assert_gradient_is_a_difference(value, jax.tree.map(jnp.asarray, at), rng)


@pytest.mark.slow
def test_certificates_of_models_with_own_times():
    """References step each sample on its own, and know the jumps: a fine model is valid, a coarse one is not."""
    jumps = np.array([[0.5, 1.0], [0.0, 0.7], [3.0, 4.0], [1.0, np.nan]])

    def predict(solver, batch):
        y0, t0, t1, jumps = batch
        level = lambda t, args: jnp.sum(jnp.where(t >= args, 1.0, 0.0))
        f = lambda t, y, args: 2.0 * (level(t, args) - y) + jnp.sin(3.0 * t)
        args = jnp.where(jnp.isnan(jumps), jnp.inf, jumps)
        sol = kx.solve(f, y0, t0, t1, solver=solver, args=args, args_axes=0, batch_axis=0, jumps=jumps)
        return kx.Prediction(sol.y1, jnp.mean(jnp.square(sol.y1)), stats=sol.stats)

    batch = tuple(np.tile(x, (16, *[1] * (x.ndim - 1))) for x in (Y0, T0, T1, jumps))
    batch[0][:] += np.linspace(0.0, 1.0, 64)[:, None]
    fine = kx.certify(predict, kx.FixedSteps(RK4, 40), batch)
    coarse = kx.certify(predict, kx.FixedSteps(EULER, 2), batch)
    assert (fine.verdict, coarse.verdict) == ("valid", "invalid"), (fine, coarse)
