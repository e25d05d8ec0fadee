"""Watch: connects a control of steps or tolerances to a training run, and counts its cost."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import PyTree

from ..errors import UserError
from ..io.checkpoints import SavedPart, restored
from ..solvers.base.solution import Status
from ..solvers.base.solver import AbstractSolver
from ..tasks.base import Metric, Task
from ..validity.control.control import CertifyRequest, Control, Moment, RevertRequest, TuneRequest
from ..validity.control.dial import size_of
from ..validity.control.reading import Reading, readings
from ..validity.prediction import Prediction, mean_nfe
from .evaluate import predict
from .run import Run


@runtime_checkable
class _Named(Protocol):
    """A named tuple."""

    def _asdict(self) -> dict[str, Any]: ...


class Turn(NamedTuple):
    """One check or certificate.

    Attributes:
        step: Optimiser steps taken.
        size: The new number of steps or tolerance.
        reading: The reading of the solver in use; None for a certificate.
        verdict: The verdict of the certificate; None for a check.
    """

    step: int
    size: float
    reading: Reading | None
    verdict: str | None


class Controlled(NamedTuple):
    """The record of a control in a run.

    Attributes:
        turns: All checks and certificates.
        nfe_train: Evaluations of the field in training, times samples; only forward passes.
        nfe_checks: The same in checks and certificates.
        verdict: The verdict of the last certificate; None if there was none.
    """

    turns: tuple[Turn, ...]
    nfe_train: float
    nfe_checks: float
    verdict: str | None


class Watch:
    """The dialogue of one run with its control.

    Args:
        control: Makes the decisions.
        task: Its validation data are the held-out samples.
        run: The training run.
        of: The total number of optimiser steps.
        turn: Lets the run continue with another solver.
    """

    def __init__(self, control: Control, task: Task, run: Run, of: int, turn: Callable[[AbstractSolver], None]):
        self.control, self.task, self.run, self.of, self.turn = control, task, run, of, turn
        self.state = self._first = control.init(run.solver)
        self.nfe_checks, self.turns = 0.0, []
        self._since = _flat(run.varied)
        samples = len(jax.tree.leaves(task.validation)[0])
        self._order = np.random.default_rng(0).permutation(samples)
        self._ended, self._tuned = False, 0
        self._kept: list[Any] = []  # the weights of the last valid certificate

    @property
    def controlled(self) -> Controlled:
        """The record so far."""
        verdicts = [turn.verdict for turn in self.turns if turn.verdict is not None]
        return Controlled(tuple(self.turns), self.run.nfe_train, self.nfe_checks, verdicts[-1] if verdicts else None)

    def look(self) -> None:
        """Check, if a check is due."""
        if self.control.due(self.state, self._moment()):
            self._check()

    def close(self, dispatch: int, look: Callable[..., None]) -> None:
        """Do what the control requests after training: checks, fine-tuning, certificates.

        Args:
            dispatch: Optimiser steps in one compiled call.
            look: Called after each of them, and with `now=True` after each action, so that the run can be saved or
                stopped.
        """
        if not self._ended:
            self.state, self._ended = self.control.ended(self.state), True
        while (action := self.control.closing(self.state, self._moment())) is not None:
            if isinstance(action, TuneRequest):
                while self._tuned * dispatch < action.steps:  # whole dispatches, which are already compiled
                    self.run.advance(dispatch)
                    self._tuned += 1
                    look()
                self.state, self._tuned = self.control.closed(action, self.state), 0
            elif isinstance(action, CertifyRequest):
                self._certify()
            elif isinstance(action, RevertRequest):
                self._revert()
            else:
                self._check()
            look(now=True)

    def saved(self) -> SavedPart:
        """All that `restore` needs, except the solver in use."""
        plain = {
            "nfe_checks": self.nfe_checks,
            "turns": [turn._replace(reading=turn.reading and turn.reading._asdict())._asdict() for turn in self.turns],
            "control": self._plain_control(),
            "ended": self._ended,
            "tuned": self._tuned,
        }
        return SavedPart(plain, [self._since, self._order, *self._kept])

    def restore(self, saved: SavedPart) -> None:
        """Continue from there, bit for bit; the run gets a solver with the structure in use at that time.

        Raises:
            UserError: The state belongs to other validation data or another model.
        """
        plain = saved.plain
        self.nfe_checks, self._ended, self._tuned = plain["nfe_checks"], plain["ended"], plain["tuned"]
        both, self._kept = saved.arrays[:2], list(saved.arrays[2:])
        self._since, self._order = restored(both, (self._since, self._order))
        self.turns = [
            Turn(**{**turn, "reading": turn["reading"] and Reading(**turn["reading"])}) for turn in plain["turns"]
        ]
        self.state = self.state._replace(**plain["control"])
        self._go_on()

    def _plain_control(self) -> dict[str, Any]:
        """The changing part of the control's state; the rest follows from the solver at the start of training."""
        plain = (type(None), bool, int, float, str)
        first = self._first._asdict() if isinstance(self._first, _Named) else {}
        state = self.state._asdict() if first else {}
        if not first or any(not isinstance(x, plain) and x != first[name] for name, x in state.items()):
            name = type(self.control).__name__
            raise UserError(f"the state of {name} cannot be saved: make it a NamedTuple of numbers and words")
        return {name: x for name, x in state.items() if isinstance(x, plain)}

    def _moment(self) -> Moment:
        now = _flat(self.run.varied)
        drift = float(np.linalg.norm(now - self._since) / max(np.linalg.norm(self._since), 1e-30))
        return Moment(self.run.step, self.of, drift, self.run.nfe_train, self.nfe_checks)

    def _check(self) -> None:
        now, solver = self._moment(), self.run.solver
        batch = self._held_out() if self.control.batch == "held-out" else self.run.batch
        pending = True
        while pending:
            asked = self.control.asks(self.state, solver)
            predictions = [self._predict(one, batch) for one in asked]
            metric, limits = self.task.metric, self.control.tolerances(self.state)
            seen = readings(predictions, limits, _scale(metric), metric.scale)
            size, self.state = self.control.update(seen, self.state, now)
            pending = self.state.pending
        self.turns.append(Turn(self.run.step, size, seen[0], None))
        self._since = _flat(self.run.varied)
        self._go_on()

    def _certify(self) -> None:
        size, certify = size_of(self.run.solver), self.control.certify
        assert certify is not None  # otherwise the control would not have requested it
        verdict = certify(self._predict, self.run.solver, self._held_out()).verdict
        if verdict == "valid":
            self._kept = self.run.weights()
        self.state = self.control.closed(verdict, self.state)
        self.turns.append(Turn(self.run.step, size, None, verdict))
        self._go_on()

    def _revert(self) -> None:
        """Back to the weights and the solver of the last valid certificate."""
        self.run.go_back(self._kept)
        self.state = self.control.closed(RevertRequest(), self.state)
        self.turns.append(Turn(self.run.step, size_of(self.run.solver), None, "valid"))

    def _go_on(self) -> None:
        solver = self.run.solver
        turned = self.control.solver(self.state, solver)
        if turned is not solver:
            self.turn(turned)

    def _held_out(self) -> PyTree:
        """The next validation samples, as many as the control wants; after the last it starts again at the first."""
        most = self.control.samples(self.state)
        rows = self._order[: len(self._order) if most is None else most]
        self._order = np.roll(self._order, -len(rows))
        return jax.tree.map(lambda x: jnp.asarray(x[rows]), self.task.validation)

    def _predict(self, solver: AbstractSolver, batch: PyTree) -> Prediction:
        """The prediction of a batch, whose cost is counted; a failed solve has no metric."""
        prediction = predict(self.task, self.run.model, solver, batch)
        if isinstance(prediction.status, Tracer):
            return prediction  # inside a program whose cost is not visible here
        nfe = float(mean_nfe(prediction.stats))
        self.nfe_checks += nfe * len(prediction.outputs)
        if prediction.status is not None and int(prediction.status) != Status.ok:
            prediction = prediction._replace(metric=jnp.full_like(prediction.metric, jnp.nan))
        return prediction


def _flat(varied: PyTree) -> np.ndarray:
    """The weights of the model, as one vector."""
    model = jax.tree.leaves(varied[0])
    return np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in model])


def _scale(metric: Metric) -> float | None:
    """The value of one for an accuracy, 1 for a likelihood; None for other metrics, whose changes are relative."""
    return 100.0 if metric.unit == "%" else 1.0 if metric.name in ("accuracy", "NLL") else None
