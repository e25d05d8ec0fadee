"""The penalties by name, one entry for each, and what `kuttax.penalties` exports."""

from collections.abc import Callable
from typing import Any, NamedTuple

from ..errors import UserError
from ..options.look import Look
from ..solvers.base.pick import Pick
from .base import AbstractPenalty, Observation, Penalties, Request
from .consistency import Consistency
from .global_ import GlobalError, GlobalStiffness
from .jacobian import JacobianFrobenius
from .kinetic import Kinetic
from .local import LocalError, LocalStiffness
from .path_length import PathLength
from .schedule import Scheduled, decaying
from .steer import Steer
from .taylor import Taylor

__all__ = [
    "PENALTIES",
    "AbstractPenalty",
    "Consistency",
    "GlobalError",
    "GlobalStiffness",
    "JacobianFrobenius",
    "Kinetic",
    "LocalError",
    "LocalStiffness",
    "NamedPenalty",
    "Observation",
    "PathLength",
    "Penalties",
    "Pick",
    "Request",
    "Scheduled",
    "Steer",
    "Taylor",
    "decaying",
    "named",
]


class NamedPenalty(NamedTuple):
    """The registry entry of a penalty, for the command line, reports and error messages.

    Attributes:
        label: Its name in tables.
        make: Builds it.
        weight: Its default weight; None if it takes none.
        source: Its paper.
        look: Its look in plots; None for one of the spare looks.
    """

    label: str
    make: Callable[[], AbstractPenalty | Penalties]
    weight: float | None
    source: str
    look: Look | None = None


def _at_solver_step() -> LocalError:
    return LocalError(size="solver", transform="scaled")


def _released(sampling: Any) -> Callable[[], LocalError]:
    return lambda: LocalError(sampling, size="initial", transform="scaled", through="stages")


PENALTIES: dict[str, NamedPenalty] = {
    "local-error": NamedPenalty("local error", LocalError, 0.1, "after Pal et al. 2023", Look("vermilion", "o")),
    "local-error-biased": NamedPenalty(
        "local error, biased", lambda: LocalError("biased"), 0.1, "after Pal et al. 2023", Look("vermilion", "v")
    ),
    "local-solver": NamedPenalty("local error, the solver's step", _at_solver_step, 10.0, "Pal et al. 2023"),
    "local-unbiased": NamedPenalty(
        "local error, unbiased, released", _released("unbiased"), 10.0, "Pal et al. 2023", Look("orange", "v")
    ),
    "local-biased": NamedPenalty(
        "local error, biased, released", _released("biased"), 10.0, "Pal et al. 2023", Look("orange", "^")
    ),
    "local-stiffness": NamedPenalty("local stiffness", LocalStiffness, 0.1, "Pal et al. 2023", Look("vermilion", "s")),
    "global-error": NamedPenalty("global error (ERNODE)", GlobalError, 1.0, "Pal et al. 2021", Look("blue", "P")),
    "global-stiffness": NamedPenalty(
        "global stiffness (SRNODE)", GlobalStiffness, 0.0285, "Pal et al. 2021", Look("blue", "X")
    ),
    "taylor": NamedPenalty("Taylor, K = 2 (TayNODE)", lambda: Taylor(2), 1e-3, "Kelly et al. 2020", Look("green", "h")),
    "kinetic": NamedPenalty("kinetic", Kinetic, 0.01, "Finlay et al. 2020", Look("pink", "<")),
    "path-length": NamedPenalty("path length", PathLength, 0.01, "after Finlay et al. 2020", Look("purple", "*")),
    "jacobian": NamedPenalty("Jacobian", JacobianFrobenius, 0.01, "Finlay et al. 2020", Look("pink", ">")),
    "rnode": NamedPenalty(
        "kinetic + Jacobian (RNODE)",
        lambda: Kinetic() + JacobianFrobenius(),
        0.01,
        "Finlay et al. 2020",
        Look("purple", "p"),
    ),
    "consistency": NamedPenalty("consistency", Consistency, 1.0, "after Ott et al. 2021"),
    "consistency-linear": NamedPenalty(
        "consistency, linear", lambda: Consistency(transform="plain"), 0.05, "for likelihoods"
    ),
    "steer": NamedPenalty("STEER, b = 0.5", lambda: Steer(0.5), None, "Ghosh et al. 2020", Look("sky", "d")),
}
"""The penalties by name."""


def named(name: str) -> NamedPenalty:
    """The penalty with this name.

    Raises:
        UserError: No penalty has this name.
    """
    if name not in PENALTIES:
        raise UserError(f"unknown penalty {name!r}; known: none, {', '.join(PENALTIES)}")
    return PENALTIES[name]
