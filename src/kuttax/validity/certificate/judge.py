"""Judge: from measured rows to a verdict. Pure functions of numbers, without any solve."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from .growing import disagreement, opposite_rest
from .interval import CONFIDENCE, Interval, of_mean, of_net_change, of_share
from .measure import Measurement, SolverRow
from .references import NEEDED
from .scores import MetricKind
from .spread import rms

Verdict = Literal["valid", "invalid", "undecided"]

MOST_DEVIATING = 0.05
"""Without classes: the share of samples whose outputs may deviate by more than the output tolerance."""

LEAST_SAMPLES = math.ceil(math.log(1 - CONFIDENCE) / math.log(1 - MOST_DEVIATING))
"""59 samples without a deviating one show, with this confidence, that at most 5 % deviate."""


@dataclass(frozen=True)
class Thresholds:
    """The allowed changes when an accurate solver replaces the own solver.

    Attributes:
        metric: For an accuracy, the change as a share of all samples (0.01: one point); for a negative log-likelihood,
            the change in its own unit (0.01 nats); for any other metric, the change as a share of the larger of its two
            values, or of the metric's scale if that is larger still.
        outputs: With labels, the share of samples whose predicted class flips. Without, the deviation of a sample's
            outputs, relative to their spread, that at most 5 % of the samples may exceed.
    """

    metric: float = 0.01
    outputs: float = 0.05


@dataclass(frozen=True)
class Criterion:
    """One comparison with one reference.

    Attributes:
        name: "metric", "flips" or "deviating"; "growth" if a growth rate has another sign; for an SDE in law also
            "mean" or "standard deviation".
        reference: The solver that replaced the model's own.
        value: The measured change.
        interval: Its confidence interval, each bound with `CONFIDENCE`; None if only the value is known.
        threshold: The allowed absolute value.
        verdict: "valid" if the interval lies within the threshold, "invalid" if it lies beyond.
        said: The criterion in words, if they need more than these numbers.
    """

    name: str
    reference: str
    value: float
    interval: Interval | None
    threshold: float
    verdict: Verdict
    said: str = ""


@dataclass(frozen=True)
class Judgement:
    """The verdict, one line for each reason, and the criteria behind it.

    Attributes:
        in_law: For an SDE, the verdict on its metric and moments only; None if there is none.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    criteria: tuple[Criterion, ...] = ()
    in_law: Verdict | None = None


def judge(measured: Measurement, thresholds: Thresholds) -> Judgement:
    """Compare the changes under every reference with the thresholds, with confidence bounds.

    Valid: with confidence, no reference changes the metric or the outputs by more than the thresholds. Invalid: with
    confidence, each reference changes one of them by more, or gives a growth rate another sign. Undecided: neither, or
    there is no sound basis: no finite predictions, references that fail or disagree, too few samples, or solvers that
    leave no trace in the predictions.

    For an SDE this verdict is on its paths. The reasons also give the verdict on its law: on its metric, its means and
    its standard deviations, which may agree if paths do not.
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
    doubt = _disagreement(measured, thresholds)
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
    """The verdict of every reference if they agree; undecided if they differ."""
    verdicts: set[Verdict] = {
        _combined([c for c in criteria if c.reference == row.solver]) for row in measured.references
    }
    return verdicts.pop() if len(verdicts) == 1 else "undecided"


def _reasons(criteria: list[Criterion], kind: MetricKind) -> tuple[str, ...]:
    """Each criterion under the reference with the largest change."""
    worst: dict[str, Criterion] = {}
    for c in criteria:
        if c.name not in worst or abs(c.value) > abs(worst[c.name].value):
            worst[c.name] = c
    return tuple(_said(c, kind) for c in worst.values())


def _combined(criteria: list[Criterion]) -> Verdict:
    """Invalid if one criterion is, else undecided if one is, else valid."""
    found = {c.verdict for c in criteria}
    return "invalid" if "invalid" in found else "undecided" if "undecided" in found else "valid"


def _nothing_to_judge(measured: Measurement) -> str | None:
    """Why no verdict is possible, whatever the numbers; None if one is."""
    if measured.own.failure is not None:
        return f"no predictions with the model's own solver, {measured.own.solver}: {measured.own.failure}"
    found = measured.references
    if len(found) < NEEDED:
        failed = [row for row in measured.rows if row.role == "reference" and row.failure is not None]
        why = "; ".join(f"{row.solver}: {row.failure}" for row in failed)
        return f"{len(found)} of {NEEDED} references reached the end ({why})"
    others = [row for row in measured.rows[1:] if row.failure is None]
    if all(row.from_own is not None and not row.from_own.any() for row in others):
        return (
            "every solver gave the same outputs to the last bit, which shows nothing: predict must return what it gets "
            "by solving with the solver it is given, and logits rather than classes; a field of zeros shows nothing too"
        )
    if measured.samples < 2:
        return "one sample shows nothing about others: give a batch of held-out samples"
    return None


def _disagreement(measured: Measurement, thresholds: Thresholds) -> str | None:
    """The reason, if references differ by half of a threshold or more; None otherwise."""
    first, *rest = measured.references
    for row in rest:
        assert row.from_reference is not None and row.metric is not None and first.metric is not None
        if row.reference_flips is None:
            outputs = float(np.quantile(row.from_reference, 1 - MOST_DEVIATING))
            outputs_said = f"95 % of the samples differ by up to {outputs:.2g} of their spread"
        else:
            outputs = row.reference_flips / measured.samples
            outputs_said = f"{100 * outputs:.3g} % of the predicted classes differ"
        gap = row.metric - first.metric
        metric = abs(_change(gap, row, first, row.from_reference, row.reference_flips, measured))
        metric_said = f"the {measured.kind.name} differs by {abs(gap):.2g}"
        for said, value, most in (
            (outputs_said, outputs, thresholds.outputs),
            (metric_said, metric, thresholds.metric),
        ):
            if value > most / 2:
                return (
                    f"the references disagree: {said} between {first.solver} and {row.solver}, more than half of what "
                    f"is allowed ({most:g}): the field is too sensitive to solve"
                )
    return None


def _criteria(row: SolverRow, measured: Measurement, thresholds: Thresholds) -> list[Criterion]:
    found = [_metric(row, measured, thresholds.metric), _outputs(row, measured, thresholds.outputs)]
    growth = _growth(row, measured, thresholds.outputs)
    if growth is None and any(c.verdict == "invalid" for c in found):
        growth = _rest(row, measured, thresholds.outputs)
    return found if growth is None else [growth, *found]


def _in_law(row: SolverRow, measured: Measurement, thresholds: Thresholds) -> list[Criterion]:
    gaps = (("mean", row.mean_gap), ("standard deviation", row.std_gap))
    most = thresholds.outputs
    moments = [
        Criterion(name, row.solver, gap.value, gap.interval, most, _decide(gap.interval, most))
        for name, gap in gaps
        if gap is not None
    ]
    return [_metric(row, measured, thresholds.metric), *moments]


def _metric(row: SolverRow, measured: Measurement, threshold: float) -> Criterion:
    """The change of the metric in units of the threshold."""
    own, n = measured.own, measured.samples
    assert row.metric_gap is not None and row.from_own is not None
    value, interval = _change(row.metric_gap, row, own, row.from_own, row.flips, measured), None
    if row.lost is not None and row.gained is not None:
        value, interval = (row.gained - row.lost) / n, of_net_change(row.lost, row.gained, n)
    elif row.metric_gap_error is not None:
        interval = of_mean(value, row.metric_gap_error / _unit(row, own, measured.kind), n)
    verdict = _decide(interval or Interval(value, value), threshold)
    if interval is None and n < LEAST_SAMPLES:
        verdict = "undecided"
    return Criterion("metric", row.solver, value, interval, threshold, verdict)


def _change(
    gap: float, row: SolverRow, other: SolverRow, apart: np.ndarray, flips: int | None, measured: Measurement
) -> float:
    """The metric's change in units of the threshold, as far as the outputs can explain it.

    An accuracy changes by no more than the share of flipped classes. Another metric may be close to its floor, where a
    relative change means nothing. An average error, in units of the outputs' spread, changes by no more than the
    outputs' deviation, so the smaller of the two counts. A metric of classes jumps where they flip, and its change
    counts unreduced.

    Args:
        gap: The metric's change, in its own unit.
        row, other: The rows to compare.
        apart: The deviation of each sample between the two.
        flips: The number of predicted classes that differ; None without labels.
        measured: All measured numbers.
    """
    kind = measured.kind
    change = gap / _unit(row, other, kind)
    if kind.name == "accuracy" and flips is not None:
        return math.copysign(min(abs(change), flips / measured.samples), change)
    if kind.name == "metric" and not flips:
        return math.copysign(min(abs(change), rms(apart)), change)
    return change


def _outputs(row: SolverRow, measured: Measurement, threshold: float) -> Criterion:
    """Flipped classes; without classes, samples whose outputs deviate."""
    n = measured.samples
    if row.flips is not None:
        interval = of_share(row.flips, n)
        return Criterion("flips", row.solver, row.flips / n, interval, threshold, _decide(interval, threshold))
    assert row.from_own is not None
    count = int(np.sum(row.from_own > threshold))
    interval = of_share(count, n)
    return Criterion("deviating", row.solver, count / n, interval, MOST_DEVIATING, _decide(interval, MOST_DEVIATING))


def _growth(row: SolverRow, measured: Measurement, threshold: float) -> Criterion | None:
    """A growth rate whose sign differs from the own solver's; None if there is none."""
    own, theirs = measured.own.growth, row.growth
    found = None if own is None or theirs is None else disagreement(own, theirs, threshold, MOST_DEVIATING)
    if found is None:
        return None
    does = lambda rate: f"{'grow' if rate > 0 else 'shrink'} ({rate:+.3g} per unit of time)"
    what, where = {
        "distances": ("distances between nearby solutions", ""),
        "volumes": ("volumes of sets of nearby solutions", f", along {100 * found.value:.3g} % of the trajectories"),
    }[found.what]
    said = (
        f"wrong sign: {what} {does(found.own)} with {measured.own.solver}, but {does(found.reference)} in the field "
        f"itself, under {row.solver}{where}"
    )
    return Criterion("growth", row.solver, found.value, found.interval, found.most, "invalid", said)


def _rest(row: SolverRow, measured: Measurement, threshold: float) -> Criterion | None:
    """An equilibrium that attracts under one solver and repels under the other, of a model that is invalid anyway.

    It says why. Alone it decides nothing, for the data may never come close to it.
    """
    own, theirs = measured.own.growth, row.growth
    found = None if own is None or theirs is None else opposite_rest(own, theirs, threshold)
    if found is None:
        return None
    state, mine, other = found
    does = lambda rate: f"{'leave' if rate > 0 else 'approach'} ({rate:+.3g} per unit of time)"
    said = (
        f"wrong sign: nearby solutions {does(mine)} the rest at ({', '.join(f'{x:.3g}' for x in state)}) with "
        f"{measured.own.solver}, but {does(other)} it in the field itself, under {row.solver}"
    )
    return Criterion("growth", row.solver, other - mine, None, threshold, "invalid", said)


def _unit(row: SolverRow, other: SolverRow, kind: MetricKind) -> float:
    """100 or 1 for an accuracy, 1 for a likelihood; else the larger of the two values, or the metric's scale."""
    assert row.metric is not None and other.metric is not None
    return kind.size(row.metric, other.metric) or 1.0


def _decide(interval: Interval, threshold: float) -> Verdict:
    if -threshold <= interval.low and interval.high <= threshold:
        return "valid"
    return "invalid" if interval.low > threshold or interval.high < -threshold else "undecided"


def _said(c: Criterion, kind: MetricKind) -> str:
    """A criterion as text: shares of the samples in percent, changes of an accuracy in points."""
    if c.said:
        return c.said
    if c.name == "metric" and kind.name == "NLL":
        bounds = "" if c.interval is None else f" ({c.interval.low:.3g} to {c.interval.high:.3g})"
        return f"NLL changes by {c.value:+.3g}{bounds} under {c.reference}; at most {c.threshold:g} is allowed"
    unit = "points" if c.name == "metric" and kind.name == "accuracy" else "%"
    number = lambda x: f"{100 * x:.3g}"
    what = {
        "metric": f"{kind.name} changes by {100 * c.value:+.3g} {unit}",
        "flips": f"{number(c.value)} % of the predicted classes flip",
        "deviating": f"{number(c.value)} % of the samples deviate by more than the tolerance",
        "mean": f"the mean of an output changes by {number(c.value)} % of its spread",
        "standard deviation": f"the standard deviation of an output changes by {number(c.value)} % of its spread",
    }[c.name]
    bounds = "" if c.interval is None else f" ({number(c.interval.low)} to {number(c.interval.high)})"
    return f"{what}{bounds} under {c.reference}; at most {number(c.threshold)} {unit} are allowed"
