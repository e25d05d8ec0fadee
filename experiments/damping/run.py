"""Damped systems learned from exact observations with coarse steps: the sign of what is learned.

    python -m experiments.damping.run [--out DIR] [--systems NAME ...] [--seeds N] [--smoke]

One record a finished run goes to records.jsonl; what is recorded there is not repeated. `draw.py` makes the table and
the pictures from the records alone.
"""

import argparse
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

import kuttax as kx
from kuttax.commands.options.solver import LearnedOptions
from kuttax.commands.program import ending
from kuttax.data.systems.windows import split_trajectories
from kuttax.solvers.base.solver import title
from kuttax.tasks import Dynamics
from kuttax.training.evaluate import evaluate
from kuttax.training.settings import Settings

from ..identify import fitted, trained
from ..ledger import Ledger
from . import draw
from .algebra import TABLEAUS, learned_eigenvalue
from .systems import SYSTEMS, Damped, eigenvalues

STEPS = (1, 2, 4)
CURRICULUM = (1, 3)  # horizons before ten: a frequency cannot be found from ten intervals at once
SETTINGS = {"train_steps": 4000, "batch_size": 64, "lr": 5e-3, "lr_decay": 0.01}
_DIFFERENCE = 1e-2  # of central differences of a float32 field


def methods() -> Iterator[tuple[dict[str, Any], kx.AbstractSolver | None]]:
    """What a record says of each method, and its solver; None for `kx.fit`, which makes its own."""
    for steps in STEPS:
        for name, tableau in TABLEAUS.items():
            yield {"method": name, "steps": steps}, kx.FixedSteps(tableau, steps)
        yield {"method": "learned", "steps": steps}, LearnedOptions().learned(4, steps)
    for nfe in (4, 8):
        yield {"method": "fit", "nfe": nfe}, None


def task_of(system: Damped) -> Dynamics:
    """The identification of a system from its observations, as `kuttax train dynamics --file` has it."""
    parts = split_trajectories(system.trajectories(), 0.15, 0)
    return Dynamics("dynamics", parts, width=64, depth=system.depth, curriculum=CURRICULUM)


def field_of(task: Dynamics, model: Any) -> Callable[[np.ndarray], np.ndarray]:
    """The learned field in the data's own units."""
    scaling = task.scaling

    def rate(x: np.ndarray) -> np.ndarray:
        z = jnp.asarray((x - scaling.mean) / scaling.std, jnp.float32)
        return np.asarray(model.field(0.0, z, None), np.float64) * scaling.std / scaling.interval

    return rate


def path_of(task: Dynamics, model: Any, start: np.ndarray, t: np.ndarray) -> np.ndarray:
    """The solution of the learned field at these times, at the tolerance of float32; NaN from where it diverges."""
    scaling, solver = task.scaling, kx.Adaptive(kx.tableaus.DOPRI5, 1e-6, 1e-6)
    z = jnp.asarray((start - scaling.mean) / scaling.std, jnp.float32)
    ts = t / scaling.interval
    sol = kx.solve(model.field, z, 0.0, ts[-1], ts=ts, solver=solver, max_steps=20_000, throw=False)
    return np.asarray(sol.ys, np.float64) * scaling.std + scaling.mean


def look(system: Damped, task: Dynamics, model: Any, solver: Any, certificate: Any) -> dict[str, Any]:
    """What was learned, and what the certificate says of it."""
    rate = field_of(task, model)
    path = path_of(task, model, *system.ahead)
    found = eigenvalues(rate, np.array(system.centre), _DIFFERENCE)
    grows = float(found.real.max())
    wrong = bool(np.sign(grows) != np.sign(system.true_rate))  # also where there is no rest
    named = any(reason.startswith("wrong sign") for reason in certificate.reasons)
    return {
        "solver": title(solver),
        "rate": grows if np.isfinite(grows) else None,
        "true_rate": system.true_rate,
        "eigenvalues": [[float(x.real), float(x.imag)] for x in found] if np.isfinite(found).all() else None,
        "wrong_sign": wrong,
        "named": named,
        "verdict": certificate.verdict,
        "reasons": list(certificate.reasons),
        "growth": [row["growth"] for row in certificate.to_json()["rows"]],
        "test": evaluate(task, model, solver, task.test, 1024).metric,
        "distance": float(np.linalg.norm(path[-1] - system.centre)) if np.isfinite(path[-1]).all() else None,
        "path": np.round(path, 4).tolist() if system.depth == 0 and np.isfinite(path).all() else None,
    }


def study(name: str, options: argparse.Namespace, ledger: Ledger) -> None:
    """Run what is not recorded yet of a system."""
    system, settings = SYSTEMS[name], Settings(**{**SETTINGS, **({"train_steps": 8} if options.smoke else {})})
    task = functools.cache(lambda: task_of(system))
    for seed in range(options.seeds):
        for about, solver in methods():
            ledger.attempt(
                {"system": name, **about, "seed": seed},
                functools.partial(_one, system, task, about, solver, settings, seed),
            )


def _one(system: Damped, task: Callable[[], Dynamics], about: dict[str, Any], solver: Any, settings: Any, seed: int):
    begin = time.perf_counter()
    found = fitted(task(), about["nfe"], settings, seed) if solver is None else trained(task(), solver, settings, seed)
    predicted = None
    if about["method"] in TABLEAUS:
        h = system.interval / about["steps"]
        value = learned_eigenvalue(TABLEAUS[about["method"]], complex(system.eigenvalues[0]), h)
        predicted = [value.real, abs(value.imag)]
    return {**look(system, task(), *found), "predicted": predicted, "seconds": time.perf_counter() - begin}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), metavar="NAME")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--smoke", action="store_true", help="eight training steps, to see that it works")
    options = parser.parse_args(arguments)
    ledger = Ledger(options.out / "records.jsonl")
    for name in options.systems:
        study(name, options, ledger)
    draw.main(options.out)


if __name__ == "__main__":
    ending.run(main, program="experiments")
