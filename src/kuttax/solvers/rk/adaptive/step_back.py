"""The reverse pass of one accepted step: its stages in a loop, or written out and differentiated by JAX."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ...._types import State, Time
from ..rolled import each_slope, pull_back
from ..stages import combine
from ..step import step_with_end, step_without_end
from ..tableau import Tableau

Times = tuple[Time, Time]
Back = Callable[[State, Any, PyTree], tuple[PyTree, State, Any]]
"""From the cotangents of y1, the results and the parameters so far to those of the parameters, y and the times."""


@dataclass(frozen=True)
class StepBack:
    """What the reverse passes of all steps of a solve have in common.

    Attributes:
        tableau: The coefficients.
        field: The field with given parameters, in a step from a given start.
        results: What else comes out of a step, from (parameters, y, y1, slopes of the stages and the end, times).
        varied: The parameters.
        end: Whether the results depend on the slope at the end.
        charged: Whether they depend on the parameters.
        times: Whether the start and the size of a step are differentiated.
    """

    tableau: Tableau
    field: Callable[[PyTree, Time], Callable[[Time, State], State]]
    results: Callable[..., Any]
    varied: PyTree
    end: bool
    charged: bool
    times: bool

    def looped(self, y: State, ks: State, times: Times) -> tuple[Any, Back]:
        """The results of the step from y with the slopes `ks`, and how to pull cotangents back."""
        (t, h), each, b = times, each_slope(ks), self.tableau.b
        y1 = combine(y, h, jnp.asarray(b, h.dtype), each[:-1], [bool(x) for x in b != 0])
        results, pull = self._vjp(self.results, times, self.varied, y, y1, each)

        def back(dy1: State, given: Any, total: PyTree) -> tuple[PyTree, State, Any]:
            parameters, dy, more, dks, dtimes = pull(given)
            total, dy_stages, dt_stages = pull_back(
                self.tableau,
                lambda varied: self.field(varied, t),
                self.varied,
                t,
                y,
                h,
                ks,
                y1,
                _add(dy1, more),
                dks if jax.tree.leaves(given) else None,
                total=_add(total, parameters) if self.charged else total,
                end=self.end,
                times=self.times,
            )
            return total, _add(dy, dy_stages), _add(dtimes, dt_stages)

        return results, back

    def written(self, y: State, times: Times) -> tuple[Any, Back]:
        """The same, without slopes: JAX differentiates the step, and keeps what its evaluations have computed."""
        advance = step_with_end if self.end else step_without_end

        def step(varied, y, times):
            y1, ks = advance(self.tableau, self.field(varied, times[0]), times[0], y, times[1])
            each = ks if self.end else [*ks, jax.tree.map(jnp.zeros_like, y)]
            return y1, self.results(varied, y, y1, each, times)

        (_, results), pull = self._vjp(step, times, self.varied, y)

        def back(dy1: State, given: Any, total: PyTree) -> tuple[PyTree, State, Any]:
            parameters, dy, dtimes = pull((dy1, given))
            return _add(total, parameters), dy, dtimes

        return results, back

    def _vjp(self, of, times: Times, *moving) -> tuple[Any, Callable[[Any], Any]]:
        """`jax.vjp` of of(*moving, times), with None as the cotangent of the times if they are not differentiated."""
        if self.times:
            return jax.vjp(of, *moving, times)
        value, back = jax.vjp(lambda *moving: of(*moving, times), *moving)
        return value, lambda cotangent: (*back(cotangent), None)


def _add(*trees: Any) -> Any:
    return jax.tree.map(lambda *x: functools.reduce(jnp.add, x), *trees)
