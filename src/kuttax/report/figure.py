"""Figure: the common look of all plots, and how they are written.

Matplotlib's object-oriented interface on the Agg canvas: no window, no state shared with the caller's own figures.
"""

import os
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..io.atomic import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
else:  # the functions below import matplotlib: whoever draws nothing does not wait for it
    Axes = Axis = Figure = Line2D = Patch = Any

INK = "#1b1b1e"
"""Colour of text and axes; a page that inlines the SVG may replace it."""
PAPER = "#fffffe"
"""Colour of the background, slightly off white so that a page can find and replace it too."""

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": INK,
    "grid.alpha": 0.10,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "legend.frameon": False,
    "svg.hashsalt": "kuttax",  # the same records give the same file
    **{name: INK for name in ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")},
}


@contextmanager
def figure(width: float, height: float, path: str | os.PathLike[str]) -> Iterator[Figure]:
    """A blank figure of this size in inches, written to `files(path)` when the `with` block ends without an error."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        blank = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(blank)
        yield blank
        _wrap_texts(blank)
        png, svg = files(path)
        with replacing(png) as partial:
            blank.savefig(partial, format="png", dpi=150, metadata={"Software": None})
        blank.set_layout_engine("none")  # so that both files have the same layout
        with replacing(svg) as partial:
            blank.savefig(partial, format="svg", metadata={"Date": None})


def _wrap_texts(drawn: Figure) -> None:
    """Break titles that reach beyond the right edge into lines; the layout does not look at their width."""
    from matplotlib.text import Text

    drawn.draw_without_rendering()  # for the places of the axes
    own = [child for axes in drawn.axes for child in axes.get_children() if type(child) is Text]
    for text in drawn.texts + own:
        lines = text.get_text().splitlines()
        most = max(map(len, lines), default=0)
        room = drawn.bbox.x1 - max(text.get_window_extent().x0, 0.0)
        while most > 1 and text.get_window_extent().width > room:
            most -= max(most // 20, 1)
            text.set_text("\n".join(textwrap.fill(line, most, break_long_words=False) for line in lines))


def files(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """The files of a plot: the path with `.png` and with `.svg` in place of its suffix."""
    return Path(path).with_suffix(".png"), Path(path).with_suffix(".svg")


def round_ticks(low: float, high: float) -> list[float]:
    """A few round numbers, evenly spaced, from `low` to `high`: ticks for a logarithmic axis of about one octave."""
    from matplotlib.ticker import MaxNLocator

    ticks = MaxNLocator(6, integer=high - low > 2).tick_values(low, high)
    return [float(tick) for tick in ticks if low <= tick <= high]


def fix_ticks(axis: Axis, ticks: Sequence[float], labels: Sequence[str] | None = None) -> None:
    """Put the ticks of an axis at these places, with no minor ones between."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    axis.set_major_locator(FixedLocator(ticks))
    if labels is not None:
        axis.set_major_formatter(FixedFormatter(labels))
    axis.set_minor_locator(NullLocator())


def line_entry(label: str, **look: Any) -> Line2D:
    """The entry of a line or a marker in a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], label=label, **look)


def area_entry(label: str, **look: Any) -> Patch:
    """The entry of an area in a legend."""
    from matplotlib.patches import Patch

    return Patch(label=label, **look)
