"""Butcher tableaus of explicit Runge–Kutta methods: the type, and the classical ones.

Pure NumPy in float64; a solver casts the numbers to the dtype of the state when it solves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import zip_longest

import numpy as np

from ...errors import UserError

# What rounding may leave of an identity that holds exactly for the true coefficients.
_TOLERANCE = 1e-12


@dataclass(frozen=True, eq=False, repr=False)
class Tableau:
    r"""An explicit Runge–Kutta method of $s$ stages, with its embedded pair and its dense output.

    $$k_i = f(t + c_i h,\; y + h \sum_{j<i} a_{ij} k_j), \qquad y_1 = y + h \sum_i b_i k_i$$

    Only the stages that $y_1$ needs are stored. `error` and `dense` have one row more, for
    $k_{s+1} = f(t + h, y_1)$, the evaluation at the end point: the next step starts with it ("first same as last").

    Build one with `Tableau.explicit`. Arrays are float64, copied and read-only. Two tableaus are equal only if they
    are the same object: a tableau is static in a compiled program, and the identity is its key.

    Attributes:
        name: what tables and messages call it.
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

        The order is taken at your word: `kuttax.solvers.rk.order.order_conditions` checks it.

        Args:
            name: what tables and messages call it.
            a_rows: the rows of `a`, of ints, floats or `fractions.Fraction`s. A row may stop before the diagonal, and
                the first, empty row may be left out: `[[1/2], [0, 1/2], [0, 0, 1]]` is RK4's.
            b: the `s` weights.
            order: the order of the method.
            error: the `s` or `s + 1` weights of the error estimate (`b` minus the embedded weights); `s` are padded by
                0 for the end point. None: no embedded pair.
            error_order: the order of the embedded solution, with `error`.
            dense: shape `(s + 1, d)`, see the class. None: the cubic Hermite interpolant through both ends and their
                slopes, of order `min(order, 3)`: its own error is of order 3, and it is no better than `y1`.
            dense_order: the order of `dense`, with `dense`.

        Raises:
            UserError: as the class, or `error`, `dense` and their orders not given together.
        """
        _check_given_together(name, "error", error, "error_order", error_order)
        _check_given_together(name, "dense", dense, "dense_order", dense_order)
        weights = [_exact(name, "b", entry) for entry in b]
        rows = _exact_rows(name, a_rows, len(weights))
        if error is not None:
            error = [_exact(name, "error", entry) for entry in error]
            error += [Fraction(0)] * (len(weights) + 1 - len(error))
        return cls(
            name=name,
            a=np.array(rows, dtype=np.float64),
            b=np.array(weights, dtype=np.float64),
            # Summed exactly and rounded once: a node at the end of the step is 1, not 1 + 1e-16.
            c=np.array([sum(row) for row in rows], dtype=np.float64),
            order=order,
            error=None if error is None else np.array(error, dtype=np.float64),
            error_order=error_order,
            dense=_interpolant(weights) if dense is None else _read_only(name, "dense", dense),
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
            The tableau, of the same order, without an embedded pair, its dense output cubic Hermite over the whole.

        Raises:
            UserError: `steps` is below 1.
        """
        if steps < 1:
            raise UserError(f"{self.name}: steps must be >= 1, got {steps}; compose(2) is two steps taken as one")
        if steps == 1:
            return self
        # Stage i of step n sees all stages of the steps before with their weights b, and those of its own with a.
        earlier = np.kron(np.tri(steps, k=-1), np.tile(self.b, (self.stages, 1)))
        own = np.kron(np.eye(steps), self.a)
        return Tableau.explicit(
            f"{self.name} x {steps}", (earlier + own) / steps, np.tile(self.b, steps) / steps, self.order
        )

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


def _entry(value: float) -> str:
    """A coefficient as a short fraction where it is one, else with six digits."""
    fraction = Fraction(float(value)).limit_denominator(10_000)
    return str(fraction) if abs(float(fraction) - value) <= 4e-16 * abs(value) else f"{value:.6g}"


def _exact(name: str, field: str, entry) -> Fraction:
    """A coefficient without rounding, so that sums of coefficients are rounded once."""
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


def _check_orders(tableau: Tableau):
    _check_given_together(tableau.name, "error", tableau.error, "error_order", tableau.error_order)
    for field in ("order", "error_order", "dense_order"):
        order = getattr(tableau, field)
        if order is not None and order < 1:
            raise UserError(f"{tableau.name}: {field} must be >= 1, got {order}; correct it")


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
    # The coefficients of a dense output alternate in sign and are large: what cancels is as large as they are.
    scale = max(1.0, abs(tableau.dense).max())
    if _differ(end / scale, np.append(b, 0.0) / scale):
        raise UserError(f"{name}: dense must end at b, 0 for theta = 1, got {end}; correct its rows")


def _differ(value, truth) -> bool:
    return bool(np.max(np.abs(value - truth)) > _TOLERANCE)


def _interpolant(b: Sequence[Fraction], bump: Sequence[Sequence[Fraction]] | None = None) -> np.ndarray:
    r"""Dense output through $y$, $y_1$ and their slopes $k_1$, $k_{s+1}$, as `Tableau.dense`.

    $$b_i(\theta) = (3\theta^2 - 2\theta^3) b_i + \delta_{i,1} (\theta - 2\theta^2 + \theta^3)
    + \delta_{i,s+1} (\theta^3 - \theta^2) + \theta^2 (1 - \theta)^2 \sum_j d_{ij} \theta^j$$

    is every such polynomial: the cubic Hermite, and a bump that vanishes to second order at both ends. Built in this
    way, a continuous and once differentiable solution does not hang on the last printed digits of a paper.

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


def _row(text: str) -> list[Fraction]:
    """Coefficients as they are printed, separated by blanks: `"1/6 2/3 1/6"`."""
    return [Fraction(entry) for entry in text.split()]


def _rows(text: str) -> list[list[Fraction]]:
    """One row of coefficients a line, the first, empty row of an explicit tableau left out."""
    return [_row(line) for line in text.strip().splitlines()]


def _minus(b: list[Fraction], embedded: list[Fraction]) -> list[Fraction]:
    """The weights of the error estimate; the shorter of the two is padded by zeros for the end point."""
    return [left - right for left, right in zip_longest(b, embedded, fillvalue=Fraction(0))]


EULER = Tableau.explicit("Euler", [], [1], 1)

# Two stages, c2 = u, b = (1 - 1/2u, 1/2u): u = 1/2, 1 and 2/3 (Ralston 1962, least error bound). Euler embedded.
MIDPOINT = Tableau.explicit("Midpoint", _rows("1/2"), _row("0 1"), 2, error=_row("-1 1"), error_order=1)
HEUN2 = Tableau.explicit("Heun2", _rows("1"), _row("1/2 1/2"), 2, error=_row("-1/2 1/2"), error_order=1)
RALSTON2 = Tableau.explicit("Ralston2", _rows("2/3"), _row("1/4 3/4"), 2, error=_row("-3/4 3/4"), error_order=1)

# Ralston (1962), "Runge-Kutta methods with minimum error bounds". Bosh3 below is this method with a pair.
RALSTON3 = Tableau.explicit("Ralston3", _rows("1/2\n0 3/4"), _row("2/9 1/3 4/9"), 3)
# Heun (1900).
HEUN3 = Tableau.explicit("Heun3", _rows("1/3\n0 2/3"), _row("1/4 0 3/4"), 3)
# Kutta (1901); its second stage is the midpoint method.
KUTTA3 = Tableau.explicit(
    "Kutta3", _rows("1/2\n-1 2"), _row("1/6 2/3 1/6"), 3, error=_row("1/6 -1/3 1/6"), error_order=2
)
# Shu & Osher (1988), strong stability preserving; its first two stages are Heun's second-order method.
SSPRK3 = Tableau.explicit(
    "SSPRK3", _rows("1\n1/4 1/4"), _row("1/6 1/6 2/3"), 3, error=_row("-1/3 -1/3 2/3"), error_order=2
)

# Kutta (1901). The pairs of order 3 take the end point in: b^ = (2 b1 - 1/6, 2 (1 - c2) b2, 2 (1 - c3) b3, 0, 1/6)
# for any method of order 4 with 4 stages (Hairer, Norsett & Wanner, "Solving Ordinary Differential Equations I", II.4).
RK4 = Tableau.explicit(
    "RK4",
    _rows("1/2\n0 1/2\n0 0 1"),
    _row("1/6 1/3 1/3 1/6"),
    4,
    error=_row("0 0 0 1/6 -1/6"),
    error_order=3,
)
RK38 = Tableau.explicit(
    "RK38",
    _rows("1/3\n-1/3 1\n1 -1 1"),
    _row("1/8 3/8 3/8 1/8"),
    4,
    error=_row("1/24 -1/8 1/8 1/8 -1/6"),
    error_order=3,
)

# Bogacki & Shampine (1989), "A 3(2) pair of Runge-Kutta formulas", with the cubic Hermite they give.
BOSH3 = Tableau.explicit(
    "Bosh3",
    _rows("1/2\n0 3/4"),
    _row("2/9 1/3 4/9"),
    3,
    error=_minus(_row("2/9 1/3 4/9"), _row("7/24 1/4 1/3 1/8")),
    error_order=2,
)

# Dormand & Prince (1980), "A family of embedded Runge-Kutta formulae", RK5(4)7M. Embedded weights and dense output of
# order 4: Shampine (1986), "Some practical Runge-Kutta formulas"; the bump as in Hairer's code DOPRI5 (II.6). His error
# estimate is 2/3 of the original one (SciPy, MATLAB); it is the one of torchdiffeq and diffrax.
_DOPRI5_B = _row("35/384 0 500/1113 125/192 -2187/6784 11/84")
DOPRI5 = Tableau.explicit(
    "Dopri5",
    _rows("""
        1/5
        3/40 9/40
        44/45 -56/15 32/9
        19372/6561 -25360/2187 64448/6561 -212/729
        9017/3168 -355/33 46732/5247 49/176 -5103/18656
    """),
    _DOPRI5_B,
    5,
    error=_minus(_DOPRI5_B, _row("1951/21600 0 22642/50085 451/720 -12231/42400 649/6300 1/60")),
    error_order=4,
    dense=_interpolant(
        _DOPRI5_B,
        _rows("""
            -12715105075/11282082432
            0
            87487479700/32700410799
            -10690763975/1880347072
            701980252875/199316789632
            -1453857185/822651844
            69997945/29380423
        """),
    ),
    dense_order=4,
)

# Tsitouras (2011), "Runge-Kutta pairs of order 5(4) satisfying only the first column simplifying assumption", with more
# digits than printed there, so that all conditions hold to 1e-25. Dense output of order 4: the bump is the paper's
# leading coefficient, the rest of each quartic follows from it.
_TSIT5_B = _row("""
    0.096460766818065229518167313
    1/100
    0.47988965041449957477524953
    1.3790085741037418931922748
    -3.2900695154360806799010476
    2.3247105240997739824153559
""")
TSIT5 = Tableau.explicit(
    "Tsit5",
    _rows("""
        161/1000
        -0.0084806554923569885444268743 0.33548065549235698854442687
        2.8971530571054934321304326 -6.3594484899750748431481599 4.3622954328695814110177273
        5.3258648284392566044288779 -11.748883564062827877747170 7.4955393428898362083046048 -0.092495066361755249256502079
        5.8614554429464200286592515 -12.920969317847109291706119 8.1593678985761586431804008 -0.071584973281400997224530543 -0.028269050394068382909003057
    """),  # noqa: E501
    _TSIT5_B,
    5,
    error=_minus(
        _TSIT5_B,
        _row("""
            0.094680755765839458074788763
            0.0091835655403432530967763639
            0.48777052842476157078556426
            1.2342975669304789856551097
            -2.7077123499835254548811100
            1.8666284181705870357537194
            1/66
        """),
    ),
    error_order=4,
    dense=_interpolant(
        _TSIT5_B,
        _rows("""
            -1.0530884977290216
            0.1017
            2.490627285651252793
            -16.54810288924490272
            47.37952196281928122
            -34.87065786149660974
            2.5
        """),
    ),
    dense_order=4,
)

# Prince & Dormand (1981), "High order embedded Runge-Kutta formulae", RK8(7)13M. Dense output: Bogacki & Shampine
# (1990), "Interpolating high-order Runge-Kutta formulas", the bump from its coefficients of theta^4 to theta^6. With no
# stage of its own it reaches order 5.
_DOPRI8_B = _row("""
    14005451/335480064 0 0 0 0 -59238493/1068277825 181606767/758867731 561292985/797845732
    -1041891430/1371343529 760417239/1151165299 118820643/751138087 -528747749/2220607170 1/4
""")
DOPRI8 = Tableau.explicit(
    "Dopri8",
    _rows("""
        1/18
        1/48 1/16
        1/32 0 3/32
        5/16 0 -75/64 75/64
        3/80 0 0 3/16 3/20
        29443841/614563906 0 0 77736538/692538347 -28693883/1125000000 23124283/1800000000
        16016141/946692911 0 0 61564180/158732637 22789713/633445777 545815736/2771057229 -180193667/1043307555
        39632708/573591083 0 0 -433636366/683701615 -421739975/2616292301 100302831/723423059 790204164/839813087 800635310/3783071287
        246121993/1340847787 0 0 -37695042795/15268766246 -309121744/1061227803 -12992083/490766935 6005943493/2108947869 393006217/1396673457 123872331/1001029789
        -1028468189/846180014 0 0 8478235783/508512852 1311729495/1432422823 -10304129995/1701304382 -48777925059/3047939560 15336726248/1032824649 -45442868181/3398467696 3065993473/597172653
        185892177/718116043 0 0 -3185094517/667107341 -477755414/1098053517 -703635378/230739211 5731566787/1027545527 5232866602/850066563 -4093664535/808688257 3962137247/1805957418 65686358/487910083
        403863854/491063109 0 0 -5068492393/434740067 -411421997/543043805 652783627/914296604 11173962825/925320556 -13158990841/6184727034 3936647629/1978049680 -160528059/685178525 248638103/1413531060 0
    """),  # noqa: E501
    _DOPRI8_B,
    8,
    error=_minus(
        _DOPRI8_B,
        _row("""
            13451932/455176623 0 0 0 0 -808719846/976000145 1757004468/5645159321 656045339/265891186
            -3867574721/1518517206 465885868/322736535 53011238/667516719 2/45 0
        """),
    ),
    error_order=7,
    dense=_interpolant(
        _DOPRI8_B,
        _rows("""
            -4.8162606472059516805 9.4499806212373266200 -6.3448349392860401388
            0 0 0
            0 0 0
            0 0 0
            0 0 0
            -7.4479088187257834975 37.2206309845937151215 -39.6107919852202505218
            10.0102008414307633985 -26.3928891208374323269 20.3761213808791436958
            -1.5578683018613298841 -1.8978045873905800600 7.3347098826795362023
            6.4979351040093078497 -24.2312466142326705664 32.8801774352459155182
            -2.6444100052977553681 2.3059508595679327185 -10.1588990526426760954
            -1.7382413476427920340 7.1559803969790247713 -12.5401268098782561200
            6.1249324061169829745 -22.9914312519327772578 29.5553001484516038033
            -7.7821379067942118015 32.6815212942338355616 -41.7923486424390588923
            3.3537586759707700424 -13.3006925822183745822 20.3006925822100825485
        """),
    ),
    dense_order=5,
)

ALL: dict[str, Tableau] = {
    tableau.name.lower(): tableau
    for tableau in (
        EULER,
        MIDPOINT,
        HEUN2,
        RALSTON2,
        RALSTON3,
        HEUN3,
        KUTTA3,
        SSPRK3,
        RK4,
        RK38,
        BOSH3,
        DOPRI5,
        TSIT5,
        DOPRI8,
    )
}
"""The classical tableaus by the names that the command line takes."""
