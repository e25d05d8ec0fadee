"""PyTorch, imported when it is needed."""

from typing import Any

from .. import extras


def imported() -> Any:
    """The module torch.

    Raises:
        UserError: It is not installed.
    """
    return extras.imported("torch", of="PyTorch", extra="torch", needs="a PyTorch field")
