"""Comparison: runs of several methods and seeds, one row for each method, compared with a baseline seed by seed.

Rows differ in their solver, or in the penalty that one solver was trained with.
"""

import hashlib
import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import scipy  # which imports each of its parts when it is used

from ..errors import UserError
from ..io.records import Record
from ..io.shape import NUMBER, Shape

Varied = Literal["method", "penalty", "options"]
"""What differs between a table's rows: the solver, the penalty, or the options that a sweep varies."""


class Key(NamedTuple):
    """The key of a row: solver, label, NFE budget (None for an adaptive solver), penalty (None without one)."""

    method: str
    label: str
    budget: int | None
    penalty: str | None


@dataclass(frozen=True)
class MetricColumn:
    """The metric of `validation` and `test`. A metric in % is already in percent, and its differences are points."""

    name: str
    unit: str
    higher_is_better: bool


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation (n - 1) of the finite values; None if there are too few of them."""

    mean: float | None
    sd: float | None
    n: int


@dataclass(frozen=True)
class Difference:
    """Mean of paired differences with its two-sided 95 % Student t interval; no interval from a single pair."""

    mean: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class ComparisonRow:
    """One solver at one budget, with one penalty or none, over its seeds.

    Times are in milliseconds (`*_ms`) or seconds (`*_seconds`). Ratios are the median over seeds of this method's value
    divided by the baseline's with the same seed, None if there are no pairs.
    """

    task: str
    metric: MetricColumn
    method: str
    label: str
    budget: int | None
    penalty: str | None
    penalty_weight: float | None  # at the first step of training
    penalty_decay: float | None  # at the end of training; None if it is constant
    solver: str  # full description
    varied: Varied  # the property that distinguishes the rows of its table
    is_baseline: bool
    seeds: int  # seeds tried: finished, diverged and failed
    valid: int  # seeds whose test value is finite: only these are in the mean of `test`
    validation: Spread
    test: Spread
    test_reference: Spread
    reference_gap: float | None  # mean over seeds of test_reference - test
    nfe: Spread
    nfe_reference: Spread
    predict_ms: Spread
    step_ms: Spread
    train_seconds: Spread
    compile_seconds: Spread
    difference: Difference | None
    nfe_ratio: float | None
    predict_ratio: float | None
    step_ratio: float | None
    train_ratio: float | None
    verdicts: tuple[str, ...] = ()  # of the certified runs
    options: Mapping[str, str] = field(default_factory=dict)  # those that a sweep varies, with their values
    reference: str = "Tsit5 at 1e-6"  # the solver of `test_reference`

    @property
    def series(self) -> str:
        """The row's name in plots: its solver, its penalty, or the options that a sweep varies."""
        return self.penalty or "none" if self.varied == "penalty" else self.method

    @property
    def depends_on_solver(self) -> bool:
        """Whether the field's metric changes if the reference solves it instead of its own solver.

        The threshold is 1 point for a metric in %, 0.05 for a likelihood (nats, bits/dim), and 10 % of the value for
        any other metric, whose scale is not known. A field that the reference cannot solve for every seed also depends
        on its solver.
        """
        if self.test_reference.n < self.test.n:
            return True
        if self.test.mean is None or self.reference_gap is None:
            return False
        most = {"%": 1.0, "nats": 0.05, "bits/dim": 0.05}.get(self.metric.unit, 0.1 * abs(self.test.mean))
        return abs(self.reference_gap) > most


_TEXT = (str, None)
_NUMBERS = ("validation", "test", "test_reference", "nfe", "nfe_reference", "predict_ms", "step_ms", "train_seconds")
_NUMBERS += ("compile_seconds", "penalty_weight", "penalty_decay")
_NAMED = {"task": str, "method": str, "label": str, "seed": int}
_SPECIAL = {"budget?": (int, None), "penalty?": _TEXT, "options?": {str: str}}
_RUN = {
    "kind": str,
    **_NAMED,
    **_SPECIAL,
    "metric": {"name": str, "unit?": str, "higher_is_better?": bool},
    **{f"{name}?": NUMBER for name in _NUMBERS},
    "solver?": str,
    "reference?": str,
    "certificate?": ({"verdict": str}, None),
    "versions?": {str: str},
}


def shape(record: Record) -> Shape:
    """The required shape of a record on disk, by its kind."""
    match record.get("kind"):
        case "run":
            return _RUN
        case "failure":
            named = {f"{name}?": shape for name, shape in _NAMED.items()}
            return {**named, **_SPECIAL, **{f"{name}?": NUMBER for name in _NUMBERS}, "error?": str}
        case _:
            return {"kind": str, "command?": str, "shard?": str}


_LONGEST = 120
"""Characters of the name of a combination's folder."""
BASELINES = ("dopri5", "spark")
"""The baselines for ODEs and for SDEs."""


def summarise(records: Iterable[Mapping[str, Any]], baseline: str | None = None) -> list[ComparisonRow]:
    """One row for each (method, label, budget, penalty), with the paired comparison to the baseline.

    Args:
        records: from `records.read`. Kinds other than "run" and "failure" are ignored. If a run was repeated (same row,
            same seed) the last record counts. A value that is None, NaN or infinite (a diverged run) is left out of its
            column's mean; `ComparisonRow.valid` shows it.
        baseline: the method to compare with, None for one of `BASELINES`; of several labels of that method, the first.
            If runs differ in their penalty, the baseline is the first without one. A sweep has none. If there is no
            baseline, the differences and ratios are None.

    Returns:
        The baseline's row first, then by budget (adaptive ones first), then in the order of the records.

    Raises:
        UserError: a run lacks a needed field, or the runs are of several tasks or metrics, so they cannot be compared.
    """
    records = list(records)
    groups = _group(records)
    task, metric = _subject(groups)
    varied = _varied(records)
    known = BASELINES if baseline is None else (baseline,)
    is_base = {
        "method": lambda key: key.method in known,
        "penalty": lambda key: key.penalty is None,
        "options": lambda key: False,
    }
    base_key = next(filter(is_base[varied], groups), None)
    base = groups.get(base_key, {}) if base_key else {}
    failed = failures(records)
    rows = [
        _row(key, runs, base, task, metric, varied, key == base_key, sum(_is_of(failure, key) for failure in failed))
        for key, runs in groups.items()
    ]
    return sorted(rows, key=lambda row: (not row.is_baseline, row.budget is not None, row.budget or 0))


def run_name(record: Mapping[str, Any]) -> str:
    """The folder name of a run in its comparison, from its record."""
    if record.get("options"):
        return f"{_file_name(record['options'])}-seed{record['seed']}"
    budget, penalty = record.get("budget"), record.get("penalty")
    parts = [record["method"], "adaptive" if budget is None else f"nfe{budget}"]
    if penalty is not None:
        ends = [record.get("penalty_weight"), record.get("penalty_decay")]
        parts += [penalty, "to".join(f"{end:g}" for end in ends if end is not None)]
    return "-".join([*filter(None, parts), f"seed{record['seed']}"])


def _file_name(options: Mapping[str, str]) -> str:
    """The options of a combination as a name for a folder; a digest keeps two apart that would look the same."""
    varied = ",".join(f"{name}={value}" for name, value in options.items())
    name = re.sub(r"[^A-Za-z0-9_.,=+-]+", "_", varied)[:_LONGEST]
    return name if name == varied else f"{name}-{hashlib.sha256(varied.encode()).hexdigest()[:8]}"


def failures(records: Iterable[Mapping[str, Any]]) -> list[Record]:
    """The failed runs without a later successful run of the same label and seed."""
    open_failures: dict[tuple[Any, Any], Record] = {}
    for record in records:
        name = (record.get("label"), record.get("seed"))
        if record.get("kind") == "failure":
            open_failures[name] = dict(record)
        elif record.get("kind") == "run":
            open_failures.pop(name, None)
    return list(open_failures.values())


def spread(values: Iterable[Any]) -> Spread:
    """Mean and sample standard deviation of the values that are finite numbers."""
    finite = [value for value in map(_number, values) if value is not None]
    mean = statistics.fmean(finite) if finite else None
    sd = statistics.stdev(finite) if len(finite) > 1 else None
    return Spread(mean, sd, len(finite))


def paired_difference(pairs: Sequence[tuple[float, float]], confidence: float = 0.95) -> Difference | None:
    """Mean of `value - baseline` with its Student t interval, `mean ± t(n - 1) sd / sqrt(n)`; None without pairs.

    Args:
        pairs: (value, baseline) of the same seed.
        confidence: of the two-sided interval.
    """
    if not pairs:
        return None
    differences = [value - base for value, base in pairs]
    n, mean = len(differences), statistics.fmean(differences)
    if n == 1:
        return Difference(mean, None, None, 1)
    half = float(scipy.special.stdtrit(n - 1, 0.5 + confidence / 2)) * statistics.stdev(differences) / math.sqrt(n)
    return Difference(mean, mean - half, mean + half, n)


def _group(records: Iterable[Mapping[str, Any]]) -> dict[Key, dict[int, Mapping[str, Any]]]:
    """Runs by row and seed."""
    groups: dict[Key, dict[int, Mapping[str, Any]]] = {}
    for record in records:
        if record.get("kind") != "run":
            continue
        for name in ("task", "metric", "method", "label", "seed"):
            if name not in record:
                raise UserError(f"a run record lacks {name!r}: was it written by another version of kuttax?")
        key = Key(record["method"], record["label"], record.get("budget"), record.get("penalty"))
        groups.setdefault(key, {})[record["seed"]] = record
    return groups


def _subject(groups: Mapping[Key, Mapping[int, Mapping[str, Any]]]) -> tuple[str, MetricColumn]:
    """The single task and metric of all runs."""
    runs = [run for seeds in groups.values() for run in seeds.values()]
    tasks = sorted({run["task"] for run in runs})
    metrics = {
        MetricColumn(run["metric"]["name"], run["metric"].get("unit", ""), run["metric"].get("higher_is_better", True))
        for run in runs
    }
    if len(tasks) > 1 or len(metrics) > 1:
        named = sorted(" in ".join(filter(None, (metric.name, metric.unit))) for metric in metrics)
        names = tasks if len(tasks) > 1 else named
        raise UserError(f"runs of {' and '.join(names)} cannot share a table: give each comparison its own folder")
    return (tasks[0], metrics.pop()) if runs else ("", MetricColumn("", "", True))


def _varied(records: Iterable[Mapping[str, Any]]) -> Varied:
    """What distinguishes the rows: the options of a sweep, the penalty if runs differ in it, or the solver."""
    records = list(records)
    if any(record.get("options") for record in records):
        return "options"
    found = {record.get("penalty") for record in records if record.get("kind") in ("run", "failure")}
    return "penalty" if len(found) > 1 else "method"


def _is_of(failure: Mapping[str, Any], key: Key) -> bool:
    """Whether a failed run belongs to a row. Failures name their label; other fields if they were known."""
    same = (failure.get(name, value) == value for name, value in key._asdict().items())
    return "label" in failure and all(same)


def _row(
    key: Key,
    runs: Mapping[int, Mapping[str, Any]],
    base: Mapping[int, Mapping[str, Any]],
    task: str,
    metric: MetricColumn,
    varied: Varied,
    is_baseline: bool,
    failed: int,
) -> ComparisonRow:
    def column(field: str) -> Spread:
        return spread(run.get(field) for run in runs.values())

    def pairs(field: str) -> list[tuple[float, float]]:
        seeds = [seed for seed in runs if seed in base]
        return _finite((runs[seed].get(field), base[seed].get(field)) for seed in seeds)

    own_and_reference = _finite((run.get("test"), run.get("test_reference")) for run in runs.values())
    test, one = column("test"), next(iter(runs.values()))
    return ComparisonRow(
        task=task,
        metric=metric,
        **key._asdict(),
        penalty_weight=one.get("penalty_weight"),
        penalty_decay=one.get("penalty_decay"),
        solver=one.get("solver", key.method),
        varied=varied,
        is_baseline=is_baseline,
        seeds=len(runs) + failed,
        valid=test.n,
        validation=column("validation"),
        test=test,
        test_reference=column("test_reference"),
        reference_gap=spread(reference - own for own, reference in own_and_reference).mean,
        nfe=column("nfe"),
        nfe_reference=column("nfe_reference"),
        predict_ms=column("predict_ms"),
        step_ms=column("step_ms"),
        train_seconds=column("train_seconds"),
        compile_seconds=column("compile_seconds"),
        difference=None if is_baseline else paired_difference(pairs("test")),
        nfe_ratio=_median_ratio(pairs("nfe")),
        predict_ratio=_median_ratio(pairs("predict_ms")),
        step_ratio=_median_ratio(pairs("step_ms")),
        train_ratio=_median_ratio(pairs("train_seconds")),
        reference=one.get("reference", "Tsit5 at 1e-6"),
        options=one.get("options") or {},
        verdicts=tuple(str(run["certificate"]["verdict"]) for run in runs.values() if run.get("certificate")),
    )


def _finite(pairs: Iterable[tuple[Any, Any]]) -> list[tuple[float, float]]:
    """The pairs whose values are both finite numbers."""
    numbers = [(_number(first), _number(second)) for first, second in pairs]
    return [(first, second) for first, second in numbers if first is not None and second is not None]


def _median_ratio(pairs: Sequence[tuple[float, float]]) -> float | None:
    ratios = [value / base for value, base in pairs if base != 0]
    return statistics.median(ratios) if ratios else None


def _number(value: Any) -> float | None:
    """The value as a float if it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
