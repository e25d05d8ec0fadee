"""Shown: how a notebook shows objects that have a text."""

import html
from collections.abc import Iterable

_WIDTH = 2.5  # shares of what is allowed that a bar has room for


def as_html(self: object) -> str:
    """The text of an object in lines of a fixed width; a class takes it as its `_repr_html_`."""
    return f"<pre>{html.escape(str(self))}</pre>"


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
