"""table: the records as Markdown."""

from collections.abc import Callable, Sequence

from kuttax.io.records import Record

from .results import Results, digits, each, paired, seconds
from .targets import TARGETS

_DISTURBED = 0.1
"""The part of a machine that others may use during a round before the table says so."""
_Column = tuple[str, Callable[[Results, Record], str]]


def markdown(results: Results) -> str:
    """Circumstances, targets, and one table for each question."""
    parts = [
        _circumstances(results),
        _section("Targets", _targets(results)),
        *(
            _section(f"On a GPU, {kind}", _rows(results, results.of("gpu", kind=kind), columns))
            for kind, columns in (("gradient", _TIME + _STEPS[:3] + _BUFFERS), ("forward", _TIME))
        ),
        _section("Training", _rows(results, results.of("training", kind="training"), _TRAINING)),
        _section("Gradient, fixed steps", _rows(results, results.of("fixed", kind="gradient"), _TIME + _ACCURACY)),
        _section("Gradient, adaptive steps", _rows(results, results.of("adaptive", kind="gradient"), _TIME + _STEPS)),
        _section("Forward", _rows(results, results.of("fixed", "adaptive", kind="forward"), _TIME)),
        *(
            _section(f"Fields, {kind}", _rows(results, results.of("fields", kind=kind), columns))
            for kind, columns in (("gradient", _TIME + _ACCURACY + _BUFFERS), ("forward", _TIME))
        ),
        _section("Compile time against diffrax", _compile_ratios(results)),
        _section("Compile time", _rows(results, _compiled(results), _COMPILE)),
        *(
            _section(f"Learned solvers, {kind}", _rows(results, results.of("learned", kind=kind), _TIME))
            for kind in ("gradient", "forward")
        ),
        *(
            _section(
                f"Own times for each sample, {kind}", _rows(results, results.of("ragged", kind=kind), _TIME + _STEPS)
            )
            for kind in ("gradient", "forward")
        ),
        *(
            _section(
                f"Stochastic differential equations, {kind}", _rows(results, results.of("stochastic", kind=kind), _TIME)
            )
            for kind in ("gradient", "forward")
        ),
        _section("Memory", _rows(results, results.of("memory", kind="gradient"), _TIME + _MEMORY)),
        *(_section(f"Scaling, {kind}", _scaling(results, kind)) for kind in ("gradient", "forward")),
    ]
    return "\n".join(part for part in parts if part)


def _circumstances(results: Results) -> str:
    found = results.found
    versions = {name: version for record in found for name, version in record["versions"].items()}
    machines = each(found, lambda record: f"{record['device']}, {record['cores']} cores")
    dates = sorted(record["date"][:10] for record in found)
    lines = [
        f"- Measured on {'; '.join(machines)}; {dates[0]} to {dates[-1]}; float32.",
        f"- {', '.join(f'{name} {version}' for name, version in sorted(versions.items()))}.",
        "- Ratios are of times of the same round: median over rounds [quartiles].",
    ]
    disturbed = {r["workload"]: max((x or 0.0 for x in r["elsewhere"]), default=0.0) for r in found}
    disturbed = [f"{workload} ({share:.0%})" for workload, share in disturbed.items() if share > _DISTURBED]
    for (name, reason), where in _left_out(results).items():
        lines.append(f"- Left out: {name} of {', '.join(where)} ({reason}).")
    if disturbed:
        lines.append(f"- **Other processes kept the machine busy during** {', '.join(disturbed)}: measure these again.")
    if results.smoke:
        lines.insert(0, "- **A smoke run at tiny sizes: these times measure nothing.**")
    return "\n".join(lines) + "\n"


def _left_out(results: Results) -> dict[tuple[str, str], list[str]]:
    """Which workloads a library could not do, by the library and the reason."""
    found: dict[tuple[str, str], list[str]] = {}
    for workload, left_out in {record["workload"]: record["left_out"] for record in results.found}.items():
        for library in left_out.items():
            found.setdefault(library, []).append(workload)
    return found


def _section(title: str, table: str) -> str:
    return f"## {title}\n\n{table}\n" if table else ""


def _targets(results: Results) -> str:
    if all(target.measure(results) is None for target in TARGETS):
        return ""
    lines = []
    for target in TARGETS:
        ratio, bound = target.measure(results), f"{'>=' if target.is_least else '<='} {digits(target.bound)}"
        verdict = "not measured" if ratio is None else "met" if target.is_met(ratio) else "**missed**"
        lines.append([target.text, bound, "" if ratio is None else str(ratio), verdict])
    return _table(["target", "bound", "measured", ""], lines)


def _rows(results: Results, found: Sequence[Record], columns: Sequence[_Column]) -> str:
    """A row for each record, those of one workload together."""
    lines = []
    for workload in each(found, lambda record: record["workload"]):
        for record in (r for r in found if r["workload"] == workload):
            lines.append([workload, record["name"], *(cell(results, record) for _, cell in columns)])
    return _table(["workload", "library", *(title for title, _ in columns)], lines) if lines else ""


def _compiled(results: Results) -> list[Record]:
    found = results.of("fixed", "adaptive", "fields", "gpu", kind="gradient")
    return [record for record in found if record.get("compile_s") is not None]


def _compile_ratios(results: Results) -> str:
    """A row for each workload: seconds of kuttax and diffrax, and their ratio."""
    lines = []
    for workload in each(_compiled(results), lambda record: record["workload"]):
        cells = [_against_diffrax(results, workload, kind) for kind in ("gradient", "forward")]
        if all(cells):
            lines.append([workload, *(text for cell in cells for text in cell)])
    heads = (f"{kind}: {what}" for kind in ("gradient", "forward") for what in ("kuttax (s)", "diffrax (s)", "ratio"))
    return _table(["workload", *heads], lines) if lines else ""


def _against_diffrax(results: Results, workload: str, kind: str) -> list[str]:
    """Seconds of kuttax, of diffrax, and the ratio; nothing where one of them is missing."""
    ratio = results.value_ratio(workload, "kuttax", "diffrax", "compile_s", kind)
    pair = [results.get(workload, name, kind) for name in ("kuttax", "diffrax")]
    return [] if ratio is None else [*(f"{record['compile_s']:.2f}" for record in pair if record), str(ratio)]


def _scaling(results: Results, kind: str) -> str:
    found = results.of("scaling", kind=kind)
    names = each(found, lambda record: record["name"])
    lines = []
    for workload in each(found, lambda record: record["workload"]):
        ours = results.get(workload, "kuttax", kind)
        ratios = [str(results.time_ratio(workload, name, "kuttax", kind) or "") for name in names if name != "kuttax"]
        lines.append([workload.removeprefix("scaling-"), _milliseconds(results, ours) if ours else "", *ratios])
    heads = ["kuttax (ms)", *(f"{name} / kuttax" for name in names if name != "kuttax")]
    return _table(["size", *heads], lines) if lines else ""


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = "|:---|" + "---:|" * (len(heads) - 1)
    return "\n".join([f"| {' | '.join(heads)} |", rule, *(f"| {' | '.join(line)} |" for line in lines)]) + "\n"


def _milliseconds(results: Results, record: Record) -> str:
    return digits(1e3 * seconds(record))


def _ratio(results: Results, record: Record) -> str:
    ours = results.get(record["workload"], "kuttax", record["kind"])
    return "" if ours is None else str(paired(record, ours) or "")


def _nfe(results: Results, record: Record) -> str:
    """Marked where fixed steps should have cost the same and did not."""
    ours = results.get(record["workload"], "kuttax", record["kind"])
    differs = record["steps"] is not None and ours is not None and ours["nfe"] != record["nfe"]
    return f"{record['nfe']:g}" + (" (differs)" if differs else "")


def _attempts(results: Results, record: Record) -> str:
    counts = [record.get(name) for name in ("accepted", "rejected")]
    return " + ".join(f"{count:g}" for count in counts if count is not None)


def _error(results: Results, record: Record) -> str:
    """Marked where it exceeds what all were to achieve."""
    error, target = record.get("error_y1"), record.get("target_error")
    if error is None:
        return ""
    return f"{error:.1e}" + (" (above)" if target is not None and error > target else "")


def _number(field: str, form: str) -> Callable[[Results, Record], str]:
    def cell(results: Results, record: Record) -> str:
        value = record.get(field)
        return "" if value is None else format(value, form)

    return cell


def _peak(results: Results, record: Record) -> str:
    """On the device, where it is no CPU."""
    field = "peak_rss_mib" if record.get("peak_device_mib") is None else "peak_device_mib"
    return _number(field, ".1f")(results, record)


def _compile_ratio(results: Results, record: Record) -> str:
    return str(results.value_ratio(record["workload"], record["name"], "kuttax", "compile_s") or "")


def _compile_forward(results: Results, record: Record) -> str:
    forward = results.get(record["workload"], record["name"], "forward")
    return "" if forward is None else _number("compile_s", ".2f")(results, forward)


_TIME: tuple[_Column, ...] = (("time (ms)", _milliseconds), ("/ kuttax", _ratio))
_ERRORS: tuple[_Column, ...] = (("error", _error), ("gradient's error", _number("error_gradient", ".1e")))
_ACCURACY: tuple[_Column, ...] = (("NFE", _nfe), *_ERRORS)
_STEPS: tuple[_Column, ...] = (
    ("tolerance", _number("tolerance", ".1e")),
    ("NFE", _nfe),
    ("accepted + rejected", _attempts),
    *_ERRORS,
)
_COMPILE: tuple[_Column, ...] = (
    ("gradient (s)", _number("compile_s", ".2f")),
    ("/ kuttax", _compile_ratio),
    ("trace (s)", _number("trace_s", ".2f")),
    ("lower (s)", _number("lower_s", ".2f")),
    ("XLA (s)", _number("xla_s", ".2f")),
    ("forward (s)", _compile_forward),
)
_BUFFERS: tuple[_Column, ...] = (
    ("peak (MiB)", _peak),
    ("compiler's buffers (MiB)", _number("temp_mib", ".1f")),
)
_TRAINING: tuple[_Column, ...] = (
    ("steps", _number("steps", "g")),
    ("batch", _number("batch", "g")),
    ("a step (ms)", _number("step_ms", ".2f")),
    ("training (s)", _number("train_seconds", ".1f")),
    ("compiling (s)", _number("compile_seconds", ".1f")),
    ("NFE", _number("nfe", "g")),
    ("test", _number("test", ".2f")),
)
_MEMORY: tuple[_Column, ...] = (("NFE", _nfe), *_BUFFERS)
