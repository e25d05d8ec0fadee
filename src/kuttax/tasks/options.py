"""TaskOptions: what the options of every named task share."""

from dataclasses import dataclass
from typing import Any, ClassVar

from ..options.bounds import check_bounds
from ..options.unused import Unused, changed, refuse_unused
from ..solvers.sde.sde import Calculus


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """Options of a named task; `.build()` makes the task. Numbers out of bounds, and options that change nothing beside
    the others, are refused before any data are loaded."""

    training: ClassVar[dict[str, Any]] = {}
    """Settings of training that the other defaults are chosen for."""
    solver: ClassVar[dict[str, Any]] = {}
    """Options of the usual solver, where it is not every task's."""
    calculus: ClassVar[Calculus | None] = None
    """Of an SDE, how it is read, which a task may have as an option; None for an ODE."""
    example: ClassVar[str] = ""
    """The options of an example, for the help: where there is a file of one's own, with it."""
    consistent: ClassVar[bool] = True
    """Whether `kuttax fit` trains with a penalty: not where the loss never meets the solver's errors."""

    def __post_init__(self):
        check_bounds(self)
        refuse_unused(self.unused(), changed(self))

    def build(self) -> Any:
        """The task."""
        raise NotImplementedError

    def unused(self) -> dict[str, Unused]:
        """The options that change nothing beside the others."""
        return {}
