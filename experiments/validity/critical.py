"""The critical number of steps: the smallest on a ladder of ratio 1.1 from which on the trained model is valid.

    python -m experiments.validity.critical spheres

Doubles and halves until a valid and an invalid number enclose it, bisects the rungs between them, and confirms that
the next rungs are valid too; where one is not, it goes on above that one. Models are those of the grid's file, and so
is the result: a record of kind "critical" for each seed.
"""

from collections.abc import Callable, Sequence
from typing import Any

from kuttax.commands.program import ending

from .options import parser, seeds_of, study_of
from .trained import Trained

RATIO = 1.1
START = 128  # about where the search begins
DOUBLE = 7  # rungs: 1.1^7 = 1.95
CONFIRMED = 2  # rungs above the critical one that have to be valid


def _ladder(lowest: int, highest: int) -> tuple[int, ...]:
    """Numbers of steps, each at most RATIO times the one before it, or one more."""
    rungs = [lowest]
    while rungs[-1] < highest:
        rungs.append(max(rungs[-1] + 1, int(RATIO * rungs[-1])))
    return tuple(rungs)


LADDER = _ladder(2, 1000)
TOP = len(LADDER) - 1


def critical(valid: Callable[[int], bool]) -> dict[str, Any]:
    """Where `valid`, a function of the number of steps, becomes true for good.

    Returns:
        "critical", the smallest number with a valid model and CONFIRMED valid rungs above it, and "invalid", the rung
        below it; None where the ladder's end is reached.
    """
    good = lambda k: valid(LADDER[k])
    low, high = _enclosed(good)
    while high is not None:
        while low is not None and high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if good(middle) else (middle, high)
        exceptions = [k for k in range(high + 1, min(high + CONFIRMED, TOP) + 1) if not good(k)]
        if not exceptions:
            return {"critical": LADDER[high], "invalid": None if low is None else LADDER[low]}
        low = exceptions[-1]
        high = next((k for k in range(low + 1, TOP + 1) if good(k)), None)
    return {"critical": None, "invalid": LADDER[TOP]}


def _enclosed(good: Callable[[int], bool]) -> tuple[int | None, int | None]:
    """The numbers of a bad rung and of a good one above it; None for the one that the ladder does not have."""
    k = next(k for k, steps in enumerate(LADDER) if steps >= START)
    low = high = None
    while low is None or high is None:
        if good(k):
            high = k
            if k == 0:
                break
            k = max(k - DOUBLE, 0)
        else:
            low = k
            if k == TOP:
                break
            k = min(k + DOUBLE, TOP)
    return low, high


def main(arguments: Sequence[str] | None = None) -> None:
    given = parser(__doc__).parse_args(arguments)
    study = study_of(given)
    trained = Trained(study, given.out)
    for seed in seeds_of(given, study):
        about = {"kind": "critical", "study": study.name, "scheme": "euler", "seed": seed, "ratio": RATIO}
        trained.ledger.once(about, lambda: critical(lambda steps: trained.valid(steps, seed)))  # noqa: B023


if __name__ == "__main__":
    ending.run(main, program="experiments")
