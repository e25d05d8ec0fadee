"""What was measured at two pendulums and two tanks: fields with few evaluations beside DOPRI5 at 1e-5.

    python -m experiments.measured.run --data-dir DIR [--out DIR] [--sets NAME ...] [--seeds N] [--smoke]

One record a finished run goes to records.jsonl; what is recorded there is not run again. `draw.py` makes the table and
the pictures from the records alone. Evaluations are counted from one observation to the next.
"""

import argparse
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import kuttax as kx
from kuttax.commands.program import ending
from kuttax.solvers.base.solver import title
from kuttax.tasks import Dynamics
from kuttax.training.evaluate import evaluate, predict, prediction_ms
from kuttax.training.settings import Settings

from ..identify import Identified, fitted, trained
from ..ledger import Ledger
from . import draw
from .sets import SETS, MeasuredSet

CLASSICAL = {"midpoint": kx.tableaus.MIDPOINT, "rk4": kx.tableaus.RK4}
_TIMED = 15


def methods(budgets: Sequence[int]) -> Iterator[tuple[dict[str, Any], kx.AbstractSolver | None]]:
    """What a record says of each method, and its solver; None for `kx.fit`, which makes its own."""
    yield {"method": "dopri5", "budget": None}, kx.Adaptive(kx.tableaus.DOPRI5, 1e-5, 1e-5)
    for budget in budgets:
        for name, tableau in CLASSICAL.items():
            if budget % tableau.stages == 0:
                yield {"method": name, "budget": budget}, kx.FixedSteps(tableau, budget // tableau.stages)
        yield {"method": "fit", "budget": budget}, None


def look(task: Dynamics, found: Identified, chosen: MeasuredSet, batch_size: int) -> dict[str, Any]:
    """What is recorded of a model: tested once, on the windows and on forecasts as long as the test's trajectories."""
    model, solver, certificate = found
    test = evaluate(task, model, solver, task.test, batch_size)
    forecast = task.forecast(model, solver)
    growth = [row["growth"] for row in certificate.to_json()["rows"]]
    return {
        "solver": title(solver),
        "nfe": test.nfe,
        "test": test.metric,
        "units": list(chosen.units),
        "errors": _errors(task, model, solver, chosen),
        "verdict": certificate.verdict,
        "reasons": list(certificate.reasons),
        "growth": growth,
        "predict_ms": prediction_ms(task, model, solver, task.test, batch_size, _TIMED),
        "forecast": {name: forecast[name] for name in ("lead", "rmse", "diverged", "valid", "example")},
    }


def _errors(task: Dynamics, model: Any, solver: kx.AbstractSolver, chosen: MeasuredSet) -> list[list[float]]:
    """Root mean square errors on the test windows, for each lead time those of the components, in their units."""
    found = np.asarray(predict(task, model, solver, task.test).outputs, np.float64)
    apart = (found - task.test.z[:, 1 : 1 + task.horizon]) * task.scaling.std * np.asarray(chosen.factors)
    return np.sqrt(np.mean(apart**2, axis=0)).tolist()


def study(name: str, options: argparse.Namespace, ledger: Ledger) -> None:
    """Run what is not recorded yet of one set of data."""
    chosen = SETS[name]
    settings = Settings(**{**chosen.settings, **({"train_steps": 8} if options.smoke else {})})

    def one(task: Callable[[], Dynamics], nfe: int, solver: kx.AbstractSolver | None, seed: int) -> dict[str, Any]:
        begin, known = time.perf_counter(), task()
        found = fitted(known, nfe, settings, seed) if solver is None else trained(known, solver, settings, seed)
        return {**look(known, found, chosen, settings.batch_size), "seconds": time.perf_counter() - begin}

    tasks = {field: functools.cache(partial(chosen.task, options.data_dir, field)) for field in chosen.fields}
    for seed in range(options.seeds):
        for field, task in tasks.items():
            for about, solver in methods(chosen.budgets):
                said = {"set": name, "field": field, **about, "seed": seed}
                ledger.attempt(said, partial(one, task, about["budget"], solver, seed))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="of single_pendulum.csv and the others")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), metavar="NAME")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--smoke", action="store_true", help="eight training steps, to see that it works")
    options = parser.parse_args(arguments)
    ledger = Ledger(options.out / "records.jsonl")
    for name in options.sets:
        study(name, options, ledger)
    draw.drawn(options.out)


if __name__ == "__main__":
    ending.run(main, program="experiments")
