"""Shown: how a notebook shows objects that have a text."""

import html
from collections.abc import Iterable, Sequence

_LENGTH = 480  # pixels of an interval
_WIDTH = 2.5  # shares of what is allowed that a bar has room for


def as_html(self: object) -> str:
    """The text of an object in lines of a fixed width; a class takes it as its `_repr_html_`."""
    return f"<pre>{html.escape(str(self))}</pre>"


def counted(number: int, noun: str) -> str:
    """A number of things: "1 step", "2 steps"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def bars(rows: Iterable[tuple[str, float, str]]) -> str:
    """A table with a bar in each row, for a notebook; a line marks one, and a longer bar ends at the edge.

    Args:
        rows: A label, a number of at least zero, and a colour each.
    """
    line = f"position:absolute;left:{100 / _WIDTH:.0f}%;top:-3px;bottom:-3px;border-left:2px dashed currentColor"
    cells = []
    for label, share, colour in rows:
        bar = f"width:{100 * min(share, _WIDTH) / _WIDTH:.1f}%;height:100%;background:{colour}"
        track = "position:relative;width:16em;height:0.8em;background:rgba(128,128,128,.15)"
        cells.append(
            f"<tr><td style='text-align:left'>{html.escape(label)}</td>"
            f"<td><div style='{track}'><div style='{bar}'></div><div style='{line}'></div></div></td>"
            f"<td>{100 * share:.3g} %</td></tr>"
        )
    return f"<table>{''.join(cells)}</table>"


def timeline(ends: Sequence[float], times: Iterable[float], first: str, last: str) -> str:
    """A picture of the steps on one interval, and of the times of evaluation, for a notebook.

    Args:
        ends: The ends of the steps as fractions of the interval, from 0 to 1.
        times: The times of evaluation, as fractions too; they may lie outside.
        first, last: The texts at the two ends of the interval.
    """
    at = lambda fraction: 40 + _LENGTH * fraction
    end = "stroke='currentColor' stroke-width='2'"
    marks = [f"<line x1='{at(x):.1f}' x2='{at(x):.1f}' y1='6' y2='26' {end}/>" for x in ends]
    dots = [f"<circle cx='{at(x):.1f}' cy='16' r='4' fill='#0072B2' fill-opacity='0.6'/>" for x in times]
    text = "y='42' text-anchor='middle' font-size='12' fill='currentColor'"
    labels = [f"<text x='{at(x):.1f}' {text}>{html.escape(label)}</text>" for x, label in ((0, first), (1, last))]
    line = f"<line x1='{at(0)}' x2='{at(1)}' y1='16' y2='16' stroke='currentColor' stroke-opacity='0.4'/>"
    parts = "".join([line, *marks, *dots, *labels])
    name = "The ends of the steps (lines) and the times of evaluation (dots)"
    size = f"viewBox='0 0 {_LENGTH + 80} 48' width='{_LENGTH + 80}' height='48' style='max-width:100%'"
    head = f"<svg xmlns='http://www.w3.org/2000/svg' {size} role='img' aria-label='{name}'><title>{name}</title>"
    return f"{head}{parts}</svg>"
