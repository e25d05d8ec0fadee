"""Errors of Python functions that a compiled program calls: JAX gives their text only, inside of one of its own."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax

from .errors import UserError

_NOTED: list[UserError] = []


@contextmanager
def noted() -> Iterator[None]:
    """Keep the error that ends this block, for `told`."""
    try:
        yield
    except UserError as error:
        _NOTED[:] = [error]
        raise


@contextmanager
def told() -> Iterator[None]:
    """In place of JAX's error about a function that failed inside a program, raise the function's own.

    Raises:
        UserError: The one that was noted.
    """
    _NOTED.clear()
    try:
        yield
    except jax.errors.JaxRuntimeError:
        if _NOTED:
            raise _NOTED.pop() from None
        raise
