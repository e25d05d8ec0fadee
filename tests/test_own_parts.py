"""A user's own solver, tableau, penalty and task, made with public names alone, wherever kuttax's own serve."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

import kuttax as kx

# A solver: two-step Adams-Bashforth, whose first step is Heun's


@kx.register_solver()
class AdamsBashforth2(kx.AbstractFixedStepSolver):
    """y_{n+1} = y_n + h (3/2 f_n - 1/2 f_{n-1}), Hairer, Norsett & Wanner I, III.1."""

    steps: int = eqx.field(static=True)

    order = 2
    stages = 1
    start_evaluations = 2

    def start(self, f, t, y, h):
        """The slope one step before, at the end of a step of Euler's method backwards."""
        return f(t - h, jax.tree.map(lambda y, k: y - h * k, y, f(t, y)))

    def step(self, f, t, y, h, memory):
        slope = f(t, y)
        ahead = lambda y, now, before: y + h * (1.5 * now - 0.5 * before)
        return jax.tree.map(ahead, y, slope, memory), slope


@kx.register_solver()
class ExponentialEuler(kx.AbstractFixedStepSolver):
    """y_{n+1} = e^{h a} y_n + h phi(h a) (f(y_n) - a y_n) for a stiff part a y: exact where the rest is constant."""

    steps: int = eqx.field(static=True)
    rate: float = eqx.field(static=True)

    order = 1
    stages = 1

    def step(self, f, t, y, h, memory):
        z = h * self.rate
        phi = jnp.where(z == 0, 1.0, jnp.expm1(z) / jnp.where(z == 0, 1.0, z)).astype(z.dtype)
        move = lambda y, k: jnp.exp(z) * y + h * phi * (k - self.rate * y)
        return jax.tree.map(move, y, f(t, y)), memory


A = np.array([[-0.4, 1.2], [-1.1, -0.3]])


def linear(t, y, args):
    return args @ y


def exact(y0, t=1.0):
    return y0 @ expm(t * A).T


@pytest.fixture
def starts(rng):
    return rng.standard_normal((8, 2))


def end(solver, starts, args=A, **options):
    return kx.solve(
        linear, jnp.asarray(starts), 0.0, 1.0, solver=solver, args=jnp.asarray(args), batch_axis=0, **options
    )


@pytest.mark.parametrize(
    ("make", "order"),
    [(AdamsBashforth2, 2), (lambda n: ExponentialEuler(n, -0.5), 1)],
    ids=["multistep", "exponential"],
)
def test_a_solver_of_ones_own_has_its_order(make, order, starts):
    errors = [np.abs(end(make(n), starts).y1 - exact(starts)).max() for n in (32, 64)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.15)
    sol = end(make(10), starts, ts=[0.25, 1.0])
    assert int(sol.stats.nfe) == 2 * make(10).evaluations_per_interval()
    np.testing.assert_allclose(sol.ys[0], exact(starts, 0.25), atol=0.05)


def test_an_exponential_integrator_takes_a_stiff_field_in_long_steps():
    stiff = lambda t, y, args: -1e4 * (y - jnp.cos(t))
    sol = kx.solve(stiff, jnp.ones(1), 0.0, 1.0, solver=ExponentialEuler(20, -1e4))
    truth = solve_ivp(lambda t, y: -1e4 * (y - np.cos(t)), (0, 1), [1.0], method="Radau", rtol=1e-9, atol=1e-12)
    assert abs(float(sol.y1[0]) - truth.y[0, -1]) < 0.05


@pytest.mark.parametrize("adjoint", [kx.DiscreteAdjoint(), kx.DiscreteAdjoint("steps"), kx.ForwardMode()])
def test_its_gradients(adjoint, starts):
    loss = lambda a: jnp.sum(end(AdamsBashforth2(6), starts, a, adjoint=adjoint).y1 ** 2)
    found = jax.grad(loss)(jnp.asarray(A))
    step = 1e-6
    for i, j in np.ndindex(2, 2):
        bump = np.zeros((2, 2))
        bump[i, j] = step
        assert found[i, j] == pytest.approx(float(loss(A + bump) - loss(A - bump)) / (2 * step), rel=1e-6, abs=1e-8)


def test_its_gradient_by_the_adjoint_equation(starts):
    loss = lambda adjoint: lambda a: jnp.sum(end(AdamsBashforth2(400), starts, a, adjoint=adjoint).y1 ** 2)
    exactly, continuous = (jax.grad(loss(x))(jnp.asarray(A)) for x in (kx.DiscreteAdjoint(), kx.BacksolveAdjoint()))
    np.testing.assert_allclose(continuous, exactly, rtol=1e-3)


@pytest.mark.parametrize("penalty", [kx.LocalError(steps=4), kx.LocalError("biased", size="solver"), kx.Consistency()])
def test_penalties_see_its_steps(penalty, starts, key):
    value = lambda a: end(AdamsBashforth2(4), starts, a, penalty=penalty, key=key).penalty
    found, gradient = jax.value_and_grad(value)(jnp.asarray(A))
    assert found > 0 and np.abs(gradient).max() > 0
    assert value(jnp.zeros((2, 2))) == pytest.approx(0.0, abs=1e-12)


def test_its_certificate(starts):
    many = np.tile(starts, (40, 1)) + np.linspace(0, 1, 320)[:, None]

    def predict(solver, batch):
        sol = end(solver, batch)
        return kx.Prediction(outputs=sol.y1, metric=jnp.sqrt(jnp.mean(sol.y1**2)), stats=sol.stats)

    fine, coarse = (kx.validity.certify(predict, AdamsBashforth2(n), many) for n in (40, 2))
    assert fine.verdict == "valid" and coarse.verdict == "invalid"
    assert fine.measured.expected_order == 2 and fine.measured.order == pytest.approx(2, abs=0.2)


def test_saved_and_loaded(tmp_path):
    for solver in (AdamsBashforth2(7), ExponentialEuler(3, -2.5)):
        kx.save(tmp_path / "solver.json", solver)
        assert kx.load(tmp_path / "solver.json") == solver


def test_two_solvers_of_one_name_are_refused():
    kind = type("AdamsBashforth2", (kx.AbstractFixedStepSolver,), {"__module__": "elsewhere"})
    with pytest.raises(kx.UserError, match="another solver is registered as AdamsBashforth2"):
        kx.register_solver()(kind)


# A tableau, a penalty and a task

OWN4 = kx.Tableau.explicit("Own4", [[0.5], [0, 0.5], [0, 0, 1]], [1 / 6, 1 / 3, 1 / 3, 1 / 6], 4)


class Speed(kx.AbstractPenalty):
    """The squared length of the state where one of the solver's steps starts."""

    def request(self, problem, solver, key):
        return kx.penalties.Request(pick=kx.penalties.Pick(None, key, moves=True))

    def value(self, seen):
        return jnp.mean(seen.picked.y**2)


class Rotation:
    """Learn the matrix of a linear field from its flow."""

    name, interval = "rotation", (0.0, 1.0)
    metric = kx.tasks.Metric("rmse", higher_is_better=False, unit="")
    loss_options = ("penalty",)

    def __init__(self):
        draw = lambda seed, n: np.random.default_rng(seed).standard_normal((n, 2)).astype(np.float32)
        pairs = lambda x: kx.data.Dataset(x, exact(x).astype(np.float32))
        self.train, self.validation, self.test = pairs(draw(0, 256)), pairs(draw(1, 200)), pairs(draw(2, 200))

    def init(self, key):
        return {"a": 0.1 * jax.random.normal(key, (2, 2), jnp.float32)}

    def loss(self, model, solver, batch, key, penalty=None):
        sol = self.solve(model, solver, batch.x, penalty=penalty, key=key)
        loss = jnp.mean((sol.y1 - batch.y) ** 2)
        log = {"nfe": kx.tasks.mean_nfe(sol.stats), "metric": jnp.sqrt(loss), "status": jnp.max(sol.status)}
        return loss + sol.penalty, log

    def predict(self, model, solver, batch):
        sol = self.solve(model, solver, batch.x)
        loss = jnp.mean((sol.y1 - batch.y) ** 2)
        return kx.Prediction(sol.y1, jnp.sqrt(loss), loss=loss, stats=sol.stats, status=jnp.max(sol.status))

    def solve(self, model, solver, x, **asked):
        return kx.solve(linear, x, 0.0, 1.0, solver=solver, args=model["a"], batch_axis=0, throw=False, **asked)


SETTINGS = kx.training.Settings(train_steps=60, batch_size=64, lr=0.05, evaluations=2, per_dispatch=10)


def test_a_penalty_of_ones_own(starts, key):
    value = end(kx.FixedSteps(kx.tableaus.RK4, 1), starts, penalty=2.0 * Speed(), key=key).penalty
    assert value == pytest.approx(2 * np.mean(starts**2))


def test_a_tableau_of_ones_own(starts, tmp_path):
    errors = [np.abs(end(kx.FixedSteps(OWN4, n), starts).y1 - exact(starts)).max() for n in (8, 16)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.3)
    kx.save(tmp_path / "solver.json", kx.FixedSteps(OWN4, 3))
    np.testing.assert_array_equal(kx.load(tmp_path / "solver.json").tableau.a, OWN4.a)
    assert kx.LearnedRK.from_tableau(OWN4, 2, order=2).stages == 4


def test_training_with_ones_own_parts_and_resuming(tmp_path):
    penalty = kx.penalties.decaying(Speed(), 1e-3, 1e-4, 60)
    trainer = kx.training.Trainer(Rotation(), AdamsBashforth2(8), SETTINGS, penalty)
    alone = trainer.run(seed=0)

    class Stop(Exception):
        pass

    def stop(now):
        if now.step >= 20:
            raise Stop

    checkpoints = kx.training.Checkpoints(tmp_path, every=0.0)
    with pytest.raises(Stop):
        trainer.run(seed=0, report=stop, checkpoints=checkpoints)
    again = trainer.run(seed=0, checkpoints=checkpoints, start=checkpoints.latest())
    np.testing.assert_array_equal(again.model["a"], alone.model["a"])
    assert alone.validation.metric < 0.5


@pytest.mark.slow
def test_step_control_of_ones_own_solver():
    control = kx.validity.StepControl()
    trained = kx.training.Trainer(Rotation(), AdamsBashforth2(8), SETTINGS, control=control).run(seed=0)
    assert isinstance(trained.solver, AdamsBashforth2) and trained.controlled.turns


@pytest.mark.slow
def test_fit_with_ones_own_solver_and_task():
    options = kx.FitOptions(warm_up=0.2)
    found = kx.fit(Rotation(), solver=AdamsBashforth2(16), options=options, settings=SETTINGS)
    assert [phase.name for phase in found.history][:2] == ["warm-up", "training"]
    assert isinstance(found.solver, AdamsBashforth2) and found.certificate.measured.expected_order == 2


def test_a_solver_that_only_runs_is_told_what_to_write(starts, tmp_path):
    class Bare(kx.AbstractSolver):
        def run(self, problem, derivative):
            return kx.FixedSteps(kx.tableaus.EULER, 4).run(problem, derivative)

        def check(self, problem):
            pass

    assert end(Bare(), starts).y1.shape == starts.shape
    predict = lambda solver, batch: kx.Prediction(end(solver, batch).y1, jnp.asarray(1.0))
    for attempt, says in (
        (lambda: kx.validity.certify(predict, Bare(), starts), "method refined"),
        (lambda: kx.save(tmp_path / "x.json", Bare()), "kx.register_solver"),
        (lambda: Bare().with_steps(3), "method number_of_steps"),
        (lambda: end(Bare(), starts, penalty=kx.Consistency(), key=jax.random.key(0)), "cannot look into Bare"),
    ):
        with pytest.raises(kx.UserError, match=says) as error:
            attempt()
        assert "\n" not in str(error.value)


def test_what_is_no_solver_task_or_step_is_refused_in_one_line(starts):
    class Forgetful(AdamsBashforth2):
        def step(self, f, t, y, h, memory):
            return y

    for attempt, says in (
        (lambda: end(kx.tableaus.RK4, starts), "solver must be a solver .* got Tableau.*RK4"),
        (lambda: end("rk4", starts), "solver must be a solver .* got 'rk4'"),
        (lambda: end(Forgetful(2), starts), "Forgetful.step must return"),
        (lambda: kx.fit("digits", nfe=4), "task must be one such as .* got 'digits'"),
        (lambda: kx.fit(Rotation(), solver="rk4"), "solver must be a solver"),
        (lambda: kx.fit(Rotation()), "needs either nfe=, .* or solver="),
    ):
        with pytest.raises(kx.UserError, match=says) as error:
            attempt()
        assert "\n" not in str(error.value)
