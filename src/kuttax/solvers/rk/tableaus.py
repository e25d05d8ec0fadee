"""The classical tableaus, each with its source. To add one, call `Tableau.explicit` here."""

from fractions import Fraction
from itertools import zip_longest

from .tableau import Tableau as Tableau
from .tableau import interpolant, known


def _row(text: str) -> list[Fraction]:
    """Coefficients as they are printed, separated by blanks: `"1/6 2/3 1/6"`."""
    return [Fraction(entry) for entry in text.split()]


def _rows(text: str) -> list[list[Fraction]]:
    """One row of coefficients a line, without the first, empty row of an explicit tableau."""
    return [_row(line) for line in text.strip().splitlines()]


def _minus(b: list[Fraction], embedded: list[Fraction]) -> list[Fraction]:
    """The weights of the error estimate; zeros for the end point pad the shorter of the two."""
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

# Kutta (1901). The pairs of order 3 use the end point: b^ = (2 b1 - 1/6, 2 (1 - c2) b2, 2 (1 - c3) b3, 0, 1/6)
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

# Ralston (1962, Math. Comp. 16): the least error bound of the four-stage methods of order 4.
_ROOT5 = 5**0.5
RALSTON4 = Tableau.explicit(
    "Ralston4",
    [
        [2 / 5],
        [(-2889 + 1428 * _ROOT5) / 1024, (3785 - 1620 * _ROOT5) / 1024],
        [
            (-3365 + 2094 * _ROOT5) / 6040,
            (-975 - 3046 * _ROOT5) / 2552,
            (467040 + 203968 * _ROOT5) / 240845,
        ],
    ],
    [
        (263 + 24 * _ROOT5) / 1812,
        (125 - 1000 * _ROOT5) / 3828,
        (3426304 + 1661952 * _ROOT5) / 5924787,
        (30 - 4 * _ROOT5) / 123,
    ],
    4,
)

# Bogacki & Shampine (1989), "A 3(2) pair of Runge-Kutta formulas", with their cubic Hermite interpolant.
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
# estimate is 2/3 of the original one (SciPy, MATLAB); torchdiffeq and diffrax use it too.
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
    dense=interpolant(
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
# digits than the paper prints, so that all conditions hold to 1e-25. Dense output of order 4: the bump is the paper's
# leading coefficient; the rest of each quartic follows from it.
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
    dense=interpolant(
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
# (1990), "Interpolating high-order Runge-Kutta formulas", the bump from its coefficients of theta^4 to theta^6. Without
# extra stages it has order 5.
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
    dense=interpolant(
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

ALL: dict[str, Tableau] = known(*(value for value in list(globals().values()) if isinstance(value, Tableau)))
"""All tableaus of this file, and those registered later, by their names on the command line."""
