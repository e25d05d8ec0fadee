"""SDEs on a fixed grid: calculus, the path, gradients, counts, and what is refused."""

import dataclasses

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sde_problems import ITO, START, diffusion, drift
from slowness import mostly_slow

import kuttax as kx
from kuttax.errors import UserError
from kuttax.solvers.sde.srk_tableau import SRA1, SRI1W1

SOLVERS = (kx.EulerMaruyama, kx.Milstein, kx.StochasticHeun, kx.SRK)


def test_drift_correction_of_any_noise(rng):
    """Against sum_jk (dg_ij / dy_k) g_kj / 2, written out."""
    a, b, y = rng.normal(size=(3, 2, 3)), rng.normal(size=(3, 2)), rng.normal(size=3)

    def matrix(t, y, args):
        return jnp.asarray(b) + jnp.einsum("ijk,k->ij", jnp.asarray(a), y)

    g = b + np.einsum("ijk,k->ij", a, y)
    zero = lambda t, y, args: jnp.zeros_like(y)
    general = kx.SDE(zero, matrix, "general").to_stratonovich()
    np.testing.assert_allclose(general.drift(0.0, y, None), -np.einsum("ijk,kj->i", a, g) / 2, rtol=1e-12)
    scalar = kx.SDE(zero, lambda t, y, args: matrix(t, y, args)[:, 0], "scalar").to_stratonovich()
    np.testing.assert_allclose(scalar.drift(0.0, y, None), -np.einsum("ik,k->i", a[:, 0], g[:, 0]) / 2, rtol=1e-12)
    additive = kx.SDE(zero, lambda t, y, args: jnp.ones_like(y), "additive")
    assert additive.to_stratonovich().drift is zero


def test_order_conditions_of_the_srk_tableaus():
    """Roessler 2010, theorems 5.1 and 6.1 up to strong order 3/2."""
    t = SRI1W1
    one, (b1, b2, b3, b4) = np.ones(4), t.beta
    b, b0, a1 = t.b1 @ one, t.b0 @ one, t.a1 @ one
    conditions = [t.alpha @ one - 1, b1 @ one - 1, b2 @ one, b3 @ one, b4 @ one]
    conditions += [b1 @ b, b2 @ b - 1, b3 @ b, b4 @ b]
    conditions += [t.alpha @ t.a0 @ one - 1 / 2, t.alpha @ b0 - 1, t.alpha @ b0**2 - 3 / 2]
    conditions += [b1 @ a1 - 1, b2 @ a1, b3 @ a1 + 1, b4 @ a1, b1 @ b**2 - 1, b2 @ b**2, b3 @ b**2 + 1, b4 @ b**2 - 2]
    conditions += [b1 @ t.b1 @ b, b2 @ t.b1 @ b, b3 @ t.b1 @ b, b4 @ t.b1 @ b - 1]
    conditions += [b1 @ t.a1 @ b0 / 2 + b3 @ t.a1 @ b0 / 3]
    np.testing.assert_allclose(conditions, 0, atol=1e-14)
    t = SRA1
    one = np.ones(2)
    conditions = [t.alpha @ one - 1, t.beta[0] @ one - 1, t.beta[2] @ one, t.alpha @ t.b0 @ one - 1]
    conditions += [t.alpha @ t.a0 @ one - 1 / 2, t.alpha @ (t.b0 @ one) ** 2 - 3 / 2]
    conditions += [t.beta[0] @ t.c1 - 1, t.beta[2] @ t.c1 + 1]
    np.testing.assert_allclose(conditions, 0, atol=1e-14)


# The path.


@pytest.mark.parametrize("leaf", [jax.ShapeDtypeStruct((4, 2), jnp.float64), jax.ShapeDtypeStruct((), jnp.float64)])
def test_increments_of_several_cells_are_sums(leaf, key):
    path = kx.BrownianPath(key, {"a": leaf, "b": leaf})
    cells = [path.increment(n) for n in range(3, 9)]
    together = path.increment(3, 6)
    for name in ("a", "b"):
        at, area = np.zeros(leaf.shape), np.zeros(leaf.shape)
        for cell in cells:
            area, at = area + at + cell.mean[name], at + cell.w[name]
        np.testing.assert_allclose(together.w[name], at / np.sqrt(6), rtol=0, atol=1e-14)
        np.testing.assert_allclose(together.mean[name], area / 6 / np.sqrt(6), rtol=0, atol=1e-14)
    assert path.increment(3, 6, mean=False).mean is None
    assert np.array_equal(path.increment(3, 6, mean=False).w["a"], together.w["a"])


def test_the_law_of_increments():
    """Variances 1 and 1/3, covariance 1/2 of one increment; none between cells, leaves, samples and keys."""
    n = 20_000
    leaf = jax.ShapeDtypeStruct((n,), jnp.float64)
    found = []
    for seed in (0, 1):
        path = kx.BrownianPath(jax.random.key(seed), (leaf, leaf))
        for first, cells in ((0, 1), (1, 1), (2, 4)):
            w, mean = path.increment(first, cells)
            found += [*w, *mean]
    one = np.array([[1, 0, 0.5, 0], [0, 1, 0, 0.5], [0.5, 0, 1 / 3, 0], [0, 0.5, 0, 1 / 3]])
    np.testing.assert_allclose(np.cov(found), np.kron(np.eye(6), one), rtol=0, atol=5 / np.sqrt(n))
    np.testing.assert_allclose([np.mean(x[1:] * x[:-1]) for x in found], 0, rtol=0, atol=5 / np.sqrt(n))


def pure(noise, g, calculus="ito"):
    """dX = g dW: X1 = X0 + g W(1), whatever the scheme."""
    return kx.SDE(lambda t, y, args: jnp.zeros_like(y), lambda t, y, args: g(y), noise, calculus=calculus)


G = jnp.array([[0.3, -1.0], [0.5, 2.0], [0.0, 0.7]])
PURE = {
    "diagonal": pure("diagonal", jnp.ones_like),
    "scalar": pure("scalar", jnp.ones_like),
    "general": pure("general", lambda y: G),
    "additive": pure("additive", jnp.ones_like),
    "additive matrix": pure("additive", lambda y: G),
}


@pytest.mark.parametrize("noise", mostly_slow(PURE, "diagonal", "general"))
def test_one_key_is_one_path(noise, key):
    """Whatever the scheme, the steps and whether noise is drawn for each sample: X1 - X0 = g W(1)."""
    sde, y0 = PURE[noise], jnp.zeros((5, 3))
    shape = {"scalar": (5,), "general": (5, 2), "additive matrix": (5, 2)}.get(noise, (5, 3))
    w = np.asarray(kx.BrownianPath(key, jax.ShapeDtypeStruct(shape, jnp.float64)).increment(0, 12).w) * np.sqrt(0.8)
    expected = {"scalar": lambda: np.tile(w[:, None], 3)}.get(noise, lambda: w if w.shape == (5, 3) else w @ G.T)()
    coarse = kx.EulerMaruyama(3, refine=4) if noise == "general" else kx.SRK(4, refine=3)
    for solver in (kx.EulerMaruyama(12), coarse):
        sol = kx.solve(sde, y0, 0.2, 1.0, solver=solver, key=key, batch_axis=0)
        np.testing.assert_allclose(sol.y1, expected, rtol=0, atol=1e-13)
    again = kx.solve(sde, y0, 0.2, 1.0, solver=solver, key=key, batch_axis=0)
    assert np.array_equal(sol.y1, again.y1)
    other = kx.solve(sde, y0, 0.2, 1.0, solver=solver, key=jax.random.key(99), batch_axis=0)
    assert np.abs(other.y1 - sol.y1).min() > 1e-6
    assert len(np.unique(np.round(sol.y1[:, 1], 12))) == 5


def test_without_samples_and_with_another_axis(key):
    """A scalar noise drives the whole state unless samples are known; the samples' axis may be any."""
    y0 = jnp.zeros((2, 3))
    sol = kx.solve(PURE["scalar"], y0, 0.0, 1.0, solver=kx.EulerMaruyama(4), key=key)
    assert len(np.unique(sol.y1)) == 1
    sol = kx.solve(PURE["scalar"], y0, 0.0, 1.0, solver=kx.EulerMaruyama(4), key=key, batch_axis=1)
    assert len(np.unique(sol.y1)) == 3 and sol.y1.shape == (2, 3)


def test_outputs_lie_on_the_path(key):
    """An output at t0 takes nothing from the path, be the times known beforehand or not."""
    path = kx.BrownianPath(key, jax.ShapeDtypeStruct((3,), jnp.float64))
    ts = jnp.array([0.0, 0.5, 2.0])
    w = np.stack([np.asarray(path.increment(8 * i, 8).w) for i in (0, 1, 2)])
    expected = np.cumsum(w * np.sqrt([[0.5], [1.5], [1.0]]), 0)

    def run(ts):
        sol = kx.solve(PURE["diagonal"], jnp.zeros(3), 0.0, 3.0, solver=kx.EulerMaruyama(4, refine=2), ts=ts, key=key)
        return jnp.sum(sol.y1), sol

    slope, traced = jax.jit(jax.grad(run, has_aux=True))(ts)
    for sol in (run(ts)[1], traced):
        np.testing.assert_allclose(sol.ys, [[0, 0, 0], *expected[:2]], rtol=0, atol=1e-13)
        np.testing.assert_allclose(sol.y1, expected[2], rtol=0, atol=1e-13)
    assert np.all(np.isfinite(slope))


@pytest.mark.parametrize("name", mostly_slow(["EulerMaruyama", "Milstein", "StochasticHeun", "SRK", "LearnedSRK"]))
def test_a_path_does_not_depend_on_its_outputs(name, key):
    """Outputs at t0, twice at one time, or none: where steps are the same, so is the path."""
    solver = kx.LearnedSRK.from_tableau(steps=4) if name == "LearnedSRK" else getattr(kx, name)(4)
    calculus = "stratonovich" if name == "StochasticHeun" else "ito"
    sde = kx.SDE(lambda t, y, args: -y, lambda t, y, args: 0.3 * y, calculus=calculus)
    end = lambda ts: kx.solve(sde, jnp.ones(2), 0.0, 2.0, solver=solver, ts=ts, key=key).y1
    for ts in ([0.0, 1.0], [1.0, 1.0], [0.0, 0.0, 1.0, 2.0]):
        for run in (end, jax.jit(end)):
            np.testing.assert_allclose(run(jnp.array(ts)), end([1.0]), rtol=1e-12)


def test_a_matrix_noise_that_is_diagonal(key):
    """General noise with a diagonal matrix is diagonal noise, on states of any shape."""
    y0 = {"a": jnp.array([1.0, -0.5]), "b": jnp.asarray(0.7)}
    drift = lambda t, y, args: jax.tree.map(lambda x: -x, y)
    wide = kx.SDE(
        drift, lambda t, y, args: {"a": jnp.outer(y["a"], jnp.array([1.0, 2.0])), "b": y["b"] * jnp.ones(2)}, "general"
    )
    sol = kx.solve(wide, y0, 0.0, 1.0, solver=kx.EulerMaruyama(5), key=key)
    a, b = np.asarray(y0["a"]), float(y0["b"])
    path = kx.BrownianPath(key, jax.ShapeDtypeStruct((2,), jnp.float64))
    for n in range(5):
        dw = np.sqrt(0.2) * np.asarray(path.increment(n).w)
        a, b = a * (1 - 0.2 + dw @ [1, 2]), b * (1 - 0.2 + dw.sum())
    np.testing.assert_allclose(sol.y1["a"], a, rtol=1e-12)
    np.testing.assert_allclose(sol.y1["b"], b, rtol=1e-12)


def test_finer_steps_on_the_same_path(key):
    coarse = kx.SRK(4, refine=4)
    assert str(coarse.refined(2).solver) == str(kx.SRK(8, refine=2))
    with pytest.raises(UserError, match="refine=4 must be a multiple of 3"):
        coarse.refined(3)


# Gradients.


def wavy(t, y, args):
    return jnp.sin(args["a"] * y + t)


def loud(t, y, args):
    return args["b"] * jnp.cos(y) + 0.1


CASES = {
    "euler": (kx.EulerMaruyama(3, refine=2), kx.SDE(wavy, loud), ("stages", "products", "steps")),
    "milstein": (kx.Milstein(3), kx.SDE(wavy, loud, "scalar"), ("products",)),
    "heun": (kx.StochasticHeun(3), kx.SDE(wavy, loud, calculus="stratonovich"), ("products",)),
    "sri": (kx.SRK(3), kx.SDE(wavy, loud), ("products",)),
    "sra": (kx.SRK(3), kx.SDE(wavy, lambda t, y, args: args["b"] * jnp.ones((2, 3)) * (1 + t), "additive"), ("steps",)),
}


@pytest.mark.parametrize("name", mostly_slow(CASES, "euler", "heun"))
def test_gradients_on_a_fixed_path(name, key, rng):
    """Exact, whatever is kept, and in forward mode: against a central difference along one direction of everything."""
    solver, sde, memories = CASES[name]

    def loss(at, adjoint):
        y0, args, t1 = at
        sol = kx.solve(sde, y0, 0.0, t1, solver=solver, args=args, key=key, batch_axis=0, adjoint=adjoint)
        return jnp.sum(jnp.sin(sol.y1))

    at = (jnp.asarray(rng.normal(size=(3, 2))), {"a": jnp.asarray(0.8), "b": jnp.asarray(0.6)}, jnp.asarray(1.1))
    along = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape)), at)
    with_gradient = lambda memory: jax.jit(jax.value_and_grad(lambda at: loss(at, kx.DiscreteAdjoint(memory))))
    programs = [with_gradient(memory) for memory in memories]
    ends = [programs[0](jax.tree.map(lambda x, v, e=e: x + e * v, at, along))[0] for e in (1e-6, -1e-6)]
    slopes = []
    for program in programs:
        pairs = zip(jax.tree.leaves(program(at)[1]), jax.tree.leaves(along), strict=True)
        slopes.append(sum(jnp.vdot(g, v) for g, v in pairs))
    if name == "euler":
        slopes.append(jax.jvp(lambda at: loss(at, kx.ForwardMode()), (at,), (along,))[1])
    np.testing.assert_allclose(slopes, (ends[0] - ends[1]) / 2e-6, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(slopes, slopes[0], rtol=1e-12)


# What it costs.

COUNTED = {
    "euler": (kx.EulerMaruyama(5), "general", (1, 1)),
    "milstein": (kx.Milstein(5), "diagonal", (1, 1)),
    "heun": (kx.StochasticHeun(5), "scalar", (2, 2)),
    "sri": (kx.SRK(5), "diagonal", (2, 4)),
    "sra": (kx.SRK(5), "additive", (2, 2)),
}


@pytest.mark.parametrize("name", COUNTED)
def test_nfe_is_what_drift_and_diffusion_count(name, key):
    solver, noise, expected = COUNTED[name]
    calls = {"drift": 0, "diffusion": 0}

    def counted(name, value):
        def function(t, y, args):
            jax.debug.callback(lambda: calls.__setitem__(name, calls[name] + 1))
            return value(y)

        return function

    g = {"general": lambda y: jnp.ones((2, 3)), "additive": jnp.ones_like}.get(noise, jnp.cos)
    sde = kx.SDE(counted("drift", jnp.sin), counted("diffusion", g), noise, calculus="stratonovich")
    sde = sde if name in ("heun", "sra") else kx.SDE(sde.drift, sde.diffusion, noise)
    sol = kx.solve(sde, jnp.ones(2), 0.0, 1.0, solver=solver, ts=[0.5], key=key)
    jax.effects_barrier()
    assert (sol.stats.nfe, sol.stats.nfe_diffusion) == (calls["drift"], calls["diffusion"])
    assert (sol.stats.nfe, sol.stats.nfe_diffusion) == tuple(10 * x for x in expected)
    assert sol.stats.accepted == 10 and sol.stats.nfe_backward == sol.stats.nfe


def test_other_keys_do_not_recompile():
    traces = []

    def field(t, y, args):
        traces.append(t)
        return -y

    for seed in (0, 1):
        kx.solve(kx.SDE(field, jnp_ones), jnp.ones(2), 0.0, 1.0, solver=kx.EulerMaruyama(3), key=jax.random.key(seed))
        if seed == 0:
            seen = len(traces)
    assert len(traces) == seen


def jnp_ones(t, y, args):
    return jnp.ones_like(y)


# Learned coefficients.


def test_learned_scheme_starts_as_the_classical_one(key):
    learned = kx.LearnedSRK.from_tableau(steps=6, refine=2)
    sol, classical = (
        kx.solve(ITO, jnp.asarray(START), 0.0, 1.0, solver=solver, key=key) for solver in (learned, kx.SRK(6, refine=2))
    )
    np.testing.assert_allclose(sol.y1, classical.y1, rtol=1e-13)
    assert (sol.stats.nfe, sol.stats.nfe_diffusion) == (24, 24)
    own = kx.LearnedSRK.from_tableau(steps=12, per_step=True)
    assert own.lower.shape == (12, 4, 6) and learned.lower.shape == (1, 4, 6)
    rows = jax.jit(lambda: [solver.rows(jnp.float64) for solver in (own, learned.refined(2).solver)])()
    for one, other in zip(*map(jax.tree.leaves, rows), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-14)


def test_only_learned_coefficients_are_trained():
    solvers = [kx.LearnedSRK.from_tableau(steps=3), kx.SRK(3), kx.EulerMaruyama(3)]
    assert jax.tree.leaves(kx.trainable(solvers)) == [True, True]
    assert set(jax.tree.leaves(kx.labels(solvers))) == {"solver"}


def test_drift_into_nonsense_is_said(key):
    """All of B1 e equal: then no weights have order 1."""
    learned = kx.LearnedSRK.from_tableau(steps=3)
    flat = dataclasses.replace(learned, lower=learned.lower.at[:, 3].set(0.0))
    status = kx.solve(ITO, jnp.asarray(START), 0.0, 1.0, solver=flat, key=key, throw=False).status
    assert status == kx.Status.ill_conditioned


@pytest.mark.parametrize("kind", [*SOLVERS, kx.LearnedSRK], ids=lambda kind: kind.__name__)
def test_saved_and_loaded(kind, rng, tmp_path):
    solver = kind.from_tableau(steps=4, refine=2, per_step=True) if kind is kx.LearnedSRK else kind(4, refine=2)
    solver = jax.tree.map(lambda x: x + 0.1 * jnp.asarray(rng.normal(size=x.shape)), solver)
    kx.save(tmp_path / "solver.json", solver)
    again = kx.load(tmp_path / "solver.json")
    assert type(again) is kind and (again.steps, again.refine) == (4, 2)
    assert jax.tree.structure(again) == jax.tree.structure(solver)
    for one, other in zip(jax.tree.leaves(again), jax.tree.leaves(solver), strict=True):
        assert np.array_equal(one, other)


# What is refused.


def solved(sde=ITO, solver=None, **options):
    options = {"key": jax.random.key(0), "t1": 1.0, "y0": jnp.ones(3), **options}
    t1, y0 = options.pop("t1"), options.pop("y0")
    return kx.solve(sde, y0, 0.0, t1, solver=kx.EulerMaruyama(4) if solver is None else solver, **options)


def shaped(shape, noise):
    return kx.SDE(drift, lambda t, y, args: jnp.ones(shape), noise)


REFUSED = {
    "no key": (lambda: solved(key=None), "an SDE draws at random: give solve a key, e.g. key=jax.random.key"),
    "no single key": (lambda: solved(key=jax.random.split(jax.random.key(0))), "key must be one JAX random key"),
    "noise": (lambda: kx.SDE(drift, diffusion, "diag"), "noise must be one of diagonal, .*, got 'diag'"),
    "calculus": (lambda: kx.SDE(drift, diffusion, calculus="Ito"), "calculus must be one of ito, stratonovich, got"),
    "a number": (lambda: kx.SDE(drift, 0.3), "the diffusion must be a function of .t, y, args., got 0.3"),
    "steps": (lambda: kx.SRK(0), "steps must be a whole number >= 1, got 0"),
    "refine": (lambda: kx.SRK(4, refine=0.5), "refine must be a whole number >= 1, got 0.5"),
    "milstein, general": (
        lambda: solved(shaped((3, 2), "general"), kx.Milstein(4)),
        "Milstein is for diagonal, scalar or additive noise, got general: use EulerMaruyama or StochasticHeun",
    ),
    "srk, general": (lambda: solved(shaped((3, 2), "general"), kx.SRK(4)), "SRK is for diagonal, scalar or additive"),
    "matrix": (
        lambda: solved(shaped((3, 2), "diagonal")),
        "with noise='diagonal' the diffusion must be shaped like the state float64.3., got float64.3, 2.: "
        "use noise='general' for a matrix",
    ),
    "no matrix": (lambda: solved(shaped((3,), "general")), "have one last axis more .* use noise='diagonal', or 'scal"),
    "another shape": (lambda: solved(shaped((2,), "scalar")), "got float64.2.: reshape it"),
    "another tree": (lambda: solved(kx.SDE(drift, lambda *_: (1.0,))), "return the state's own pytree and dtype"),
    "drift": (lambda: solved(kx.SDE(lambda *_: jnp.ones(2), diffusion)), "the drift must return a slope like the stat"),
    "not additive": (
        lambda: solved(kx.SDE(drift, diffusion, "additive")),
        "noise='additive' is for a diffusion that does not depend on y: use 'diagonal' or 'general'",
    ),
    "ito in heun": (
        lambda: solved(solver=kx.StochasticHeun(4)),
        "StochasticHeun solves Stratonovich SDEs, and this one is Ito: convert it with sde.to_stratonovich.., or use",
    ),
    "stratonovich in srk": (
        lambda: solved(ITO.to_stratonovich(), kx.SRK(4)),
        "SRK solves Ito SDEs, and this one is Stratonovich: convert it with sde.to_ito",
    ),
    "an ODE": (lambda: solved(drift), "EulerMaruyama solves SDEs: give kx.SDE.drift, diffusion. in place of the field"),
    "an ODE's solver": (
        lambda: solved(solver=kx.FixedSteps(kx.tableaus.RK4, 4)),
        "FixedSteps solves ODEs: for an SDE use EulerMaruyama, Milstein, StochasticHeun, SRK or FromDiffrax",
    ),
    "backwards": (lambda: solved(t1=-1.0), "t1 must not come before t0, got t0=0.0, t1=-1.0"),
    "backsolve": (lambda: solved(adjoint=kx.BacksolveAdjoint()), "BacksolveAdjoint is for ODEs: with an SDE use"),
    "penalty": (lambda: solved(penalty=kx.penalties.Kinetic()), "Kinetic is for ODEs: with an SDE use LocalError, or"),
    "stiffness": (
        lambda: solved(penalty=0.1 * kx.LocalError() + kx.LocalStiffness()),
        "LocalStiffness is for ODEs: with an SDE use LocalError",
    ),
    "global, equal steps": (
        lambda: solved(penalty=kx.GlobalError()),
        "GlobalError of an SDE is made of an adaptive solver's steps: use FromDiffrax with tolerances, or LocalError",
    ),
    "a tableau": (
        lambda: solved(penalty=kx.LocalError(tableau=kx.tableaus.TSIT5)),
        "tableau is for ODEs: with an SDE give sde_solver=diffrax.SPaRK",
    ),
    "an initial step": (
        lambda: solved(penalty=kx.LocalError(size="initial")),
        "size='initial' is a heuristic for ODEs: with an SDE use size='budget' or 'solver'",
    ),
    "stages": (
        lambda: solved(penalty=kx.LocalError(through="stages")),
        "through='stages' is for ODEs: with an SDE use through='step' or 'state'",
    ),
    "no estimator": (lambda: kx.LocalError(sde_solver=diffrax.SlowRK()), "diffrax's SlowRK estimates no error: use"),
    "no solver": (lambda: kx.LocalError(sde_solver="SPaRK"), "sde_solver must be a diffrax solver .*, got 'SPaRK'"),
    "an estimator of additive noise": (
        lambda: solved(penalty=kx.LocalError(sde_solver=diffrax.ShARK())),
        "diffrax's ShARK is for additive noise, got diagonal: use SPaRK",
    ),
    "an estimator of ODEs": (
        lambda: solved(penalty=kx.LocalError(sde_solver=diffrax.Dopri5())),
        "diffrax's Dopri5 is for ODEs: for an SDE use ShARK",
    ),
    "diffrax's ODE": (
        lambda: solved(solver=kx.FromDiffrax(diffrax.Dopri5())),
        "diffrax's Dopri5 is for ODEs: for an SDE use ShARK, SRA1, SlowRK or SPaRK",
    ),
    "diffrax, additive": (
        lambda: solved(ITO.to_stratonovich(), kx.FromDiffrax(diffrax.ShARK(), 1e-2, 1e-2)),
        "diffrax's ShARK is for additive noise, got diagonal: use SPaRK",
    ),
    "diffrax, ito": (
        lambda: solved(solver=kx.FromDiffrax(diffrax.SPaRK(), 1e-2, 1e-2)),
        "diffrax's SPaRK solves Stratonovich SDEs, and this one is Ito",
    ),
    "diffrax, adaptive Euler": (
        lambda: solved(solver=kx.FromDiffrax(diffrax.HalfSolver(diffrax.Euler()))),
        "diffrax's HalfSolver with Euler inside may converge to another solution: give steps=N, or use SPaRK",
    ),
    "diffrax, between steps": (
        lambda: solved(solver=kx.FromDiffrax(diffrax.Euler(), steps=5), ts=[0.5]),
        "diffrax interpolates between equal steps, and a path of an SDE is rough there",
    ),
    "diffrax, no estimate": (
        lambda: kx.FromDiffrax(diffrax.SlowRK()),
        "diffrax's SlowRK estimates no error to control steps with: give steps=N, or wrap it in HalfSolver",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    make, message = REFUSED[name]
    with pytest.raises(UserError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_backwards_when_it_is_not_known_beforehand():
    status = jax.jit(lambda t1: solved(t1=t1, throw=False).status)
    assert status(jnp.asarray(-1.0)) == kx.Status.reversed_noise
    assert status(jnp.asarray(1.0)) == kx.Status.ok
