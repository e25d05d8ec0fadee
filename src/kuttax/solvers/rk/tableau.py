"""Tableau: the coefficients of an explicit Runge–Kutta method.

Pure NumPy in float64; a solver casts the numbers to the dtype of the state when it solves.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from ...errors import UserError
from ...kinds import check_kind, checked_count
from ...shown import as_html

# Tolerance, for rounding, of an identity that holds exactly for the true coefficients.
_TOLERANCE = 1e-12


@dataclass(frozen=True, eq=False, repr=False)
class Tableau:
    r"""An explicit Runge–Kutta method of $s$ stages, with its embedded pair and its dense output.

    $$k_i = f(t + c_i h,\; y + h \sum_{j<i} a_{ij} k_j), \qquad y_1 = y + h \sum_i b_i k_i$$

    Only the stages that $y_1$ needs are stored. `error` and `dense` have one row more, for $k_{s+1} = f(t + h, y_1)$,
    the evaluation at the end point: the next step starts with it ("first same as last").

    Build one with `Tableau.explicit`. Arrays are float64, copied and read-only. Two tableaus are equal only if they are
    the same object: a tableau is static in a compiled program, and its identity is the key.

    Attributes:
        name: its name in tables and messages.
        a: shape `(s, s)`, strictly lower triangular.
        b: shape `(s,)`, sums to 1.
        c: shape `(s,)`, the row sums of `a`.
        order: the order of $y_1$.
        error: shape `(s + 1,)`, or `None` without an embedded pair. The error estimate is
            $y_1 - \hat y_1 = h \sum_i e_i k_i$.
        error_order: the order of the embedded solution $\hat y_1$.
        dense: shape `(s + 1, d)`. With $b_i(\theta) = \sum_{j=1}^d$ `dense[i, j-1]` $\theta^j$, the solution inside the
            step is $y(t + \theta h) = y + h \sum_i b_i(\theta) k_i$ for $0 \le \theta \le 1$.
        dense_order: the order of this continuous solution, the same for all $\theta$.

    Raises:
        UserError: a shape, a non-finite entry, an entry on or above the diagonal of `a`, or an identity (`b` sums to
            1, `c` is the row sum of `a`, `error` sums to 0, `dense` ends at `b`) that does not hold to 1e-12.
    """

    DATA: ClassVar[Any] = (
        str,
        {
            "name": str,
            "order": int,
            "a": [[float]],
            "b": [float],
            "error": ([float], None),
            "error_order": (int, None),
            "dense": ([[float]], None),
            "dense_order": (int, None),
        },
    )
    """The return type of `to_data`: a name, or numbers."""

    name: str
    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    order: int
    error: np.ndarray | None
    error_order: int | None
    dense: np.ndarray
    dense_order: int

    def __post_init__(self):
        for field in ("a", "b", "c", "error", "dense"):
            value = getattr(self, field)
            if value is not None:
                object.__setattr__(self, field, _read_only(self.name, field, value))
        _check_shapes(self)
        _check_orders(self)
        _check_identities(self)

    @classmethod
    def explicit(
        cls,
        name: str,
        a_rows: Sequence[Sequence[float | Fraction]] | np.ndarray,
        b: Sequence[float | Fraction] | np.ndarray,
        order: int,
        *,
        error: Sequence[float | Fraction] | np.ndarray | None = None,
        error_order: int | None = None,
        dense: Sequence[Sequence[float | Fraction]] | np.ndarray | None = None,
        dense_order: int | None = None,
    ) -> "Tableau":
        """A tableau from its coefficients; `c` is the row sum of `a`.

        This method does not check the order: `kuttax.solvers.rk.order.order_conditions` does.

        Args:
            name: its name in tables and messages.
            a_rows: the rows of `a`, of ints, floats or `fractions.Fraction`s. A row may stop before the diagonal, and
                you may omit the first, empty row: `[[1/2], [0, 1/2], [0, 0, 1]]` is RK4's.
            b: the `s` weights.
            order: the order of the method.
            error: the `s` or `s + 1` weights of the error estimate (`b` minus the embedded weights); `s` weights get a
                0 for the end point. None: no embedded pair.
            error_order: the order of the embedded solution, with `error`.
            dense: shape `(s + 1, d)`, see the class. None: the cubic Hermite interpolant through both ends and their
                slopes, of order `min(order, 3)`: its own error is of order 3, and it is no better than `y1`.
            dense_order: the order of `dense`, with `dense`.

        Raises:
            UserError: as the class, or `error`, `dense` and their orders are not given together.
        """
        _check_given_together(name, "error", error, "error_order", error_order)
        _check_given_together(name, "dense", dense, "dense_order", dense_order)
        _checked_order(name, "order", order)
        weights = [_exact(name, "b", entry) for entry in b]
        rows = _exact_rows(name, a_rows, len(weights))
        if error is not None:
            error = [_exact(name, "error", entry) for entry in error]
            error += [Fraction(0)] * (len(weights) + 1 - len(error))
        return cls(
            name=name,
            a=np.array(rows, dtype=np.float64),
            b=np.array(weights, dtype=np.float64),
            # Exact sums, rounded once: a node at the end of the step is 1, not 1 + 1e-16.
            c=np.array([sum(row) for row in rows], dtype=np.float64),
            order=order,
            error=None if error is None else np.array(error, dtype=np.float64),
            error_order=error_order,
            dense=interpolant(weights) if dense is None else _read_only(name, "dense", dense),
            dense_order=min(order, 3) if dense_order is None else dense_order,
        )

    @property
    def stages(self) -> int:
        """The number of stages $s$."""
        return len(self.b)

    @property
    def sparsity(self) -> tuple[tuple[bool, ...], ...]:
        """Where `a` is not zero, as nested tuples of shape `(s, s)` (hashable)."""
        return tuple(tuple(bool(entry) for entry in row) for row in self.a != 0)

    def compose(self, steps: int) -> "Tableau":
        """`steps` equal steps of this method, written as one step with `steps * s` stages.

        Args:
            steps: at least 1; 1 gives this tableau itself.

        Returns:
            The tableau, of the same order, without an embedded pair; its dense output is cubic Hermite over the whole
            step.

        Raises:
            UserError: `steps` is no whole number of at least 1.
        """
        return self.then(*[self] * (checked_count("steps", steps) - 1))

    def then(self, *others: "Tableau") -> "Tableau":
        """A step of this method and one of each of the others, in this order, written as one step.

        Each takes a share of the step in proportion to its stages: `RK4.then(HEUN3)` has 7 evaluations, four for the
        first 4/7 of the step.

        Returns:
            The tableau, of the lowest order among them, without an embedded pair.

        Raises:
            UserError: One of the others is no tableau.
        """
        parts = [self, *map(checked_tableau, others)]
        runs = [(run[0].name, len(run)) for run in (list(same) for _, same in itertools.groupby(parts, key=id))]
        name = " then ".join(f"{name} x {times}" if times > 1 else name for name, times in runs)
        return _in_turn(name, parts) if others else self

    def to_data(self) -> Any:
        """The name of a tableau that kuttax knows, else its coefficients, in types that JSON can hold."""
        name = self.name.lower()
        if _KNOWN.get(name) is self:
            return name
        lists = {
            field: None if array is None else array.tolist()
            for field, array in (("a", self.a), ("b", self.b), ("error", self.error), ("dense", self.dense))
        }
        orders = {"order": self.order, "error_order": self.error_order, "dense_order": self.dense_order}
        return {"name": self.name, **lists, **orders}

    @classmethod
    def from_data(cls, data: Any) -> "Tableau":
        """The tableau that `to_data` wrote.

        Raises:
            UserError: No tableau has that name, or the coefficients are not valid.
        """
        if isinstance(data, str):
            if data not in _KNOWN:
                raise UserError(f"unknown tableau {data!r}; known: {', '.join(_KNOWN)}")
            return _KNOWN[data]
        pair = {name: data[name] for name in ("error", "error_order", "dense", "dense_order")}
        return cls.explicit(data["name"], data["a"], data["b"], data["order"], **pair)

    def __repr__(self) -> str:
        return f"Tableau(name={self.name!r}, order={self.order}, stages={self.stages})"

    def __str__(self) -> str:
        columns = [[_entry(entry) for entry in self.c] + ["b"] + ["error"] * (self.error is not None)]
        for i in range(self.stages):
            below = [_entry(self.b[i])] + ([] if self.error is None else [_entry(self.error[i])])
            columns.append([_entry(entry) if j > i else "" for j, entry in enumerate(self.a[:, i])] + below)
        if self.error is not None:
            columns.append([""] * (self.stages + 1) + [_entry(self.error[-1])])
        columns = [[cell.rjust(max(map(len, column))) for cell in column] for column in columns]
        lines = [f"{node} | {'  '.join(cells)}".rstrip() for node, *cells in zip(*columns, strict=True)]
        rule = "-" * (len(columns[0][0]) + 1) + "+" + "-" * (max(map(len, lines)) - len(columns[0][0]) - 2)
        pair = "" if self.error is None else f", embedded order {self.error_order}"
        title = f"{self.name}: order {self.order}, {self.stages} stages{pair}"
        return "\n".join([title, *lines[: self.stages], rule, *lines[self.stages :]])

    _repr_html_ = as_html


def _entry(value: float) -> str:
    """A coefficient as a short fraction if it is one, else with six digits."""
    fraction = Fraction(float(value)).limit_denominator(10_000)
    return str(fraction) if abs(float(fraction) - value) <= 4e-16 * abs(value) else f"{value:.6g}"


def _exact(name: str, field: str, entry) -> Fraction:
    """A coefficient as an exact fraction, so that sums of coefficients are rounded once."""
    try:
        return Fraction(entry if isinstance(entry, int | Fraction) else float(entry))
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{name}: entries of {field} must be finite numbers, got {entry!r}; correct it") from None


def _exact_rows(name: str, a_rows, stages: int) -> list[list[Fraction]]:
    """The full square matrix from rows that may stop before the diagonal."""
    rows = [[_exact(name, "a", entry) for entry in row] for row in a_rows]
    if len(rows) == stages - 1:
        rows = [[], *rows]
    if len(rows) != stages:
        raise UserError(f"{name}: a must have {stages} rows, as b has entries, got {len(rows)}; match a and b")
    for i, row in enumerate(rows):
        if not i <= len(row) <= stages:
            raise UserError(f"{name}: row {i + 1} of a must have {i} entries, got {len(row)}; write its zeros out")
    return [row + [Fraction(0)] * (stages - len(row)) for row in rows]


def _read_only(name: str, field: str, value) -> np.ndarray:
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError(f"{name}: {field} must be a rectangular array of numbers, got {value!r}; correct it") from None
    if not np.isfinite(array).all():
        raise UserError(f"{name}: {field} must be finite, got {array[~np.isfinite(array)][0]}; correct that entry")
    array.setflags(write=False)
    return array


def checked_tableau(tableau: Any) -> Tableau:
    """`tableau`, if it is one.

    Raises:
        UserError: It is none.
    """
    check_kind("tableau", tableau, Tableau, "a kx.Tableau such as kx.tableaus.RK4")
    return tableau


def _check_given_together(name: str, field: str, value, order_field: str, order: int | None):
    if (value is None) != (order is None):
        given, missing = (field, order_field) if order is None else (order_field, field)
        raise UserError(f"{name}: {given} was given without {missing}; give both or neither")


def _check_shapes(tableau: Tableau):
    name, s = tableau.name, tableau.b.size
    if s == 0:
        raise UserError(f"{name}: b must have at least one entry, got none; Euler's method is a=[], b=[1]")
    for field, shape in {"a": (s, s), "b": (s,), "c": (s,), "error": (s + 1,)}.items():
        array = getattr(tableau, field)
        if array is not None and array.shape != shape:
            raise UserError(f"{name}: {field} must have shape {shape} for {s} stages, got {array.shape}; correct it")
    if tableau.dense.ndim != 2 or len(tableau.dense) != s + 1 or tableau.dense.shape[1] == 0:
        raise UserError(
            f"{name}: dense must have shape ({s + 1}, degree), one row a stage and one for the end point, "
            f"got {tableau.dense.shape}; correct it"
        )
    if np.triu(tableau.a).any():
        i, j = np.argwhere(np.triu(tableau.a))[0]
        raise UserError(
            f"{name}: a must be strictly lower triangular, got a[{i}, {j}] = {tableau.a[i, j]:g}; "
            f"for an implicit method use kuttax.FromDiffrax"
        )


def _in_turn(name: str, parts: Sequence[Tableau]) -> Tableau:
    """Methods one after the other as one step, each for a share in proportion to its stages.

    A stage sees all stages of the methods before with their weights b, and those of its own with weights a.
    """
    stages = sum(part.stages for part in parts)
    a, b, done = np.zeros((stages, stages)), np.zeros(stages), 0
    for part in parts:
        own, share = slice(done, done + part.stages), part.stages / stages
        a[own, :done] = b[:done]
        a[own, own], b[own] = part.a * share, part.b * share
        done += part.stages
    return Tableau.explicit(name, a, b, min(part.order for part in parts))


def _check_orders(tableau: Tableau):
    _check_given_together(tableau.name, "error", tableau.error, "error_order", tableau.error_order)
    for field in ("order", "error_order", "dense_order"):
        order = _checked_order(tableau.name, field, getattr(tableau, field))
        object.__setattr__(tableau, field, order)  # NumPy's whole numbers do not go into files


def _checked_order(name: str, field: str, order: Any) -> int | None:
    return None if order is None else checked_count(f"{name}: {field}", order)


def _check_identities(tableau: Tableau):
    name, b = tableau.name, tableau.b
    if _differ(b.sum(), 1.0):
        raise UserError(f"{name}: b must sum to 1, got {b.sum():.15g}; correct b, or divide it by its sum")
    row_sums = tableau.a.sum(axis=1)
    if _differ(tableau.c, row_sums):
        raise UserError(
            f"{name}: c must be the row sums of a, {row_sums}, got {tableau.c}; build with Tableau.explicit"
        )
    if tableau.error is not None and _differ(tableau.error.sum(), 0.0):
        raise UserError(
            f"{name}: error must sum to 0, got {tableau.error.sum():.3g}; give b minus the embedded weights"
        )
    end = tableau.dense.sum(axis=1)
    # The coefficients of a dense output alternate in sign and are large, so the tolerance scales with their size.
    scale = max(1.0, abs(tableau.dense).max())
    if _differ(end / scale, np.append(b, 0.0) / scale):
        raise UserError(f"{name}: dense must end at b, 0 for theta = 1, got {end}; correct its rows")


def _differ(value, truth) -> bool:
    return bool(np.max(np.abs(value - truth)) > _TOLERANCE)


def interpolant(b: Sequence[Fraction], bump: Sequence[Sequence[Fraction]] | None = None) -> np.ndarray:
    r"""Dense output through $y$, $y_1$ and their slopes $k_1$, $k_{s+1}$, as `Tableau.dense`.

    $$b_i(\theta) = (3\theta^2 - 2\theta^3) b_i + \delta_{i,1} (\theta - 2\theta^2 + \theta^3)
    + \delta_{i,s+1} (\theta^3 - \theta^2) + \theta^2 (1 - \theta)^2 \sum_j d_{ij} \theta^j$$

    is every such polynomial: the cubic Hermite, and a bump that vanishes to second order at both ends. Built in this
    way, the solution is continuous and once differentiable whatever the last printed digits of a paper are.

    Args:
        b: the `s` weights.
        bump: the coefficients $d_{ij}$, shape `(s + 1, m)`; none for the cubic Hermite.
    """
    ends = np.array([*b, 0], dtype=np.float64)
    factors = np.zeros((len(ends), 0)) if bump is None else np.array(bump, dtype=np.float64)
    dense = np.zeros((len(ends), 3 + factors.shape[1]))
    dense[:, 1] += 3 * ends
    dense[:, 2] -= 2 * ends
    dense[0, :3] += (1, -2, 1)
    dense[-1, :3] += (0, -1, 1)
    for j in range(factors.shape[1]):
        dense[:, j + 1 : j + 4] += np.outer(factors[:, j], (1, -2, 1))
    return dense


_KNOWN: dict[str, Tableau] = {}


def known(*tableaus: Tableau) -> dict[str, Tableau]:
    """Register these tableaus under their names, in lower case, for files and the command line; return all known ones.

    Raises:
        UserError: Another tableau already has the name.
    """
    for tableau in tableaus:
        other = _KNOWN.setdefault(tableau.name.lower(), tableau)
        if other is not tableau:
            raise UserError(f"another tableau is called {tableau.name!r}: choose another name")
    return _KNOWN
