"""Summary: what a user's table was understood as, in one line."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Real

Times = Sequence[Real[np.ndarray, " times"]]
"""The increasing times of each trajectory or series."""

_MOST = 8  # names in a list


def summary(
    what: str, times: Times, unit: str | None, columns: Mapping[str, Sequence[str]], missing: Mapping[str, float]
) -> str:
    """Such as "30 trajectories; 121 times 0.1 s apart; states prey, predator; 2 % of the states missing".

    Args:
        what: How many of what.
        times: Of each.
        unit: Of the times, if it is known.
        columns: The word for one column -> the names of such columns; words without columns are left out.
        missing: The word for some values -> the share of them that is missing; left out if it is zero.
    """
    rows = sorted({len(t) for t in times})
    count = f"{rows[0]}" if len(rows) == 1 else f"{rows[0]} to {rows[-1]}"
    parts = [what, f"{count} time{'s' * (rows != [1])}{_apart(times, unit)}"]
    for word, names in columns.items():
        parts += [f"{word}{'s' * (len(names) > 1)} {listed(names)}"] if names else []
    return "; ".join(parts + [f"{_percent(share)} of the {word} missing" for word, share in missing.items() if share])


def _percent(share: float) -> str:
    return "nearly all" if share > 0.99 else f"{100 * share:.2g} %"


def listed(names: Sequence[str]) -> str:
    """The names, the first ones of many."""
    some = ", ".join(names[:_MOST])
    return some if len(names) <= _MOST else f"{some} and {len(names) - _MOST} more"


def is_regular(times: Times) -> bool:
    """Whether all intervals are equal, up to rounding."""
    gaps = np.concatenate([np.diff(t) for t in times])
    return bool(np.ptp(gaps) <= 1e-6 * gaps.mean())


def _apart(times: Times, unit: str | None) -> str:
    """The usual interval, or the least and the largest."""
    gaps = np.concatenate([np.diff(t) for t in times])
    if not len(gaps):
        return ""
    apart = f"{gaps.mean():.6g}" if is_regular(times) else f"{gaps.min():.6g} to {gaps.max():.6g}"
    return f" {apart}{f' {unit}' if unit else ''} apart"
