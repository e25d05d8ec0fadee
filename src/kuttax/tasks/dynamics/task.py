"""Dynamics: a vector field identified from trajectories, and its forecasts."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..._solve.solve import solve
from ...data.files.summary import is_regular
from ...data.systems.trajectory import Source
from ...data.systems.windows import Course, Scaling, TrajectorySplits, Windows, windows
from ...errors import UserError
from ...growth import GrowthRates, Rests, growth_rates
from ...nn.fields.bilinear import BilinearField
from ...nn.fields.identified import Identified
from ...nn.fields.known_physics import Known
from ...nn.fields.mlp import MLPField
from ...nn.past import PastEncoder, with_hidden
from ...penalties.base import Penalties
from ...penalties.consistency import Consistency
from ...penalties.local import LocalError
from ...solvers.base.solution import Stats
from ...solvers.base.solver import AbstractSolver
from ...validity.prediction import Prediction, mean_nfe
from ..abilities import LossOption
from ..base import Metric, Trajectories
from ..reached import mean_over_reached, zero_where_lost
from . import forecast
from .drive import InputKind, drive_of

NetworkKind = Literal["mlp", "bilinear"]

_WEIGHT = 3e-4  # of penalties in `kx.fit`, whose errors are in units of about a thousandth of a standard deviation
_LONGEST = 1000  # default limit on the intervals of a forecast
_GROWING = 128  # windows whose growth rates a certificate compares
_RESTING, _SMALL = 64, 8  # states from which to look for equilibria, and the largest number of variables
_ENOUGH_WINDOWS = 128  # for a certificate: 59 windows suffice if none deviates, 124 if two do


class DynamicsModel(eqx.Module):
    """The trained parts of the model.

    Attributes:
        field: The field of standardised states, in units of observation intervals: see `Identified`.
        corrections: With multiple shooting, added to the observed state at the start of each segment of each training
            window, (windows, segments, d), because observed states are noisy. None without.
        encoder: Of the hidden states at the start of a window, from its past; None if there are none.
    """

    field: Identified
    corrections: Float[Array, "windows segments d"] | None
    encoder: PastEncoder | None = None


@dataclass(frozen=True, eq=False)
class Dynamics:
    """Find dx/dt = f(x, u) that maps observed states to the following observed states.

    States are standardised by the training trajectories, float32; errors are in their standard deviations. A sample is
    a window of `horizon` intervals between observations, predicted from its first state. A fixed-step solver takes its
    steps in each interval, so its budget, and the reported NFE, are for one interval. An adaptive solver chooses its
    steps over the whole window; its steps end at every observation only where the field changes there: if times are
    irregular, or control inputs have kinks.

    Attributes:
        name: Its name in records and tables.
        parts: Trajectories for training, for choices and for the report.
        network: "mlp" (tanh) or "bilinear".
        width: Hidden units, or products of a bilinear field.
        depth: Hidden layers of an MLP.
        known: Known physics, to which the network is added: dx/dt from x and u in the data's own units. Training then
            starts from this field.
        horizon: Intervals in a window.
        curriculum: Shorter horizons at the start of training, each for an equal share of it.
        segments: Segments of `horizon` intervals in a training window. With more than one, each starts from its own
            state, the observed one plus a trained correction, and a penalty pulls its end to the next one's start:
            multiple shooting (Bock & Plitt 1984; for neural ODEs Turan & Jaeschke 2021, arXiv 2109.06786).
        continuity: The weight of the squared gaps between segments.
        input: Control inputs between observations: "hold" (the last value), "linear", or "cubic" (a continuous slope).
        hidden: States that are not observed, after those that are. An encoder, trained with the field, gives them at
            the start of a window from the observations and control inputs of its past.
        memory: Observations in that past, besides the first of the window.
        forecast_length: Intervals of the long forecasts; None for the length of the shortest test trajectory, at most
            1000.
        lyapunov: The system's largest Lyapunov exponent, if it is known and positive.
        source: Of the data: what time and states are called in pictures; None for "time" and x1, x2, ....
        adjoint: For `kuttax.solve`; None for its default.
        max_steps: The largest number of steps that an adaptive solver may try in one window.
        scaling: The standardisation of the data.
        plain: Whether times are equally spaced and there are no control inputs.
        regular: Whether times are equally spaced.
        train, validation, test: Windows.

    Raises:
        UserError: An option is out of range, or a trajectory is too short for it.
    """

    loss_options: ClassVar[tuple[LossOption, ...]] = ("penalty", "progress")

    name: str
    parts: TrajectorySplits
    network: NetworkKind = "mlp"
    width: int = 64
    depth: int = 2
    known: Known | None = None
    horizon: int = 10
    curriculum: tuple[int, ...] = ()
    segments: int = 1
    continuity: float = 1.0
    input: InputKind = "linear"
    hidden: int = 0
    memory: int = 10
    forecast_length: int | None = None
    lyapunov: float | None = None
    source: Source | None = None
    adjoint: Any = None
    max_steps: int = 1024
    scaling: Scaling = field(init=False)
    plain: bool = field(init=False)
    regular: bool = field(init=False)
    train: Windows = field(init=False)
    validation: Windows = field(init=False)
    test: Windows = field(init=False)

    def __post_init__(self):
        check_options(self)
        every = [one for part in self.parts for one in part]
        put = lambda name, value: object.__setattr__(self, name, value)
        put("scaling", Scaling.of(self.parts.train))
        put("regular", is_regular([one.t for one in every]))
        put("plain", self.regular and every[0].u.shape[1] == 0)
        whole = self.segments * self.horizon
        # Windows may overlap, since that uses the same data more often; with own starts for each window they must not.
        put("train", self._windows("train", whole, 1 if self.segments == 1 else whole))
        put("validation", self._windows("validation", self.horizon, self._validation_stride()))
        put("test", self._windows("test", self.horizon, self.horizon))

    def _validation_stride(self) -> int:
        """The largest stride, up to the horizon, that gives enough windows for a certificate; 1 if none does.

        Overlapping windows carry less information than the same number of disjoint ones, but each has its own start.
        """
        starts = [len(one.t) - self.horizon - self._before for one in self.parts.validation]
        count = lambda stride: sum(len(range(0, n, stride)) for n in starts)
        return next((s for s in range(self.horizon, 1, -1) if count(s) >= _ENOUGH_WINDOWS), 1)

    @property
    def _before(self) -> int:
        """Observations that a window needs before its start."""
        return self.memory if self.hidden else 0

    def _windows(self, part: str, length: int, stride: int) -> Windows:
        trajectories = getattr(self.parts, part)
        memory = self.memory if self.hidden else None
        segment = self.horizon if part == "train" else None
        asked = {"plain": self.plain, "part": part, "memory": memory, "segment": segment}
        return windows(trajectories, self.scaling, length, stride, **asked)

    @property
    def summary(self) -> str:
        """What the user's data were understood as; empty without."""
        return "" if self.source is None else self.source.summary

    @property
    def interval(self) -> tuple[float, float]:
        """From one observation to the next."""
        return 0.0, 1.0

    @property
    def metric(self) -> Metric:
        """The root mean square error over windows, lead times and components, in standard deviations of the data."""
        return Metric("rmse", higher_is_better=False, unit="sd", mean="quadratic")

    @property
    def consistency(self) -> Penalties:
        """The penalty for `kx.fit`: proportional to the error of a step.

        If the rmse is r, an error of e sd gains at most 2 r e; this weight outweighs that up to an r of about 0.1.
        """
        return _WEIGHT * Consistency(transform="plain")

    def warm_up_penalty(self, steps: int) -> Penalties:
        """The penalty for `kx.fit`'s warm-up: the local error of one of `steps` steps, with the same weight."""
        return _WEIGHT * LocalError(steps=steps, transform="plain")

    def init(self, key: PRNGKeyArray) -> DynamicsModel:
        """A model with fresh float32 weights."""
        n, _, observed = self.train.z.shape
        size, controls = observed + self.hidden, len(self.scaling.u_mean)
        if self.network == "bilinear":
            network: Any = BilinearField(size, self.width, key=key, controls=controls)
        else:
            network = MLPField(size, self.width, self.depth, key=key, time_dependent=False, controls=controls)
        if self.known is not None:
            network = _silent(network)
        corrections = None if self.segments == 1 else jnp.zeros((n, self.segments, size), jnp.float32)
        encoder = None
        if self.hidden:
            past = self.memory + 1, observed + controls
            encoder = PastEncoder(*past, self.hidden, self.width, key=jax.random.fold_in(key, 1))
        scaling = self.scaling.with_hidden(self.hidden)
        return DynamicsModel(Identified(network, scaling, self.known), corrections, encoder)

    def loss(
        self,
        model: DynamicsModel,
        solver: AbstractSolver,
        batch: Windows,
        key: PRNGKeyArray,
        penalty: Penalties | None = None,
        progress: Any = 1.0,
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """Mean squared error at the current horizon, with the gaps between segments and the penalty.

        Logs "nfe" (of an interval, mean over samples), "metric" and "status". If every sample has its own steps, errors
        and gaps are those of the windows all of whose segments reached their end.
        """
        horizons = (*self.curriculum, self.horizon)

        def at(horizon: int) -> Callable[[], Any]:
            return lambda: self._loss_at(horizon, model, solver, batch, key, penalty)

        if len(horizons) == 1:
            return at(self.horizon)()
        stage = jnp.asarray(progress * len(horizons)).astype(jnp.int32)
        return jax.lax.switch(jnp.minimum(stage, len(horizons) - 1), [at(horizon) for horizon in horizons])

    def _loss_at(self, horizon, model, solver, batch, key, penalty) -> tuple[Array, dict[str, Array]]:
        pieces = _segments(batch, self.segments, self.horizon)
        start = _starts(model, pieces)
        if model.corrections is not None:
            start = start + model.corrections[batch.number].reshape(start.shape).astype(start.dtype)
        crossed = self._solve(model, solver, start, pieces.course, horizon, penalty=penalty, key=key)
        status = crossed.status if crossed.status.ndim == 0 else crossed.status.reshape(len(batch.z), -1).max(axis=1)
        mean = lambda squares: mean_over_reached(squares.reshape(len(batch.z), -1).mean(axis=1), status)
        path = zero_where_lost(crossed.path, crossed.status)
        error = mean(_squares(self._observed(path)[:, 1:], pieces.z[:, 1 : horizon + 1]))
        loss = error + crossed.penalty
        if model.corrections is not None:
            loss = loss + jnp.mean((start - pieces.z[:, 0]) ** 2)
        if model.corrections is not None and horizon == self.horizon:
            shape = (len(batch.z), self.segments, -1)
            ends, starts = path[:, -1].reshape(shape), start.reshape(shape)
            loss = loss + self.continuity * mean((ends[:, :-1] - starts[:, 1:]) ** 2)
        nfe = mean_nfe(crossed.stats) / horizon
        return loss, {"nfe": nfe, "metric": jnp.sqrt(error), "status": status}

    def predict(self, model: DynamicsModel, solver: AbstractSolver, batch: Windows) -> Prediction:
        """The states of each window after its first, `(n, horizon, d)`; the NFE is that of one interval."""
        crossed = self._solve(model, solver, _starts(model, batch), batch.course, self.horizon)
        found, truth = self._observed(crossed.path)[:, 1:], batch.z[:, 1 : self.horizon + 1]
        loss = jnp.mean(_squares(found, truth))
        return Prediction(
            outputs=found,
            metric=jnp.sqrt(loss),
            stats=_an_interval(crossed.stats, self.horizon),
            trajectory=crossed.path if self.plain else None,  # driven trajectories may cross
            loss=loss,
            status=jnp.max(crossed.status),
        )

    def program(self, model: DynamicsModel, solver: AbstractSolver) -> tuple[Callable[[Array], Array], Array]:
        """The states at the times of a window, (n, horizon + 1, d), from starts (n, d), in the data's units.

        Raises:
            UserError: Observations are not equally spaced, or the system is driven.
        """
        if not self.plain or self.hidden:
            raise UserError(
                f"{self.name}: a program is exported for equally spaced times, and neither control inputs nor hidden "
                "states"
            )
        z = jnp.asarray(self.validation.z[:1, 0])
        mean, std = (jnp.asarray(x, z.dtype)[None] for x in (self.scaling.mean, self.scaling.std))
        path = lambda x: self._solve(model, solver, (x - mean) / std, None, self.horizon).path
        return (lambda x: mean[None] + std[None] * path(x)), z

    def trajectories(self, model: DynamicsModel, batch: Windows) -> Trajectories:
        """One interval from the start of each window.

        Raises:
            UserError: Observations are not equally spaced, or the system is driven: every start then has its own field.
        """
        if not self.plain:
            raise UserError(
                f"{self.name}: a solver is distilled for one field, but here every start has its own: "
                "it needs equally spaced times and no control inputs"
            )
        return Trajectories(model.field, _starts(model, batch), *self.interval)

    def growth(self, model: DynamicsModel, solver: AbstractSolver, batch: Windows) -> GrowthRates:
        """The growth rates along the first windows of a batch, in the data's unit of time."""
        few = jax.tree.map(lambda x: jnp.asarray(x[:_GROWING]), batch)
        asked = self._asked(few.course, self.horizon)
        ts = jnp.arange(self.horizon + 1, dtype=few.z.dtype)
        seen = jnp.nan_to_num(jnp.asarray(batch.z)).reshape(-1, batch.z.shape[-1])
        whole = few.course is None and seen.shape[1] <= _SMALL and not self.hidden
        near = seen[:: max(1, len(seen) // _RESTING)] if whole else None
        options = {"solver": solver, "max_steps": self.max_steps, **asked}
        found = growth_rates(model.field, _starts(model, few), ts, near=near, **options)
        unit = self.scaling.interval
        rates, volume = jax.tree.map(lambda rates: rates / unit, (found.rates, found.volume))
        rests = found.rests
        if rests is not None:
            mean, std = (jnp.asarray(x, seen.dtype)[None] for x in (self.scaling.mean, self.scaling.std))
            states = mean + std * rests.states
            rests = Rests(states, rests.maps, rests.interval * unit)
        return GrowthRates(rates, volume, found.duration * unit, found.status, rests)

    def forecast(self, model: DynamicsModel, solver: AbstractSolver) -> dict[str, Any]:
        """Long forecasts of the test trajectories: see `kuttax.tasks.dynamics.forecast.describe`."""
        shortest = min(len(one.t) for one in self.parts.test) - 1 - self._before
        length = min(shortest, _LONGEST) if self.forecast_length is None else self.forecast_length
        pieces = self._windows("test", length, length)
        training = self.scaling.standardised(np.concatenate([one.x for one in self.parts.train]))
        truth, found = (np.asarray(z, np.float64) for z in (pieces.z, self._ahead(model, solver, pieces, length)))
        source = self.source or Source("time", tuple(f"x{i + 1}" for i in range(truth.shape[2])))
        return forecast.describe(truth, found, training, self.scaling, self.lyapunov, source)

    def _ahead(self, model: DynamicsModel, solver: AbstractSolver, pieces: Windows, length: int) -> Array:
        """The forecasts of whole pieces, one after another, so that a divergent one does not affect the others."""
        dynamic, static = eqx.partition((model, solver), eqx.is_array)

        @jax.jit
        def run(dynamic, pieces):
            model, solver = eqx.combine(dynamic, static)

            def one(piece):
                piece = jax.tree.map(lambda x: x[None], piece)
                steps = max(self.max_steps, 100 * length)
                start = _starts(model, piece)
                path = self._solve(model, solver, start, piece.course, length, max_steps=steps).path
                return self._observed(path)[0]

            return jax.lax.map(one, pieces)

        return run(dynamic, jax.tree.map(jnp.asarray, pieces))

    def _solve(
        self,
        model: DynamicsModel,
        solver: AbstractSolver,
        start: Array,
        course: Course | None,
        horizon: int,
        **asked: Any,
    ) -> "CrossedWindow":
        """The states at `horizon` observations after the start, in one solve whose time counts observations."""
        options = {"adjoint": self.adjoint, "max_steps": self.max_steps, "throw": False, **asked}
        options |= {"solver": solver, "batch_axis": 0, **self._asked(course, horizon)}
        sol = solve(model.field, start, 0.0, float(horizon), ts=np.arange(horizon + 1), **options)
        return CrossedWindow(jnp.swapaxes(sol.ys, 0, 1), sol.stats, sol.status, sol.penalty)

    def _observed(self, path: Array) -> Array:
        """The components of states that are observed."""
        return path[..., : path.shape[-1] - self.hidden]

    def _asked(self, course: Course | None, horizon: int) -> dict[str, Any]:
        """The options of a solve for what drives the windows."""
        if course is None:
            return {}
        jumps = None if self.regular and self.input == "cubic" else "ts"
        return {"args": drive_of(course, horizon, self.input), "args_axes": 0, "jumps": jumps}


class CrossedWindow(NamedTuple):
    """The result of a batch's solves: states at the observations, including the start, and the rest of the solution."""

    path: Float[Array, "n times d"]
    stats: Stats
    status: Array
    penalty: Any


def _starts(model: DynamicsModel, batch: Windows) -> Array:
    """The states at the start of each window: what is observed there, and what the encoder makes of the past."""
    return with_hidden(model.encoder, jnp.asarray(batch.z[:, 0]), batch.past)


def check_options(options: Any) -> None:
    """Refuses invalid numbers of a `Dynamics`, or of its options.

    Raises:
        UserError: One is out of its range.
    """
    least = {"width": 1, "depth": 0, "horizon": 1, "segments": 1, "max_steps": 1, "continuity": 0, "forecast_length": 1}
    least |= {"hidden": 0, "memory": 0}
    for option, bound in least.items():
        value = getattr(options, option)
        if value is not None and not value >= bound:
            raise UserError(f"dynamics: {option} must be >= {bound}, got {value}")
    if options.hidden and options.segments > 1:
        raise UserError("dynamics: hidden states start from the past of a whole window: give one segment, or no hidden")
    if options.hidden and getattr(options, "known", None) is not None:
        raise UserError("dynamics: known physics is of the observed states alone: leave out hidden, or known")
    horizons = (*(options.curriculum or ()), options.horizon)
    if horizons[0] < 1 or any(a >= b for a, b in pairwise(horizons)):
        raise UserError(
            f"dynamics: curriculum must be horizons that grow from at least 1 and end below horizon {options.horizon}, "
            f"got {' '.join(map(str, horizons[:-1]))}"
        )


def _silent(network: Any) -> Any:
    """The network with zero weights in its last layer, so that it is zero everywhere."""

    def last(network: Any) -> Any:
        return (network.linear, network.products) if isinstance(network, BilinearField) else network.layers[-1]

    return eqx.tree_at(last, network, jax.tree.map(jnp.zeros_like, last(network)))


def _segments(batch: Windows, segments: int, horizon: int) -> Windows:
    """Each window as `segments` windows of `horizon` intervals; the last state of one is the first of the next."""
    if segments == 1:
        return batch
    rows = horizon * np.arange(segments)[:, None] + np.arange(horizon + 1)
    z = batch.z[:, rows].reshape(-1, horizon + 1, batch.z.shape[2])
    pieces = len(batch.z) * segments  # not -1, which is undefined without control inputs
    course = jax.tree.map(lambda x: x.reshape(pieces, horizon, *x.shape[2:]), batch.course)
    return Windows(jnp.repeat(batch.number, segments), z, course)


def _squares(found: Float[Array, "n times d"], truth: Float[Array, "n times d"]) -> Float[Array, " n"]:
    """The mean square error of each window over what is observed: NaN in the truth is missing."""
    seen = ~jnp.isnan(truth)
    squares = jnp.where(seen, found - truth, 0.0) ** 2
    return squares.sum(axis=(1, 2)) / jnp.maximum(seen.sum(axis=(1, 2)), 1).astype(squares.dtype)


def _an_interval(stats: Stats, horizon: int) -> Stats:
    """The average cost of one interval."""
    return jax.tree.map(lambda count: count / horizon, stats)
