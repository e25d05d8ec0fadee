"""One learned step of four stages for Lorenz-63, against every classical tableau, on its own step and off it.

    python -m experiments.distill-lorenz.run [--out DIR] [--seeds N] [--steps 0.05 0.1 0.15 0.2] [--smoke]

One record a finished fit goes to records.jsonl; what is recorded there is not repeated. table.md is drawn from the
records alone.
"""

import argparse
import contextlib
import functools
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import kuttax as kx
from kuttax.commands.program import ending
from kuttax.distillation import Frozen, Pairs, row, table
from kuttax.distillation.teacher import taught, teacher_of
from kuttax.solvers.serialise import from_json, to_json

from ..ledger import Ledger

STARTS = (kx.tableaus.RK4, kx.tableaus.RK38)
STUDENTS = {f"order {order}": order for order in (4, 3, 2, 1)}
"""Each begins at the classical tableaus, and where the order above it, which it contains, ended: there are several
minima, and the best one on the held-out starts is kept."""
OFF = 0.5
"""The off-step result: a solver fitted to a step h used for a step of this fraction of it."""


def field(t, y, args):
    """Lorenz-63 with its usual parameters (Lorenz 1963)."""
    del t, args
    return jnp.stack([10 * (y[1] - y[0]), y[0] * (28 - y[2]) - y[1], y[0] * y[1] - 8 / 3 * y[2]])


def attractor(seed: int, number: int, time: float) -> np.ndarray:
    """Points of the attractor: where random states are after `time`."""
    start = np.random.default_rng(seed).normal([0.0, 0.0, 25.0], 8.0, (number, 3))
    return taught(Frozen(field, None, 0.0, time), start, teacher_of(field)).end.astype(np.float32)


def after(points: np.ndarray, step: float) -> Pairs:
    """The points, and where the teacher takes them in one step."""
    return taught(Frozen(field, None, 0.0, step), points, teacher_of(field))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    options = _options(arguments)
    ledger = Ledger(options.out / "records.jsonl")
    for seed in range(options.seeds):
        points = functools.cache(lambda: attractor(seed, options.starts + options.test, options.spin_up))  # noqa: B023
        for step in options.steps:
            _study(ledger, step, seed, points, options)
    (options.out / "table.md").write_text(drawn(ledger.all()))


def _study(
    ledger: Ledger, step: float, seed: int, points: Callable[[], np.ndarray], options: argparse.Namespace
) -> None:
    """The classical schemes and every student at one step; each student also begins where the one before it ended."""
    about = {"step": step, "seed": seed, "starts": options.starts, "test_starts": options.test}
    ledger.once({"student": "classical", **about}, lambda: _classical(points()[options.starts :], step))
    above = None
    for kind in STUDENTS:
        fit = functools.partial(_fit, kind, step, seed, points, options, above)
        above = ledger.once({"student": kind, **about}, fit)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=float, nargs="+", default=[0.05, 0.1, 0.15, 0.2])
    parser.add_argument("--smoke", action="store_true", help="half a minute's run, to see that it works")
    options = parser.parse_args(arguments)
    options.starts, options.test, options.fit_steps = (64, 64, 3) if options.smoke else (2048, 4096, None)
    options.spin_up = 0.5 if options.smoke else 20.0
    return options


def _classical(points: np.ndarray, step: float) -> dict:
    """Every classical tableau of at most four evaluations; the best one, and RK4 as the tables of the field have it."""
    rows = table(Frozen(field, None, 0.0, step), after(points, step), 4)
    half = table(Frozen(field, None, 0.0, OFF * step), after(points, OFF * step), 4)
    off = {r.name: r.rmse for r in half}
    return {
        "rmse": rows[0].rmse,
        "rmse_off": off[rows[0].name],
        "solver": rows[0].name,
        "rows": [{**r._asdict(), "rmse_off": off[r.name]} for r in rows],
    }


def students(kind: str, above: dict | None = None) -> list[kx.LearnedRK]:
    """Where the fits of one kind begin; `above` is the record of the order above it, with the same points and step."""
    order = STUDENTS[kind]
    found = [kx.LearnedRK.from_tableau(start, 1, order=order) for start in STARTS]
    if above is not None:
        with contextlib.suppress(kx.UserError):  # its conditions of this order may be ill-conditioned
            found.append(kx.LearnedRK.from_tableau(_tableau(above["solver"], order + 1), 1, order=order))
    return found


def _tableau(solver: dict, order: int) -> kx.Tableau:
    """Of a saved solver of one step; its weights are made to sum to one beyond the digits of float32."""
    with jax.enable_x64(True):
        table = from_json(solver).table(np.dtype(np.float64))
        a, b = np.asarray(table.a[0], float), np.asarray(table.b[0], float)
    return kx.Tableau.explicit("the order above", a, b / b.sum(), order)


def _fit(
    kind: str,
    step: float,
    seed: int,
    points: Callable[[], np.ndarray],
    given: argparse.Namespace,
    above: dict | None,
) -> dict:
    starts, others = points()[: given.starts], points()[given.starts :]
    wall, cpu = time.perf_counter(), time.process_time()
    options = {"max_steps": given.fit_steps, "key": jax.random.key(seed)}
    fits = [kx.distill(field, starts, 0.0, step, student=student, **options) for student in students(kind, above)]
    fitted = min(fits, key=lambda fit: fit.error)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    tested = row(Frozen(field, None, 0.0, step), fitted.solver, after(others, step))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        off = after(others, OFF * step)
        end = kx.solve(field, off.start, 0.0, OFF * step, solver=fitted.solver, batch_axis=0).y1
    return {
        "rmse": tested.rmse,
        "rmse_off": float(np.sqrt(np.mean((np.asarray(end, np.float64) - off.end) ** 2))),
        "warned": next((str(w.message) for w in said if issubclass(w.category, kx.OffGridWarning)), None),
        "held_out": fitted.error,
        "fit_steps": fitted.steps,
        "seconds": wall,
        "cpu_seconds": cpu,
        "solver": to_json(fitted.solver),
    }


def drawn(rows: list[dict]) -> str:
    """The table: one-step errors per component, means over seeds with standard deviations, on and off the step."""
    steps = sorted({r["step"] for r in rows})
    lines = [
        "| one step of 4 stages | " + " | ".join(f"h = {h:g}" for h in steps) + " |",
        "|:---|" + "---:|" * len(steps),
    ]
    for off in (False, True):
        for kind in ("RK4", "best classical", *reversed(STUDENTS)):
            cells = [_mean([_value(r, kind, off) for r in rows if r["step"] == h and _is(r, kind)]) for h in steps]
            lines.append(f"| {kind}{', used at h/2' * off} | {' | '.join(cells)} |")
    warned = [r for r in rows if r.get("warned")]
    fits = [r for r in rows if r["student"] in STUDENTS]
    return "\n".join(lines) + f"\n\n{len(warned)} of {len(fits)} learned solvers warned when they were used at h/2.\n"


def _is(record: dict, kind: str) -> bool:
    return record["student"] == (kind if kind in STUDENTS else "classical")


def _value(record: dict, kind: str, off: bool) -> float:
    if kind == "RK4":
        record = next(r for r in record["rows"] if r["name"].startswith("FixedSteps(RK4,"))
    return record["rmse_off" if off else "rmse"]


def _mean(values: list[float]) -> str:
    if not values:
        return ""
    spread = f" ± {np.std(values, ddof=1):.1g}" if len(values) > 1 else ""
    return f"{np.mean(values):.3g}{spread}"


if __name__ == "__main__":
    ending.run(main, program="experiments")
