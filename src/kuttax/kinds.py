"""Kinds: the refusal of an argument that is not of the kind that a function takes."""

from typing import Any

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


def _in_one_line(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST and "\n" not in text else type(value).__name__
