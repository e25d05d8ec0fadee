"""Step control on the command line: which control, where it starts, and what a record says of it."""

from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp

from ...errors import UserError
from ...solvers.base.solver import AbstractSolver
from ...tasks.base import Task
from ...training.watch import Controlled
from ...validity.certificate.certificate import certify
from ...validity.control.certified import CertifiedControl
from ...validity.control.control import Control
from ...validity.control.dial import size_of
from ...validity.control.first_step import first_steps
from ...validity.control.published import StepControl, ToleranceControl


def control_of(kind: Literal["off", "ott", "certified"], solver: AbstractSolver) -> Control | None:
    """The control of that name for this solver, its number of steps or its tolerance; None for "off"."""
    if kind == "off":
        return None
    if kind == "certified":
        return CertifiedControl(certify=partial(certify, refine=(), reference_tolerance=1e-4))
    return ToleranceControl() if solver.chooses_steps else StepControl()


def proposed_steps(task: Task, solver: AbstractSolver, batch_size: int, seed: int) -> int:
    """Where Hairer's heuristic starts, with the initial weights of this seed, on the first training samples.

    Raises:
        UserError: The solver is for SDEs, for which there is none.
    """
    if solver.solves_sdes:
        raise UserError("no number of steps can be proposed for an SDE: give --steps")
    model = task.init(jax.random.split(jax.random.key(seed))[0])
    batch = jax.tree.map(lambda x: jnp.asarray(x[:batch_size]), task.train)
    return first_steps(lambda solver, batch: task.predict(model, solver, batch), batch, solver.known_order(), 1000)


def history(controlled: Controlled, start: AbstractSolver, end: AbstractSolver) -> dict[str, Any]:
    """What a record says of a control: where it started and ended, checks and certificates, cost, verdict."""
    turns = [
        {
            "step": turn.step,
            "size": turn.size,
            **({} if turn.reading is None else turn.reading._asdict()),
            **({} if turn.verdict is None else {"verdict": turn.verdict}),
        }
        for turn in controlled.turns
    ]
    return {
        "start": size_of(start),
        "final": size_of(end),
        "verdict": controlled.verdict,
        "nfe_train": controlled.nfe_train,
        "nfe_checks": controlled.nfe_checks,
        "turns": turns,
    }


def describe(record: dict[str, Any]) -> str:
    """A record's step control in one line."""
    checks = sum("strain" in turn for turn in record["turns"])
    share = 100 * record["nfe_checks"] / record["nfe_train"]
    verdict = "" if record["verdict"] is None else f"; certificate: {record['verdict']}"
    sizes = f"{record['start']:.4g} -> {record['final']:.4g}"
    return f"step control: {sizes} in {checks} checks, {share:.2g} % of the training NFE{verdict}"
