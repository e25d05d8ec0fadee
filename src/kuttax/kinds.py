"""Kinds: the refusal of an argument that is not of the kind that a function takes."""

from typing import Any

import numpy as np

from .errors import UserError

_LONGEST = 80  # characters of a value in a message


def check_kind(name: str, value: Any, kind: type, wanted: str) -> None:
    """Refuse what is no `kind`, also the class itself in place of an object of it.

    Args:
        name: The argument's name.
        value: What was given.
        kind: A class, or a protocol that can be checked.
        wanted: What it should be, such as "a kuttax adjoint such as kx.DiscreteAdjoint()".

    Raises:
        UserError: It is something else.
    """
    if isinstance(value, type):
        raise UserError(f"{name} must be {wanted}, got {named_class(value)}")
    if not isinstance(value, kind):
        raise UserError(f"{name} must be {wanted}, got {_in_one_line(value)}")


def named_class(value: type) -> str:
    """A class that was given in place of an object of it, and the way to mend it."""
    return f"the class {value.__name__}: make one, {value.__name__}(...)"


def check_callable(name: str, value: Any, of: str) -> None:
    """Refuse what is no function.

    Raises:
        UserError: It is none.
    """
    if not callable(value):
        raise UserError(f"{name} must be a function of {of}, got {_in_one_line(value)}")


def checked_count(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """`value` as an int, if it is a whole number in this range, Python's or NumPy's.

    Raises:
        UserError: It is not.
    """
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):
        allowed = f">= {least}" if most is None else f"from {least} to {most}"
        raise UserError(f"{name} must be a whole number {allowed}, got {_in_one_line(value)}")
    return int(value)


def _in_one_line(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST and "\n" not in text else type(value).__name__
