"""Column: the contents of a comparison's table, and how to read them. One list for terminal, Markdown and page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .comparison import ComparisonRow, MetricColumn, Spread
from .method import name_of

MISSING = "-"
DAGGER = "†"

Cell = tuple[str, str]
"""A cell: the value, and its detail (spread, interval, ratio) or nothing."""


@dataclass(frozen=True)
class Column:
    """A title, a second line for its unit, a sentence on how to read it, and the cell for a row."""

    title: str
    unit: str
    meaning: str
    cell: Callable[[ComparisonRow], Cell]
    rank: int = 0  # if space is short, columns of the highest rank go first; 0 always stays

    @property
    def heading(self) -> str:
        """Title and unit in one line."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


def columns(rows: Sequence[ComparisonRow]) -> list[Column]:
    """The columns for these rows, which are of one task and metric (as `comparison.summarise` returns them)."""
    metric = rows[0].metric if rows else MetricColumn("metric", "", True)
    varied = rows[0].varied if rows else "method"
    base = next((name_of(row.series) for row in rows if row.is_baseline), "baseline")
    certified = [_certificate_column()] if any(row.verdicts for row in rows) else []
    if varied == "options":
        return [
            *_option_columns(rows),
            *_accuracy_columns(metric, chosen=True),
            _reference_column(metric, rows),
            *certified,
            *_cost_columns(None),
        ]
    first = _penalty_columns(base) if varied == "penalty" else [_METHOD, _NFE]
    compared = [*_accuracy_columns(metric), _difference_column(metric, base), _reference_column(metric, rows)]
    return [*first, *compared, *certified, *_cost_columns(base)]


def notes(rows: Sequence[ComparisonRow]) -> list[str]:
    """The footnotes these rows need."""
    found = []
    if rows and rows[0].varied == "penalty":
        solvers = ", ".join(dict.fromkeys(row.solver for row in rows))
        found.append(f"The solver of every row, in training and in prediction: {solvers}.")
    if any(row.depends_on_solver for row in rows):
        unit = rows[0].metric.unit
        much = {"%": "1 point", "nats": "0.05 nats", "bits/dim": "0.05 bits/dim"}.get(unit, "10 %")
        by = rows[0].reference
        found.append(f"{DAGGER} the field depends on its solver: re-solved by {by} it differs by more than {much}.")
    if any(row.valid < row.seeds for row in rows):
        found.append("m of n: only m of n seeds gave a finite test value; the means are over those.")
    if (best := best_row(rows)) is not None:
        found.append(f"Best on validation data: {best.label}. The test data chose nothing.")
    if rows and rows[0].varied != "options" and not any(row.is_baseline for row in rows):
        found.append("No run of the baseline: differences and ratios cannot be formed.")
    elif rows and max(row.seeds for row in rows) == 1:
        found.append("One seed: no spread and no interval.")
    return found


def best_row(rows: Sequence[ComparisonRow]) -> ComparisonRow | None:
    """The best combination of a sweep on validation data, of those that have it from every seed, if there are
    any."""
    swept = [row for row in rows if row.varied == "options" and row.validation.mean is not None]
    most = max((row.seeds for row in swept), default=0)
    whole = [row for row in swept if row.validation.n == most] or swept
    sign = 1 if rows and rows[0].metric.higher_is_better else -1
    return max(whole, key=lambda row: sign * (row.validation.mean or 0.0), default=None)


def number(value: float | None, metric: MetricColumn, sign: bool = False) -> str:
    """A metric's value: two decimals in %, else four significant digits."""
    if value is None:
        return MISSING
    return f"{value:{'+' if sign else ''}{'.2f' if metric.unit == '%' else '.4g'}}"


def amount(value: float | None) -> str:
    """A time or a count to three significant digits, never in exponents: 0.0123, 1.90, 43.2, 1530."""
    if value is None:
        return MISSING
    if value == 0:
        return "0"
    decimals = 2
    while decimals < 6 and abs(value) * 10**decimals < 99.5:
        decimals += 1
    while decimals > 0 and abs(value) * 10**decimals >= 999.5:
        decimals -= 1
    return f"{value:.{decimals}f}"


def count(value: float | None) -> str:
    """A mean number of evaluations: without decimals if it is whole, else with one."""
    if value is None:
        return MISSING
    return f"{value:.0f}" if abs(value - round(value)) < 0.05 else f"{value:.1f}"


def ratio(value: float | None) -> str:
    """A ratio in brackets, empty if there is none: two decimals, more only if they would all be zeros."""
    if value is None:
        return ""
    return f"({amount(value) if value < 0.01 or value >= 10 else f'{value:.2f}'}x)"


_COUNTED = (
    "Number of function evaluations: how often the vector field is called for one prediction. "
    "For an adaptive solver, which decides by itself, the mean over batches and seeds"
)
_METHOD = Column("method", "", "The solver in training and in prediction.", lambda row: (row.label, ""))
_NFE = Column("NFE", "", f"{_COUNTED}.", lambda row: (count(row.nfe.mean), ""))


def _option_columns(rows: Sequence[ComparisonRow]) -> list[Column]:
    """A column for each option that a sweep varies."""

    def column(name: str) -> Column:
        return Column(name, "", f"The value of --{name}.", lambda row: (row.options.get(name, MISSING), ""))

    return [*(column(name) for name in rows[0].options), _NFE]


def _penalty_columns(base: str) -> list[Column]:
    return [
        Column("penalty", "", "What was added to the loss in training, and its weight.", lambda row: (row.label, "")),
        Column(
            "NFE",
            "",
            f"{_COUNTED}, and its ratio to {base}'s (median over seeds). Less is better.",
            lambda row: (count(row.nfe.mean), ratio(row.nfe_ratio)),
        ),
    ]


def _accuracy_columns(metric: MetricColumn, *, chosen: bool = False) -> list[Column]:
    """Validation and test; the former always stays where it has chosen among the rows."""
    unit = metric.unit or metric.name
    better = "Higher" if metric.higher_is_better else "Lower"

    def spread_cell(spread: Spread) -> Cell:
        sd = f"± {number(spread.sd, metric)}" if spread.sd is not None else ""
        return number(spread.mean, metric), sd

    return [
        Column(
            "validation",
            unit,
            f"{better} is better. On data held out of training, on which the checkpoint was chosen: "
            "mean ± sample standard deviation over the seeds.",
            lambda row: spread_cell(row.validation),
            rank=0 if chosen else 2,
        ),
        Column(
            "test",
            unit,
            f"{better} is better. On data used for nothing else, once, at the end: "
            "mean ± sample standard deviation over the seeds.",
            lambda row: spread_cell(row.test),
        ),
    ]


def _difference_column(metric: MetricColumn, base: str) -> Column:
    points = "points" if metric.unit == "%" else (metric.unit or metric.name)

    def cell(row: ComparisonRow) -> Cell:
        if row.is_baseline:
            return "baseline", ""
        if row.difference is None:
            return MISSING, ""
        low, high = number(row.difference.low, metric, True), number(row.difference.high, metric, True)
        interval = MISSING if row.difference.low is None else f"[{low}, {high}]"
        return number(row.difference.mean, metric, True), interval

    return Column(
        f"vs {base}",
        f"{points} [95 %]",
        f"Test value minus that of {base} from the same seed (same data split, same initial weights), "
        "averaged, with the 95 % Student t interval of that mean. An interval that holds 0 shows no difference.",
        cell,
    )


def _reference_column(metric: MetricColumn, rows: Sequence[ComparisonRow]) -> Column:
    by_pair = not rows or rows[0].reference.startswith("Tsit5")
    accurate = "an accurate adaptive solver" if by_pair else rows[0].reference

    def cell(row: ComparisonRow) -> Cell:
        mark = f" {DAGGER}" if row.depends_on_solver else ""
        return number(row.test_reference.mean, metric) + mark, ""

    return Column(
        *(("by Tsit5", "1e-6") if by_pair else ("fine", "steps")),
        f"Test value of the same trained field when {accurate} takes the place of its own. "
        "Near the test value: the model is an ODE that any good solver may solve. "
        f"Far off ({DAGGER}): the field means something only together with its solver.",
        cell,
    )


def _certificate_column() -> Column:
    def cell(row: ComparisonRow) -> Cell:
        counts = [(verdict, row.verdicts.count(verdict)) for verdict in ("valid", "undecided", "invalid")]
        found = [(verdict, count) for verdict, count in counts if count]
        if not found:
            return MISSING, ""
        if len(found) == 1:
            return found[0][0], ""
        return ", ".join(f"{count} {verdict}" for verdict, count in found), ""

    return Column(
        "still an",
        "ODE",
        "The certificate of each run on its validation data. Valid: two accurate solvers change neither metric nor "
        "predictions by more than is allowed. Invalid: they do. Undecided: the samples are too few to tell, or the "
        "accurate solvers fail. A saved run's whole certificate: kuttax certify.",
        cell,
    )


def _cost_columns(base: str | None) -> list[Column]:
    compared = "" if base is None else f", and its ratio to {base}'s (median over seeds)"

    def seeds_cell(row: ComparisonRow) -> Cell:
        return (str(row.seeds), "") if row.valid == row.seeds else (f"{row.valid} of {row.seeds}", "")

    return [
        Column(
            "batch",
            "ms",
            f"Time to predict one batch, compiled{compared}. Less is better.",
            lambda row: (amount(row.predict_ms.mean), ratio(row.predict_ratio)),
        ),
        Column(
            "training",
            "s",
            f"Seconds of training without compilation{compared}. Less is better.",
            lambda row: (amount(row.train_seconds.mean), ratio(row.train_ratio)),
            rank=1,
        ),
        Column(
            "training",
            "ms a step",
            f"Steady time of one training step{compared}. Less is better.",
            lambda row: (amount(row.step_ms.mean), ratio(row.step_ratio)),
            rank=4,
        ),
        Column(
            "compile",
            "s",
            "Seconds spent compiling, once a run and not in the training seconds.",
            lambda row: (amount(row.compile_seconds.mean), ""),
            rank=3,
        ),
        Column("seeds", "", "Number of runs with different seeds behind this row.", seeds_cell, rank=1),
    ]
