"""Errors a user can mend: one line that says what, why and how."""


class UserError(ValueError):
    """A value the user gave cannot work. The command line prints it as one line and exits with code 2."""
