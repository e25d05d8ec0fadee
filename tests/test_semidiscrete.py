"""The semidiscrete coupling of flow matching, against the monotone map of one dimension; skipped without ott-jax."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

import kuttax as kx
from kuttax.density.coupling import Independent, Optimal, Semidiscrete
from kuttax.errors import UserError
from kuttax.tasks import build


def test_in_one_dimension_it_is_the_map_between_quantiles(rng):
    """The optimal map is monotone: noise between the quantiles j/n and (j+1)/n leads to the j-th smallest sample."""
    pytest.importorskip("ott")
    x = rng.normal(size=(20, 1)) ** 3 + 1
    noise = jnp.asarray(rng.normal(size=(2000, 1)))
    same, found = Semidiscrete(iterations=6000).pairs(noise, noise, x)
    expected = np.sort(x[:, 0])[np.floor(20 * norm.cdf(noise[:, 0])).astype(int)]
    np.testing.assert_array_equal(same, noise)
    assert np.mean(found[:, 0] == expected) > 0.93
    counts = np.unique(found[:, 0], return_counts=True)[1]
    assert len(counts) == 20 and counts.max() < 160  # 100 each


@pytest.mark.slow
def test_its_paths_are_shorter_than_those_of_batches(rng):
    pytest.importorskip("ott")
    x = rng.normal(size=(500, 2)) + 3 * rng.integers(0, 2, size=(500, 1))
    noise, few = jnp.asarray(rng.normal(size=(64, 32, 2))), jnp.asarray(rng.permutation(np.tile(x, (5, 1))))[:2048]

    def length(coupling):
        pairs = [coupling.pairs(z, y, x) for z, y in zip(noise, few.reshape(64, 32, 2), strict=True)]
        return np.mean([np.sum(np.subtract(*pair) ** 2, axis=1).mean() for pair in pairs])

    assert 1.05 * length(Semidiscrete()) < length(Optimal()) < length(Independent()) / 1.5


@pytest.mark.slow
def test_a_flow_trains_with_it():
    pytest.importorskip("ott")
    task = build("flow", data="moons", samples=200, test_samples=64, coupling="semidiscrete", width=8, depth=1)
    batch = jax.tree.map(lambda x: x[:16], task.train)
    loss, _ = jax.jit(lambda model, key: task.loss(model, kx.FixedSteps(kx.tableaus.RK4, 2), batch, key))(
        task.init(jax.random.key(0)), jax.random.key(1)
    )
    assert np.isfinite(loss)


def test_without_ott_it_says_what_to_install(monkeypatch):
    for name in ("ott", "ott.solvers.linear.semidiscrete"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=r"needs ott-jax .*: pip install 'kuttax\[ott\]', or take 'optimal'"):
        Semidiscrete(seed=7).pairs(jnp.ones((2, 1)), jnp.ones((2, 1)), np.ones((2, 1)))


def test_too_many_samples_are_refused():
    pytest.importorskip("ott")
    with pytest.raises(UserError, match="takes at most 50,000: take 'optimal'"):
        Semidiscrete().pairs(jnp.ones((2, 1)), jnp.ones((2, 1)), np.ones((50_001, 1)))
