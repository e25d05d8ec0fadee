"""Six systems identified with DOPRI5, and with RK4, midpoint, Ralston-2 and learned solvers at 4 and 6 evaluations.

Learned solvers are trained without a penalty, and with the one by which `kx.fit` keeps the field an ODE ("consistent");
"kx.fit" is the whole of it: a fifth of the steps as a warm-up, the same penalty, distillation at the end.

    python -m experiments.dynamics.run [--out DIR] [--systems NAME ...] [--seeds N] [--nfe 4 6] [--smoke]

One record a finished run goes to SYSTEM/records.jsonl; what is recorded there is not repeated, and a run that failed is
recorded as such. Each system has a report of its own (SYSTEM/index.html, forecasts.png); table.md is drawn from the
records alone. The NFE is that of one interval between observations.
"""

import argparse
import functools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

import kuttax as kx
from kuttax import report
from kuttax.commands.options.solver import LearnedOptions
from kuttax.commands.program import ending
from kuttax.commands.run import results, run
from kuttax.distillation.students import stages_of
from kuttax.io.folder import Folder
from kuttax.report import run_name
from kuttax.tasks import build
from kuttax.training.checkpoint import save_run
from kuttax.training.loop import Trainer
from kuttax.training.settings import Settings

from ..ledger import Ledger

# Intervals between observations are such that DOPRI5 at 1e-5 crosses one in about 20 to 30 evaluations.
BILINEAR, MLP = {"field": "bilinear"}, {"field": "mlp", "width": 64, "depth": 2}
SYSTEMS: dict[str, dict[str, Any]] = {
    "lorenz63": {"dt": 0.15, "samples": 151, **BILINEAR, "width": 8},
    "lorenz96": {"dt": 0.15, "samples": 151, **BILINEAR, "width": 80},
    "lotka-volterra": {"dt": 0.5, "samples": 41, **MLP},
    "pendulum": {"dt": 0.4, "samples": 41, **MLP},
    "van-der-pol": {"dt": 0.3, "samples": 41, **MLP},
    "kuramoto-sivashinsky": {"dt": 1.0, "samples": 151, **BILINEAR, "width": 128},
}
COMMON = {"horizon": 4, "curriculum": (1, 2)}
SETTINGS = {"train_steps": 4000, "batch_size": 64, "lr": 5e-3, "lr_decay": 0.02}
SMOKE = {"trajectories": 5, "samples": 12, "width": 2, "horizon": 2, "curriculum": (1,)}
CONSISTENT = "learned-consistent"
CLASSICAL = {"rk4": kx.tableaus.RK4, "midpoint": kx.tableaus.MIDPOINT, "ralston2": kx.tableaus.RALSTON2}


def methods(budgets: Sequence[int]) -> Iterator[tuple[dict[str, Any], kx.AbstractSolver | None]]:
    """What a record says of each method, and the solver: DOPRI5, then each scheme at each budget that it can meet.

    None stands for `kx.fit`, which makes its own.
    """
    yield (
        {"method": "dopri5", "label": "DOPRI5 at 1e-5", "budget": None},
        kx.Adaptive(kx.tableaus.DOPRI5, 1e-5, 1e-5),
    )
    for budget in budgets:
        for name, scheme in CLASSICAL.items():
            if budget % scheme.stages == 0:
                steps = budget // scheme.stages
                about = {"method": name, "label": f"{scheme.name}, NFE {budget}", "budget": budget}
                yield about, kx.FixedSteps(scheme, steps)
        stages = stages_of(budget)
        for name, label in (("learned", "learned"), (CONSISTENT, "learned, consistent")):
            about = {"method": name, "label": f"{label}, NFE {budget}", "budget": budget}
            yield about, LearnedOptions().learned(stages, budget // stages)
        yield {"method": "fit", "label": f"kx.fit, NFE {budget}", "budget": budget}, None


class Study:
    """What is run of one system; the task is built where something is left to do.

    Args:
        system: One of the six.
        options: The command line's.
    """

    def __init__(self, system: str, options: argparse.Namespace):
        self.system, self.out, self.options = system, options.out / system, options
        self.given = {"system": system, **COMMON, **SYSTEMS[system], **(SMOKE if options.smoke else {})}
        self.settings = Settings(**{**SETTINGS, **({"train_steps": 4, "batch_size": 4} if options.smoke else {})})

    @functools.cached_property
    def task(self) -> Any:
        """The system's."""
        return build("dynamics", **self.given)

    def run(self) -> None:
        """Run what is not recorded yet, and draw the report."""
        ledger = Ledger(self.out / "records.jsonl")
        for method, solver in methods(self.options.nfe):
            if self.options.methods and method["method"] not in self.options.methods:
                continue
            trainer = functools.cache(functools.partial(self._trainer, solver, method["method"]))
            one = self._fitted if solver is None else functools.partial(self._trained, trainer)
            for seed in range(self.options.seeds):
                about = {"task": self.system, **method, "seed": seed}
                ledger.attempt(about, functools.partial(one, about), kind="failure")
        again = f"python -m experiments.dynamics.run --systems {self.system} --seeds {self.options.seeds}"
        report.write(self.out, again)

    def _folder(self, about: dict[str, Any]) -> Folder:
        return Folder(self.out / "runs" / run_name(about), "experiments.dynamics")

    def _trainer(self, solver: kx.AbstractSolver, method: str) -> Trainer:
        penalty = None
        if method == CONSISTENT:
            penalty = kx.penalties.decaying(self.task.consistency, 1.0, 1.0, self.settings.train_steps)
        return Trainer(self.task, solver, self.settings, penalty)

    def _trained(self, trainer: Callable[[], Trainer], about: dict[str, Any]) -> dict[str, Any]:
        return run(trainer(), about["seed"], about, self.given, self._folder(about), Console())

    def _fitted(self, about: dict[str, Any]) -> dict[str, Any]:
        """Fit at the budget with all levers, save the run and return its record."""
        begin, folder = time.perf_counter(), self._folder(about)
        nfe, size = about["budget"], self.settings.batch_size
        found = kx.fit(self.task, nfe=nfe, most_nfe=nfe, settings=self.settings, seed=about["seed"])
        record = {
            "kind": "run",
            **about,
            **results(self.task, found.model, found.solver, size, about, folder, found.certificate),
            "stages": [stage.name for stage in found.history],
            "seconds": time.perf_counter() - begin,
        }
        saved = {"task": {"name": self.task.name, "options": self.given}, "settings": asdict(self.settings)}
        save_run(folder, found.model, found.solver, {**saved, "record": record})
        return record


def drawn(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """The table: means over seeds with standard deviations; the NFE also as a share of DOPRI5's."""
    lines = [
        "| system | method | NFE | / DOPRI5 | test rmse (sd) | valid time | attractor (sd apart) | still an ODE |",
        "|:---|:---|---:|---:|---:|---:|---:|:---|",
    ]
    for system, rows in found.items():
        for label in dict.fromkeys(r["label"] for r in rows):
            of = [r for r in rows if r["label"] == label and "error" not in r]
            failed = sum(r["label"] == label and "error" in r for r in rows)
            lines.append(f"| {system} | {label} | {_cells(of, rows, failed)} |")
    return "\n".join(lines) + "\n"


def _cells(of: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]], failed: int) -> str:
    lost = f" ({failed} failed)" if failed else ""
    if not of:
        return f" | | failed{lost} | | | "
    base = [r["nfe"] for r in rows if "error" not in r and r["method"] == "dopri5"]
    nfe = statistics.fmean(r["nfe"] for r in of)
    share = f"{nfe / statistics.fmean(base):.2f}" if base else ""
    apart = [r["forecast"]["attractor"] for r in of]
    attractor = "diverges" if None in apart else _mean([a["distance"] for a in apart])
    verdicts = [r["certificate"]["verdict"] for r in of]
    verdict = ", ".join(f"{verdicts.count(v)} {v}" for v in dict.fromkeys(verdicts))
    valid = _mean([_valid(r) for r in of])
    return f"{nfe:.3g} | {share} | {_mean([r['test'] for r in of])}{lost} | {valid} | {attractor} | {verdict}"


def _valid(record: Mapping[str, Any]) -> float:
    """The median valid prediction time, in Lyapunov times for chaotic systems."""
    valid = record["forecast"]["valid"]
    return valid["median"] * (valid["lyapunov"] or 1.0)


def _mean(values: Sequence[float]) -> str:
    spread = f" ± {statistics.stdev(values):.1g}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3g}{spread}"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), metavar="NAME")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--nfe", type=int, nargs="+", default=[4, 6])
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="such as dopri5, rk4, learned, fit; default: all")
    parser.add_argument(
        "--smoke", action="store_true", help="a few training steps of tiny models, to see that it works"
    )
    options = parser.parse_args(arguments)
    for system in options.systems:
        Study(system, options).run()
    found = {system: Ledger(options.out / system / "records.jsonl").all() for system in SYSTEMS}
    (options.out / "table.md").write_text(drawn({system: rows for system, rows in found.items() if rows}))


if __name__ == "__main__":
    ending.run(main, program="experiments")
