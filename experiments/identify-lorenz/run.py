"""Lorenz-63 from observations h = 0.3 and 0.4 apart: a bilinear field and a solver of at most 11 evaluations, jointly.

    python -m experiments.identify-lorenz.run [--out DIR] [--seeds N] [--steps 0.3 0.4] [--methods ...] [--smoke]

The set-up of Ouala et al. (arXiv 2105.04999): the field has three products beside its linear terms, and both it and the
coefficients of the scheme are unknown. Adam finds a first field at growing horizons, then Levenberg-Marquardt fits
field and solver together, in float64. One record a finished fit goes to records.jsonl; what is recorded there is not
repeated. table.md is drawn from the records alone.
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
from kuttax.data.systems import generate
from kuttax.data.windows import split
from kuttax.solvers.serialise import to_json
from kuttax.tasks import Dynamics
from kuttax.training.loop import Trainer
from kuttax.training.settings import Settings

from ..ledger import Ledger

jax.config.update("jax_enable_x64", True)

AHEAD = 4
"""Intervals of the longest forecast that is judged."""

PAPER = {0.3: (0.0773, 0.231), 0.4: (0.190, 1.93)}
"""The errors at t + h and t + 4 h of Ouala et al., with 11 evaluations."""


def _learned(start: kx.Tableau, steps: int, **options: Any) -> kx.LearnedRK:
    return kx.LearnedRK.like(start, steps, order=1, dtype=jnp.float32, **options)


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
            task = functools.cache(lambda: _task(h, seed, options))  # noqa: B023
            for name in options.methods:
                about = {"method": name, "h": h, "seed": seed}
                ledger.attempt(about, lambda: _fit(task(), METHODS[name](), seed, options))  # noqa: B023
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
    options.train_steps, options.fit_steps, options.fitted = (4, 2, 16) if options.smoke else (2000, 100, 500)
    return options


def _task(h: float, seed: int, options: argparse.Namespace) -> Dynamics:
    data = generate(
        "lorenz63", trajectories=options.trajectories, samples=options.samples, interval=h, seed=1_000 + seed
    )
    parts = split(data, 0.2, seed)
    return Dynamics("lorenz63", parts, network="bilinear", width=3, horizon=AHEAD, curriculum=(1, 2), lyapunov=0.9056)


def _fit(task: Dynamics, solver: kx.AbstractSolver, seed: int, options: argparse.Namespace) -> dict:
    wall, cpu = time.perf_counter(), time.process_time()
    settings = Settings(train_steps=options.train_steps, batch_size=64, lr=1e-2, solver_lr=1e-3, lr_decay=0.01)
    trained = Trainer(task, solver, settings).run(seed)
    model, solver = _polished(task, trained.model, trained.solver, seed, options)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    reference = kx.Adaptive(kx.tableaus.TSIT5, 1e-9, 1e-9)
    own, alone = (errors(task, model.field, one, task.parts.test) for one in (solver, reference))
    before = errors(task, _double(trained.model.field), _double(trained.solver), task.parts.test)
    return {
        "dtype": "float64",
        "pairs": len(task.train.z),
        "rmse": own[0],
        "rmse_ahead": own[AHEAD - 1],
        "rmse_adam": before[0],
        "rmse_field_alone": alone[0],
        "rmse_ahead_field_alone": alone[AHEAD - 1],
        "nfe": _nfe(task, model.field, solver),
        "seconds": wall,
        "cpu_seconds": cpu,
        "solver": to_json(solver),
    }


def _polished(task: Dynamics, model: Any, solver: Any, seed: int, options: argparse.Namespace) -> tuple[Any, Any]:
    """Field and solver after Levenberg-Marquardt on some training windows, at the horizon that validation prefers."""
    z = _windows(task, task.parts.train)
    rows = np.random.default_rng(seed).permutation(len(z))[: options.fitted]
    seen = jnp.asarray(z[rows])
    tree = _double((model, solver))
    best, least = tree, _least(errors(task, tree[0].field, tree[1], task.parts.validation))
    for horizon in (1, 2, AHEAD):
        free, fixed = eqx.partition(tree, kx.trainable(tree))

        def residual(free, horizon, fixed=fixed):
            model, solver = eqx.combine(free, fixed)
            return (_path(model.field, solver, seen[:, 0], horizon) - seen[:, 1 : horizon + 1]).reshape(-1)

        fitted = optx.least_squares(
            residual, optx.LevenbergMarquardt(1e-10, 1e-10), free, horizon, max_steps=options.fit_steps, throw=False
        )
        tree = eqx.combine(fitted.value, fixed)
        error = _least(errors(task, tree[0].field, tree[1], task.parts.validation))
        if error < least:
            best, least = tree, error
    return best


def _least(found: list[float]) -> float:
    """What validation chooses by: the errors at t + h and t + 4 h, each as a share of its size."""
    return found[0] + found[AHEAD - 1] / 4


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
    for name in METHODS:
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
    main()
