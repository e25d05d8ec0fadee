"""What the training loop asks of a control of steps or tolerances: an init/update pair, as an optax transform is."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol

from ...solvers.base.solver import AbstractSolver
from .reading import Reading, Tolerances


class Moment(NamedTuple):
    """Where training stands.

    Attributes:
        step: Optimiser steps taken.
        of: Optimiser steps that there will be.
        drift: The distance that the parameters have moved since the last check, relative to their norm then.
        nfe_train: Evaluations of the field in training, times samples; forward passes alone.
        nfe_checks: The same, of all checks.
    """

    step: int
    of: int
    drift: float = 0.0
    nfe_train: float = 0.0
    nfe_checks: float = 0.0


class CertifyRequest(NamedTuple):
    """What the end of training asks for: a certificate of model and solver."""


class TuneRequest(NamedTuple):
    """What the end of training asks for: so many optimiser steps more."""

    steps: int


class CheckRequest(NamedTuple):
    """What the end of training asks for: a check, whatever the time."""


class Control(Protocol):
    """Chooses how finely a model is solved while it is trained, from what other solvers make of it.

    A check is a dialogue: `asks` names solvers, the loop lets each predict the same batch, `update` reads the result,
    until the state is no more `pending`. Deciding is pure: no model, no data, no clock.
    """

    @property
    def batch(self) -> Literal["training", "held-out"]:
        """What checks look at: the last batch trained on, or samples that training does not see."""
        ...

    @property
    def certify(self) -> Callable[..., Any] | None:
        """`certify(predict, solver, batch)`, whose result has a `verdict`; None where no certificate is asked for."""
        ...

    def init(self, solver: AbstractSolver) -> Any:
        """The state before training with this solver.

        Raises:
            UserError: This control cannot control this solver.
        """
        ...

    def tolerances(self, state: Any) -> Tolerances:
        """What `Reading.strain` is measured in."""
        ...

    def samples(self, state: Any) -> int | None:
        """How many held-out samples to look at, at most; None for all."""
        ...

    def dispatch(self, most: int) -> int:
        """The number of optimiser steps in one dispatch, at most so many; checks are made between dispatches."""
        ...

    def due(self, state: Any, now: Moment) -> bool:
        """Whether to check now."""
        ...

    def asks(self, state: Any, solver: AbstractSolver) -> tuple[AbstractSolver, ...]:
        """The solvers to predict with; the last one is the reference.

        Args:
            state: Of this control.
            solver: The one in use, with all that it has learned.
        """
        ...

    def update(self, readings: tuple[Reading, ...], state: Any, now: Moment) -> tuple[float, Any]:
        """The number of steps, or the tolerance, to go on with, and the state; it is `pending` if more is to be asked.

        Args:
            readings: One for each solver that was asked for.
            state: Of this control.
            now: Where training stands.
        """
        ...

    def solver(self, state: Any, solver: AbstractSolver) -> AbstractSolver:
        """The same solver, with all that it has learned, as the state has it."""
        ...

    def ended(self, state: Any) -> Any:
        """The state when training has ended."""
        ...

    def closing(self, state: Any, now: Moment) -> CheckRequest | TuneRequest | CertifyRequest | None:
        """What is still to be done after training; None where nothing is."""
        ...

    def closed(self, done: TuneRequest | str, state: Any) -> Any:
        """The state after a fine-tuning, or after a certificate with this verdict."""
        ...
