"""Certificate: its table for the terminal and its picture, from the record that `kuttax certify` saves."""

import os
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ..options.look import COLOURS, VERDICTS
from .column import MISSING
from .figure import INK, Axes, figure, files, fix_ticks

CertificateRecord = Mapping[str, Any]

_LINE = COLOURS["blue"]
_MOST_SHARE = 2.5  # of what is allowed; beyond it a change is drawn at the edge
_SENTENCE = {
    "valid": "Valid: other solvers predict the same",
    "invalid": "Invalid: the predictions depend on the solver",
    "undecided": "Undecided: the samples do not tell whether the solver matters",
}
_LEAST_NAME = 26  # characters for the name of a solver
_GIVE_WAY = ("max", "median", "calibration", "crossings", "growth")  # columns to drop, in this order, if space is short

Shown = tuple[str, str, Callable[[CertificateRecord], str]]
"""A column: heading, unit, and the cell for a row; a missing number is an empty cell."""


def terminal(record: CertificateRecord, width: int = 120) -> Group:
    """The rows of a certificate as a table, with the verdict and its reasons below.

    Args:
        record: the result of `Certificate.to_json()`.
        width: of the terminal, in characters; if space is short, the less important columns are dropped.
    """
    columns = [column for column in _columns(record) if any(column[2](row) for row in record["rows"])]
    columns = _that_fit(columns, record, width)
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    table.add_column(Text("solver", style="bold"), overflow="fold", min_width=_LEAST_NAME)
    for name, unit, _ in columns:
        head = Text(name, style="bold").append("\n" + unit, style="dim not bold")
        table.add_column(head, justify="right", overflow="ellipsis", no_wrap=True)
    for row in record["rows"]:
        table.add_row(_name(row), *(cell(row) or MISSING for _, _, cell in columns))
    return Group(table, *_notes(record))  # as a caption, notes would be cut where they are wider than the table


def plot(record: CertificateRecord, path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Draw what is tested beside what is allowed, and the deviation of the outputs against the step size.

    Args:
        record: the result of `Certificate.to_json()`.
        path: of the picture; its suffix is replaced by `.png` (150 dpi) and `.svg`.

    Returns:
        The two files written.
    """
    criteria = record["criteria"]
    rows = [row for row in record["rows"] if row["role"] != "reference" and _errors(row) and row["steps_ratio"]]
    room = [0.5 + 0.34 * len(criteria)] * bool(criteria) + [3.8] * bool(rows)
    with figure(7.4, 1.0 + sum(room or [1.0]), path) as canvas:
        panels = list(
            canvas.subplots(len(room) or 1, squeeze=False, gridspec_kw={"height_ratios": room or [1.0]})[:, 0]
        )
        if not room:
            panels[0].text(0.5, 0.5, "nothing to draw", ha="center", va="center", transform=panels[0].transAxes)
            panels[0].set_axis_off()
        if rows:
            _draw(panels[-1], rows, record)
        if criteria:
            _draw_criteria(panels[0], criteria, record["metric"]["name"])
        colour = VERDICTS[record["verdict"]]
        canvas.suptitle(_SENTENCE[record["verdict"]], x=0.01, ha="left", color=colour, weight="bold", fontsize=12)
        panels[0].set_title(record["rows"][0]["solver"], fontsize=9, weight="normal", color=INK)
    return files(path)


def _draw_criteria(axes: Axes, criteria: Sequence[Mapping[str, Any]], metric: str) -> None:
    """Each tested change with its confidence interval, as a share of what is allowed."""
    names = {
        "metric": metric,
        "flips": "classes that flip",
        "deviating": "samples that deviate",
        "growth": "growth rate",
    }
    for height, one in enumerate(criteria):
        value, low, high = _shares(one)
        colour = VERDICTS[one["verdict"]]
        shown = min(value, _MOST_SHARE)
        axes.plot([min(low, _MOST_SHARE), min(high, _MOST_SHARE)], [height, height], color=colour, lw=2, alpha=0.5)
        axes.plot(shown, height, "o" if shown == value else ">", color=colour, ms=7)
        if shown < value:
            axes.annotate(
                f"{value:.3g} times", (shown, height), (-8, 0), textcoords="offset points", ha="right", va="center"
            )
    axes.axvline(1, color=INK, lw=1.2, ls="--")
    axes.set_xlim(-0.05, _MOST_SHARE * 1.03)
    axes.set_ylim(len(criteria) - 0.5, -0.5)
    solvers = [re.sub(r"^\w+\((\w+).*", r"\1", one["reference"]) for one in criteria]
    labels = [
        f"{names.get(one['name'], one['name'])}, by {solver}" for one, solver in zip(criteria, solvers, strict=True)
    ]
    axes.set_yticks(range(len(criteria)), [textwrap.shorten(label, 44, placeholder=" ...") for label in labels])
    axes.set_xlabel("change under another solver, in shares of the allowed (dashed)")


def _shares(one: Mapping[str, Any]) -> tuple[float, float, float]:
    """The size of a change and of the ends of its interval, as shares of what is allowed."""
    most = one["threshold"] or 1.0
    ends = [one["value"]] if one["interval"] is None else [one["interval"]["low"], one["interval"]["high"]]
    least = 0.0 if min(ends) < 0 < max(ends) else min(map(abs, ends))
    return abs(one["value"]) / most, least / most, max(map(abs, ends)) / most


def _that_fit(columns: Sequence[Shown], record: CertificateRecord, width: int) -> list[Shown]:
    """The columns that fit beside the solvers' names."""

    def room(column: Shown) -> int:
        heading, unit, cell = column
        return 2 + max(map(len, (heading, unit, *(cell(row) for row in record["rows"]))))

    shown = list(columns)
    for heading in _GIVE_WAY:
        if _LEAST_NAME + sum(map(room, shown)) > width:
            shown = [column for column in shown if column[0] != heading]
    return shown


def _columns(record: CertificateRecord) -> list[Shown]:
    """All columns except the solvers' names."""
    kind, n = record["metric"], record["samples"]
    points = kind["name"] == "accuracy"
    decimals = ".2f" if points else ".4g"
    to_unit = 100 / kind["unit"] if points else 1.0
    metric = lambda field, sign: lambda row: _number(row[field], to_unit, f"{sign}{decimals}")
    deviation = lambda which: lambda row: _number((row["from_own"] or {}).get(which), 100, ".3g")
    return [
        ("NFE", "", lambda row: _number(row["nfe"], 1, ".4g")),
        (kind["name"], "%" if points else "", metric("metric", "")),
        ("change", "points" if points else "", metric("metric_gap", "+")),
        ("flips", "%", lambda row: _number(row["flips"], 100 / max(n, 1), ".2f")),
        ("median", "dev. %", deviation("median")),
        ("95 %", "dev. %", deviation("q95")),
        ("max", "dev. %", deviation("max")),
        ("calibration", "shift", lambda row: _number(row["calibration_shift"], 1, "+.4f")),
        ("gradient", "cosine", lambda row: _number(row["gradient_cosine"], 1, ".4f")),
        ("crossings", "%", lambda row: _number(row["crossings"], 100, ".2f")),
        ("growth", "1 / time", lambda row: _number(_largest_rate(row), 1, "+.3g")),
    ]


def _largest_rate(row: CertificateRecord) -> float | None:
    return row["growth"]["rates"][0] if row.get("growth") else None


def _number(value: float | None, factor: float, form: str) -> str:
    return "" if value is None else f"{factor * value:{form}}"


def _name(row: CertificateRecord) -> Text:
    text = Text(row["solver"], style="bold" if row["role"] == "own" else "")
    for remark in (row["note"], row["failure"]):
        if remark:
            text.append(f"\n{remark}", style="dim not bold")
    return text


def _notes(record: CertificateRecord) -> list[Text]:
    verdict = Text("\n").append(record["verdict"], style=f"bold {VERDICTS[record['verdict']]}")
    verdict.append(f" on {record['samples']} samples", style="not dim")
    lines = [verdict, *(Text(f"  {reason}") for reason in record["reasons"])]
    if record["order"] is not None:
        expected = "" if record["expected_order"] is None else f"; the scheme's is {record['expected_order']}"
        lines.append(Text(f"Observed order of convergence: {record['order']:.2f}{expected}."))
    percent = f"{100 * record['confidence']:g} %"
    lines.append(Text(f"Changes and deviations are from the first row; each bound in brackets holds with {percent}."))
    lines.append(
        Text("A deviation is that of a sample's worst output, in percent of the output's spread over the samples.")
    )
    if any(row.get("growth") for row in record["rows"]):
        lines.append(Text("Growth is the largest growth rate: below zero, solutions approach each other."))
    return lines


def _errors(row: CertificateRecord) -> Mapping[str, float] | None:
    return row["from_reference"]


def _draw(axes: Axes, rows: Sequence[CertificateRecord], record: CertificateRecord) -> None:
    steps = [1 / row["steps_ratio"] for row in rows]
    least = min((v for row in rows for v in _errors(row).values() if v > 0), default=1e-12)  # pyright: ignore
    values = {which: [max(_errors(row)[which], least) for row in rows] for which in ("median", "q95", "max")}  # pyright: ignore
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.fill_between(steps, values["median"], values["max"], color=_LINE, alpha=0.14, lw=0)
    axes.plot(steps, values["median"], "o-", color=_LINE, label="median sample")
    axes.plot(
        steps, values["q95"], "s--", color=_LINE, ms=5, label="95 % of the samples lie below; shaded up to the worst"
    )
    axes.plot(steps[0], values["median"][0], "o", ms=16, mfc="none", mec=VERDICTS[record["verdict"]], mew=2)
    _draw_floor(axes, record, least)
    if all(row["flips"] is None for row in record["rows"]):
        axes.axhline(
            record["thresholds"]["outputs"], color=INK, lw=1.2, ls="--", label="allowed for 95 % of the samples"
        )
    fix_ticks(axes.xaxis, steps)
    axes.set_xticks(steps, [_step_label(row) for row in rows])
    axes.set_xlabel("step size, as a share of the model's own (ringed)")
    axes.set_ylabel("deviation from an accurate solver\n(1: the spread of the outputs)")
    axes.figure.legend(loc="outside lower left", ncols=2, fontsize=9)


def _draw_floor(axes: Axes, record: CertificateRecord, least: float) -> None:
    """The difference between the references: smaller errors are not resolved."""
    references = [row for row in record["rows"] if row["role"] == "reference" and _errors(row)]
    if len(references) < 2:
        return
    floor = references[-1]["from_reference"]["q95"]
    if floor < least / 100:  # so low that it would only compress the rest
        return
    axes.axhline(floor, color=INK, lw=0.8, ls=":", label="95 % of what the references differ by")


def _step_label(row: CertificateRecord) -> str:
    share = f"1/{row['steps_ratio']:.3g}" if row["steps_ratio"] != 1 else "1"
    return share if row["nfe"] is None else f"{share}\nNFE {row['nfe']:.4g}"
