"""The critical number of steps: the smallest on a ladder of ratio 1.1 from which on the trained model is valid.

    python -m experiments.validity.critical spheres

Doubles and halves until a valid and an invalid number enclose it, bisects the rungs between them, and confirms that
the next rungs are valid too; where one is not, it goes on above that one. Models are those of the grid's file, and so
is the result: a record of kind "critical" for each seed.
"""

from collections.abc import Callable, Sequence
from typing import Any

from .options import parser, seeds_of, study_of
from .trained import Trained

RATIO = 1.1
MIDDLE = 32  # a rung; all others are rounded powers of the ratio times it
DOUBLE = 7  # rungs: 1.1^7 = 1.95
CONFIRMED = 3  # rungs above the critical one that have to be valid
LARGEST = 27  # the highest rung, 420 steps
SMALLEST = -29  # the lowest one, 2 steps


def rung(k: int) -> int:
    """The number of steps on rung k, which may be negative."""
    return max(1, round(MIDDLE * RATIO**k))


def critical(valid: Callable[[int], bool]) -> dict[str, Any]:
    """Where `valid`, a function of the number of steps, becomes true for good.

    Returns:
        "critical", the smallest number with a valid model and CONFIRMED valid rungs above it, and "invalid", the rung
        below it; None where the ladder's end is reached.
    """
    low, high = _enclosed(valid)
    while True:
        if high is None:
            return {"critical": None, "invalid": rung(LARGEST)}
        while low is not None and high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if valid(rung(middle)) else (middle, high)
        above = range(high + 1, min(high + CONFIRMED, LARGEST) + 1)
        exceptions = [k for k in above if not valid(rung(k))]
        if not exceptions:
            return {"critical": rung(high), "invalid": None if low is None else rung(low)}
        low = exceptions[-1]
        high = next((k for k in range(low + 1, LARGEST + 1) if valid(rung(k))), None)


def _enclosed(valid: Callable[[int], bool]) -> tuple[int | None, int | None]:
    """An invalid rung and a valid one above it; None for the one that the ladder does not have."""
    k = 0
    if valid(rung(k)):
        while valid(rung(k)):
            if k == SMALLEST:
                return None, k
            high, k = k, max(k - DOUBLE, SMALLEST)
        return k, high
    while not valid(rung(k)):
        if k == LARGEST:
            return k, None
        low, k = k, min(k + DOUBLE, LARGEST)
    return low, k


def main(arguments: Sequence[str] | None = None) -> None:
    given = parser(__doc__).parse_args(arguments)
    study = study_of(given)
    trained = Trained(study, given.out)
    for seed in seeds_of(given, study):
        about = {"kind": "critical", "study": study.name, "scheme": "euler", "seed": seed, "ratio": RATIO}
        trained.ledger.once(about, lambda: critical(lambda steps: trained.valid(steps, seed)))  # noqa: B023


if __name__ == "__main__":
    main()
