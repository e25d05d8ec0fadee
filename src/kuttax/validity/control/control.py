"""The interface of a control of steps or tolerances: an init/update pair, like an optax transform."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol

from ...solvers.base.solver import AbstractSolver
from .reading import Reading, Tolerances


class Moment(NamedTuple):
    """The current position in training.

    Attributes:
        step: Optimiser steps taken.
        of: The total number of optimiser steps.
        drift: The distance that the parameters have moved since the last check, relative to their norm then.
        nfe_train: Evaluations of the field in training, times samples; only forward passes.
        nfe_checks: The same for all checks.
    """

    step: int
    of: int
    drift: float = 0.0
    nfe_train: float = 0.0
    nfe_checks: float = 0.0


class CertifyRequest(NamedTuple):
    """A request after training: certify model and solver."""


class TuneRequest(NamedTuple):
    """A request after training: take more optimiser steps."""

    steps: int


class RevertRequest(NamedTuple):
    """A request after training: return to the weights, and the solver, of the last valid certificate."""


class CheckRequest(NamedTuple):
    """A request after training: check now."""


class Control(Protocol):
    """Chooses how finely a model is solved during training, from the predictions of other solvers.

    A check is a dialogue: `asks` names solvers, the loop predicts the same batch with each, `update` reads the result,
    until the state is no longer `pending`. Decisions are pure: no model, no data, no clock.
    """

    @property
    def batch(self) -> Literal["training", "held-out"]:
        """The samples of checks: the last training batch, or samples that training does not see."""
        ...

    @property
    def certify(self) -> Callable[..., Any] | None:
        """`certify(predict, solver, batch)`, whose result has a `verdict`; None for no certificate."""
        ...

    def init(self, solver: AbstractSolver) -> Any:
        """The state before training with this solver.

        Raises:
            UserError: This control cannot control this solver.
        """
        ...

    def tolerances(self, state: Any) -> Tolerances:
        """The unit of `Reading.strain`."""
        ...

    def samples(self, state: Any) -> int | None:
        """The largest number of held-out samples of a check; None for all."""
        ...

    def dispatch(self, most: int) -> int:
        """The number of optimiser steps in one dispatch, at most `most`; checks run between dispatches."""
        ...

    def due(self, state: Any, now: Moment) -> bool:
        """Whether a check is due."""
        ...

    def asks(self, state: Any, solver: AbstractSolver) -> tuple[AbstractSolver, ...]:
        """The solvers to predict with; the last one is the reference.

        Args:
            state: The state of this control.
            solver: The solver in use, with all learned parameters.
        """
        ...

    def update(self, readings: tuple[Reading, ...], state: Any, now: Moment) -> tuple[float, Any]:
        """The new number of steps, or tolerance, and the state; it is `pending` if the check continues.

        Args:
            readings: One for each solver of the last `asks`.
            state: The state of this control.
            now: The current position in training.
        """
        ...

    def solver(self, state: Any, solver: AbstractSolver) -> AbstractSolver:
        """The same solver, with all learned parameters, at the state's number of steps or tolerance."""
        ...

    def ended(self, state: Any) -> Any:
        """The state at the end of training."""
        ...

    def closing(self, state: Any, now: Moment) -> CheckRequest | TuneRequest | CertifyRequest | RevertRequest | None:
        """The next action after training; None if there is none."""
        ...

    def closed(self, done: TuneRequest | RevertRequest | str, state: Any) -> Any:
        """The state after fine-tuning, after a return, or after a certificate with this verdict."""
        ...
