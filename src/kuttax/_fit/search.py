"""Search: the smallest number of steps at which something holds."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any


def ladder(steps: int, most: int) -> Iterator[int]:
    """More and more steps: one more up to twice as many, then a quarter more."""
    now = steps
    while now < most:
        now = now + 1 if now < 2 * steps else max(now + 1, round(1.25 * now))
        yield min(now, most)


def first_found(found: Callable[[int], Any], rungs: Sequence[int]) -> Any:
    """What is found at the lowest rung where something is; None where nothing is up to the last.

    It leaps twice as far each time, then halves the gap: where something is found, it is on every rung above.
    """
    below, at, best = -1, -1, None
    while best is None and below < len(rungs) - 1:
        at = min(2 * below + 2, len(rungs) - 1)
        best = found(rungs[at])
        below = at if best is None else below
    while best is not None and at - below > 1:
        middle = (below + at) // 2
        lower = found(rungs[middle])
        below, at, best = (middle, at, best) if lower is None else (below, middle, lower)
    return best
