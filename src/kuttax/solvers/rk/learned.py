"""LearnedRK: a Runge-Kutta scheme with trainable coefficients and step sizes, of guaranteed order."""

import dataclasses
import warnings
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from ...errors import UserError
from ...kinds import checked_count
from ...shown import as_html, counted, timeline
from ..base.numbers import as_list, floating, parameter_dtype
from ..base.problem import Problem
from ..base.registry import register_solver
from ..base.solver import Feature, Refined
from .chart import AbstractChart, Projected, closed_at
from .charts import chart_data, chart_of_data
from .fixed import AbstractTableSolver
from .table import StepTable
from .tableau import Tableau, checked_tableau

_LEAST_SHARE = 1e-2  # the smallest learned step, as a fraction of a uniform step


class OffGridWarning(UserWarning):
    """A learned solver runs on an interval that it was not trained for."""


_DATA = {
    "start": str,
    "order": int,
    "stages": int,
    "steps": int,
    "trained_for": ({"t0": float, "t1": float}, None),
    "dtype": str,
    "chart": {"family": str},
    "logits": ([float], None),
    "table": {"h": [float], "a": [[[float]]], "b": [[float]], "c": [[float]]},
}


@register_solver(_DATA)
class LearnedRK(AbstractTableSolver):
    """An explicit Runge-Kutta scheme with trainable coefficients and step sizes, whose order training cannot change.

    Trainable schemes: Ouala et al. (TPAMI 2025, doi 10.1109/tpami.2025.3599629; arXiv 2105.04999). Here c = A 1 and the
    order conditions hold by construction (`Projected`, or a closed family), nothing is clipped or sorted, and b may be
    negative. Build one with `LearnedRK.from_tableau`. One step of N stages is the anchored multistep case (bespoke
    non-stationary solvers): `LearnedRK.from_tableau(EULER.compose(8), steps=1, order=1)`.

    Attributes:
        chart: The free parameters of the coefficients.
        logits: The step sizes, h_n = T (eps / N + (1 - eps) softmax(logits)_n); None for equal steps.
        steps: The number of steps on one interval.
        name: The name of the tableau that it started at.
        trained_for: The interval (t0, t1) of training. Solving over an interval of another length or direction warns.
    """

    learned: ClassVar[bool] = True
    chart: AbstractChart
    logits: Array | None
    steps: int = eqx.field(static=True)
    name: str = eqx.field(static=True)
    trained_for: tuple[float, float] | None = eqx.field(static=True, default=None)

    @classmethod
    def from_tableau(
        cls,
        tableau: Tableau,
        steps: int,
        *,
        order: int | None = None,
        stages: int | None = None,
        per_step: bool = False,
        learn_steps: bool = False,
        trained_for: tuple[float, float] | None = None,
        dtype: Any = None,
    ) -> "LearnedRK":
        """A learned solver that starts as `steps` equal steps of `tableau`.

        Args:
            tableau: The start; it must have at least the given order.
            steps: The number of steps on one interval.
            order: The order to keep: 1, 2 or 3 with more stages than the order; 2, 3 or 4 with as many stages. None:
                the highest of these that the tableau has.
            stages: The number of stages; those beyond the tableau's start with weight zero. None: the tableau's.
            per_step: Give each step its own coefficients, instead of one set for all steps.
            learn_steps: Learn the step sizes too.
            trained_for: The interval (t0, t1) of training.
            dtype: Dtype of the free parameters; None for JAX's default.

        Raises:
            UserError: The order is not possible: it is more than the stages or the start allow, the start is
                ill-conditioned, or the closed family's chart does not contain it.
        """
        tableau, steps = checked_tableau(tableau), checked_count("steps", steps)
        dtype = parameter_dtype(dtype)
        tableau = _with_stages(tableau, tableau.stages if stages is None else stages)
        order = _best_order(tableau) if order is None else order
        order = _checked_order(tableau, order)
        rows = steps if per_step else 1
        if order == tableau.stages > 1:
            chart = closed_at(tableau, rows, dtype)
        else:
            chart = Projected.at(tableau, order, rows, dtype)
        logits = jnp.zeros(steps, dtype) if learn_steps else None
        return cls(chart=chart, logits=logits, steps=steps, name=tableau.name, trained_for=trained_for)

    @property
    def stages(self) -> int:
        return self.chart.stages

    @property
    def order(self) -> int:
        """The order that the scheme keeps whatever its parameters."""
        return self.chart.order

    @eqx.filter_jit
    def table(self, dtype) -> StepTable:
        a, b, sound = self.chart.coefficients()
        c = self.chart.nodes(a)
        if self.logits is None:
            h = jnp.full(self.steps, 1 / self.steps, dtype)
        else:
            h = _LEAST_SHARE / self.steps + (1 - _LEAST_SHARE) * jax.nn.softmax(self.logits)
        n, s = self.steps, self.stages
        a, b, c = (jnp.broadcast_to(x.astype(dtype), (n, *x.shape[1:])) for x in (a, b, c))
        lower = tuple(tuple(j < i for j in range(s)) for i in range(s))
        scales = self.chart.scales()
        scale = None if scales is None else scales[0].astype(dtype)
        return StepTable(a, b, c, h.astype(dtype), sound.all(), lower, (True,) * s, scale)

    @property
    def consistent(self) -> bool:
        return self.order > 0

    def check(self, problem: Problem) -> None:
        if self.trained_for is None:
            return
        ends = (problem.t0, problem.t1) if problem.ts is None else (problem.t0, *_known(problem.ts), problem.t1)
        if problem.known_nodes is not None:
            ends = (problem.t0, *_known(problem.known_nodes.ends))
        if any(isinstance(t, Tracer) for t in ends):
            return
        t0, t1 = self.trained_for
        lengths = np.diff(np.asarray(ends, np.float64))
        off = [x for x in lengths if x != 0 and abs(x - (t1 - t0)) > 1e-4 * abs(t1 - t0)]
        if off:
            warnings.warn(
                f"this solver was trained for {counted(self.steps, 'step')} from t={t0:g} to t={t1:g} and is used on "
                f"an interval of length {off[0]:g}: it may be worse there than a classical one of the same cost",
                OffGridWarning,
                stacklevel=3,
            )

    def for_interval(self, t0: float, t1: float) -> "LearnedRK":
        return dataclasses.replace(self, trained_for=(float(t0), float(t1)))

    def exact_dtype(self) -> Any:
        return self.dtype

    def meant_for(self) -> tuple[float, float] | None:
        return self.trained_for

    def takes(self) -> frozenset[Feature]:
        return super().takes() if self.consistent else frozenset(("own times",))

    def number_of_steps(self) -> int:
        if not self.consistent:
            raise UserError("a sampler without an order is one step that was fitted as a whole: it has no other sizes")
        return super().number_of_steps()

    def with_steps(self, steps: int) -> "LearnedRK":
        self.number_of_steps()
        return self.resampled(steps)

    def refined(self, times: int, dtype: Any) -> Refined:
        """Each new step gets its row's h / `times` exactly: repeated logits are repeated shares of the interval."""
        del dtype
        again = lambda x: jnp.repeat(x, times, axis=0)
        chart = jax.tree.map(again, self.chart) if self.rows > 1 else self.chart
        logits = None if self.logits is None else again(self.logits)
        return Refined(dataclasses.replace(self, chart=chart, logits=logits, steps=times * self.steps))

    def to_data(self) -> dict[str, Any]:
        """Its free parameters, the interval of training and, for readers, the resulting table."""
        table = self.table(self.dtype)
        return {
            "start": self.name,
            "order": self.order,
            "stages": self.stages,
            "steps": self.steps,
            "trained_for": None if self.trained_for is None else dict(zip(("t0", "t1"), self.trained_for, strict=True)),
            "dtype": str(self.dtype),
            "chart": chart_data(self.chart),
            "logits": None if self.logits is None else as_list(self.logits),
            "table": {name: as_list(getattr(table, name)) for name in ("h", "a", "b", "c")},
        }

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> "LearnedRK":
        dtype = floating(data["dtype"])
        logits = None if data["logits"] is None else jnp.asarray(np.array(data["logits"]), dtype)
        meant = None if data["trained_for"] is None else (data["trained_for"]["t0"], data["trained_for"]["t1"])
        chart = chart_of_data(data, dtype)
        steps = checked_count("steps", data["steps"])
        solver = cls(chart=chart, logits=logits, steps=steps, name=data["start"], trained_for=meant)
        if solver.rows not in (1, steps) or (logits is not None and logits.shape != (steps,)):
            raise ValueError("parameters that do not fit the number of steps")
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(solver)):
            raise ValueError("parameters that are not finite")
        _check_table(solver, data["table"])
        return solver

    def canonical(self) -> "LearnedRK":
        """The same scheme, with parameters that are least sensitive to rounding.

        Only the differences of the logits count, and only a part of the weights; a fit may move the rest far away.
        """
        logits = None if self.logits is None else self.logits - jnp.mean(self.logits)
        return dataclasses.replace(self, chart=self.chart.canonical(), logits=logits)

    def resampled(self, steps: int) -> "LearnedRK":
        """The learned scheme with another number of steps, as a start for further training.

        Shared coefficients stay the same. If each step has its own, a new step takes the coefficients of the old step
        that contains its middle, counted in steps. Learned step sizes follow the old schedule: t, as a piecewise linear
        function of n / N, evaluated at the new n / N. Doubling the steps splits each old step into two of half its
        size.

        Raises:
            UserError: `steps` is not a whole number of at least 1.
        """
        steps = checked_count("steps", steps)
        chart, logits = self.chart, self.logits
        if self.rows > 1:
            rows = resampled_rows(self.rows, steps)
            chart = jax.tree.map(lambda leaf: leaf[rows], chart)
        if logits is not None:
            ends = np.concatenate([[0.0], np.cumsum(np.asarray(self.table(self.dtype).h, np.float64))])
            h = np.diff(np.interp(np.linspace(0, 1, steps + 1), np.linspace(0, 1, self.steps + 1), ends))
            share = np.maximum(h - _LEAST_SHARE / steps, np.finfo(np.float32).tiny)
            logits = jnp.asarray(np.log(steps * share), self.dtype)
        return dataclasses.replace(self, chart=chart, logits=logits, steps=steps)

    def __str__(self) -> str:
        if not self._holds_numbers:
            return f"LearnedRK(chart={self.chart!r}, logits={self.logits!r})"
        kind = "own coefficients a step" if self.rows > 1 else "shared coefficients"
        sizes = "learned steps" if self.logits is not None else "equal steps"
        meant = "" if self.trained_for is None else ", for t={:g} to {:g}".format(*self.trained_for)
        size = f"order {self.order}, {counted(self.stages, 'stage')} x {counted(self.steps, 'step')}"
        lines = [f"LearnedRK from {self.name}: {size}, {kind}, {sizes}{meant}"]
        if any(isinstance(x, Tracer) for x in jax.tree.leaves(self)):  # inside a compiled function
            return lines[0]
        table = self.table(self.dtype)
        for n in range(self.rows if self.logits is None else self.steps):
            label = "every step" if self.rows == 1 and self.logits is None else f"step {n + 1}"
            lines += [
                f"{label}: h = {float(table.h[n]):.6g} T",
                _butcher(*(np.asarray(x[n]) for x in (table.a, table.b, table.c))),
            ]
        if table.scale is not None:
            lines.append("scales:   " + "".join(f"{x:z10.5f}" for x in np.asarray(table.scale)))
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """The steps and the times of evaluation as a picture, above the text."""
        if not self._holds_numbers:
            return as_html(self)
        table = self.table(self.dtype)
        h, c = np.asarray(table.h, np.float64), np.asarray(table.c, np.float64)
        ends = np.concatenate([[0.0], np.cumsum(h)])
        first, last = ("start", "end") if self.trained_for is None else map("t = {:g}".format, self.trained_for)
        return timeline(ends.tolist(), (ends[:-1, None] + h[:, None] * c).ravel().tolist(), first, last) + as_html(self)

    @property
    def _holds_numbers(self) -> bool:
        """Whether it is a solver; `jax.tree.map` makes trees of labels, shapes or gradients of it too."""
        leaves = jax.tree.leaves(self.chart)
        return bool(leaves) and all(map(eqx.is_array, leaves))

    @property
    def rows(self) -> int:
        """The number of sets of coefficients: `steps` if each step has its own, else 1."""
        return jax.tree.leaves(self.chart)[0].shape[0]

    @property
    def dtype(self) -> Any:
        """The dtype of the free parameters."""
        return jax.tree.leaves(self.chart)[0].dtype


def resampled_rows(old: int, new: int) -> np.ndarray:
    """For each of `new` equal parts, the index of the `old` part that contains its middle, (new,)."""
    return (2 * np.arange(new) + 1) * old // (2 * new)


def _check_table(solver: LearnedRK, written: dict[str, Any]) -> None:
    """Compare the table in a file with the table that the file's parameters give.

    Raises:
        ValueError: They differ by more than rounding.
    """
    if len(written["h"]) != solver.steps:
        raise ValueError("a table of another number of steps")
    found = solver.table(solver.dtype)
    for name in ("h", "a", "b", "c"):
        stored, own = np.array(written[name], np.float64), np.asarray(getattr(found, name), np.float64)
        least = float(jnp.finfo(solver.dtype).eps) ** 0.5 * max(1.0, float(np.abs(own).max(initial=0.0)))
        if stored.shape != own.shape or not np.all(np.abs(stored - own) <= least):
            raise ValueError("a table of coefficients that its parameters do not give")


def _known(ts) -> list:
    return [ts] if isinstance(ts, Tracer) else list(np.asarray(ts))


def _butcher(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> str:
    rows = [f"{c[i]:z9.5f} |" + "".join(f"{x:z10.5f}" for x in a[i, :i]) for i in range(len(b))]
    return "\n".join([*rows, "-" * 10 + "+" + "-" * 10 * len(b), " " * 10 + "|" + "".join(f"{x:z10.5f}" for x in b)])


def _best_order(tableau: Tableau) -> int:
    order = min(tableau.order, tableau.stages, 4)
    return order if order < 4 or tableau.stages == 4 else 3


def _checked_order(tableau: Tableau, order: int) -> int:
    s = tableau.stages
    order = checked_count("order", order)
    if order > s:
        raise UserError(f"order {order} needs at least {order} stages, got {s}: add stages, or lower the order")
    if order > tableau.order:
        raise UserError(
            f"order {order} cannot start at {tableau.name}, which has order {tableau.order}: lower the order"
        )
    if order > 4 or (order == 4 and s > 4):
        raise UserError(
            f"order {order} with {s} stages is ill-conditioned as a projection: ask for order 3, or 4 stages of order 4"
        )
    return order


def _with_stages(tableau: Tableau, stages: int) -> Tableau:
    """`tableau` with extra stages of weight zero, at different nodes, so that training can tell them apart."""
    extra = checked_count(f"stages of a solver that starts at {tableau.name}", stages, tableau.stages) - tableau.stages
    if extra == 0:
        return tableau
    a = np.zeros((stages, stages))
    a[: tableau.stages, : tableau.stages] = tableau.a
    for i in range(extra):
        a[tableau.stages + i, : tableau.stages] = (i + 1) / extra * tableau.b
    b = np.concatenate([tableau.b, np.zeros(extra)])
    return Tableau.explicit(f"{tableau.name} + {extra} stages", a, b, tableau.order)
