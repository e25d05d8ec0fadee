"""Identify: a field from trajectories by plain training, or by `kx.fit`, with its certificate."""

from typing import Any, NamedTuple

import kuttax as kx
from kuttax.tasks import Dynamics
from kuttax.training.certify import certify_run
from kuttax.training.loop import Trainer
from kuttax.training.settings import Settings
from kuttax.validity import Certificate


class Identified(NamedTuple):
    """What was found."""

    model: Any
    solver: kx.AbstractSolver
    certificate: Certificate


def trained(task: Dynamics, solver: kx.AbstractSolver, settings: Settings, seed: int) -> Identified:
    """A model trained with this solver."""
    found = Trainer(task, solver, settings).run(seed)
    certificate = certify_run(task, found.model, found.solver, task.validation, settings.batch_size)
    return Identified(found.model, found.solver, certificate)


def fitted(task: Dynamics, nfe: int, settings: Settings, seed: int) -> Identified:
    """A model and a solver with this many evaluations between two observations."""
    found = kx.fit(task, nfe=nfe, most_nfe=nfe, settings=settings, seed=seed)
    return Identified(found.model, found.solver, found.certificate)
