"""Pendulums: two rigs, their runs thinned to coarse observations, and their equations with constants from the data."""

from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Array, Float

from kuttax.data.systems import trajectory_files
from kuttax.data.systems.trajectory import Trajectory
from kuttax.data.systems.windows import TrajectorySplits, split_trajectories

SPACING = 0.01
"""The time between two rows of the files, in seconds."""

_EVERY = 7  # rows; the constants need no more


def splits(file: Path, every: int) -> TrajectorySplits:
    """The runs of a rig, observed at each `every`-th row: one of five is for choices and one for the report.

    A run gives `every` trajectories, which begin at each of its first rows; for the report it gives the first of them.
    """
    parts = split_trajectories(trajectory_files.load(file).trajectories, 0.2, 0)
    thinned = lambda runs, begins: [Trajectory(*(x[b::every] for x in run)) for run in runs for b in begins]
    all_of = range(every)
    return TrajectorySplits(thinned(parts.train, all_of), thinned(parts.validation, all_of), thinned(parts.test, [0]))


def single(file: Path) -> Callable[[Array, Array], Array]:
    """Of a point mass on a rigid rod, without friction: the angle is pi where it hangs."""
    x, rate = _rates(file)
    sine = np.sin(x[:, 0])
    constant = float(sine @ rate[:, 1] / (sine @ sine))

    def known(x: Float[Array, "2"], u: Array) -> Float[Array, "2"]:
        del u
        return jnp.stack([x[1], constant * jnp.sin(x[0])])

    return known


def double(file: Path) -> Callable[[Array, Array], Array]:
    """Of two rods in a plane, without friction: four ratios of inertia and weight, by least squares."""
    x, rate = _rates(file)
    left, right = _balance(x, rate[:, 2:])
    inertia, coupling, first, second = map(float, scipy.linalg.lstsq(left, right)[0])

    def known(x: Float[Array, "4"], u: Array) -> Float[Array, "4"]:
        del u
        a, b, va, vb = x
        shared, push = coupling * jnp.cos(a - b), coupling * jnp.sin(a - b)
        one, two = first * jnp.sin(a) - push * vb**2, second * jnp.sin(b) + push * va**2
        whole = inertia - shared**2
        return jnp.stack([va, vb, (inertia * one - shared * two) / whole, (two - shared * one) / whole])

    return known


def _balance(x: Float[np.ndarray, "n 4"], pull: Float[np.ndarray, "n 2"]) -> tuple[np.ndarray, np.ndarray]:
    """The two equations of motion, divided by the first rod's inertia, linear in what is not known.

    With angles a, b, their rates va, vb and D = a - b:

        a'' + coupling (cos D b'' + sin D vb^2) = first sin a
        inertia b'' + coupling (cos D a'' - sin D va^2) = second sin b
    """
    a, b, va, vb = x.T
    pa, pb = pull.T
    zero = np.zeros_like(a)
    upper = [zero, np.cos(a - b) * pb + np.sin(a - b) * vb**2, -np.sin(a), zero]
    lower = [pb, np.cos(a - b) * pa - np.sin(a - b) * va**2, zero, -np.sin(b)]
    return np.concatenate([np.stack(upper, 1), np.stack(lower, 1)]), np.concatenate([-pa, zero])


def _rates(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """States of the training runs, and their rates of change by central differences."""
    train = split_trajectories(trajectory_files.load(file).trajectories, 0.2, 0).train
    rate = lambda run: np.gradient(run.x, SPACING, axis=0)[1:-1:_EVERY]
    return np.concatenate([run.x[1:-1:_EVERY] for run in train]), np.concatenate([rate(run) for run in train])
