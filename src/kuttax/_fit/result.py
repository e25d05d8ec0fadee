"""What `fit` returns: the model, the solver, the certificate, and a row for each phase."""

from typing import Any, NamedTuple

from ..shown import as_html
from ..solvers.base.solver import AbstractSolver
from ..training.evaluate import Evaluation
from ..validity import Certificate


class Phase(NamedTuple):
    """One phase of `fit`.

    Attributes:
        name: "warm-up", "training", "distillation", "more evaluations" or "fewer evaluations"; with ", not kept" behind
            it if `fit` returns an earlier model or solver.
        solver: The solver at the end of the phase.
        validation: Metric, loss and NFE on validation data, with that solver.
        verdict: The verdict of the certificate on validation data; None if there is no certificate.
        seconds: Wall time, compilation included.
    """

    name: str
    solver: str
    validation: Evaluation
    verdict: str | None
    seconds: float


class Fitted(NamedTuple):
    """What `fit` returns.

    Attributes:
        model: Trained weights.
        solver: The solver with the budget's NFE, or with fewer or more evaluations if that was asked for.
        certificate: Certificate of this model with this solver, on validation data.
        history: The phases, in order.
        least_nfe: If the certificate is not valid at the budget: the smallest number of evaluations at which it is, for
            the same field. None if there is none, or if more samples are needed to decide.
    """

    model: Any
    solver: AbstractSolver
    certificate: Certificate
    history: tuple[Phase, ...]
    least_nfe: int | None = None

    @property
    def verdict(self) -> str:
        """The verdict of the certificate."""
        return self.certificate.verdict

    def __str__(self) -> str:
        rows = [
            f"{s.name:<22} {s.validation.metric:10.4g} {s.validation.nfe:8.4g} {s.seconds:8.3g}  {s.verdict or '-':<9} "
            f" {s.solver}"
            for s in self.history
        ]
        head = f"{'phase':<22} {'validation':>10} {'NFE':>8} {'seconds':>8}  {'an ODE?':<9}  solver"
        return "\n".join([head, *rows])

    __repr__ = __str__
    _repr_html_ = as_html
