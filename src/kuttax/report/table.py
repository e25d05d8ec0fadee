"""Table: a comparison's rows for the terminal, as Markdown and as CSV."""

import csv as csv_writer
import io
import itertools
from collections.abc import Sequence

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from .column import Cell, Column, columns, notes
from .comparison import ComparisonRow, Difference, Spread

_FIT = ((4, 20), (3, 20), (2, 20), (1, 12))
"""The layouts to try in a narrow terminal: the highest rank of columns shown, and the least width of long labels."""


def terminal(rows: Sequence[ComparisonRow], width: int = 120) -> Table:
    """The rows as a rich table that fits a terminal.

    Spread, interval or ratio stand beside their value if all columns fit, else below it. If that is still too wide, the
    less important columns are left out, and the caption says so.

    Args:
        rows: as `comparison.summarise` returns them.
        width: of the terminal, in characters (`rich.console.Console().width`).
    """
    every = columns(rows)
    shown, between = _layout(every, rows, width)
    left_out = [column.heading for column in every if column not in shown]
    footnotes = notes(rows) + ([f"Left out for want of room: {', '.join(left_out)}."] if left_out else [])
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
        caption=Text("\n" + "\n".join(footnotes)) if footnotes else None,
        caption_justify="left",
        title=Text(f"{rows[0].task}: {rows[0].metric.name}") if rows else None,
        title_justify="left",
    )
    for i, column in enumerate(shown):
        head = Text(column.title, style="bold").append("\n" + column.unit, style="dim not bold")
        if i == 0:
            table.add_column(head, overflow="fold")
        else:  # a number that is cut off would be another number: an ellipsis marks it
            table.add_column(head, justify="right", overflow="ellipsis", no_wrap=True)
    for row, following in itertools.zip_longest(rows, rows[1:]):
        last_of_budget = following is not None and following.budget != row.budget
        table.add_row(*(_text(column.cell(row), between) for column in shown), end_section=last_of_budget)
    return table


def markdown(rows: Sequence[ComparisonRow]) -> str:
    """The rows as a GitHub-flavoured Markdown table, footnotes below."""
    shown = columns(rows)
    head = [column.heading for column in shown]
    body = [[_joined(column, row) for column in shown] for row in rows]
    lines = [_markdown_line(head), "|:---|" + "---:|" * (len(shown) - 1), *map(_markdown_line, body)]
    lines += [line for note in notes(rows) for line in ("", note)]
    return "\n".join(lines) + "\n"


def csv(rows: Sequence[ComparisonRow]) -> str:
    """The rows with every number in full precision, one number a column; empty if there is none."""
    out = io.StringIO()
    writer = csv_writer.writer(out, lineterminator="\n")
    penalised = any(row.penalty is not None for row in rows)
    certified = any(row.verdicts for row in rows)
    fields = [
        _flat(row) | (_penalty(row) if penalised else {}) | ({"verdicts": " ".join(row.verdicts)} if certified else {})
        for row in rows
    ]
    if fields:
        writer.writerow(fields[0].keys())
        writer.writerows(["" if value is None else value for value in field.values()] for field in fields)
    return out.getvalue()


def _penalty(row: ComparisonRow) -> dict[str, str | float | None]:
    return {name: getattr(row, name) for name in ("penalty", "penalty_weight", "penalty_decay")}


def _layout(every: Sequence[Column], rows: Sequence[ComparisonRow], width: int) -> tuple[list[Column], str]:
    """The columns that fit, and the separator between a value and its detail."""
    if _width(every, rows, " ") <= width:
        return list(every), " "
    for highest, label in _FIT:
        shown = [column for column in every if column.rank <= highest]
        if _width(shown, rows, "\n", label) <= width:
            return shown, "\n"
    return [column for column in every if column.rank == 0], "\n"


def _width(shown: Sequence[Column], rows: Sequence[ComparisonRow], between: str, label: int = 100) -> int:
    """The width of a line of the table if nothing is folded except labels longer than `label`."""
    total = 2 * len(shown)  # a gap of two behind each column
    for i, column in enumerate(shown):
        texts = [column.title, column.unit, *(_text(column.cell(row), between).plain for row in rows)]
        widest = max(cell_len(line) for text in texts for line in text.split("\n"))
        total += widest if i else min(widest, label)
    return total


def _text(cell: Cell, between: str) -> Text:
    value, detail = cell
    text = Text(value)
    if detail:
        text.append(between + detail, style="dim")
    return text


def _joined(column: Column, row: ComparisonRow) -> str:
    return " ".join(part for part in column.cell(row) if part)


def _markdown_line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("\\", "\\\\").replace("|", "\\|") for cell in cells) + " |"


def _flat(row: ComparisonRow) -> dict[str, str | int | float | bool | None]:
    """A row as plain values: `test` becomes `test_mean` and `test_sd`, `difference` gains its interval."""
    flat: dict[str, str | int | float | bool | None] = {
        "task": row.task,
        "metric": row.metric.name,
        "unit": row.metric.unit,
        "method": row.method,
        "label": row.label,
        "budget": row.budget,
        "baseline": row.is_baseline,
        "seeds": row.seeds,
        "valid": row.valid,
    }
    for name, value in vars(row).items():
        if isinstance(value, Spread):
            flat |= {f"{name}_mean": value.mean, f"{name}_sd": value.sd}
    difference = row.difference or Difference(float("nan"), None, None, 0)
    flat |= {
        "difference": difference.mean if difference.n else None,
        "difference_low": difference.low,
        "difference_high": difference.high,
        "difference_pairs": difference.n,
    }
    ratios = ("nfe_ratio", "predict_ratio", "step_ratio", "train_ratio")
    return flat | {name: getattr(row, name) for name in ratios} | {"depends_on_solver": row.depends_on_solver}
