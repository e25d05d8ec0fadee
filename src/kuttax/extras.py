"""Extras: packages that only a part of kuttax needs, imported when it is used."""

import importlib
from types import ModuleType

from .errors import UserError


def imported(module: str, *, of: str, extra: str, needs: str, instead: str = "") -> ModuleType:
    """The module.

    Args:
        module: Its name.
        of: The package that has it, as users know it.
        extra: The extra of kuttax that installs the package.
        needs: What needs it, for the message.
        instead: What else a user can do, for the end of the message.

    Raises:
        UserError: It cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        install = f"pip install 'kuttax[{extra}]'"
        raise UserError(f"{needs} needs {of} ({error}): {install}{instead and f', or {instead}'}") from None
