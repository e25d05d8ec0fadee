"""Certificate: whether a trained field means anything without its solver, and what that rests on."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from ...errors import UserError
from ...io.records import as_json
from ...solvers.base.solver import AbstractSolver
from .interval import CONFIDENCE
from .judge import MOST_DEVIATING, Judgement, Thresholds, Verdict, judge
from .measure import Measurement, SolverRow, measure
from .solved import Loss, Predict

_FORMAT, _VERSION = "kuttax-certificate", 2


@dataclass(frozen=True, eq=False)
class Certificate:
    """What `certify` found.

    Attributes:
        measured: The rows of numbers.
        judged: The verdict on them, its reasons and criteria.
        thresholds: What they were held against.
    """

    measured: Measurement
    judged: Judgement
    thresholds: Thresholds

    @property
    def verdict(self) -> Verdict:
        """ "valid": other solvers give the same predictions. "invalid": they do not. "undecided": it cannot be told."""
        return self.judged.verdict

    @property
    def in_law(self) -> Verdict | None:
        """Of an SDE, the verdict on its metric and its moments, whatever the paths; None where there is none."""
        return self.judged.in_law

    @property
    def reasons(self) -> tuple[str, ...]:
        """What the verdict rests on, one line each."""
        return self.judged.reasons

    @property
    def lacks_samples(self) -> bool:
        """Whether it is the samples that leave it undecided: all that was seen lies within the thresholds."""
        within = all(abs(c.value) <= c.threshold for c in self.judged.criteria)
        return self.verdict == "undecided" and bool(self.judged.criteria) and within

    @property
    def rows(self) -> tuple[SolverRow, ...]:
        """One for every solver: the model's own, its finer ones, the references."""
        return self.measured.rows

    def to_json(self) -> dict[str, Any]:
        """All of it as a dictionary of strict JSON, per-sample deviations as their median, 95 % quantile and maximum.

        A number that there is not is None, never NaN.
        """
        measured = self.measured
        return as_json(
            {
                "format": _FORMAT,
                "version": _VERSION,
                "verdict": self.verdict,
                "in_law": self.in_law,
                "reasons": self.reasons,
                "samples": measured.samples,
                "metric": {"name": measured.kind.name, "unit": measured.kind.unit},
                "metric_scale": measured.kind.least or None,
                "thresholds": {**asdict(self.thresholds), "most_deviating": MOST_DEVIATING},
                "confidence": CONFIDENCE,
                "scales": measured.scales,
                "order": measured.order,
                "expected_order": measured.expected_order,
                "rows": [_row_to_json(row) for row in self.rows],
                "criteria": [
                    {**asdict(c), "interval": None if c.interval is None else c.interval._asdict()}
                    for c in self.judged.criteria
                ],
            }
        )

    def __str__(self) -> str:
        return "\n".join([self.verdict, *(f"  {reason}" for reason in self.reasons)])


def certify(
    predict: Predict,
    solver: AbstractSolver,
    batch: Any,
    *,
    loss: Loss | None = None,
    metric_tolerance: float = 0.01,
    output_tolerance: float = 0.05,
    metric_scale: float | None = None,
    refine: Sequence[int] = (2, 4),
    reference_tolerance: float | None = None,
    max_step: float | None = None,
    key: PRNGKeyArray | None = None,
) -> Certificate:
    """Decide on held-out data whether a trained field means anything without its solver.

    A model trained with too coarse a solver is no ODE: more exact solvers give other predictions (Ott, Katiyar, Hennig
    & Tiemann, ICLR 2021, arXiv 2007.15386). The batch is solved again by the same scheme at 2 and 4 times the steps
    (tolerance / 10 and / 100), and by Tsit5 and Dopri8 at a tight tolerance (Kvaerno5 and Kvaerno3 where those fail).
    The references decide; the finer steps show the order of convergence. docs/validity.md explains both.

    With a solver for SDEs on a fixed grid all of them follow one Brownian path, which the key that `predict` gives to
    `solve` draws: it must be the same for all. References are then SRK at 16 times the steps (512 at least) and
    Milstein at twice as many, and where the noise has no such schemes the own one at as many; of diffrax's adaptive
    steps the own scheme at a hundredth and a thirtieth of the tolerance.

    Args:
        predict: `predict(solver, batch) -> kx.Prediction`. Labels make flipped classes and calibration count, `stats`
            the NFE, a `trajectory` of one or two dimensions the crossings. Compile it (`eqx.filter_jit`) for speed.
        solver: The model's own.
        batch: Held-out data, handed to `predict` as they are.
        loss: `loss(solver, batch) -> (value, gradient)` of the model's parameters, for the gradients' cosine.
        metric_tolerance: The greatest change of the metric. Of an accuracy it is a share of the samples (0.01 is one
            point, whether the metric is in percent or not), of a negative log-likelihood in its own unit (0.01 nats);
            of any other metric it is relative to the larger value. A metric is taken for an accuracy where outputs and
            labels say so, for a negative log-likelihood where the prediction has `nll`.
        output_tolerance: With labels, the greatest share of predicted classes that flip; without, the deviation of a
            sample's outputs, relative to the spread of each component over the samples, that at most 5 % of the
            samples may exceed.
        metric_scale: What one unit of the data is in the metric: 1 for an error in standard deviations, the standard
            deviation for a root mean square error in the data's unit. A relative change is relative to no less. None:
            to the larger value alone.
        refine: The finer steps to look at: 2 for half of the solver's own, 4 for a quarter. They decide nothing, so
            that () saves their cost.
        reference_tolerance: Relative and absolute, of the references; None for 1e-6 in float32 and 1e-9 in float64, and
            1e-4 and 1e-6 where that fails. A looser one is cheaper, and enough as long as the references agree, which
            is looked at.
        max_step: The largest step of the references, in the unit of time; for inputs shorter than 1 % of the interval
            that is solved. None: Tsit5 takes at least 64 steps and Dopri8 32, so that between the times at which they
            evaluate the field lies less than 1 % of the interval. Fewer where `solve` may try no more than four times
            as many.
        key: Draws the trajectories that are compared where there are more than 64.

    Returns:
        A `Certificate`. The verdict is "undecided", with the reason, where outputs are not finite, references fail or
        disagree, or there are too few samples.

    Raises:
        UserError: The batch is empty, a tolerance is not above zero, the solver cannot be refined, `max_step` is given
            for an SDE, or `predict` or `loss` returns something else.
    """
    asked = {"metric_tolerance": metric_tolerance, "output_tolerance": output_tolerance}
    optional = {"reference_tolerance": reference_tolerance, "metric_scale": metric_scale, "max_step": max_step}
    asked |= {name: value for name, value in optional.items() if value is not None}
    for name, value in asked.items():
        if not (np.isfinite(value) and value > 0):
            raise UserError(f"{name} must be a number > 0, got {value!r}")
    if max_step is not None and solver.keeps_path():
        raise UserError(
            "max_step limits the steps of an ODE's references; those of an SDE have fixed steps: leave it out"
        )
    if not set(refine) <= {2, 4}:
        raise UserError(f"refine must hold 2, 4, or nothing, got {tuple(refine)}")
    thresholds = Thresholds(float(metric_tolerance), float(output_tolerance))
    key = jax.random.key(0) if key is None else key
    scale = 0.0 if metric_scale is None else float(metric_scale)
    measured = measure(predict, solver, batch, loss, sorted(refine), reference_tolerance, key, scale, max_step)
    return Certificate(measured, judge(measured, thresholds), thresholds)


def _row_to_json(row: SolverRow) -> dict[str, Any]:
    moments = {name: gap and gap._asdict() for name, gap in (("mean_gap", row.mean_gap), ("std_gap", row.std_gap))}
    return {**vars(row), **moments, "from_own": _summary(row.from_own), "from_reference": _summary(row.from_reference)}


def _summary(deviations: np.ndarray | None) -> dict[str, float] | None:
    if deviations is None:
        return None
    return {"median": np.median(deviations), "q95": np.quantile(deviations, 0.95), "max": np.max(deviations)}
