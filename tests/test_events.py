"""Events: their times and states against closed forms and SciPy, with exact gradients."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from slowness import mostly_slow

import kuttax as kx
from kuttax.errors import UserError
from kuttax.solvers.rk.tableaus import DOPRI5, DOPRI8, RK4, TSIT5

G, HEIGHT, SPEED = 9.81, 10.0, 1.5
ADAPTIVE = [kx.Adaptive(pair, 1e-11, 1e-11) for pair in (DOPRI5, TSIT5, DOPRI8)]
FIXED = [kx.FixedSteps(DOPRI5, 40), kx.FixedSteps(RK4, 400), kx.LearnedRK.from_tableau(DOPRI5, steps=400)]
DIFFRAX = kx.FromDiffrax(diffrax.Dopri8(), 1e-11, 1e-11)
PER_SAMPLE = [kx.Adaptive(pair, 1e-11, 1e-11, control="per_sample") for pair in (DOPRI5, DOPRI8)]


def title(part):
    """A solver's first line."""
    return str(part).splitlines()[0]


def fall(t, y, args):
    """A ball: height and speed."""
    del t
    return jnp.stack([y[1], -args * jnp.ones_like(y[1])])


def ground(t, y, args):
    del t, args
    return y[0]


def impact(height, speed, g, xp=np):
    """The time when the ball is at height zero, and its speed there."""
    t = (speed + xp.sqrt(speed**2 + 2 * g * height)) / g
    return t, speed - g * t


@pytest.mark.parametrize("solver", mostly_slow([*ADAPTIVE, *FIXED, DIFFRAX], ADAPTIVE[0], FIXED[0]), ids=title)
def test_a_falling_ball(solver):
    """Time and state of the impact, and all their derivatives, in closed form."""

    def value(height, speed, g):
        sol = kx.solve(
            fall, jnp.stack([height, speed]), 0.0, 4.0, solver=solver, args=g, event=kx.Event(ground, direction=-1)
        )
        return sol.event.t, sol.y1[1]

    at = tuple(jnp.asarray(x) for x in (HEIGHT, SPEED, G))
    np.testing.assert_allclose(value(*at), impact(*at), rtol=1e-10)
    found = jax.jit(jax.jacrev(value, argnums=(0, 1, 2)))(*at)
    expected = jax.jacrev(lambda *x: impact(*x, xp=jnp), argnums=(0, 1, 2))(*at)
    np.testing.assert_allclose(found, expected, rtol=1e-7)


@pytest.mark.parametrize("solver", mostly_slow([ADAPTIVE[0], FIXED[0], DIFFRAX]), ids=title)
@pytest.mark.parametrize("mode", mostly_slow(["forward", "reverse"], "reverse"))
def test_a_curved_path(solver, mode):
    """Van der Pol's oscillator reaches y = 0.5: against SciPy, and the derivatives against its differences."""
    if isinstance(solver, kx.FixedSteps):
        solver = kx.FixedSteps(DOPRI8, 200)  # its interpolant limits the time

    def scipy(mu, level, y):
        run = lambda t, y: [y[1], mu * (1 - y[0] ** 2) * y[1] - y[0]]
        hit = lambda t, y: y[0] - level
        hit.terminal, hit.direction = True, -1
        sol = solve_ivp(run, (0.0, 10.0), [y, 0.0], "DOP853", events=hit, rtol=1e-13, atol=1e-13)
        return np.array([sol.t_events[0][0], sol.y_events[0][0][1]])

    def value(mu, level, y):
        field = lambda t, y, args: jnp.stack([y[1], args * (1 - y[0] ** 2) * y[1] - y[0]])
        event = kx.Event(lambda t, y, args: y[0] - level, direction=-1)  # closes over what is differentiated
        adjoint = kx.ForwardMode() if mode == "forward" else None
        y0 = jnp.stack([y, jnp.zeros_like(y)])
        sol = kx.solve(field, y0, 0.0, 10.0, solver=solver, args=mu, event=event, adjoint=adjoint, max_steps=600)
        return jnp.stack([sol.event.t, sol.y1[1]])

    at = tuple(jnp.asarray(x) for x in (1.3, 0.5, 2.0))
    np.testing.assert_allclose(value(*at), scipy(*at), rtol=1e-8)
    jacobian = jax.jacfwd if mode == "forward" else jax.jacrev
    found = np.stack(jacobian(value, argnums=(0, 1, 2))(*at), axis=1)
    eps = 1e-4
    for n in range(3):
        step = eps * np.eye(3)[n]
        difference = sum(w * scipy(*(np.array(at) + k * step)) for k, w in ((-2, 1), (-1, -8), (1, 8), (2, -1)))
        np.testing.assert_allclose(found[:, n], difference / (12 * eps), rtol=1e-6, atol=1e-8)


Y0 = np.array([[10.0, 0.0], [5.0, 3.0], [1.0, -2.0], [100.0, 0.0]])


@pytest.mark.parametrize("solver", mostly_slow([*PER_SAMPLE, *FIXED], PER_SAMPLE[0]), ids=title)
def test_each_sample_at_its_own_time(solver):
    """Two events, of which one or the other comes first, and a sample that meets none; outputs after it are NaN."""
    events = [kx.Event(ground, direction=-1), kx.Event(lambda t, y, args: y[1] + 9.0, direction=-1)]
    ts = np.linspace(0.0, 1.2, 7)

    def solve(y0, g):
        return kx.solve(fall, y0, 0.0, 1.2, solver=solver, args=g, batch_axis=0, event=events, ts=ts)

    sol = solve(Y0, G)
    index, times, ends = [], [], []
    for height, speed in Y0:
        hits = [impact(height, speed, G)[0], (speed + 9.0) / G]
        first = int(np.argmin(hits)) if min(hits) <= 1.2 else -1
        t = 1.2 if first < 0 else hits[first]
        index.append(first)
        times.append(t)
        ends.append([height + speed * t - G * t**2 / 2, speed - G * t])
    assert np.asarray(sol.event.index).tolist() == index
    np.testing.assert_allclose(sol.event.t, times, rtol=1e-9)
    np.testing.assert_allclose(sol.y1, ends, rtol=1e-8, atol=1e-9)
    path = Y0[:, 0] + np.outer(ts, Y0[:, 1]) - G * ts[:, None] ** 2 / 2
    expected = np.where(ts[:, None] <= np.array(times), path, np.nan)
    np.testing.assert_allclose(sol.ys[:, :, 0], expected, rtol=1e-8, atol=1e-8)

    def value(y0, g):
        sol = solve(y0, g)
        return jnp.sum(sol.event.t) + jnp.sum(jnp.sin(sol.y1)) + jnp.sum(jnp.nan_to_num(sol.ys) ** 2)

    def truth(y0, g):
        t_ground = impact(y0[:, 0], y0[:, 1], g, jnp)[0]
        t = jnp.where(jnp.asarray(index) == 0, t_ground, jnp.where(jnp.asarray(index) == 1, (y0[:, 1] + 9.0) / g, 1.2))
        at = lambda s: jnp.stack([y0[:, 0] + y0[:, 1] * s - g * s**2 / 2, y0[:, 1] - g * s], axis=1)
        saved = sum(jnp.sum(jnp.where((s <= jnp.asarray(times))[:, None], at(s) ** 2, 0)) for s in jnp.asarray(ts))
        return jnp.sum(t) + jnp.sum(jnp.sin(at(t))) + saved

    y0, g = jnp.asarray(Y0), jnp.asarray(G)
    for got, want in zip(jax.grad(value, (0, 1))(y0, g), jax.grad(truth, (0, 1))(y0, g), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("solver", mostly_slow([ADAPTIVE[0], FIXED[0], DIFFRAX]), ids=title)
def test_a_late_origin_and_backward_time(solver):
    """The time is the user's, to the last digits, and a solve may run backwards."""
    start = 1e4
    sol = kx.solve(fall, Y0[0], start, start + 3.0, solver=solver, args=G, event=kx.Event(ground))
    np.testing.assert_allclose(sol.event.t - start, impact(10.0, 0.0, G)[0], rtol=1e-9)
    back = kx.solve(fall, Y0[1], 0.0, -3.0, solver=solver, args=G, event=kx.Event(ground))
    np.testing.assert_allclose(back.event.t, (3.0 - np.sqrt(9.0 + 10.0 * G)) / G, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("solver", [ADAPTIVE[1], FIXED[0], PER_SAMPLE[0]], ids=title)
def test_with_own_times_and_jumps(solver):
    """A push of each sample's own at a time of its own, then the event; its derivative in the time of the push."""
    batched = solver is not ADAPTIVE[1]
    push = np.array([0.4, 0.7]) if batched else np.array([0.4])
    y0, t0 = (np.array([Y0[0], [8.2, 3.0]]), np.array([0.0, 0.1])) if batched else (Y0[0], 0.0)

    def field(t, y, args):
        return jnp.stack([y[1], jnp.where(t >= args, 5.0, -G)])

    def value(push, height):
        event = kx.Event(lambda t, y, args: y[0] - height, direction=-1)
        jumps = push[:, None] if batched else push
        args = jax.lax.stop_gradient(push if batched else push[0])
        axes = {"batch_axis": 0, "args_axes": 0} if batched else {}
        sol = kx.solve(field, y0, t0, 4.0, solver=solver, args=args, jumps=jumps, event=event, **axes)
        return sol.event.t

    def truth(push, height):
        heights, speeds = np.atleast_2d(y0).T
        first = push - t0
        h, v = heights + speeds * first - G * first**2 / 2, speeds - G * first
        later = (-v - jnp.sqrt(v**2 - 10.0 * (h - height))) / 5.0  # falling still
        return push + later

    at = jnp.asarray(push), jnp.asarray(8.0)
    np.testing.assert_allclose(value(*at), truth(*at) if batched else truth(*at)[0], rtol=1e-9)
    found = jax.jacrev(value, (0, 1))(*at)
    expected = jax.jacrev(truth if batched else lambda *x: truth(*x)[0], (0, 1))(*at)
    for got, want in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)


@pytest.mark.slow
def test_a_bouncing_ball():
    """Impact after impact under `lax.scan`: times in closed form, and the derivative through all of them."""
    keep = 0.8

    def bounces(height):
        def bounce(carry, _):
            t, y = carry
            event = kx.Event(ground, direction=-1)
            sol = kx.solve(fall, y, t, t + 5.0, solver=ADAPTIVE[0], args=G, event=event)
            after = jnp.stack([jnp.zeros_like(sol.y1[0]), -keep * sol.y1[1]])
            return (sol.event.t, after), sol.event.t

        start = (jnp.zeros_like(height), jnp.stack([height, jnp.zeros_like(height)]))
        return jax.lax.scan(bounce, start, length=6)[1]

    first = np.sqrt(2 * HEIGHT / G)
    expected = first + np.cumsum([0.0, *(2 * first * keep**n for n in range(1, 6))])
    height = jnp.asarray(HEIGHT)
    np.testing.assert_allclose(jax.jit(bounces)(height), expected, rtol=1e-9)
    np.testing.assert_allclose(jax.jacrev(bounces)(height), expected / (2 * HEIGHT), rtol=1e-7)


def test_two_changes_of_sign_in_one_step():
    """The whole flight is a polynomial, which one step solves; the event inside of it is found all the same."""
    solver = kx.Adaptive(DOPRI5, 1e-6, 1e-6, first_step=4.0)
    y0 = np.array([0.0, 10.0])
    sol = kx.solve(fall, y0, 0.0, 4.0, solver=solver, args=G, event=kx.Event(lambda t, y, args: y[0] - 1.0))
    assert int(sol.stats.accepted) == 1
    np.testing.assert_allclose(sol.event.t, (10.0 - np.sqrt(100.0 - 2 * G)) / G, rtol=1e-9)


def test_evaluations_are_counted(rng):
    """The solver's own, and one at the event."""
    del rng
    for solver in (ADAPTIVE[0], FIXED[0], DIFFRAX):
        counted = []

        def field(t, y, args, counted=counted):
            jax.debug.callback(lambda: counted.append(1))
            return fall(t, y, args)

        sol = kx.solve(field, Y0[0], 0.0, 4.0, solver=solver, args=G, event=kx.Event(ground))
        jax.effects_barrier()
        assert len(counted) == int(sol.stats.nfe)


@pytest.mark.slow
def test_under_vmap():
    heights = jnp.asarray([1.0, 5.0, 40.0])
    fly = lambda h: kx.solve(
        fall, jnp.stack([h, 0.0 * h]), 0.0, 5.0, solver=ADAPTIVE[0], args=G, event=kx.Event(ground)
    )
    np.testing.assert_allclose(jax.vmap(lambda h: fly(h).event.t)(heights), np.sqrt(2 * heights / G), rtol=1e-9)
    slopes = jax.vmap(jax.grad(lambda h: fly(h).event.t))(heights)
    np.testing.assert_allclose(slopes, 1 / np.sqrt(2 * G * heights), rtol=1e-7)


@pytest.mark.slow
def test_certificates_of_models_with_events(rng):
    """References end each sample at its own event: fine steps are valid, coarse ones are not."""

    def predict(solver, batch):
        field = lambda t, y, args: jnp.stack([y[1], -y[0] - jnp.sin(3.0 * t)])
        event = kx.Event(lambda t, y, args: y[0], direction=-1)
        sol = kx.solve(field, batch, 0.0, 4.0, solver=solver, batch_axis=0, event=event, throw=False)
        return kx.Prediction(sol.event.t[:, None], jnp.mean(sol.event.t), stats=sol.stats)

    batch = rng.uniform(1.0, 2.0, size=(64, 2))
    fine, coarse = (kx.certify(predict, kx.FixedSteps(RK4, steps), batch) for steps in (200, 2))
    assert (fine.verdict, coarse.verdict) == ("valid", "invalid"), (fine, coarse)


def test_no_event():
    """The solve ends at t1; if the event must happen it fails, in one line."""
    call = lambda event, **more: kx.solve(fall, Y0[0], 0.0, 0.5, solver=ADAPTIVE[0], args=G, event=event, **more)
    sol = call(kx.Event(ground))
    assert int(sol.event.index) == -1 and float(sol.event.t) == 0.5 and not sol.event.found
    with pytest.raises(kx.SolveError, match="no event happened before t1: solve for longer") as caught:
        call(kx.Event(ground, required=True))
    assert "\n" not in str(caught.value)
    assert int(call(kx.Event(ground, required=True), throw=False).status) == int(kx.Status.no_event)


@pytest.mark.slow
@pytest.mark.parametrize("start", [1.0, 0.7, 3.0])
def test_a_change_of_sign_between_two_steps(start):
    """The zero is where a step ends: rounding may put it on either side of that time."""
    down = lambda t, y, args: -jnp.ones_like(y)
    for half in range(1, 40, 3):
        solver = kx.FixedSteps(RK4, 2 * half)
        y0 = np.array([start], np.float32)
        sol = kx.solve(down, y0, 0.0, 2 * start, solver=solver, event=kx.Event(ground))
        assert int(sol.event.index) == 0
        np.testing.assert_allclose(sol.event.t, start, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("solver", [ADAPTIVE[0], FIXED[0], PER_SAMPLE[0]], ids=title)
def test_a_condition_that_jumps(solver):
    """A setpoint falls below the state at T, where the field jumps too: the event is there, and moves with T alone."""
    batch = {"batch_axis": 0, "args_axes": None} if solver is PER_SAMPLE[0] else {}

    def value(y0, jump):
        still = jax.lax.stop_gradient(jump)
        field = lambda t, y, args: jnp.where(t >= args, 3.0, 1.0) * jnp.ones_like(y)
        event = kx.Event(lambda t, y, args: y[0] - jnp.where(t >= args, 0.0, 2.0))
        y0 = jnp.broadcast_to(y0, (2, 1) if batch else (1,))
        sol = kx.solve(field, y0, 0.0, 2.0, solver=solver, args=still, jumps=jump[None], event=event, **batch)
        return sol.event.t.ravel()[0], sol.y1.ravel()[0]

    at = jnp.asarray(0.2), jnp.asarray(0.7)
    np.testing.assert_allclose(value(*at), (0.7, 0.9), rtol=1e-10)
    np.testing.assert_allclose(jax.jacrev(value, (0, 1))(*at), [[0.0, 1.0], [1.0, 1.0]], atol=1e-9)


@pytest.mark.parametrize("solver", mostly_slow([ADAPTIVE[0], FIXED[0]]), ids=title)
def test_an_event_at_the_time_of_a_jump(solver):
    """The condition is smooth there, and its derivative is its own."""
    f = lambda c: kx.solve(lambda t, y, args: -y, np.ones(1), 0.0, 2.0, solver=solver, jumps=[1.0], event=event(c))
    event = lambda c: kx.Event(lambda t, y, args: t - c)
    found = jax.value_and_grad(lambda c: f(c).event.t)(jnp.asarray(1.0))
    np.testing.assert_allclose(found, (1.0, 1.0), rtol=1e-12)


def test_second_derivatives_are_refused():
    """They would lack terms."""
    fly = lambda h: kx.solve(fall, jnp.stack([h, 0 * h]), 0.0, 4.0, solver=FIXED[0], args=G, event=kx.Event(ground))
    with pytest.raises(UserError, match="an event has first derivatives alone"):
        jax.hessian(lambda h: fly(h).event.t)(jnp.asarray(HEIGHT))


REFUSED = {
    "arguments": ({"event": kx.Event(lambda y: y[0])}, "condition of event 0 must be a function f.t, y, args., and"),
    "nothing": (
        {"event": kx.Event(lambda t, y, args: None)},
        "condition of event 0 must return one number, got NoneType",
    ),
    "a truth value": ({"event": kx.Event(lambda t, y, args: y[0] < 0)}, "returns bool, which has no sign to change"),
    "a vector": ({"event": kx.Event(lambda t, y, args: y)}, r"must return one number, got shape \(2,\)"),
    "a function": ({"event": ground}, r"event must be a kx.Event, or a list of them, .* write kx.Event\(condition\)"),
    "joint": ({"event": kx.Event(ground), "batch_axis": 0}, "ends each sample at its own time, and control='joint'"),
    "diffrax": ({"event": kx.Event(ground), "batch_axis": 0, "solver": DIFFRAX}, "and diffrax takes the same steps"),
    "several": (
        {"event": [kx.Event(ground)] * 2, "solver": DIFFRAX},
        "FromDiffrax takes one event, got 2: use Adaptive",
    ),
    "penalty": ({"event": kx.Event(ground), "penalty": kx.penalties.Kinetic()}, "leave one of them out"),
    "reversible": ({"event": kx.Event(ground), "solver": kx.Reversible(FIXED[0])}, "does not take events: use"),
    "backsolve": (
        {"event": kx.Event(ground), "adjoint": kx.BacksolveAdjoint()},
        "BacksolveAdjoint does not take events",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_line(case):
    changed, message = REFUSED[case]
    y0 = Y0 if "batch_axis" in changed else Y0[0]
    with pytest.raises(UserError, match=message) as caught:
        kx.solve(fall, y0, 0.0, 1.0, **{"solver": ADAPTIVE[0], "args": G, **changed})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("made", [{"condition": 3.0}, {"condition": ground, "direction": 2}])
def test_events_that_are_none(made):
    with pytest.raises(UserError, match="must be"):
        kx.Event(made.pop("condition"), **made)
