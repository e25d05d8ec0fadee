"""Reports: tables, plots and a page, drawn only from a folder's saved records."""

import functools
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from ..errors import UserError
from ..io import records
from ..io.atomic import write_text
from ..io.folder import Folder
from ..io.records import Record
from . import comparison, curves, forecast, headline, page, plot, sweep, table
from .comparison import ComparisonRow, run_name

__all__ = [
    "DRAWN",
    "RECORDS",
    "ComparisonRow",
    "comparison",
    "curves",
    "draw",
    "forecast",
    "page",
    "plot",
    "read",
    "run_name",
]
__all__ += ["table", "write"]

RECORDS = "records.jsonl"
"""The file of a comparison from which a report is drawn."""

DRAWN = (
    *("table.md", "table.csv", "index.html"),
    *(
        f"{name}.{ending}"
        for name in ("headline", "sweep", "accuracy_nfe", "curves", "forecasts")
        for ending in ("png", "svg")
    ),
)
"""The files of a report."""


def write(out_dir: str | os.PathLike[str], command: str | None = None) -> list[ComparisonRow]:
    """Draw the report of a folder into that folder.

    Reads `records.jsonl` and, if present, `runs/*/metrics.jsonl` and `runs/*/forecast.json`; writes `table.md`,
    `table.csv`, `headline.png` and `.svg` (only with two rows or more), `accuracy_nfe.png` and `.svg`, `curves.png` and
    `.svg` (only with metrics to draw), `forecasts.png` and `.svg` (only with forecasts) and `index.html`. A sweep has
    `sweep.png` and `.svg` as its only plot.

    Args:
        out_dir: the folder of a comparison.
        command: the command line of the comparison, for the page. Default: the "command" of a record `{"kind":
            "command", "command": ...}`, so that a later report still names it.

    Returns:
        The rows of the table, for the caller to print (`table.terminal(rows, width)`).

    Raises:
        UserError: the folder has no records, or they cannot be read or compared.
    """
    return draw(Path(out_dir), read(Path(out_dir)), command)


def read(out: Path) -> list[Record]:
    """The records of a comparison.

    Raises:
        UserError: there are none, or they are damaged.
    """
    check = functools.partial(Folder(out, "report").check, RECORDS, "run the comparison again", grown=True)
    found = records.read(out / RECORDS, comparison.shape, check)
    if not any(record.get("kind") in ("run", "failure") for record in found):
        raise UserError(f"{out / RECORDS} holds no runs: run `kuttax compare` with --out {out} first")
    return found


def draw(out: Path, found: Sequence[Record], command: str | None = None) -> list[ComparisonRow]:
    """Draw the report of the records from `read`; otherwise as `write`."""
    rows = comparison.summarise(found)
    swept = any(record.get("options") for record in found)
    plots = _swept(out, rows) if swept else _compared(out, found, rows)
    write_text(out / "table.md", table.markdown(rows))
    write_text(out / "table.csv", table.csv(rows))
    if command is None:
        command = next((str(record["command"]) for record in found if record.get("command")), None)
    when = datetime.fromtimestamp((out / RECORDS).stat().st_mtime)
    write_text(out / "index.html", page.render(found, rows, plots, command, when))
    return rows


def _swept(out: Path, rows: Sequence[ComparisonRow]) -> dict[str, Path]:
    """The plots of a sweep."""
    drawn = sweep.plot(rows, out / "sweep")
    return {} if drawn is None else {"sweep": drawn[1]}


def _compared(out: Path, found: Sequence[Record], rows: Sequence[ComparisonRow]) -> dict[str, Path]:
    """The plots of a comparison."""
    groups, forecasts = _groups(out, found, rows), _forecasts(out, found, rows)
    plots = {}
    if (headed := headline.plot(rows, out / "headline")) is not None:
        plots["headline"] = headed[1]
    plots["accuracy"] = plot.accuracy_against_nfe(rows, out / "accuracy_nfe")[1]
    drawn = curves.training_curves(groups, out / "curves")
    if drawn:
        plots["training"] = drawn[1]
    if forecasts:
        plots["forecast"] = forecast.plot(
            forecasts, [row.series for row in rows if row.label in forecasts], out / "forecasts"
        )[1]
    return plots


def _forecasts(out: Path, found: Sequence[Record], rows: Sequence[ComparisonRow]) -> dict[str, Record]:
    """The forecasts of the first run of each row, if present."""
    first = {record["label"]: run_name(record) for record in reversed(found) if record.get("kind") == "run"}
    folders = {row.label: out / "runs" / first[row.label] for row in rows}
    return forecast.read({label: path for label, path in folders.items() if (path / forecast.NAME).exists()})


def _groups(out: Path, found: Sequence[Record], rows: Sequence[ComparisonRow]) -> list[curves.Group]:
    """The metrics of the runs of each row, if present."""
    folders = {file.parent.name: file.parent for file in out.glob(f"runs/*/{curves.NAME}")}
    needed = {"method", "label", "seed"}  # a failure before the start of its run may lack these
    named = [record for record in found if record.get("kind") in ("run", "failure") and needed <= record.keys()]
    label_of = {run_name(record): record["label"] for record in named}
    groups = []
    for row in rows:
        runs = [curves.read(folders[name]) for name in sorted(folders) if label_of.get(name) == row.label]
        groups.append(curves.Group(row.label, row.series, runs))
    return [group for group in groups if group.runs]
