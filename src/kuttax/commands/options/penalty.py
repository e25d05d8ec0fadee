"""The penalties that the command line knows by name, and the options that weigh one."""

from dataclasses import dataclass
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax
import tyro

from ..._solve.solve import solve
from ...options.bounds import above, check_bounds
from ...options.unused import Unused, unless
from ...penalties.registry import PENALTIES, named
from ...penalties.schedule import Scheduled, decaying
from ...solvers.base.solver import AbstractSolver
from ...solvers.sde.sde import SDE

_KNOWN = ", ".join(f"{name} ({known.source})" for name, known in PENALTIES.items())


@dataclass(frozen=True)
class Weighted:
    """What a run is trained with beside its loss: a named penalty at a weight, or none.

    Attributes:
        name: In `PENALTIES`; None for no penalty.
        weight: At the first training step; None for a penalty that has none.
        decay: Where the weight ends; None for a constant one.
    """

    name: str | None = None
    weight: float | None = None
    decay: float | None = None

    @property
    def label(self) -> str:
        """Its name in tables, with its weight."""
        if self.name is None:
            return "vanilla"
        weight = "" if self.weight is None else f", weight {self.weight:g}"
        return named(self.name).label + weight + ("" if self.decay is None else f" to {self.decay:g}")

    @property
    def about(self) -> dict[str, Any]:
        """Its entries in the record of a run."""
        return {"penalty": self.name, "penalty_weight": self.weight, "penalty_decay": self.decay}

    def beside(self, solver_label: str) -> str:
        """The label of a solver that is trained with this penalty."""
        return solver_label if self.name is None else f"{solver_label} + {self.label}"

    def scheduled(self, train_steps: int) -> Scheduled | None:
        """The penalty over `train_steps` training steps; None if there is none."""
        if self.name is None:
            return None
        penalty = named(self.name).make()
        if self.decay is not None:
            return decaying(penalty, self.weight, self.decay, train_steps)
        return Scheduled(penalty, optax.constant_schedule(1.0 if self.weight is None else self.weight))

    def refuse_unfit(self, solver: AbstractSolver) -> None:
        """Check whether the penalty fits the solver, before data are loaded.

        Raises:
            UserError: It does not fit; the error is the one that the penalty raises in such a solve.
        """
        if self.name is None:
            return
        penalty, y0 = named(self.name).make(), jnp.zeros((2, 3), jnp.float32)

        def attempt(y0, key):
            calculi = solver.sde_calculi()
            field: Any = SDE(_tanh, _tanh, calculus=calculi[0]) if calculi else _tanh
            return solve(
                field, y0, 0.0, 1.0, solver=solver, penalty=penalty, key=key, batch_axis=0, throw=False
            ).penalty

        jax.eval_shape(attempt, y0, jax.random.key(0))  # only traced, not compiled or run


def _tanh(t: Any, y: Any, args: Any) -> Any:
    return jnp.tanh(y)


def default(name: str) -> Weighted:
    """The penalty with this name at its own weight; "none" means none.

    Raises:
        UserError: No penalty has this name.
    """
    return Weighted() if name == "none" else Weighted(name, named(name).weight)


@dataclass(frozen=True, kw_only=True)
class PenaltyOptions:
    """A term of the loss that makes the field cheap to integrate."""

    penalty: Annotated[str, tyro.conf.arg(help=f"Add this penalty to the loss: none, {_KNOWN}.")] = "none"
    penalty_weight: Annotated[float, above(0)] | None = None
    """Multiply the penalty by this weight (default: a weight of the penalty's own)."""
    penalty_decay: Annotated[float, above(0)] | None = None
    """Let the weight decay exponentially to this value at the end of training (default: the weight is constant)."""

    def __post_init__(self):
        check_bounds(self)

    def build(self) -> Weighted:
        """The penalty of these options.

        Raises:
            UserError: They name none.
        """
        own = default(self.penalty)
        weight = own.weight if self.penalty_weight is None else self.penalty_weight
        return Weighted(own.name, weight, self.penalty_decay)

    def unused(self) -> dict[str, Unused]:
        """The options that change nothing beside the others.

        Raises:
            UserError: They name no penalty.
        """
        own, weights = default(self.penalty), ["penalty_weight", "penalty_decay"]
        if own.name is None:
            return unless(False, weights, "without a penalty", "name one with --penalty")
        return unless(own.weight is not None, weights, f"with --penalty {own.name}, which has no weight")
