"""Page: a comparison as one HTML file that needs nothing else, neither network nor neighbouring files."""

import base64
import html
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from .column import Column, columns, notes
from .comparison import Row, failures
from .figure import INK, PAPER
from .method import ON_DARK

_CSS = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1b1b1e; --soft: #62626b; --line: #d9d9df; --tint: #f5f5f8;
        --alert: #a3260c; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #16171a; --ink: #e8e8ec; --soft: #a0a0ab; --line: #383a41; --tint: #1f2125; --alert: #ff9a80; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI",
       Roboto, "Noto Sans", sans-serif; }
main { max-width: 78rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; }
p, dl, ul { max-width: 48rem; }
code, pre { font: .875rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
pre { background: var(--tint); border: 1px solid var(--line); border-radius: 6px; padding: .6rem .8rem;
      white-space: pre-wrap; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; width: 100%; }
th, td { padding: .4rem .7rem; text-align: right; vertical-align: top; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 11rem; padding-left: .3rem; }
thead th { border-bottom: 2px solid var(--ink); vertical-align: bottom; }
tbody tr { border-bottom: 1px solid var(--line); }
tbody tr.budget { border-top: 2px solid var(--line); }
tbody tr.baseline { background: var(--tint); }
th small, td small { display: block; font-weight: normal; font-size: .8rem; color: var(--soft); }
.note, .facts { color: var(--soft); font-size: .9rem; }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .8rem 0; }
.facts dd { margin: 0; color: var(--ink); overflow-wrap: anywhere; }
.meaning dt { font-weight: 600; margin-top: .7rem; }
.meaning dd { margin: 0; }
figure { margin: 0 0 2rem; max-width: 54rem; }
figure svg { width: 100%; height: auto; display: block; }
.failed li { color: var(--alert); overflow-wrap: anywhere; }
"""

_DARK = "".join(f"--c{light[1:].lower()}: {dark}; " for light, dark in ON_DARK.items())
_CSS += f"@media (prefers-color-scheme: dark) {{ :root {{ {_DARK}}} }}\n"

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


def render(
    records: Sequence[Mapping[str, Any]],
    rows: Sequence[Row],
    plots: Mapping[str, str | Path],
    command: str | None = None,
    when: datetime | None = None,
) -> str:
    """The page's HTML.

    Args:
        records: all records of the comparison, for versions, devices and failed runs.
        rows: what `comparison.summarise` made of them.
        plots: "accuracy", "training" and "forecast", where there are such: an SVG file (inlined, so that it follows the
            reader's light or dark theme) or a PNG file (embedded).
        command: the command line that ran it.
        when: when it was run.
    """
    task = rows[0].task if rows else next((str(r["task"]) for r in records if "task" in r), "comparison")
    title = f"kuttax: {task}, {rows[0].metric.name} against cost" if rows else f"kuttax: {task}"
    higher = not rows or rows[0].metric.higher_is_better
    accuracy = (_ACCURACY if higher else _ACCURACY_LOW).format(reference=rows[0].reference if rows else "")
    captions = {"accuracy": accuracy, "training": _TRAINING, "forecast": _FORECAST}
    body = [
        f"<h1>{html.escape(title)}</h1>",
        _facts(records, rows, when),
        f"<h2>Command</h2><pre>{html.escape(command)}</pre>" if command else "",
        _failures(failures(records)),
        "<h2>Results</h2>" + (_table(rows) if rows else "<p>No run has finished.</p>"),
        "<h2>Plots</h2>" if plots else "",
        *(_plot(name, Path(path), captions.get(name, "")) for name, path in plots.items()),
        _meaning(columns(rows)) if rows else "",
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in body if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def _facts(records: Sequence[Mapping[str, Any]], rows: Sequence[Row], when: datetime | None) -> str:
    """Date, versions, device and the like; several values side by side where the runs differ in them."""
    runs = [record for record in records if record.get("kind") == "run"]

    def each(field: str) -> str:
        return ", ".join(dict.fromkeys(str(run[field]) for run in runs if run.get(field) is not None))

    versions = dict.fromkeys(
        ", ".join(f"{name} {version}" for name, version in run["versions"].items())
        for run in runs
        if isinstance(run.get("versions"), Mapping)
    )
    facts = {
        "date": when.strftime("%Y-%m-%d %H:%M") if when else "",
        "runs": f"{len(runs)}, in {len(rows)} rows" if runs else "",
        "training steps": each("steps_trained"),
        "device": each("device"),
        "precision": each("dtype"),
        "versions": "; ".join(versions),
    }
    items = "".join(f"<dt>{name}</dt><dd>{html.escape(text)}</dd>" for name, text in facts.items() if text)
    return f'<dl class="facts">{items}</dl>'


def _table(rows: Sequence[Row]) -> str:
    shown = columns(rows)
    head = "".join(f'<th scope="col">{_two_lines(column.title, column.unit)}</th>' for column in shown)
    body = []
    for before, row in zip([None, *rows[:-1]], rows, strict=True):
        new_budget = before is not None and before.budget != row.budget
        kind = "baseline" if row.is_baseline else "budget" if new_budget else ""
        cells = "".join(f"<td>{_two_lines(*column.cell(row))}</td>" for column in shown)
        body.append(f'<tr class="{kind}">{cells}</tr>')
    below = "".join(f'<p class="note">{html.escape(note)}</p>' for note in notes(rows))
    return (
        f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n'
        + "\n".join(body)
        + f"\n</tbody></table></div>{below}"
    )


def _two_lines(first: str, second: str) -> str:
    return html.escape(first) + (f"<small>{html.escape(second)}</small>" if second else "")


def _plot(name: str, path: Path, caption: str) -> str:
    if path.suffix == ".svg":
        picture = _inline_svg(path.read_text(encoding="utf-8"), name)
    else:
        data = base64.b64encode(path.read_bytes()).decode()
        picture = f'<img alt="{html.escape(name)}" src="data:image/png;base64,{data}">'
    return f'<figure>{picture}<figcaption class="note">{html.escape(caption)}</figcaption></figure>'


def _inline_svg(svg: str, name: str) -> str:
    """The SVG element alone, in the page's colours, its ids made its own (two plots use the same ones)."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = svg.replace(INK, "var(--ink)").replace(PAPER, "var(--paper)")
    for colour in map(str.lower, ON_DARK):
        svg = svg.replace(colour, f"var(--c{colour[1:]}, {colour})")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{html.escape(name)}" ', 1)


def _failures(failed: Iterable[Mapping[str, Any]]) -> str:
    lines = [
        f"<li><strong>{html.escape(str(failure.get('label', 'a run')))}</strong>, "
        f"seed {html.escape(str(failure.get('seed', '?')))}: {html.escape(str(failure.get('error', 'unknown')))}</li>"
        for failure in failed
    ]
    return f'<h2>Failed runs</h2><ul class="failed">{"".join(lines)}</ul>' if lines else ""


def _meaning(shown: Iterable[Column]) -> str:
    items = [
        f"<dt>{html.escape(column.title)}{f' ({html.escape(column.unit)})' if column.unit else ''}</dt>"
        f"<dd>{html.escape(column.meaning)}</dd>"
        for column in shown
    ]
    return f'<h2>How to read the columns</h2><dl class="meaning">{"".join(items)}</dl>'
