"""Ladder: the numbers of steps that a control may choose, so that few programs are compiled."""

import math
from dataclasses import dataclass

from ...errors import UserError


@dataclass(frozen=True)
class Ladder:
    """The whole numbers round(start ratio^k), k any integer, from 1 to `most`.

    Attributes:
        start: A rung, >= 1.
        ratio: The ratio of neighbouring rungs, above 1; rungs that coincide count once.
        most: The upper limit of the rungs.

    Raises:
        UserError: A number is out of its range.
    """

    start: int
    ratio: float = 1.1
    most: int = 10_000

    def __post_init__(self):
        if not 1 <= self.start <= self.most:
            raise UserError(f"steps must lie in 1 to {self.most} to be controlled, got {self.start}")
        if not self.ratio > 1:
            raise UserError(f"the ratio of a ladder must be > 1, got {self.ratio}")

    def nearest(self, steps: float, stride: int = 1) -> int:
        """The rung nearest to a positive number of steps, on a logarithmic scale, among every `stride`-th rung."""
        return self._rung(stride * round(self._index(steps) / stride))

    def above(self, steps: float) -> int:
        """The lowest rung of at least `steps` steps, or the highest of all."""
        k = math.floor(self._index(steps)) - 1
        while self._rung(k) < min(steps, self._rung(self._top)):
            k += 1
        return self._rung(k)

    def next(self, rung: int) -> int:
        """The next higher rung; for the highest, itself."""
        return self.above(rung + 1)

    def below(self, rung: int) -> int:
        """The next lower rung; for the lowest, itself."""
        k = math.ceil(self._index(rung)) + 1
        while self._rung(k) >= rung > 1:
            k -= 1
        return self._rung(k)

    @property
    def _top(self) -> int:
        """The index of the highest rung."""
        return math.floor(math.log(self.most / self.start) / math.log(self.ratio) + 1e-9)

    def _index(self, steps: float) -> float:
        least, most = math.log(0.5 / self.start), math.log(self.most / self.start)
        place = math.log(steps / self.start) if 0 < steps < math.inf else (most if steps > 0 else least)
        return min(max(place, least), most) / math.log(self.ratio)

    def _rung(self, k: int) -> int:
        return max(1, round(self.start * self.ratio ** min(k, self._top)))
