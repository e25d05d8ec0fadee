"""Errors that a user can fix, one line with what, why and how; and what kuttax cannot vouch for."""


class UserError(ValueError):
    """A value from the user is invalid. The command line prints the error as one line and exits with code 2."""


class UnverifiedWarning(UserWarning):
    """Files were read that have no known digest, so that kuttax cannot verify them."""
