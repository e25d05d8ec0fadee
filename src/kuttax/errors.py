"""Errors that a user can fix: one line with what, why and how."""


class UserError(ValueError):
    """A value from the user is invalid. The command line prints the error as one line and exits with code 2."""
