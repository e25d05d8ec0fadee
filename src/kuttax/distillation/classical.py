"""The errors of every classical tableau on the same starts at the same number of evaluations."""

import dataclasses
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np

from ..solvers.base.problem import Problem
from ..solvers.base.solver import AbstractSolver, title
from ..solvers.rk.fixed import AbstractTableSolver, FixedSteps
from ..solvers.rk.table import StepTable
from ..solvers.rk.tableaus import ALL
from .frozen import Frozen, ends
from .starts import Pairs


class SchemeRow(NamedTuple):
    """The errors of a solver on starts with known ends.

    Attributes:
        name: The solver's name.
        nfe: Its evaluations of the field.
        rmse: Root mean square error at the end over components and the starts within reach, in the state's units; NaN
            if there are none.
        median: The median over all starts of the Euclidean length of the error.
        unreached: The starts out of reach: the error is not finite, or not smaller than the spread of the ends.
    """

    name: str
    nfe: int
    rmse: float
    median: float
    unreached: int = 0


def row(frozen: Frozen, solver: AbstractTableSolver, pairs: Pairs) -> SchemeRow:
    """The row of `solver`, computed in the dtype of the starts; the ends may be more accurate."""
    return row_of(solver, lengths(frozen, solver, pairs), pairs)


def row_of(solver: AbstractTableSolver, lengths: np.ndarray, pairs: Pairs) -> SchemeRow:
    """The row of a solver whose errors on these pairs have these lengths."""
    there = reached(lengths, pairs)
    rmse = float(np.sqrt(np.mean((lengths[there] / np.sqrt(pairs.size)) ** 2))) if there.any() else np.nan
    return SchemeRow(title(solver), solver.nfe, rmse, float(np.median(lengths)), int(np.sum(~there)))


def lengths(frozen: Frozen, solver: AbstractSolver, pairs: Pairs) -> np.ndarray:
    """The Euclidean length of each start's error, infinite if it is not a number."""
    found = ends(frozen, solver, pairs.start, pairs.own)
    missed = jax.tree.map(lambda a, b: np.asarray(a, np.float64) - b, found, pairs.end)
    flat = np.concatenate([x.reshape(pairs.number, -1) for x in jax.tree.leaves(missed)], axis=1)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.nan_to_num(np.linalg.norm(flat, axis=1), nan=np.inf, posinf=np.inf)


def reached(lengths: np.ndarray, pairs: Pairs) -> np.ndarray:
    """Which starts are within reach: their errors are smaller than the spread of the ends."""
    return lengths < np.sqrt(pairs.size) * pairs.spread


def table(frozen: Frozen, pairs: Pairs, nfe: int) -> tuple[SchemeRow, ...]:
    """Every classical tableau with as many equal steps as `nfe` evaluations allow, the best first: a start out of reach
    counts as an error as large as the spread of the ends.

    A tableau whose number of stages does not divide `nfe` takes fewer evaluations (`SchemeRow.nfe`). One with more than
    `nfe` stages is left out.
    """
    schemes = [FixedSteps(tableau, nfe // tableau.stages) for tableau in ALL.values() if tableau.stages <= nfe]
    dtype = jax.tree.leaves(pairs.start)[0].dtype
    found = [(scheme, lengths(frozen, _Laid(scheme, dtype), pairs)) for scheme in schemes]
    most = np.sqrt(pairs.size) * pairs.spread
    ranked = sorted(found, key=lambda one: float(np.mean(np.minimum(one[1], most) ** 2)))
    return tuple(row_of(scheme, far, pairs) for scheme, far in ranked)


class _Laid(AbstractTableSolver):
    """A scheme with its coefficients as arrays, so that one program works for all with the same stages and steps."""

    laid: StepTable
    steps: int = eqx.field(static=True)

    def __init__(self, scheme: FixedSteps, dtype):
        below = tuple(tuple(j < i for j in range(scheme.stages)) for i in range(scheme.stages))
        table = scheme.table(dtype)
        self.laid = dataclasses.replace(table, a_used=below, b_used=(True,) * scheme.stages, tableau=None)
        self.steps = scheme.steps

    @property
    def stages(self) -> int:
        return self.laid.b.shape[-1]

    @property
    def order(self) -> int:
        return 1  # every tableau has at least this order

    def check(self, problem: Problem) -> None:
        del problem

    def table(self, dtype) -> StepTable:
        del dtype
        return self.laid
