"""Measure: the same model under its own solver, finer steps and references, as rows of numbers. Judges nothing."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from ..errors import UserError
from ..solvers.adaptive import Adaptive
from ..solvers.base import AbstractSolver, title
from ..solvers.diffrax import FromDiffrax
from ..solvers.fixed import FixedSteps
from ..solvers.fixed_sde import AbstractSDESolver
from ..solvers.learned import LearnedRK
from ..solvers.reversible import Reversible
from .crossing import chosen, crossing_share
from .finer import Finer, finer
from .interval import standard_error
from .moments import MomentGap, of_moment
from .one_path import is_noisy, on_fine_path
from .reference import NEEDED, families
from .scores import Kind, calibration_error, classes, correct, cross_entropies, recognise
from .solved import Loss, Predict, Solved, attempt, gradient_of

_ABOVE_FLOOR = 10  # times the disagreement of the references: below that an error says nothing about the scheme


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """What one solver makes of the batch, beside the model's own; None where it is not known or not asked for.

    Deviations are norms over the outputs of a sample, relative to the root mean square of such norms.

    Attributes:
        role: "own", "finer" (the same scheme with smaller steps) or "reference".
        solver: What it is called.
        failure: Why there is no prediction; all that follows is then None.
        note: What is to be said of it.
        steps_ratio: Its steps over the own solver's, by the NFE where the steps follow from a tolerance.
        nfe: Evaluations of the field, the mean over the samples.
        metric: In its own unit.
        metric_gap: Minus that of the own solver.
        metric_gap_error: The standard error of that over the samples, for a metric that is known sample by sample.
        lost, gained: Samples that only the own solver, and only this one, gets right; where the metric is an accuracy.
        flips: Samples whose predicted class is not the own solver's.
        calibration_shift: The expected calibration error minus that of the own solver.
        gradient_cosine: Of the loss's gradient and that under the own solver.
        crossings: The share of pairs of trajectories that cross.
        from_own: How far each sample's outputs are from the own solver's, (n,).
        from_reference: How far they are from the first reference's, (n,).
        mean_gap, square_gap: How far its first and second moments are from the own solver's; of SDEs alone.
    """

    role: Literal["own", "finer", "reference"]
    solver: str
    failure: str | None = None
    note: str = ""
    steps_ratio: float | None = None
    nfe: float | None = None
    metric: float | None = None
    metric_gap: float | None = None
    metric_gap_error: float | None = None
    lost: int | None = None
    gained: int | None = None
    flips: int | None = None
    calibration_shift: float | None = None
    gradient_cosine: float | None = None
    crossings: float | None = None
    from_own: np.ndarray | None = None
    from_reference: np.ndarray | None = None
    mean_gap: MomentGap | None = None
    square_gap: MomentGap | None = None


@dataclass(frozen=True, eq=False)
class Measurement:
    """All rows, the own solver's first.

    Attributes:
        samples: How many the batch has; 0 where the own solver failed.
        kind: What the metric is.
        rows: Own, finer, references.
        scale: What deviations are relative to, in the unit of the outputs.
        order: The observed order of convergence; None where errors are too small or too few to tell.
        expected_order: That of the scheme.
    """

    samples: int
    kind: Kind
    rows: tuple[Row, ...]
    scale: float = 1.0
    order: float | None = None
    expected_order: float | None = None

    @property
    def own(self) -> Row:
        """The model under its own solver."""
        return self.rows[0]

    @property
    def references(self) -> tuple[Row, ...]:
        """Those that reached the end."""
        return tuple(row for row in self.rows if row.role == "reference" and row.failure is None)


@dataclass(frozen=True)
class _Try:
    """A solver and what came of it."""

    role: Literal["own", "finer", "reference"]
    solver: str
    result: Solved | str
    note: str = ""
    times: int | None = None
    gradient: np.ndarray | None = None


def measure(
    predict: Predict,
    solver: AbstractSolver,
    batch: Any,
    loss: Loss | None,
    refine: Sequence[int],
    tolerance: float | None,
    key: PRNGKeyArray,
) -> Measurement:
    """Solve the batch with every solver and compare.

    Args:
        predict, solver, batch, loss, refine: As for `kuttax.validity.certify`.
        tolerance: Of the references, `reference_tolerance` there.
        key: Draws the trajectories to compare, where there are many.

    Raises:
        UserError: The batch is empty, the solver cannot be refined, or `predict` or `loss` gives what they should not.
    """
    leaves = [leaf for leaf in jax.tree.leaves(batch) if np.ndim(leaf)]
    if leaves and all(len(leaf) == 0 for leaf in leaves):
        raise UserError("the batch is empty: give held-out samples to certify on")
    named, solver = title(solver), on_fine_path(solver)
    finer(solver, 2, np.dtype(np.float32))  # refuses what cannot be refined before anything is solved
    own = _Try("own", named, attempt(predict, solver, batch), times=1)
    if isinstance(own.result, str):
        return Measurement(0, Kind("metric"), (Row(role="own", solver=own.solver, failure=own.result),))
    dtype = own.result.dtype
    fine = [_finer(predict, finer(solver, times, dtype), times, solver, batch) for times in refine]
    references = _references(predict, batch, families(solver, dtype, tolerance), loss)
    if loss is not None and references:
        own = _Try(own.role, own.solver, own.result, times=1, gradient=gradient_of(loss, solver, batch))
    return _compared([own, *fine, *references], solver, key)


def _finer(predict: Predict, better: Finer, times: int, solver: AbstractSolver, batch: Any) -> _Try:
    if better.solver is None:
        return _Try("finer", f"{title(solver)}, finer", better.note)
    fixed = times if _order_and_kind(solver)[1] else None
    return _Try("finer", title(better.solver), _trial(predict, better.solver, batch), better.note, fixed)


def _references(
    predict: Predict, batch: Any, families: Iterable[tuple[AbstractSolver, ...]], loss: Loss | None
) -> list[_Try]:
    """References in their order, until enough have reached the end."""
    found: list[_Try] = []
    for family in families:
        if sum(not isinstance(one.result, str) for one in found) == NEEDED:
            break
        for i, solver in enumerate(family):
            result = _trial(predict, solver, batch)
            if not isinstance(result, str) or i == len(family) - 1:
                note = "looser: it failed at the tight tolerance" if i and not isinstance(result, str) else ""
                gradient = None if loss is None or isinstance(result, str) else gradient_of(loss, solver, batch)
                found.append(_Try("reference", title(solver), result, note, gradient=gradient))
                break
    return found


def _trial(predict: Predict, solver: AbstractSolver, batch: Any) -> Solved | str:
    """As `attempt`; a solver that is not the user's own choice and cannot be had is one that failed."""
    try:
        return attempt(predict, solver, batch)
    except UserError as error:
        return str(error)


def _compared(tries: Sequence[_Try], solver: AbstractSolver, key: PRNGKeyArray) -> Measurement:
    solved = [one.result for one in tries if isinstance(one.result, Solved)]
    reference = next((t.result for t in tries if t.role == "reference" and isinstance(t.result, Solved)), None)
    kind = recognise(solved)
    size = np.sqrt(np.mean(np.sum((reference or solved[0]).outputs ** 2, axis=1)))
    scale = float(size) if size > 0 else 1.0
    samples = len(solved[0].outputs)
    looked_at = chosen(samples, key)
    noisy = is_noisy(solver)
    rows = tuple(_row(one, tries[0], reference, kind, scale, looked_at, noisy) for one in tries)
    return Measurement(samples, kind, rows, scale, _observed_order(rows, solved[0].dtype), _order_and_kind(solver)[0])


def _row(
    one: _Try, own: _Try, reference: Solved | None, kind: Kind, scale: float, looked_at: np.ndarray, noisy: bool
) -> Row:
    mine, theirs = own.result, one.result
    if isinstance(theirs, str):
        return Row(role=one.role, solver=one.solver, failure=theirs)
    assert isinstance(mine, Solved)
    by_nfe = theirs.nfe / mine.nfe if theirs.nfe and mine.nfe else None
    far = lambda a, b: np.linalg.norm(a.outputs - b.outputs, axis=1) / scale  # noqa: E731
    return Row(
        role=one.role,
        solver=one.solver,
        note=one.note,
        steps_ratio=by_nfe if one.times is None else float(one.times),
        nfe=theirs.nfe,
        metric=theirs.metric,
        metric_gap=theirs.metric - mine.metric,
        gradient_cosine=_cosine(own.gradient, one.gradient),
        crossings=None if theirs.trajectory is None else crossing_share(theirs.trajectory[looked_at]),
        from_own=far(theirs, mine),
        from_reference=None if reference is None else far(theirs, reference),
        mean_gap=of_moment(mine.outputs, theirs.outputs, 1) if noisy else None,
        square_gap=of_moment(mine.outputs, theirs.outputs, 2) if noisy else None,
        **_sample_changes(mine, theirs, kind),
    )


def _sample_changes(mine: Solved, theirs: Solved, kind: Kind) -> dict[str, Any]:
    """What changes in the predicted classes, where there are labels; the doubt of a likelihood's change."""
    if kind.name == "NLL":
        assert mine.nll is not None and theirs.nll is not None
        return {"metric_gap_error": standard_error(theirs.nll - mine.nll)}
    if mine.labels is None or theirs.labels is None:
        return {}
    found: dict[str, Any] = {
        "flips": int(np.sum(classes(mine) != classes(theirs))),
        "calibration_shift": calibration_error(theirs) - calibration_error(mine),
    }
    if kind.name == "accuracy":
        before, after = correct(mine), correct(theirs)
        change = kind.unit * (after.astype(float) - before)
        found |= {"lost": int(np.sum(before & ~after)), "gained": int(np.sum(after & ~before))}
        found["metric_gap_error"] = standard_error(change)
    elif kind.name == "cross-entropy":
        found["metric_gap_error"] = standard_error(cross_entropies(theirs) - cross_entropies(mine))
    return found


def _cosine(a: np.ndarray | None, b: np.ndarray | None) -> float | None:
    if a is None or b is None or a.shape != b.shape:
        return None
    size = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / size) if size > 0 else None


def _observed_order(rows: Sequence[Row], dtype: np.dtype) -> float | None:
    """log(e_1 / e_2) / log(N_2 / N_1) of the finest two of h, h/2, h/4 whose errors are the scheme's own.

    An error is the root mean square of the deviations from the first reference. It counts where it is well above what
    the references differ by, and above rounding.
    """
    rms = lambda row: float(np.sqrt(np.mean(row.from_reference**2)))  # noqa: E731
    whole = [row for row in rows if row.failure is None and row.from_reference is not None]
    floor = max([_ABOVE_FLOOR * rms(row) for row in whole if row.role == "reference"], default=0.0)
    floor = max(floor, _ABOVE_FLOOR * float(np.finfo(dtype).eps))
    found = None
    for coarse, fine in pairwise(row for row in whole if row.role != "reference"):
        if coarse.steps_ratio and fine.steps_ratio and fine.steps_ratio > coarse.steps_ratio and rms(fine) > floor:
            found = math.log(rms(coarse) / rms(fine)) / math.log(fine.steps_ratio / coarse.steps_ratio)
    return found


def _order_and_kind(solver: AbstractSolver) -> tuple[float | None, bool]:
    """The order of a scheme, where it is known, and whether `finer` multiplies its steps rather than a tolerance."""
    match solver:
        case FixedSteps():
            return solver.tableau.order, True
        case LearnedRK():
            return solver.order, True
        case Reversible():
            return _order_and_kind(solver.solver)
        case Adaptive():
            return solver.tableau.order, False
        case FromDiffrax():
            return None, solver.steps is not None
        case AbstractSDESolver():
            return solver.strong_order, True
    return None, True
