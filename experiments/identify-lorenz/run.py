"""Lorenz-63 from observations h = 0.3 and 0.4 apart: a bilinear field and a solver of at most 11 evaluations, jointly.

    python -m experiments.identify-lorenz.run [--out DIR] [--seeds N] [--steps 0.3 0.4] [--methods ...] [--smoke]

The set-up of Ouala et al. (arXiv 2105.04999): the field has three products beside its linear terms, and both it and the
coefficients of the scheme are unknown. Levenberg-Marquardt finds a first field from several random starts, with RK4 on
a fine grid; from there every method fits field and solver together, in float64. One record a finished fit goes to
records.jsonl; what is recorded there is not repeated. table.md is drawn from the records alone.
"""

import argparse
import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx

import kuttax as kx
from kuttax.commands.program import ending
from kuttax.data.systems.systems import generate
from kuttax.data.systems.windows import split_trajectories
from kuttax.solvers.serialise import to_json
from kuttax.tasks import Dynamics

from ..ledger import Ledger

jax.config.update("jax_enable_x64", True)

AHEAD = 4
"""Intervals of the longest forecast that is judged."""

STARTS, SIZE = 12, 0.3
"""Random starts of the first field, and the standard deviation of their products' weights."""
FINE = kx.FixedSteps(kx.tableaus.RK4, 8)
"""What the first field is found with."""
REFERENCE = kx.Adaptive(kx.tableaus.TSIT5, 1e-9, 1e-9)

PAPER = {0.3: (0.0773, 0.231), 0.4: (0.190, 1.93)}
"""The errors at t + h and t + 4 h of Ouala et al., with 11 evaluations."""


def _learned(start: kx.Tableau, steps: int, **options: Any) -> kx.LearnedRK:
    return kx.LearnedRK.from_tableau(start, steps, order=1, dtype=jnp.float32, **options)


METHODS: dict[str, Callable[[], kx.AbstractSolver]] = {
    "DOPRI5 at 1e-6": lambda: kx.Adaptive(kx.tableaus.DOPRI5, 1e-6, 1e-6),
    "RK4, 2 steps": lambda: kx.FixedSteps(kx.tableaus.RK4, 2),
    "Midpoint, 5 steps": lambda: kx.FixedSteps(kx.tableaus.MIDPOINT, 5),
    "Ralston-2, 5 steps": lambda: kx.FixedSteps(kx.tableaus.RALSTON2, 5),
    "Heun-3, 3 steps": lambda: kx.FixedSteps(kx.tableaus.HEUN3, 3),
    "learned, 1 step of 11": lambda: _learned(kx.tableaus.MIDPOINT.compose(5), 1, stages=11),
    "learned, 5 steps of 2": lambda: _learned(kx.tableaus.MIDPOINT, 5, per_step=True, learn_steps=True),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    options = _options(arguments)
    ledger = Ledger(options.out / "records.jsonl")
    for seed in range(options.seeds):
        for h in options.steps:
            first = functools.cache(lambda: _first(h, seed, options))  # noqa: B023
            for name in options.methods:
                about = {"method": name, "h": h, "seed": seed}
                ledger.attempt(about, lambda: _fit(*first(), METHODS[name](), seed, options))  # noqa: B023
    (options.out / "table.md").write_text(drawn(ledger.all()))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=float, nargs="+", default=[0.3, 0.4])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="NAME")
    parser.add_argument("--smoke", action="store_true", help="a minute's run, to see that it works")
    options = parser.parse_args(arguments)
    options.trajectories, options.samples = (5, 30) if options.smoke else (30, 200)
    options.starts, options.fit_steps, options.fitted = (2, 2, 16) if options.smoke else (STARTS, 100, 500)
    return options


def _task(h: float, seed: int, options: argparse.Namespace) -> Dynamics:
    data = generate(
        "lorenz63", trajectories=options.trajectories, samples=options.samples, interval=h, seed=1_000 + seed
    )
    parts = split_trajectories(data, 0.2, seed)
    return Dynamics("lorenz63", parts, network="bilinear", width=3, horizon=AHEAD, curriculum=(1, 2), lyapunov=0.9056)


def _first(h: float, seed: int, options: argparse.Namespace) -> tuple[Dynamics, Any]:
    """The data, and the field that validation prefers of those that RK4 finds on its grid, one interval ahead.

    At h = 0.4 a turn around a wing takes one and a half intervals: most starts end in another field, with the wrong
    number of turns.
    """
    task = _task(h, seed, options)
    seen = _seen(task, seed, options)
    rng, found = np.random.default_rng(seed), []
    for key in jax.random.split(jax.random.key(seed), options.starts):
        field = _double(task.init(key).field)
        products = lambda field: field.network.products.weight
        drawn = SIZE * rng.standard_normal(products(field).shape)  # a field starts without products
        field, _ = _fitted((eqx.tree_at(products, field, jnp.asarray(drawn)), FINE), seen, 1, options.fit_steps)
        found.append((np.nan_to_num(errors(task, field, FINE, task.parts.validation)[0], nan=np.inf), field))
    return task, min(found, key=lambda pair: pair[0])[1]


def _fit(task: Dynamics, first: Any, solver: kx.AbstractSolver, seed: int, options: argparse.Namespace) -> dict:
    wall, cpu = time.perf_counter(), time.process_time()
    field, solver = _polished(task, first, solver, seed, options)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    own, alone = (errors(task, field, one, task.parts.test) for one in (solver, REFERENCE))
    return {
        "dtype": "float64",
        "pairs": len(_windows(task, task.parts.train)),
        "rmse": own[0],
        "rmse_ahead": own[AHEAD - 1],
        "rmse_first_field": errors(task, first, REFERENCE, task.parts.test)[0],
        "rmse_field_alone": alone[0],
        "rmse_ahead_field_alone": alone[AHEAD - 1],
        "nfe": _nfe(task, field, solver),
        "seconds": wall,
        "cpu_seconds": cpu,
        "solver": to_json(solver),
    }


def _polished(task: Dynamics, first: Any, solver: Any, seed: int, options: argparse.Namespace) -> tuple[Any, Any]:
    """Field and solver, fitted together to some training windows, at the horizon that validation prefers."""
    seen, pair, candidates = _seen(task, seed, options), (first, _double(solver)), []
    for horizon in (1, 2, AHEAD):
        pair = _fitted(pair, seen, horizon, options.fit_steps)
        candidates.append((_least(errors(task, *pair, task.parts.validation)), pair))
    return min(candidates, key=lambda candidate: candidate[0])[1]


def _seen(task: Dynamics, seed: int, options: argparse.Namespace) -> Any:
    """The training windows that are fitted to."""
    z = _windows(task, task.parts.train)
    return jnp.asarray(z[np.random.default_rng(seed).permutation(len(z))[: options.fitted]])


@eqx.filter_jit
def _fitted(pair: tuple[Any, Any], seen: Any, horizon: int, most: int) -> tuple[Any, Any]:
    """Field and solver after Levenberg-Marquardt, for the states up to so many intervals ahead."""
    free, fixed = eqx.partition(pair, kx.trainable(pair))

    def residual(free, _):
        field, solver = eqx.combine(free, fixed)
        return (_path(field, solver, seen[:, 0], horizon) - seen[:, 1 : horizon + 1]).reshape(-1)

    method = optx.LevenbergMarquardt(1e-10, 1e-10)
    return eqx.combine(optx.least_squares(residual, method, free, max_steps=most, throw=False).value, fixed)


def _least(found: list[float]) -> float:
    """What validation chooses by: the errors at t + h and t + 4 h, each as a share of its size; infinity for NaN."""
    return float(np.nan_to_num(found[0] + found[AHEAD - 1] / 4, nan=np.inf))


def errors(task: Dynamics, field: Any, solver: Any, trajectories: Any) -> list[float]:
    """Root mean square errors per component after 1 to 4 intervals, in the system's units; NaN where one diverges."""
    z = jnp.asarray(_windows(task, trajectories))
    off = (_path(field, solver, z[:, 0], AHEAD) - z[:, 1:]) * jnp.asarray(task.scaling.std)[None, None]
    return [float(e) for e in jnp.sqrt(jnp.mean(off**2, axis=(0, 2)))]


def _path(field: Any, solver: Any, start: Any, horizon: int) -> Any:
    """The states after 1 to `horizon` intervals."""
    times = np.arange(1, horizon + 1)
    adaptive = isinstance(solver, kx.Adaptive)
    adjoint = kx.ForwardMode() if adaptive else None  # Levenberg-Marquardt differentiates forwards
    sol = kx.solve(
        field,
        start,
        0.0,
        float(horizon),
        ts=times,
        solver=solver,
        batch_axis=0,
        adjoint=adjoint,
        max_steps=600,
        throw=False,
    )
    return jnp.swapaxes(sol.ys, 0, 1)


def _windows(task: Dynamics, trajectories: Any) -> np.ndarray:
    """All windows of the trajectories, standardised, in float64."""
    whole = [task.scaling.standardised(one.x) for one in trajectories]
    pieces = [np.lib.stride_tricks.sliding_window_view(z, AHEAD + 1, axis=0) for z in whole]
    return np.concatenate(pieces).transpose(0, 2, 1)


def _double(tree: Any) -> Any:
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float64) if eqx.is_inexact_array(x) else x, tree)


def _nfe(task: Dynamics, field: Any, solver: Any) -> float:
    z = jnp.asarray(_windows(task, task.parts.test))
    sol = kx.solve(field, z[:, 0], 0.0, 1.0, solver=solver, batch_axis=0, throw=False)
    return float(np.mean(np.asarray(sol.stats.nfe)))


def drawn(rows: list[dict]) -> str:
    """The table: errors at t + h and t + 4 h with the fitted solver and without it, means over seeds with spread."""
    steps = sorted({r["h"] for r in rows})
    head = [f"h = {h:g}: NFE | t + h | t + 4 h | t + h, field by Tsit5" for h in steps]
    lines = ["| method | " + " | ".join(head) + " |", "|:---|" + "---:|" * (4 * len(steps))]
    for name in (name for name in METHODS if any(r["method"] == name for r in rows)):
        cells = []
        for h in steps:
            of = [r for r in rows if r["h"] == h and r["method"] == name]
            columns = ("nfe", "rmse", "rmse_ahead", "rmse_field_alone")
            cells += [_mean([r.get(column) for r in of]) for column in columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    paper = [f"11 | {PAPER[h][0]} | {PAPER[h][1]} | " if h in PAPER else " | | | " for h in steps]
    return "\n".join([*lines, "| Ouala et al. | " + " | ".join(paper) + " |"]) + "\n"


def _mean(values: list[float | None]) -> str:
    if not values:
        return ""
    if None in values:
        return "diverges"
    spread = f" ± {np.std(values, ddof=1):.1g}" if len(values) > 1 else ""
    return f"{np.mean(values):.3g}{spread}"


if __name__ == "__main__":
    ending.run(main, program="experiments")
