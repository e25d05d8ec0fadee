"""Reports: tables, plots and a page, drawn from a folder's saved records and from nothing else."""

import os
from datetime import datetime
from pathlib import Path

from kuttax import records
from kuttax.errors import UserError
from kuttax.report import comparison, curves, page, plot, table
from kuttax.report.comparison import Row

__all__ = ["Row", "comparison", "curves", "page", "plot", "table", "write"]


def write(out_dir: str | os.PathLike[str], command: str | None = None) -> list[Row]:
    """Draw the report of a folder into it.

    Reads `records.jsonl` and, where present, `runs/*/metrics.jsonl`; writes `table.md`, `table.csv`, `accuracy_nfe.png`
    and `.svg`, `curves.png` and `.svg` (only with metrics to draw) and `index.html`.

    Args:
        out_dir: the folder of a comparison.
        command: the command line that ran it, for the page. By default what the records say: the "command" of a record
            `{"kind": "command", "command": ...}`, so that a report drawn again later still names it.

    Returns:
        The rows of the table, for the caller to print (`table.terminal(rows, width)`).

    Raises:
        UserError: the folder has no records, or they cannot be read or compared.
    """
    out = Path(out_dir)
    source = out / "records.jsonl"
    found = records.read(source)
    if not any(record.get("kind") in ("run", "failure") for record in found):
        raise UserError(f"{source} holds no runs: run `kuttax compare` with --out {out} first")
    rows = comparison.summarise(found)
    out.joinpath("table.md").write_text(table.markdown(rows), encoding="utf-8")
    out.joinpath("table.csv").write_text(table.csv(rows), encoding="utf-8")
    plots = {"accuracy": plot.accuracy_against_nfe(rows, out / "accuracy_nfe")[1]}
    metrics = {file.parent.name: records.read(file) for file in sorted(out.glob("runs/*/metrics.jsonl"))}
    drawn = curves.training_curves(metrics, out / "curves")
    if drawn:
        plots["training"] = drawn[1]
    if command is None:
        command = next((str(record["command"]) for record in found if record.get("command")), None)
    when = datetime.fromtimestamp(source.stat().st_mtime)
    out.joinpath("index.html").write_text(page.render(found, rows, plots, command, when), encoding="utf-8")
    return rows
