"""Certificate: whether predictions depend on the solver, with the evidence."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from ...errors import UserError
from ...io.records import as_json
from ...kinds import check_callable
from ...options.look import VERDICTS
from ...shown import as_html, bars
from ...solvers.base.solver import AbstractSolver, check_solver, title
from .growing import Grown, Growth
from .interval import CONFIDENCE
from .judge import MOST_DEVIATING, Judgement, Thresholds, Verdict, judge
from .measure import Measurement, SolverRow, measure
from .solved import Loss, Predict

_FORMAT, _VERSION = "kuttax-certificate", 2


@dataclass(frozen=True, eq=False)
class Certificate:
    """The result of `certify`.

    Attributes:
        measured: The measured numbers, one row for each solver.
        judged: The verdict, its reasons and criteria.
        thresholds: The allowed changes.
    """

    measured: Measurement
    judged: Judgement
    thresholds: Thresholds

    @property
    def verdict(self) -> Verdict:
        """ "valid": other solvers give the same predictions. "invalid": they do not. "undecided": not known."""
        return self.judged.verdict

    @property
    def in_law(self) -> Verdict | None:
        """For an SDE, the verdict on its metric and moments, whatever the paths; None if there is none."""
        return self.judged.in_law

    @property
    def reasons(self) -> tuple[str, ...]:
        """The reasons for the verdict, one line each."""
        return self.judged.reasons

    @property
    def lacks_samples(self) -> bool:
        """Whether it is undecided only for lack of samples: all measured changes lie within the thresholds."""
        within = all(abs(c.value) <= c.threshold for c in self.judged.criteria)
        return self.verdict == "undecided" and bool(self.judged.criteria) and within

    @property
    def rows(self) -> tuple[SolverRow, ...]:
        """One row for every solver: the model's own, the finer ones, the references."""
        return self.measured.rows

    def to_json(self) -> dict[str, Any]:
        """The certificate as a dictionary of strict JSON; per-sample deviations as median, 95 % quantile and maximum.

        A missing number is None, never NaN.
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
                "growth_time": None if measured.own.growth is None else measured.own.growth.duration,
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

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """The verdict, each tested change as a share of what is allowed, and the reasons, for a notebook."""
        heading = f"<b style='color:{VERDICTS[self.verdict]}'>{self.verdict}</b> on {self.measured.samples} samples"
        rows = [
            (f"{c.name}, by {c.reference}", abs(c.value) / (c.threshold or 1.0), VERDICTS[c.verdict])
            for c in self.judged.criteria
        ]
        tested = f"<br>changes, as shares of what is allowed (dashed):{bars(rows)}" if rows else ""
        return f"{heading}{tested}{as_html(self)}"


def certify(
    predict: Predict,
    solver: AbstractSolver,
    batch: Any,
    *,
    loss: Loss | None = None,
    growth: Growth | None = None,
    metric_tolerance: float = 0.01,
    output_tolerance: float = 0.05,
    metric_scale: float | None = None,
    refine: Sequence[int] = (2, 4),
    reference_tolerance: float | None = None,
    max_step: float | None = None,
    key: PRNGKeyArray | None = None,
) -> Certificate:
    """Decide on held-out data whether a model's predictions depend on its solver.

    A model trained with too coarse a solver is no ODE: more accurate solvers give other predictions (Ott, Katiyar,
    Hennig & Tiemann, ICLR 2021, arXiv 2007.15386). `certify` solves the batch again with the same scheme at 2 and 4
    times the steps (tolerance / 10 and / 100), and with Tsit5 and Dopri8 at a tight tolerance (Kvaerno5 and Kvaerno3 if
    those fail). The references decide; the finer steps show the order of convergence (docs/certificate.md).

    With an SDE solver on a fixed grid, all solvers follow one Brownian path. The key that `predict` passes to `solve`
    draws it: use the same key for all. References are then SRK at 16 times the steps (512 at least) and Milstein at
    twice as many; if these schemes do not fit the noise, the own scheme at as many. With diffrax's adaptive steps, they
    are the own scheme at a hundredth and a thirtieth of the tolerance.

    Args:
        predict: `predict(solver, batch) -> kx.Prediction`. Labels add flipped classes and calibration, `stats` the NFE,
            a `trajectory` of one or two dimensions the crossings. Compile it (`eqx.filter_jit`) for speed.
        solver: The model's own solver.
        batch: Held-out data, passed to `predict` unchanged.
        loss: `loss(solver, batch) -> (value, gradient)` of the model's parameters, for the cosine of the gradients.
        growth: `growth(solver, batch) -> kx.GrowthRates`, from `kx.growth_rates`. A rate that is negative with the own
            solver and positive in the field itself, or the reverse, makes the certificate invalid: the field grows
            where the data decay, or decays where they grow (Lu & Tsai 2025, arXiv 2507.14491).
        metric_tolerance: The largest allowed change of the metric. For an accuracy it is a share of the samples (0.01
            is one point, whether the metric is in percent or not), for a negative log-likelihood it is in the metric's
            unit (0.01 nats); for any other metric it is relative to the larger value. A metric counts as an accuracy if
            it agrees with outputs and labels, as a negative log-likelihood if the prediction has `nll`.
        output_tolerance: With labels, the largest allowed share of predicted classes that flip. Without, the deviation
            of a sample's outputs, relative to the spread of each component over the samples, that at most 5 % of the
            samples may exceed.
        metric_scale: The size of one unit of the data in the metric: 1 for an error in standard deviations, the
            standard deviation for a root mean square error in the data's unit. Relative changes are relative to at
            least this. None: to the larger value only.
        refine: The finer steps to run: 2 for half of the solver's own, 4 for a quarter. They do not affect the verdict,
            so () saves their cost.
        reference_tolerance: Relative and absolute tolerance of the references; None for 1e-6 in float32 and 1e-9 in
            float64, and 1e-4 and 1e-6 if that fails. A looser one is cheaper, and enough as long as the references
            agree, which `certify` checks.
        max_step: The largest step of the references, in the unit of time; for inputs shorter than 1 % of the solved
            interval. None: Tsit5 takes at least 64 steps and Dopri8 32, so that less than 1 % of the interval lies
            between evaluations of the field; fewer if `solve` may try no more than four times as many.
        key: Draws the trajectories to compare if there are more than 64.

    Returns:
        A `Certificate`. The verdict is "undecided", with the reason, if outputs are not finite, references fail or
        disagree, or there are too few samples.

    Raises:
        UserError: The batch is empty, a tolerance is not above zero, the solver cannot be refined, `max_step` is given
            for an SDE, or `predict`, `loss` or `growth` returns a value of the wrong kind.
    """
    check_solver(solver)
    check_callable("predict", predict, "a solver and a batch")
    asked = {"metric_tolerance": metric_tolerance, "output_tolerance": output_tolerance}
    optional = {"reference_tolerance": reference_tolerance, "metric_scale": metric_scale, "max_step": max_step}
    asked |= {name: value for name, value in optional.items() if value is not None}
    for name, value in asked.items():
        if not (np.isfinite(value) and value > 0):
            raise UserError(f"{name} must be a number > 0, got {value!r}")
    if not solver.consistent:
        raise UserError(
            f"{title(solver)} is a sampler without an order: it does not solve the ODE, so no certificate says that a "
            "model is one. Compare it with its teacher (kx.distill's error), or certify the model with another solver"
        )
    if max_step is not None and solver.keeps_path():
        raise UserError(
            "max_step limits the steps of an ODE's references; those of an SDE have fixed steps: leave it out"
        )
    if not isinstance(refine, Sequence) or not set(refine) <= {2, 4}:
        raise UserError(f"refine must hold 2, 4, or nothing, got {refine!r}")
    thresholds = Thresholds(float(metric_tolerance), float(output_tolerance))
    key = jax.random.key(0) if key is None else key
    scale = 0.0 if metric_scale is None else float(metric_scale)
    measured = measure(predict, solver, batch, loss, sorted(refine), reference_tolerance, key, scale, max_step, growth)
    return Certificate(measured, judge(measured, thresholds), thresholds)


def _row_to_json(row: SolverRow) -> dict[str, Any]:
    moments = {name: gap and gap._asdict() for name, gap in (("mean_gap", row.mean_gap), ("std_gap", row.std_gap))}
    found = {**vars(row), **moments, "growth": _growth_to_json(row.growth)}
    return found | {name: _summary(getattr(row, name)) for name in ("from_own", "from_reference")}


def _growth_to_json(growth: Grown | None) -> dict[str, Any] | None:
    """The means over the trajectories."""
    if growth is None:
        return None
    volume = None if growth.volume is None else float(growth.volume.mean())
    return {"rates": growth.rates.mean(axis=0).tolist(), "volume": volume}


def _summary(deviations: np.ndarray | None) -> dict[str, float] | None:
    if deviations is None:
        return None
    return {"median": np.median(deviations), "q95": np.quantile(deviations, 0.95), "max": np.max(deviations)}
