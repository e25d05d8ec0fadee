"""Learned solvers for an exact flow-matching field, against every classical tableau at the same cost.

    python -m experiments.distill-flow.run [--out DIR] [--seeds N] [--nfe 8 16] [--smoke]

One record a finished fit goes to records.jsonl; what is recorded there is not repeated. table.md is drawn from the
records alone.
"""

import argparse
import functools
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import kuttax as kx
from kuttax.commands.program import ending
from kuttax.distillation import Frozen, Pairs, row, table
from kuttax.distillation.teacher import taught, teacher_of
from kuttax.solvers.serialise import to_json

from ..ledger import Ledger

RADIUS, SPREAD = 2.0, 0.15
ANGLES = np.arange(8) * np.pi / 4
CENTRES = RADIUS * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)

STUDENTS = {
    "shared": lambda nfe: kx.student("shared", nfe, order=1),
    "per step, order 2": lambda nfe: kx.student("per_step", nfe, order=2),
    "per step": lambda nfe: kx.student("per_step", nfe, order=1),
    "anchored": lambda nfe: kx.student("anchored", nfe, order=1),
}
"""4 stages a step, learned step sizes; the anchored one is a single step."""


def field(t, x, args):
    """The velocity that carries N(0, I) to eight Gaussians along straight conditional paths; exact, no network.

    u(t, x) = E[x1 - x0 | (1 - t) x0 + t x1 = x] (flow matching: Lipman et al. 2023, arXiv 2210.02747).
    """
    del args
    centres = jnp.asarray(CENTRES, x.dtype)
    variance = (1 - t) ** 2 + (t * SPREAD) ** 2
    away = x[None] - t * centres
    share = jax.nn.softmax(-jnp.sum(away**2, axis=1) / (2 * variance))
    return share @ (centres + (t * SPREAD**2 - (1 - t)) / variance * away)


def pairs(seed: int, number: int) -> Pairs:
    """Starts from N(0, I), and where the teacher takes them."""
    start = np.asarray(jax.random.normal(jax.random.key(seed), (number, 2)))
    return taught(Frozen(field, None, 0.0, 1.0), start, teacher_of(field))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    options = _options(arguments)
    ledger = Ledger(options.out / "records.jsonl")
    for seed in range(options.seeds):
        test = functools.cache(lambda: pairs(1_000_000 + seed, options.test))  # noqa: B023  not fitted on, nor stopped by
        for nfe in options.nfe:
            for kind in ("classical", *STUDENTS):
                about = {"student": kind, "nfe": nfe, "seed": seed}
                about |= {"starts": options.starts, "test_starts": options.test}
                if kind == "classical":
                    ledger.once(about, lambda: _classical(test(), nfe))  # noqa: B023
                else:
                    ledger.once(about, lambda: _fit(kind, nfe, seed, test(), options))  # noqa: B023
    (options.out / "table.md").write_text(drawn(ledger.all()))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--nfe", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--smoke", action="store_true", help="a minute's run, to see that it works")
    options = parser.parse_args(arguments)
    options.starts, options.test, options.steps = (64, 64, 3) if options.smoke else (2048, 4096, None)
    return options


def _classical(test: Pairs, nfe: int) -> dict:
    rows = table(Frozen(field, None, 0.0, 1.0), test, nfe)
    return {"rmse": rows[0].rmse, "median": rows[0].median, "solver": rows[0].name, "rows": [r._asdict() for r in rows]}


def _fit(kind: str, nfe: int, seed: int, test: Pairs, options: argparse.Namespace) -> dict:
    starts_key, fit_key = jax.random.split(jax.random.key(seed))
    starts = jax.random.normal(starts_key, (options.starts, 2))
    wall, cpu = time.perf_counter(), time.process_time()
    fitted = kx.distill(
        field, starts, 0.0, 1.0, student=STUDENTS[kind](nfe), holdout=0.25, max_steps=options.steps, key=fit_key
    )
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    tested = row(Frozen(field, None, 0.0, 1.0), fitted.solver, test)
    return {
        "rmse": tested.rmse,
        "median": tested.median,
        "held_out": fitted.error,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(fitted.solver)),
        "fit_steps": fitted.steps,
        "seconds": wall,
        "cpu_seconds": cpu,
        "solver": to_json(fitted.solver),
    }


def drawn(rows: list[dict]) -> str:
    """The table: means over seeds with standard deviations, and how much better than the best classical tableau."""
    lines = [
        "| NFE | student | parameters | RMSE | best classical / it | median | best classical / it | CPU s a fit |",
        "|---:|:---|---:|---:|---:|---:|---:|---:|",
    ]
    for nfe in sorted({r["nfe"] for r in rows}):
        of = {(r["student"], r["seed"]): r for r in rows if r["nfe"] == nfe}
        for kind in ("classical", *STUDENTS):
            runs = [r for (k, seed), r in of.items() if k == kind and ("classical", seed) in of]
            if not runs:
                continue
            if kind == "classical":
                least = [min(row["median"] for row in r["rows"] if row["median"] is not None) for r in runs]
                name = " / ".join(sorted({r["solver"] for r in runs}))
                lines.append(f"| {nfe} | {name} | 0 | {_mean([r['rmse'] for r in runs])} | 1 | {_mean(least)} | 1 | |")
                continue
            cells = [_mean([r["rmse"] for r in runs]), _ratio(runs, of, "rmse")]
            cells += [_mean([r["median"] for r in runs]), _ratio(runs, of, "median")]
            seconds = [r["cpu_seconds"] for r in runs]
            parameters = runs[0]["parameters"]
            lines.append(
                f"| {nfe} | {kind} | {parameters} | {' | '.join(cells)} | {min(seconds):.0f} to {max(seconds):.0f} |"
            )
    return "\n".join(lines) + "\n"


def _mean(values: list[float]) -> str:
    spread = f" ± {np.std(values, ddof=1):.1g}" if len(values) > 1 else ""
    return f"{np.mean(values):.2g}{spread}"


def _ratio(runs: list[dict], of: dict, what: str) -> str:
    """The least of all classical tableaus, by this measure and on the same starts, over the student's."""
    least = [
        min(row[what] for row in of["classical", r["seed"]]["rows"] if row[what] is not None) / r[what] for r in runs
    ]
    return f"{np.mean(least):.1f}x ({min(least):.1f} to {max(least):.1f})"


if __name__ == "__main__":
    ending.run(main, program="experiments")
