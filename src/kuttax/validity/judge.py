"""Judge: from measured rows to a verdict. Pure functions of numbers; nothing is solved here."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from .interval import CONFIDENCE, Interval, of_mean, of_net_change, of_share
from .measure import Measurement, Row
from .reference import NEEDED
from .scores import Kind

Verdict = Literal["valid", "invalid", "undecided"]

MOST_DEVIATING = 0.05
"""Where there are no classes: the share of samples whose outputs may deviate by more than the output tolerance."""

LEAST_SAMPLES = math.ceil(math.log(1 - CONFIDENCE) / math.log(1 - MOST_DEVIATING))
"""59: so many samples without one that deviates show, with this confidence, that at most 5 % do."""


@dataclass(frozen=True)
class Thresholds:
    """What may change when the own solver gives way to an accurate one.

    Attributes:
        metric: Of an accuracy, the change as a share of all samples (0.01: one point); of a negative log-likelihood,
            the change in its own unit (0.01 nats); of any other metric, as a share of the larger of its two values.
        outputs: With labels, the share of samples whose predicted class flips; without, the deviation of a sample's
            outputs that at most 5 % of the samples may exceed.
    """

    metric: float = 0.01
    outputs: float = 0.05


@dataclass(frozen=True)
class Criterion:
    """One question put to one reference.

    Attributes:
        name: "metric", "flips" or "deviating"; of an SDE in law also "mean" or "second moment".
        reference: The solver that was put in the place of the model's own.
        value: What was seen.
        interval: Where it lies given the sample, each bound with `CONFIDENCE`; None where only the value is known.
        threshold: What it is held against, in absolute value.
        verdict: "valid" where the interval lies within the threshold, "invalid" where it lies beyond.
    """

    name: str
    reference: str
    value: float
    interval: Interval | None
    threshold: float
    verdict: Verdict


@dataclass(frozen=True)
class Judgement:
    """The verdict, one line for each reason, and the criteria behind it.

    Attributes:
        in_law: Of an SDE, the verdict on its metric and moments alone; None where there is none.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    criteria: tuple[Criterion, ...] = ()
    in_law: Verdict | None = None


def judge(measured: Measurement, thresholds: Thresholds) -> Judgement:
    """Valid where no reference changes the metric or the outputs by more than the thresholds, beyond doubt.

    Invalid where each reference, beyond doubt, changes one of them by more. Undecided in between, and where there is
    nothing sound to judge by: no finite predictions, references that fail or disagree, too few samples, or solvers that
    leave no trace in the predictions.

    An SDE is so judged on its paths. Beside that stands, in words, the verdict on its law: on its metric, its means and
    its second moments, which may agree where paths do not.
    """
    doubt = _nothing_to_judge(measured)
    if doubt is not None:
        return Judgement("undecided", (doubt,))
    judged = _on_paths(measured, thresholds)
    if any(row.mean_gap is None for row in measured.references):
        return judged
    criteria = tuple(c for row in measured.references for c in _in_law(row, measured, thresholds))
    verdict = _unanimous(criteria, measured)
    said = _reasons([c for c in criteria if c.verdict == verdict and c.name != "metric"], measured.kind)
    reasons = tuple(f"in law {verdict}: {reason}" for reason in said or (f"see the {measured.kind.name}",))
    return replace(judged, reasons=(*judged.reasons, *reasons), criteria=(*judged.criteria, *criteria), in_law=verdict)


def _on_paths(measured: Measurement, thresholds: Thresholds) -> Judgement:
    """The verdict on the outputs, sample by sample."""
    doubt = _disagreement(measured.references, measured.kind, thresholds)
    if doubt is not None:
        return Judgement("undecided", (doubt,))
    criteria = tuple(c for row in measured.references for c in _criteria(row, measured, thresholds))
    verdict = _unanimous(criteria, measured)
    if verdict != "undecided":
        return Judgement(verdict, _reasons([c for c in criteria if c.verdict == verdict], measured.kind), criteria)
    advice = f"{measured.samples} samples leave this open: more of them may decide it"
    reasons = _reasons([c for c in criteria if c.verdict != "valid"], measured.kind)
    return Judgement("undecided", (*reasons, advice), criteria)


def _unanimous(criteria: Sequence[Criterion], measured: Measurement) -> Verdict:
    """What every reference says; undecided where they differ."""
    verdicts: set[Verdict] = {
        _combined([c for c in criteria if c.reference == row.solver]) for row in measured.references
    }
    return verdicts.pop() if len(verdicts) == 1 else "undecided"


def _reasons(criteria: list[Criterion], kind: Kind) -> tuple[str, ...]:
    """Each criterion under the reference that changes most."""
    worst: dict[str, Criterion] = {}
    for c in criteria:
        if c.name not in worst or abs(c.value) > abs(worst[c.name].value):
            worst[c.name] = c
    return tuple(_said(c, kind) for c in worst.values())


def _combined(criteria: list[Criterion]) -> Verdict:
    """Invalid where one criterion is, else undecided where one is."""
    found = {c.verdict for c in criteria}
    return "invalid" if "invalid" in found else "undecided" if "undecided" in found else "valid"


def _nothing_to_judge(measured: Measurement) -> str | None:
    """Why no verdict can be had, whatever the numbers."""
    if measured.own.failure is not None:
        return f"no predictions with the model's own solver, {measured.own.solver}: {measured.own.failure}"
    found = measured.references
    if len(found) < NEEDED:
        failed = [row for row in measured.rows if row.role == "reference" and row.failure is not None]
        why = "; ".join(f"{row.solver}: {row.failure}" for row in failed)
        return f"{len(found)} of {NEEDED} references reached the end ({why})"
    others = [row for row in measured.rows[1:] if row.failure is None]
    alike = all(row.from_own is not None and not row.from_own.any() for row in others)
    if alike and len({row.nfe for row in (measured.own, *others)}) == 1:
        return "every solver gave the same outputs to the last bit: does predict solve with the solver it is given?"
    if measured.samples < 2:
        return "one sample shows nothing about others: give a batch of held-out samples"
    return None


def _disagreement(references: tuple[Row, ...], kind: Kind, thresholds: Thresholds) -> str | None:
    """Whether references differ by half of what is to be told with them."""
    first, *rest = references
    for row in rest:
        assert row.from_reference is not None and row.metric is not None and first.metric is not None
        apart = float(np.quantile(row.from_reference, 1 - MOST_DEVIATING))
        metric = abs(row.metric - first.metric) / _unit(row.metric, first.metric, kind)
        for what, value, most in (("outputs", apart, thresholds.outputs), ("metric", metric, thresholds.metric)):
            if value > most / 2:
                return (
                    f"the references disagree: {what} of {first.solver} and {row.solver} differ by {value:.2g} of "
                    f"their size, more than half of what is allowed ({most:g}): the field is too sensitive to solve"
                )
    return None


def _criteria(row: Row, measured: Measurement, thresholds: Thresholds) -> list[Criterion]:
    return [_metric(row, measured, thresholds.metric), _outputs(row, measured, thresholds.outputs)]


def _in_law(row: Row, measured: Measurement, thresholds: Thresholds) -> list[Criterion]:
    gaps = (("mean", row.mean_gap), ("second moment", row.square_gap))
    most = thresholds.outputs
    moments = [
        Criterion(name, row.solver, gap.value, gap.interval, most, _decide(gap.interval, most))
        for name, gap in gaps
        if gap is not None
    ]
    return [_metric(row, measured, thresholds.metric), *moments]


def _metric(row: Row, measured: Measurement, threshold: float) -> Criterion:
    """The change of the metric in units of the threshold's."""
    own, n, kind = measured.own, measured.samples, measured.kind
    assert row.metric is not None and own.metric is not None and row.metric_gap is not None
    unit = _unit(row.metric, own.metric, kind)
    value, interval = row.metric_gap / unit, None
    if row.lost is not None and row.gained is not None:
        interval = of_net_change(row.lost, row.gained, n)
    elif row.metric_gap_error is not None:
        interval = of_mean(value, row.metric_gap_error / unit, n)
    verdict = _decide(interval or Interval(value, value), threshold)
    if interval is None and n < LEAST_SAMPLES:
        verdict = "undecided"
    return Criterion("metric", row.solver, value, interval, threshold, verdict)


def _outputs(row: Row, measured: Measurement, threshold: float) -> Criterion:
    """Flipped classes; without classes, samples whose outputs deviate."""
    n = measured.samples
    if row.flips is not None:
        interval = of_share(row.flips, n)
        return Criterion("flips", row.solver, row.flips / n, interval, threshold, _decide(interval, threshold))
    assert row.from_own is not None
    count = int(np.sum(row.from_own > threshold))
    interval = of_share(count, n)
    return Criterion("deviating", row.solver, count / n, interval, MOST_DEVIATING, _decide(interval, MOST_DEVIATING))


def _unit(a: float, b: float, kind: Kind) -> float:
    """One point's hundredfold for an accuracy, one for a likelihood; else the larger of the two values compared."""
    return kind.unit if kind.is_absolute else max(abs(a), abs(b)) or 1.0


def _decide(interval: Interval, threshold: float) -> Verdict:
    if -threshold <= interval.low and interval.high <= threshold:
        return "valid"
    return "invalid" if interval.low > threshold or interval.high < -threshold else "undecided"


def _said(c: Criterion, kind: Kind) -> str:
    """A criterion in words: shares of the samples in percent, changes of an accuracy in points."""
    if c.name == "metric" and kind.name == "NLL":
        bounds = "" if c.interval is None else f" ({c.interval.low:.3g} to {c.interval.high:.3g})"
        return f"NLL changes by {c.value:+.3g}{bounds} under {c.reference}; at most {c.threshold:g} is allowed"
    unit = "points" if c.name == "metric" and kind.name == "accuracy" else "%"
    number = lambda x: f"{100 * x:.3g}"  # noqa: E731
    what = {
        "metric": f"{kind.name} changes by {100 * c.value:+.3g} {unit}",
        "flips": f"{number(c.value)} % of the predicted classes flip",
        "deviating": f"{number(c.value)} % of the samples deviate by more than the tolerance",
        "mean": f"the mean of the outputs changes by {number(c.value)} % of their size",
        "second moment": f"their second moment changes by {number(c.value)} % of its size",
    }[c.name]
    bounds = "" if c.interval is None else f" ({number(c.interval.low)} to {number(c.interval.high)})"
    return f"{what}{bounds} under {c.reference}; at most {number(c.threshold)} {unit} are allowed"
