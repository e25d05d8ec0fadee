"""The folder that a user names for a set of images."""

from pathlib import Path

from ...errors import UserError


def existing(data_dir: str | Path, what: str) -> Path:
    """The folder.

    Args:
        data_dir: Its path.
        what: What is downloaded if no folder is given, for the message.

    Raises:
        UserError: It does not exist, or is no directory.
    """
    directory = Path(data_dir).expanduser()
    if not directory.is_dir():
        why = "is not a directory" if directory.exists() else "does not exist"
        raise UserError(f"data directory {directory} {why}; leave it out to download {what}")
    return directory
