"""CertifiedControl: the coarsest steps, or tolerance, at which the model stays an ODE."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from ...errors import UserError
from ...solvers.base.solver import AbstractSolver
from ..certificate.one_path import on_one_path
from .control import CertifyRequest, CheckRequest, Moment, RevertRequest, TuneRequest
from .dial import Dial, StepDial, ToleranceDial
from .reading import Reading, Tolerances


class Band(NamedTuple):
    """The allowed range of the strain, and how h changes outside it; at a strain of one the tolerances are used up.

    Attributes:
        low, high: The ends of the range, within which h does not change.
        aim: The strain that a change aims at.
        coarser, finer: The largest factors by which one check makes h larger and smaller.
        stride: Rungs of the ladder between the numbers of steps in use; each number is compiled once.
    """

    low: float
    aim: float
    high: float
    coarser: float
    finer: float
    stride: int


_SLACK = 2.0  # factor of the metric's tolerance during training
_WEIGHT = 0.3  # of one check in the average of the checks' aims
_TOLERANCES = Tolerances()
_TRAINING = Band(low=0.4, aim=0.6, high=0.8, coarser=2.0, finer=3.0, stride=2)
_FINAL = Band(low=0.4, aim=0.8, high=1.0, coarser=1.5, finer=1.22, stride=1)


class CertifiedState(NamedTuple):
    """The state of the control.

    Attributes:
        dial: The controlled quantity.
        h: The step as a fraction of the interval, or the tolerance.
        probe: In a search, the next h to try.
        needed: The average of the h that checks during training aimed at.
        grew: Whether the last of them refined h.
        phase: "search" until a first h is found, "train", "approach" towards the end of training; after training
            "settle", "tune", "certify", "revert", "done".
        checked: Optimiser steps at the last check.
        trained: Training NFE at the last check.
        spent: NFE of checks before it.
        rounds: How many times the model was fine-tuned after training.
        refined: Whether h was refined after training; then it is never made coarser again.
        failed: How many checks in a row, after training, found too much strain at this h.
        verdict: The verdict of the last certificate.
        kept: The h of the last valid certificate; None before it. From then on the control tries coarser steps.
        missed: How many such steps in a row had no valid certificate.
        pending: Whether the check continues.
    """

    dial: Dial
    h: float
    probe: float
    needed: float | None = None
    grew: bool = False
    phase: Literal["search", "train", "approach", "settle", "tune", "certify", "revert", "done"] = "search"
    checked: int = 0
    trained: float = 0.0
    spent: float = 0.0
    rounds: int = 0
    refined: bool = False
    failed: int = 0
    verdict: str | None = None
    kept: float | None = None
    missed: int = 0
    pending: bool = False


@dataclass(frozen=True, kw_only=True)
class CertifiedControl:
    """Trains with the coarsest solver that keeps the model an ODE, and ends with one whose certificate is valid.

    On held-out samples the control compares the own solver, sample by sample, with a scheme of higher order and fewer
    steps (DOPRI5 at a tenth of the tolerance). The strain is the deviation divided by the deviation that would use up
    the tolerances (`Reading.strain`); it grows as h^p. The control keeps it in a band: outside, h <- h (aim /
    strain)^(1 / p), within limits, because the strain shrinks more slowly if a few samples lie at an edge of the flow.
    The first check searches upwards from few steps, whatever the start, so a start that is too fine costs no check.

    A check runs when the parameters have moved, on a small batch that changes from check to check. Early in training,
    while steps are few and the field grows fastest, this is the only condition. Later, training must also have used as
    much NFE as the last check allows, unless that check refined h or is long ago. A few samples at an edge of the flow
    make the strain large or small by chance, so the control averages what later checks aim at. A model that is no ODE
    during training may still become one, so the metric may change more until the last part of training. After training
    the control sets h on more samples and with the certificate's confidence, with some optimiser steps between two
    checks, and refines h until the certificate is valid. Then it descends: coarser steps, some optimiser steps, another
    certificate, until none is valid. It returns to the last model whose certificate was.

    Attributes:
        most: The allowed changes by the discretisation.
        certify: `certify(predict, solver, batch)` whose result has a `verdict`; None for no certificate: the last check
            then decides.
        few, many: The largest numbers of held-out samples, in a check during training, and in a check after it or a
            certificate.
        drift: Relative movement of the parameters after which to check.
        share: The NFE of checks, as a share of the training NFE between them.
        early: The part of training in which the cost of checks does not count.
        patience: The part of training after which to check whatever the last check cost.
        approach: The last part of training, as a share.
        training, final: The bands of the strain.
        tune: Optimiser steps between the checks after training, as a fraction of all.
        rounds: The largest number of such fine-tunings.
        looks: Checks after training that must find too much strain before h is refined, and certificates that must not
            be valid before the control gives up a coarser step.
        misses: Coarser steps in a row that it must give up before it stops: validity has the noise of training.
        most_steps: The largest number of steps of the solver.
        dtype: Dtype of the state; it limits the relative tolerance.

    Raises:
        UserError: A number is out of its range.
    """

    most: Tolerances = _TOLERANCES
    certify: Callable[..., Any] | None = None
    few: int = 512
    many: int = 1280
    drift: float = 0.02
    share: float = 0.01
    early: float = 0.15
    patience: float = 0.05
    approach: float = 0.3
    training: Band = _TRAINING
    final: Band = _FINAL
    tune: float = 0.03
    rounds: int = 16
    looks: int = 2
    misses: int = 2
    most_steps: int = 10_000
    dtype: Any = "float32"

    def __post_init__(self):
        for name in ("few", "many", "rounds", "looks", "misses", "most_steps"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be >= 1, got {getattr(self, name)}")
        for name in ("drift", "share", "early", "patience", "approach", "tune"):
            if not 0 < getattr(self, name) < 1:
                raise UserError(f"{name} must lie in (0, 1), got {getattr(self, name)}")
        for name in ("training", "final"):
            band = getattr(self, name)
            if not 0 <= band.low < band.aim < band.high <= 1:
                raise UserError(f"{name} must be a band 0 <= low < aim < high, got {tuple(band)}")

    @property
    def batch(self) -> Literal["training", "held-out"]:
        """Checks use samples that training does not see."""
        return "held-out"

    def tolerances(self, state: CertifiedState) -> Tolerances:
        """The metric may change more during training; after it, all tolerances hold with a certificate's confidence."""
        if state.phase in ("search", "train"):
            return self.most._replace(metric=_SLACK * self.most.metric)
        return self.most if state.phase == "approach" else self.most._replace(sure=True)

    def samples(self, state: CertifiedState) -> int:
        """The largest number of held-out samples."""
        return self.few if state.phase in ("search", "train", "approach") else self.many

    def init(self, solver: AbstractSolver) -> CertifiedState:
        """The state before training with this solver.

        Raises:
            UserError: It has neither a number of steps nor a tolerance to control.
        """
        tolerance = solver.chooses_steps
        dial = ToleranceDial.of(solver, self.dtype) if tolerance else StepDial.of(solver, self.most_steps)
        return CertifiedState(dial, dial.start, dial.coarsest)

    def dispatch(self, most: int) -> int:
        """The number of optimiser steps, unchanged: the loop checks the parameters' movement after every dispatch."""
        return most

    def due(self, state: CertifiedState, now: Moment) -> bool:
        """Whether the parameters have moved far enough, and training has paid for the last check or it is long ago."""
        spent, earned = now.nfe_checks - state.spent, self.share * (now.nfe_train - state.trained)
        free = state.grew or self._is_early(now) or now.step - state.checked >= self.patience * now.of
        return now.drift >= self.drift and (free or not spent > earned)  # `not >` also holds for NaN

    def asks(self, state: CertifiedState, solver: AbstractSolver) -> tuple[AbstractSolver, ...]:
        """The own solver and the better one; in a search, at the h to try."""
        own = state.dial.turned(solver, state.probe if state.phase == "search" else state.h)
        return on_one_path(own, state.dial.higher(own))

    def update(self, readings: tuple[Reading, ...], state: CertifiedState, now: Moment) -> tuple[float, CertifiedState]:
        """The number of steps or the tolerance after a check, and the state."""
        strain = math.inf if math.isnan(readings[0].strain) else readings[0].strain
        state = state._replace(checked=now.step, trained=now.nfe_train, spent=now.nfe_checks)
        match state.phase:
            case "search":
                state = self._searched(state, strain)
            case "train" | "approach":
                state = self._followed(state, strain, now)
            case _:  # after training
                state = self._settled(state, strain)
        if state.phase == "train" and now.step >= (1 - self.approach) * now.of:
            state = state._replace(phase="approach")
        return state.dial.size(state.h), state

    def solver(self, state: CertifiedState, solver: AbstractSolver) -> AbstractSolver:
        """The same solver at the state's h."""
        return state.dial.turned(solver, state.h)

    def ended(self, state: CertifiedState) -> CertifiedState:
        """The state at the end of training: h is to be set."""
        return state._replace(phase="settle")

    def closing(
        self, state: CertifiedState, now: Moment
    ) -> CheckRequest | TuneRequest | CertifyRequest | RevertRequest | None:
        """Checks and fine-tuning until h is set, then a certificate, until it is valid; then coarser steps."""
        match state.phase:
            case "settle":
                return CheckRequest()
            case "tune":
                return TuneRequest(max(1, round(self.tune * now.of)))
            case "certify":
                return None if self.certify is None else CertifyRequest()
            case "revert":
                return RevertRequest()
        return None

    def closed(self, done: TuneRequest | RevertRequest | str, state: CertifiedState) -> CertifiedState:
        """After fine-tuning, check again; after a certificate, refine, or descend once one was valid."""
        if isinstance(done, TuneRequest):
            return state._replace(phase="settle" if state.kept is None else "certify")
        if isinstance(done, RevertRequest):
            return state._replace(phase="done", verdict="valid")
        state = state._replace(verdict=done)
        if done == "valid":
            return self._descended(state._replace(kept=state.h, missed=0))
        if state.kept is not None:
            return self._stayed(state, state.kept)
        if state.rounds >= self.rounds:
            return state._replace(phase="done")
        return self._changed(state._replace(refined=True), state.dial.finer(state.h))

    def _descended(self, state: CertifiedState) -> CertifiedState:
        """Try coarser steps, if there are any; else end with those kept."""
        coarser = state.dial.coarser(state.h)
        if state.rounds >= self.rounds or state.dial.size(coarser) == state.dial.size(state.h):
            return state._replace(phase="done" if state.kept == state.h else "revert", h=state.kept or state.h)
        return self._changed(state, coarser)

    def _stayed(self, state: CertifiedState, kept: float) -> CertifiedState:
        """After a certificate that is not valid, at steps coarser than those `kept`: once more, coarser, or back."""
        if state.rounds < self.rounds and state.failed + 1 < self.looks:
            return self._changed(state, state.h)._replace(failed=state.failed + 1)
        if state.missed + 1 < self.misses:
            return self._descended(state._replace(missed=state.missed + 1))
        return state._replace(h=kept, phase="revert")

    def _searched(self, state: CertifiedState, strain: float) -> CertifiedState:
        """From coarse to fine until the strain is allowed."""
        finer = self._moved(state, state.probe, strain, self.training)
        if strain <= self.training.high or finer >= state.probe:
            return state._replace(h=state.probe, phase="train", pending=False)
        return state._replace(probe=finer, pending=True)

    def _followed(self, state: CertifiedState, strain: float, now: Moment) -> CertifiedState:
        """Use the h that this check aims at; later in training, the running geometric mean with earlier checks."""
        band, needed = self.training, self._aimed(state, state.h, strain, self.training)
        if state.needed is not None and not self._is_early(now):
            needed = state.needed ** (1 - _WEIGHT) * needed**_WEIGHT
        average = band.aim * (state.h / needed) ** state.dial.order
        h = self._moved(state, state.h, average, band)
        return state._replace(h=h, needed=needed, grew=h < state.h)

    def _is_early(self, now: Moment) -> bool:
        return now.step < self.early * now.of

    def _settled(self, state: CertifiedState, strain: float) -> CertifiedState:
        """Accept h in the final band, or change it once more; never coarser after it had to be refined.

        The strain varies with the noise of training, so the control checks again before it refines h.
        """
        h = self._moved(state, state.h, strain, self.final)
        if state.rounds >= self.rounds or (h > state.h and state.refined):
            return state._replace(phase="certify")
        if strain > self.final.high and state.failed + 1 < self.looks:
            return self._changed(state, state.h)._replace(failed=state.failed + 1)
        if state.dial.size(h) == state.dial.size(state.h):
            return state._replace(phase="certify")
        return self._changed(state._replace(refined=h < state.h), h)

    def _changed(self, state: CertifiedState, h: float) -> CertifiedState:
        return state._replace(h=h, phase="tune", rounds=state.rounds + 1, failed=0)

    def _aimed(self, state: CertifiedState, h: float, strain: float, band: Band) -> float:
        """The h with a predicted strain at the band's aim, within the limits of one check."""
        factor = (band.aim / max(strain, 1e-12)) ** (1 / state.dial.order) if strain < math.inf else 0.0
        return h * min(max(factor, 1 / band.finer), band.coarser)

    def _moved(self, state: CertifiedState, h: float, strain: float, band: Band) -> float:
        """The nearest possible h to the one aimed at, if the strain lies outside the band; else h unchanged."""
        if band.low <= strain <= band.high:
            return h
        aimed = state.dial.snapped(state.dial.within(self._aimed(state, h, strain, band)), band.stride)
        return min(aimed, state.dial.finer(h)) if strain > band.high else max(aimed, h)
