"""What test_parallel.py runs in processes of its own: `python sharing.py devices|process DIR`, with results in DIR."""

import contextlib
import io
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import kuttax as kx
from kuttax.commands import main as cli
from kuttax.commands import run
from kuttax.data import Dataset
from kuttax.errors import UserError
from kuttax.io.checkpoints import Checkpoints
from kuttax.tasks import Metric, Prediction, mean_nfe
from kuttax.training.log import Log
from kuttax.training.loop import Stopped, Trainer
from kuttax.training.parallel import DataParallel, joined
from kuttax.training.settings import Settings
from kuttax.validity import StepControl

COMMAND = (
    "train digits --width 8 --batch-size 64 --train-steps 50 --per-dispatch 1 --evaluations 2 --solver rk4 --steps 1"
)
STOP = 20


class Flow:
    """Find the matrix of dy/dt = W tanh(y), with noise on every sample and a status each."""

    name = "flow"
    interval = (0.0, 1.0)
    metric = Metric("mae", higher_is_better=False, unit="")

    def __init__(self, spoilt=False):
        rng = np.random.default_rng(0)
        draw = lambda n: rng.standard_normal((n, 3)).astype(np.float32)
        self.train, self.validation = (Dataset(x, np.roll(x, 1, axis=1)) for x in (draw(48), draw(16)))
        if spoilt:
            self.train.x[7] = np.nan

    def init(self, key):
        return {"w": jax.random.normal(key, (3, 3), jnp.float32)}

    def loss(self, model, solver, batch, key):
        sol = self.solve(model, solver, batch.x + 0.1 * jax.random.normal(key, batch.x.shape, jnp.float32))
        miss = jnp.mean((sol.y1 - batch.y) ** 2, axis=1)
        good = jnp.broadcast_to(sol.status == 0, miss.shape)
        loss = jnp.sum(jnp.where(good, miss, 0.0)) / jnp.maximum(jnp.sum(good), 1)
        return loss, {"nfe": mean_nfe(sol.stats), "metric": loss, "status": sol.status}

    def predict(self, model, solver, batch):
        sol = self.solve(model, solver, jnp.asarray(batch.x))
        miss = sol.y1 - batch.y
        status = jnp.max(sol.status)
        return Prediction(sol.y1, jnp.abs(miss).mean(), stats=sol.stats, loss=(miss**2).mean(), status=status)

    def solve(self, model, solver, start):
        options = {"solver": solver, "batch_axis": 0, "throw": False, "max_steps": 64, "args": model["w"]}
        return kx.solve(lambda t, y, w: w @ jnp.tanh(y), start, 0.0, 1.0, **options)


def learned():
    """A solver that trains; made when asked for, since processes cannot be joined once an array is there."""
    return kx.LearnedRK.from_tableau(
        kx.tableaus.MIDPOINT, 2, order=1, per_step=True, learn_steps=True, dtype=np.float32
    )


def adaptive(control):
    """An adaptive solver."""
    return kx.Adaptive(kx.tableaus.BOSH3, rtol=1e-3, atol=1e-3, control=control)


class Case(NamedTuple):
    """What is trained, and how."""

    solver: Callable[[], kx.AbstractSolver]
    spoilt: bool = False
    policy: str = "raise"
    control: StepControl | None = None


CASES = {
    "learned": Case(learned, policy="rollback"),
    "joint": Case(lambda: adaptive("joint")),
    "per-sample": Case(lambda: adaptive("per_sample"), spoilt=True, policy="skip"),
    "controlled": Case(lambda: kx.FixedSteps(kx.tableaus.EULER, 4), control=StepControl(every=10)),
}


def trainer_of(name, place):
    """Fifty steps of a case."""
    solver, spoilt, policy, control = CASES[name]
    how = {"train_steps": 50, "batch_size": 16, "per_dispatch": 5, "evaluations": 2, "lr": 0.02}
    return Trainer(Flow(spoilt), solver(), Settings(**how, on_failure=policy), control=control, place=place)


def trained(name, place, **asked):
    """The losses on the way, and what the run returns."""
    trainer, losses = trainer_of(name, place), []
    result = trainer.run(0, lambda now: losses.append([now.loss, now.nfe]), **asked)
    leaves = [
        np.asarray(x, np.float64).ravel()
        for x in jax.tree.leaves((result.model, eqx.filter(result.solver, eqx.is_array)))
    ]
    programs = [text.as_text() for program in trainer._programs.values() for text in program._compiled.values()]
    return {
        "losses": losses,
        "weights": np.concatenate(leaves).tolist(),
        "failures": result.failures._asdict(),
        "turns": result.controlled and [[turn.step, turn.size] for turn in result.controlled.turns],
        "gathers": [text.count(" all-gather(") for text in programs],
        "reduces": [text.count(" all-reduce(") for text in programs],
    }


def stopped_and_resumed(directory):
    """A run on all devices that is asked to stop half-way, and goes on."""
    kept = Checkpoints(directory / "kept", every=0.0)
    ask = lambda now: os.kill(os.getpid(), signal.SIGTERM) if now.step == 25 else None
    with contextlib.suppress(Stopped):
        trainer_of("learned", DataParallel()).run(0, ask, kept)
    return trained("learned", DataParallel(), checkpoints=kept, start=kept.latest())


def command(*arguments):
    """Exit code, output and errors of the command line."""
    said, errors = io.StringIO(), io.StringIO()
    code = 0
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(errors):
        try:
            cli.main([str(x) for x in arguments])
        except SystemExit as stop:
            code = stop.code or 0
    return {"code": code, "said": said.getvalue(), "errors": errors.getvalue()}


def devices(directory):
    """One process with two devices."""
    os.environ["JAX_COORDINATOR_ADDRESS"] = "localhost:1"
    found = {}
    try:
        joined()
    except UserError as error:
        found["incomplete"] = str(error)
    del os.environ["JAX_COORDINATOR_ADDRESS"]
    found["uneven"] = command("train", "digits", "--batch-size", 63, "--distributed", "--out", directory / "uneven")
    found["one"] = {name: trained(name, None) for name in CASES}
    found["two"] = {name: trained(name, DataParallel()) for name in CASES}
    found["resumed"] = stopped_and_resumed(directory)
    command(*COMMAND.split(), "--out", directory / "alone")
    (directory / "devices.json").write_text(json.dumps(found))


class Stopping(Log):
    """Tells the second process to stop, once."""

    def __call__(self, now):
        super().__call__(now)
        if now.step == STOP and jax.process_index() == 1:
            os.kill(os.getpid(), signal.SIGTERM)


def process(directory):
    """One of two processes: a call that the first refuses, one that the second is told to stop, and the rest of it."""
    run.Log = Stopping
    out = directory / "together"
    asked = {"refused": ("--out", directory), "stopped": ("--out", out), "resumed": ("--out", out, "--resume")}
    found = {name: command(*COMMAND.split(), "--distributed", *options) for name, options in asked.items()}
    (directory / f"process-{os.environ['JAX_PROCESS_ID']}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    {"devices": devices, "process": process}[sys.argv[1]](Path(sys.argv[2]))
