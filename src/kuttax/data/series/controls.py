"""Controls: the paths of labelled series, cut into windows, in the form that a controlled differential equation reads.

A solution does not depend on the speed at which it runs through the path. So every series is cut into the same number
of windows, whatever its times and its length: the parameter s runs from 0 to `windows`, and a window of a series of
length l has (l - 1) / windows of its intervals. Batches then need no padding, and all series share their knots.
"""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from ...errors import UserError
from .labelled import Labelled
from .log_signature import at, increments, log_signatures
from .paths import PathScaling, paths

PathKind = Literal["linear", "cubic"]


class Controls(NamedTuple):
    """Paths with one label each; a slice of all fields is a batch.

    Attributes:
        start: The first point of each path, `(n, c)`, float32.
        rates: dX/ds in each window, coefficients of the powers of the part of the window that has passed, 0 to 1,
            `(n, windows, powers, f)`, float32.
        y: Class numbers, int32, or standardised numbers, float32, `(n,)`.
    """

    start: Any
    rates: Any
    y: Any


def controls(
    data: Labelled,
    scaling: PathScaling,
    windows: int,
    *,
    path: PathKind = "linear",
    log_signature: int = 1,
    counts: bool = False,
    unit: float = 1.0,
) -> Controls:
    """The paths of these series; see `paths` for their channels.

    Args:
        data: The series, with labels as a model predicts them.
        scaling: The units of the channels.
        windows: The number of windows.
        path: "linear": dX/ds is constant in each window. "cubic": X is a cubic in each window, with a continuous
            derivative.
        log_signature: With a linear path: 1 for the increment of each window, 2 for its log-signature of depth two.
        counts: Whether the path has the counts of observations.
        unit: The length of the path, in its scaled channels, that counts as one for dX/ds; see `increment_length`.

    Raises:
        UserError: `windows` is below 1, or a cubic path has log-signatures of depth two.
    """
    if windows < 1:
        raise UserError(f"windows must be >= 1, got {windows}")
    if path == "cubic" and log_signature != 1:
        raise UserError("a cubic path has no log-signatures: use path='linear', or log_signature=1")
    cut = cubic if path == "cubic" else log_linear if log_signature == 2 else linear
    knots = list(_moving(data, scaling, counts))
    start = np.stack([one[0] for one in knots]).astype(np.float32)
    rates = np.stack([cut(one / unit, _ends(one, windows)) for one in knots]).astype(np.float32)
    return Controls(start, rates, data.y.astype(np.int32 if data.y.dtype.kind in "iu" else np.float32))


def increment_length(data: Labelled, scaling: PathScaling, windows: int, *, counts: bool = False) -> float:
    """The root mean square, over series and windows, of the length of a window's increment; 1 if nothing moves.

    As the unit of dX/ds it lets the state move by about its own size in a window, however many channels the path has
    and however wild it is. Otherwise no solver crosses a window in one step.
    """
    moved = np.stack([increments(one, _ends(one, windows)) for one in _moving(data, scaling, counts)])
    return float(np.sqrt(np.mean(np.sum(moved**2, axis=2)))) or 1.0


def _moving(data: Labelled, scaling: PathScaling, counts: bool) -> Iterator[Float[np.ndarray, "knots c"]]:
    """The paths, with two knots at least."""
    for one in paths(data, scaling, counts=counts):
        yield one if len(one) > 1 else np.repeat(one, 2, axis=0)


def _ends(path: Float[np.ndarray, "knots c"], windows: int) -> Float[np.ndarray, " windows_1"]:
    """The ends of the windows of a path, as numbers of knots."""
    return np.linspace(0, len(path) - 1, windows + 1)


def linear(path: Float[np.ndarray, "knots c"], ends: Float[np.ndarray, " w_1"]) -> Float[np.ndarray, "w 1 c"]:
    """dX/ds of the straight lines between the ends of the windows: the increments."""
    return increments(path, ends)[:, None]


def log_linear(path: Float[np.ndarray, "knots c"], ends: Float[np.ndarray, " w_1"]) -> Float[np.ndarray, "w 1 f"]:
    """The log-signatures of depth two, in place of the increments: the log-ODE method."""
    return log_signatures(path, ends)[:, None]


def cubic(path: Float[np.ndarray, "knots c"], ends: Float[np.ndarray, " w_1"]) -> Float[np.ndarray, "w 3 c"]:
    """dX/ds of a cubic Hermite spline through the ends of the windows, whose derivative there is a backward difference.

    With D the increment of a window and m that of the window before (D in the first), at the part u of the window

        dX/ds = m + 4 (D - m) u - 3 (D - m) u^2

    (Morrill, Kidger, Yang & Lyons, On the choice of interpolation scheme for neural CDEs, TMLR
    2022, arXiv 2106.11028).
    """
    moved = np.diff(at(path, ends), axis=0)
    before = np.concatenate([moved[:1], moved[:-1]])
    return np.stack([before, 4 * (moved - before), -3 * (moved - before)], axis=1)
