"""Page: a comparison as one self-contained HTML file, which needs no network and no other files."""

import base64
import html
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from .column import columns, notes
from .comparison import ComparisonRow, failures
from .figure import INK, PAPER
from .method import ON_DARK

_ACCURACY = (
    "Filled: with the solver of training, mean and standard deviation over seeds. Hollow: the same field re-solved "
    "by {reference}; an arrow at the edge where that lies outside the picture. Points of one NFE, or "
    "nearly so, stand side by side. Further up and to the left is better; "
    "the band is the baseline, plus and minus one standard deviation."
)
_ACCURACY_LOW = _ACCURACY.replace("Further up", "Further down")
_TRAINING = (
    "Each seed thin, their mean in bold. Loss is of the training batch, with the penalty where there is one; "
    "NFE is what one forward solve cost."
)
_FORECAST = (
    "Long forecasts of test data with the solver of training, by the first seed: one of them beside its truth, and the "
    "error of all against the lead time. A cross marks where a forecast diverges."
)

_SWEEP = (
    "One panel for each option. A thin line joins the runs that differ in that option alone; the bold line is the mean "
    "over all combinations with that value. The ring is the best combination on validation data."
)

_HEADLINE = (
    "Bars: evaluations of the model for one prediction; a short bar is a fast one. Beside them the test metric, means "
    "over the seeds, and the metric of the same field solved by the reference: a model that is an ODE does not change."
)


def render(
    records: Sequence[Mapping[str, Any]],
    rows: Sequence[ComparisonRow],
    plots: Mapping[str, str | Path],
    command: str | None = None,
    when: datetime | None = None,
) -> str:
    """The page's HTML.

    Args:
        records: all records of the comparison, for versions, devices and failed runs.
        rows: the result of `comparison.summarise`.
        plots: "headline", "accuracy", "training", "forecast", if they exist: an SVG file (inlined, so that it follows
            the reader's light or dark theme) or a PNG file (embedded).
        command: the command line that ran it.
        when: when it was run.
    """
    task = rows[0].task if rows else next((str(r["task"]) for r in records if "task" in r), "comparison")
    title = f"kuttax: {task}, {rows[0].metric.name} against cost" if rows else f"kuttax: {task}"
    higher = not rows or rows[0].metric.higher_is_better
    accuracy = (_ACCURACY if higher else _ACCURACY_LOW).format(reference=rows[0].reference if rows else "")
    captions = {
        "headline": _HEADLINE,
        "accuracy": accuracy,
        "training": _TRAINING,
        "forecast": _FORECAST,
        "sweep": _SWEEP,
    }
    return _template().render(
        title=title,
        dark_colours=ON_DARK,
        facts=_facts(records, rows, when),
        command=command,
        failures=failures(records),
        rows=rows,
        columns=columns(rows),
        notes=notes(rows),
        plots=[_plot(name, Path(path), captions.get(name, "")) for name, path in plots.items()],
    )


def _facts(
    records: Sequence[Mapping[str, Any]], rows: Sequence[ComparisonRow], when: datetime | None
) -> dict[str, str]:
    """Date, versions, device and similar facts; several values side by side if the runs differ in them."""
    runs = [record for record in records if record.get("kind") == "run"]

    def each(field: str) -> str:
        return ", ".join(dict.fromkeys(str(run[field]) for run in runs if run.get(field) is not None))

    versions = dict.fromkeys(
        ", ".join(f"{name} {version}" for name, version in run["versions"].items())
        for run in runs
        if isinstance(run.get("versions"), Mapping)
    )
    return {
        "date": when.strftime("%Y-%m-%d %H:%M") if when else "",
        "runs": f"{len(runs)}, in {len(rows)} rows" if runs else "",
        "training steps": each("steps_trained"),
        "device": each("device"),
        "precision": each("dtype"),
        "versions": "; ".join(versions),
    }


def _template() -> Any:
    """The page before it is filled in."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # here: only who makes a page waits for it

    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return templates.get_template("page.html.jinja")


def _plot(name: str, path: Path, caption: str) -> dict[str, str]:
    """A plot for the template: an SVG element, or the bytes of a PNG file in base 64."""
    if path.suffix == ".svg":
        picture = {"svg": _inline_svg(path.read_text(encoding="utf-8"), name)}
    else:
        picture = {"svg": "", "png": base64.b64encode(path.read_bytes()).decode()}
    return {"name": name, "caption": caption, **picture}


def _inline_svg(svg: str, name: str) -> str:
    """Only the SVG element, in the page's colours, with unique ids (two plots use the same ones)."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = svg.replace(INK, "var(--ink)").replace(PAPER, "var(--paper)")
    for colour in map(str.lower, ON_DARK):
        svg = svg.replace(colour, f"var(--c{colour[1:]}, {colour})")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{html.escape(name)}" ', 1)
