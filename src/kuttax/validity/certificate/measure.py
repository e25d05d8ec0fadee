"""Measure: the same model with its own solver, finer steps and references, as rows of numbers. No verdicts here."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from ...errors import UserError
from ...solvers.base.solver import AbstractSolver, Refined, title
from .crossing import chosen, crossing_share
from .growing import Grown, Growth, growth_of
from .interval import standard_error
from .moments import MomentGap, of_moment
from .one_path import on_fine_path
from .references import NEEDED, families, note_of, tolerances, without_limit
from .scores import MetricKind, calibration_error, classes, correct, cross_entropies, recognise
from .solved import Loss, Predict, Solved, attempt, gradient_of, sample_deviations
from .spread import SAME, component_differences, component_scales, rms

_ABOVE_FLOOR = 10  # times the disagreement of the references: a smaller error says nothing about the scheme


@dataclass(frozen=True, kw_only=True, eq=False)
class SolverRow:
    """The results of one solver on the batch, compared with the model's own; None if not known or not requested.

    A deviation is the largest difference in a sample's outputs, each relative to the spread of its component (see
    `component_scales`); with negative log-likelihoods, also the difference of the sample's, in its own unit.

    Attributes:
        role: "own", "finer" (the same scheme with smaller steps) or "reference".
        solver: Its name.
        failure: Why there is no prediction; all following fields are then None.
        note: A remark for the report.
        steps_ratio: Its steps over the own solver's; the ratio of NFE if the steps follow from a tolerance.
        nfe: Evaluations of the field, the mean over the samples.
        metric: The metric in its own unit.
        metric_gap: The metric minus that of the own solver.
        metric_gap_error: The standard error of the gap over the samples, for a metric known sample by sample.
        lost, gained: Samples that only the own solver, and only this one, gets right, if the metric is an accuracy.
            Samples whose outputs are the same up to rounding do not count.
        flips: Samples whose predicted class differs from the own solver's, up to rounding of the outputs.
        reference_flips: Samples whose predicted class differs from the first reference's.
        calibration_shift: The expected calibration error minus that of the own solver.
        gradient_cosine: The cosine between the loss's gradient and that under the own solver.
        crossings: The share of pairs of trajectories that cross.
        from_own: The deviation of each sample's outputs from the own solver's, (n,).
        from_reference: Their deviation from the first reference's, (n,).
        mean_gap, std_gap: The differences of the outputs' means and standard deviations from the own solver's; SDEs
            only.
        growth: The growth rates of the field along each trajectory, as this solver computes them.
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
    reference_flips: int | None = None
    calibration_shift: float | None = None
    gradient_cosine: float | None = None
    crossings: float | None = None
    from_own: np.ndarray | None = None
    from_reference: np.ndarray | None = None
    mean_gap: MomentGap | None = None
    std_gap: MomentGap | None = None
    growth: Grown | None = None


@dataclass(frozen=True, eq=False)
class Measurement:
    """All rows, the own solver's first.

    Attributes:
        samples: The number of samples in the batch; 0 if the own solver failed.
        kind: The kind of the metric.
        rows: Own, finer, references.
        scales: The unit of deviations of each component of the outputs; empty if the own solver failed.
        order: The observed order of convergence; None if errors are too small or too few to tell.
        expected_order: The order of the scheme.
    """

    samples: int
    kind: MetricKind
    rows: tuple[SolverRow, ...]
    scales: tuple[float, ...] = ()
    order: float | None = None
    expected_order: float | None = None

    @property
    def own(self) -> SolverRow:
        """The model under its own solver."""
        return self.rows[0]

    @property
    def references(self) -> tuple[SolverRow, ...]:
        """The references that reached the end."""
        return tuple(row for row in self.rows if row.role == "reference" and row.failure is None)


@dataclass(frozen=True)
class _Try:
    """A solver and its result."""

    role: Literal["own", "finer", "reference"]
    solver: str
    result: Solved | str
    note: str = ""
    times: int | None = None
    gradient: np.ndarray | None = None
    growth: Grown | None = None


def measure(
    predict: Predict,
    solver: AbstractSolver,
    batch: Any,
    loss: Loss | None,
    refine: Sequence[int],
    tolerance: float | None,
    key: PRNGKeyArray,
    metric_scale: float = 0.0,
    max_step: float | None = None,
    growth: Growth | None = None,
) -> Measurement:
    """Solve the batch with every solver and compare.

    Args:
        predict, solver, batch, loss, refine, growth: As for `kuttax.validity.certify`.
        tolerance: Tolerance of the references, `reference_tolerance` there.
        key: Draws the trajectories to compare if there are many.
        metric_scale: As for `certify`; 0 for None.
        max_step: Largest step of the references, as for `certify`.

    Raises:
        UserError: The batch is empty, the solver cannot be refined, or `predict`, `loss` or `growth` returns a value of
            the wrong kind.
    """
    leaves = [leaf for leaf in jax.tree.leaves(batch) if np.ndim(leaf)]
    if leaves and all(len(leaf) == 0 for leaf in leaves):
        raise UserError("the batch is empty: give held-out samples to certify on")
    named, solver = title(solver), on_fine_path(solver)
    solver.refined(2, np.dtype(np.float32))  # raises for a solver that cannot be refined, before any solve
    own = _Try("own", named, attempt(predict, solver, batch), times=1)
    if isinstance(own.result, str):
        return Measurement(0, MetricKind("metric"), (SolverRow(role="own", solver=own.solver, failure=own.result),))
    dtype = own.result.dtype
    fine = [_finer(predict, solver.refined(times, dtype), times, solver, batch) for times in refine]
    references = _references(predict, batch, families(solver, dtype, tolerance, max_step), loss, growth)
    if references:
        gradient = None if loss is None else gradient_of(loss, solver, batch)
        grown = None if growth is None else growth_of(growth, solver, batch)
        own = replace(own, gradient=gradient, growth=grown)
    return _compared([own, *fine, *references], solver, key, tolerance, metric_scale)


def _finer(predict: Predict, better: Refined, times: int, solver: AbstractSolver, batch: Any) -> _Try:
    if better.solver is None:
        return _Try("finer", f"{title(solver)}, finer", better.note)
    fixed = None if solver.chooses_steps else times
    return _Try("finer", title(better.solver), _trial(predict, better.solver, batch), better.note, fixed)


def _references(
    predict: Predict,
    batch: Any,
    families: Iterable[tuple[AbstractSolver, ...]],
    loss: Loss | None,
    growth: Growth | None,
) -> list[_Try]:
    """The references in order, until enough of them have reached the end."""
    found: list[_Try] = []
    for family in families:
        if sum(not isinstance(one.result, str) for one in found) == NEEDED:
            break
        for i, solver in enumerate(family):
            result = _trial(predict, solver, batch)
            if not isinstance(result, str) or i == len(family) - 1:
                solved = not isinstance(result, str)
                notes = ("looser: it failed at the tight tolerance" if i else "", note_of(solver))
                note = "; ".join(filter(None, notes)) if solved else ""
                # Penalties in a loss check the class of a solver, so they get the solver without its limit.
                gradient = None if loss is None or not solved else gradient_of(loss, without_limit(solver), batch)
                grown = None if growth is None or not solved else growth_of(growth, solver, batch)
                found.append(_Try("reference", title(solver), result, note, gradient=gradient, growth=grown))
                break
    return found


def _trial(predict: Predict, solver: AbstractSolver, batch: Any) -> Solved | str:
    """As `attempt`; an error about a solver that the user did not choose counts as a failure of that solver."""
    try:
        return attempt(predict, solver, batch)
    except UserError as error:
        return str(error)


@dataclass(frozen=True)
class _Yardstick:
    """The predictions to compare with, and the units of the comparison.

    Attributes:
        own: The own solver's prediction.
        reference: The first reference's; None if there is none.
        kind: The kind of the metric.
        scales: The units of the outputs' components.
    """

    own: Solved
    reference: Solved | None
    kind: MetricKind
    scales: np.ndarray

    def far(self, a: Solved, b: Solved) -> np.ndarray:
        """The deviation between the outputs of each sample, (n,)."""
        return sample_deviations(a, b, self.scales)


def _compared(
    tries: Sequence[_Try], solver: AbstractSolver, key: PRNGKeyArray, tolerance: float | None, metric_scale: float
) -> Measurement:
    solved = [one.result for one in tries if isinstance(one.result, Solved)]
    references = [one.result for one in tries if one.role == "reference" and isinstance(one.result, Solved)]
    own, first = solved[0], references[0] if references else None
    scales = _scales(references or [own], tolerance)
    kind = recognise(solved)._replace(scale=metric_scale)
    yardstick = _Yardstick(own, first, kind, scales)
    looked_at = chosen(len(own.outputs), key)
    noisy = solver.keeps_path()
    rows = tuple(_row(one, tries[0], yardstick, looked_at, noisy) for one in tries)
    order = _observed_order(rows, own.dtype)
    return Measurement(len(own.outputs), kind, rows, tuple(map(float, scales)), order, solver.convergence_order())


def _scales(references: Sequence[Solved], tolerance: float | None) -> np.ndarray:
    """The scales of the first reference's components; the difference from the second reference is its error."""
    first = references[0]
    error = None
    if len(references) > 1:
        error = component_differences(first.compared, references[1].compared, first.mask)
    least = tolerances(first.dtype)[0] if tolerance is None else tolerance
    return component_scales(first.compared, first.mask, error, least, first.dtype)


def _row(one: _Try, own: _Try, yardstick: _Yardstick, looked_at: np.ndarray, noisy: bool) -> SolverRow:
    mine, theirs, reference = yardstick.own, one.result, yardstick.reference
    if isinstance(theirs, str):
        return SolverRow(role=one.role, solver=one.solver, failure=theirs)
    by_nfe = theirs.nfe / mine.nfe if theirs.nfe and mine.nfe else None
    moment = lambda power: of_moment(mine.outputs, theirs.outputs, power, yardstick.scales)
    return SolverRow(
        role=one.role,
        solver=one.solver,
        note=one.note,
        steps_ratio=by_nfe if one.times is None else float(one.times),
        nfe=theirs.nfe,
        metric=theirs.metric,
        metric_gap=theirs.metric - mine.metric,
        gradient_cosine=_cosine(own.gradient, one.gradient),
        crossings=None if theirs.trajectory is None else crossing_share(theirs.trajectory[looked_at]),
        from_own=yardstick.far(theirs, mine),
        from_reference=None if reference is None else yardstick.far(theirs, reference),
        mean_gap=moment(1) if noisy else None,
        std_gap=moment(2) if noisy else None,
        growth=one.growth,
        **_sample_changes(theirs, yardstick),
    )


def _sample_changes(theirs: Solved, yardstick: _Yardstick) -> dict[str, Any]:
    """The changes in the predicted classes, if there are labels; the standard error of a likelihood's change."""
    mine, reference, kind = yardstick.own, yardstick.reference, yardstick.kind
    if kind.name == "NLL":
        assert mine.nll is not None and theirs.nll is not None
        return {"metric_gap_error": standard_error(theirs.nll - mine.nll)}
    if mine.labels is None or theirs.labels is None:
        return {}
    differ = lambda other: (classes(other) != classes(theirs)) & (yardstick.far(theirs, other) > SAME)
    flipped = differ(mine)
    found: dict[str, Any] = {
        "flips": int(np.sum(flipped)),
        "reference_flips": None if reference is None else int(np.sum(differ(reference))),
        "calibration_shift": calibration_error(theirs) - calibration_error(mine),
    }
    if kind.name == "accuracy":
        before, after = correct(mine), correct(theirs)
        change = kind.unit * (after.astype(float) - before) * flipped
        found |= {"lost": int(np.sum(before & ~after & flipped)), "gained": int(np.sum(after & ~before & flipped))}
        found["metric_gap_error"] = standard_error(change)
    elif kind.name == "cross-entropy":
        found["metric_gap_error"] = standard_error(cross_entropies(theirs) - cross_entropies(mine))
    return found


def _cosine(a: np.ndarray | None, b: np.ndarray | None) -> float | None:
    if a is None or b is None or a.shape != b.shape:
        return None
    size = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / size) if size > 0 else None


def _observed_order(rows: Sequence[SolverRow], dtype: np.dtype) -> float | None:
    """log(e_1 / e_2) / log(N_2 / N_1) for the finest two of h, h/2, h/4 whose errors come from the scheme itself.

    An error is the root mean square of the deviations from the first reference. It counts if it is well above the
    difference between the references, and above rounding.
    """
    error = lambda row: rms(row.from_reference)
    whole = [row for row in rows if row.failure is None and row.from_reference is not None]
    floor = max([_ABOVE_FLOOR * error(row) for row in whole if row.role == "reference"], default=0.0)
    floor = max(floor, _ABOVE_FLOOR * float(np.finfo(dtype).eps))
    found = None
    for coarse, fine in pairwise(row for row in whole if row.role != "reference"):
        if coarse.steps_ratio and fine.steps_ratio and fine.steps_ratio > coarse.steps_ratio and error(fine) > floor:
            found = math.log(error(coarse) / error(fine)) / math.log(fine.steps_ratio / coarse.steps_ratio)
    return found
