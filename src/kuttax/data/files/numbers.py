"""Numbers in files: which of them fit into float32, in which kuttax computes."""

from typing import Any

import numpy as np
from jaxtyping import Bool

TOO_LARGE = f"is too large for float32, whose largest number is {np.finfo(np.float32).max:.4g}"
"""The requirement on a number, for messages."""


def number(text: str) -> float | None:
    """The number that a text states; None if it states none."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def fits(x: Any) -> Bool[np.ndarray, "..."]:
    """Which numbers are finite, also as float32."""
    with np.errstate(over="ignore"):
        return np.isfinite(np.asarray(x).astype(np.float32))
