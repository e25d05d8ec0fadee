"""Search for the smallest number of steps at which a condition holds."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any


def ladder(steps: int, most: int) -> Iterator[int]:
    """Increasing numbers of steps: by one up to twice `steps`, then by a quarter."""
    now = steps
    while now < most:
        now = now + 1 if now < 2 * steps else max(now + 1, round(1.25 * now))
        yield min(now, most)


def first_found(found: Callable[[int], Any], rungs: Sequence[int]) -> Any:
    """The result at the lowest rung where `found` returns one; None if there is none up to the last.

    It assumes that if a rung has a result, all higher rungs have one. It doubles its stride until it finds one, then
    halves the gap.
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
