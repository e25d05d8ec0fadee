"""Spheres: the shells as Ott et al. describe them, and what makes them a test of solvers."""

import jax
import numpy as np
import pytest
from scipy.stats import kstest

from kuttax.data.tables import spheres
from kuttax.errors import UserError
from kuttax.tasks import build


@pytest.mark.parametrize("dimension", [2, 3, 10])
def test_shells_hold_their_shares_and_classes(dimension):
    train, test = spheres.load(dimension, 2000, 1000)
    for part, samples in ((train, 2000), (test, 1000)):
        assert part.x.shape == (samples, dimension) and part.x.dtype == np.float32 and part.y.dtype == np.int32
        radius = np.linalg.norm(part.x.astype(float), axis=1)
        for low, high, label, share in ((0.10, 0.15, 0, 0.25), (0.25, 0.30, 1, 0.5), (0.40, 0.45, 0, 0.25)):
            inside = (low - 1e-6 <= radius) & (radius <= high + 1e-6)
            assert inside.sum() == share * samples
            assert np.all(part.y[inside] == label)


def test_radii_and_directions_have_their_distributions():
    (x, _), _ = spheres.load(2, 4000, 4)
    radius, angle = np.linalg.norm(x, axis=1), np.arctan2(x[:, 1], x[:, 0])
    middle = (radius > 0.2) & (radius < 0.35)
    assert kstest(((radius[middle] - 0.25) / 0.05) ** 2, "uniform", (0, 1)).pvalue > 0.01
    assert kstest(angle, "uniform", (-np.pi, 2 * np.pi)).pvalue > 0.01


def test_the_seed_decides_everything_and_test_is_not_train():
    first, again, other = spheres.load(seed=1), spheres.load(seed=1), spheres.load(seed=2)
    for one, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.x, same.x)
    rows = np.concatenate([part.x for part in (*first, *other)])
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_samples_that_four_does_not_divide():
    train, _ = spheres.load(2, 7, 4)
    assert train.y.tolist() == [0, 1, 1, 1, 1, 1, 0]


@pytest.mark.parametrize("wrong", [{"dimension": 1}, {"train": 3}, {"test": 0}, {"seed": -1}])
def test_impossible_numbers_are_refused_in_one_line(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(UserError, match=rf"^spheres: {name} must be >= \d, got {value}$"):
        spheres.load(**wrong)


def test_the_task_has_the_papers_sizes():
    task = build("spheres")
    assert [len(part.y) for part in task.splits] == [2000, 500, 1000]
    assert task.classes == 2
    model = task.init(jax.random.key(0))
    assert model.head.weight.shape == (2, 2) and not model.head.bias.any()
    field = model.field
    assert not field.time_dependent and [layer.bias.size for layer in field.layers] == [32, 32, 1]
