"""Downloads that are kept only if they have the right checksum."""

from pathlib import Path

from ...errors import UserError

_NAMES = {"sha256": "SHA-256", "md5": "MD5"}


def cache() -> Path:
    """The folder of downloads: kuttax's part of the user's cache."""
    import pooch  # not at the top: slow to import

    return Path(pooch.os_cache("kuttax"))


def download(url: str, checksum: str, name: str, directory: str | Path, instead: str) -> Path:
    """Downloads `url` into `directory` unless it is there with the right checksum; keeps nothing that fails it.

    Args:
        url: The address.
        checksum: "sha256:..." or "md5:...", in hexadecimal digits.
        name: The name of the saved file.
        directory: Its folder.
        instead: The alternative that messages suggest.

    Raises:
        UserError: If the network, the server or the disk fails, or what arrives has another checksum.
    """
    import pooch  # not at the top: slow to import

    try:
        return Path(pooch.retrieve(url, known_hash=checksum, fname=name, path=directory))
    except OSError as error:  # also every error of the network: requests' exceptions derive from it
        reason = " ".join(str(error).split())
        raise UserError(f"cannot download {url} to {directory} ({reason}); try again later {instead}") from error
    except ValueError as error:
        kind, digits = checksum.split(":")
        known = f"{_NAMES[kind]} {digits}"
        raise UserError(f"corrupted download: {url} does not have {known}; try again {instead}") from error
