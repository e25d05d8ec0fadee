"""Bounds: the range of a number, declared beside the option that holds it: `width: Annotated[int, at_least(1)]`."""

from dataclasses import dataclass
from functools import cache
from numbers import Integral, Real
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from ..errors import UserError


@dataclass(frozen=True)
class Bounds:
    """An interval that a number must lie in. NaN and infinity lie in none.

    Attributes:
        low, high: Its ends.
        open_low, open_high: Whether an end itself is outside.
        both: Whether the message names both ends, or only the violated one, if the other is just a technical limit.
    """

    low: float
    high: float
    open_low: bool = False
    open_high: bool = False
    both: bool = False

    def holds(self, value: float) -> bool:
        """Whether the number lies within."""
        above = self.low < value if self.open_low else self.low <= value
        below = value < self.high if self.open_high else value <= self.high
        return above and below

    def wanted(self, value: float) -> str:
        """The requirement that a number outside violates."""
        if self.both:
            left, right = "(" if self.open_low else "[", ")" if self.open_high else "]"
            return f"lie in {left}{self.low:g}, {self.high:.12g}{right}"
        if value > self.high:
            return f"be {'<' if self.open_high else '<='} {self.high:.12g}"
        return f"be {'>' if self.open_low else '>='} {self.low:g}"


def at_least(low: float, most: float = 1e9) -> Bounds:
    """From `low` on, up to a technical limit."""
    return Bounds(low, most)


def above(low: float, most: float = 1e9) -> Bounds:
    """More than `low`, up to a technical limit."""
    return Bounds(low, most, open_low=True)


def between(low: float, high: float, ends: str = "[]") -> Bounds:
    """From `low` to `high`; brackets in `ends`, such as "(]", say which end is excluded."""
    return Bounds(low, high, ends[0] == "(", ends[1] == ")", both=True)


Size = Annotated[int, at_least(1, most=65536)]
"""The size of a layer."""

Depth = Annotated[int, at_least(0, most=1000)]
"""The number of hidden layers."""

WholeNumber = Annotated[int, at_least(1)]
"""A count."""

MostSteps = Annotated[int, at_least(1, most=1_000_000)]
"""The step limit of an adaptive solver, which sets the size of its buffer."""

Seed = Annotated[int, between(0, 2**32 - 1)]
"""A seed that JAX and scikit-learn accept."""

Share = Annotated[float, between(0, 1, "()")]
"""A share strictly between 0 and 1."""


def check_seed(seed: Any) -> None:
    """Refuse what is no seed.

    Raises:
        UserError: It is none.
    """
    bounds = _of(Seed)
    assert bounds is not None
    if isinstance(seed, bool) or not _is_a(Integral, seed):
        raise OutOfBounds("seed", f"must be a whole number, got {seed!r}")
    if not bounds.holds(seed):
        raise OutOfBounds("seed", f"must {bounds.wanted(seed)}, got {seed}")


class OutOfBounds(UserError):
    """A number is outside of its bounds.

    Attributes:
        name: The name of its field; on the command line, of the option.
        why: "must be >= 1, got 0".
    """

    def __init__(self, name: str, why: str):
        super().__init__(f"{name} {why}")
        self.name, self.why = name, why


def check_bounds(options: Any) -> None:
    """Refuse a number, or one of several, outside the bounds that its field declares; None is within any.

    Args:
        options: A dataclass.

    Raises:
        OutOfBounds: It names the field, the value and the bound.
    """
    for name, bounds in declared(type(options)).items():
        value = getattr(options, name)
        for number in value if isinstance(value, tuple) else (value,):
            if number is None:
                continue
            if not _is_a(Real, number):
                raise OutOfBounds(name, f"must be a number, got {number!r}")
            if not bounds.holds(number):
                raise OutOfBounds(name, f"must {bounds.wanted(number)}, got {number}")


def _is_a(kind: type, number: Any) -> bool:
    return isinstance(number, kind)


@cache
def declared(kind: type) -> dict[str, Bounds]:
    """The bounds of a dataclass's fields, by name."""
    hints = get_type_hints(kind, include_extras=True)
    return {name: found for name, hint in hints.items() if (found := _of(hint)) is not None}


def _of(hint: Any) -> Bounds | None:
    """The bounds in a type: its own, or those of a part of it, as in `Size | None`."""
    if get_origin(hint) is Annotated:
        return next((part for part in get_args(hint)[1:] if isinstance(part, Bounds)), None)
    return next((found for part in get_args(hint) if (found := _of(part)) is not None), None)
