"""What commands say of their options, and keep beside their results, so that --resume goes on with the same ones."""

import json
from pathlib import Path
from typing import Any

from ..atomic import write_json
from ..errors import UserError
from ..records import plain
from .run import task_options


def of_task(options: Any) -> dict[str, Any]:
    """The options of a named task that decide what its runs are; where the data lie is not what they are."""
    return {option: value for option, value in task_options(options).items() if option != "data_dir"}


def keep_configuration(path: Path, config: dict[str, Any]) -> None:
    """Write the options down; where some are kept already, they must be the same.

    Args:
        path: The file.
        config: Names of options to their values, perhaps in groups.

    Raises:
        UserError: They are others; the message names the first.
    """
    config = plain(config)
    if path.exists():
        other = _first_difference(_kept(path), config)
        if other is not None:
            raise UserError(
                f"{path} is of other options: repeat them to resume, or give another --out ({other})",
            )
    write_json(path, config)


def _kept(path: Path) -> dict[str, Any]:
    try:
        kept = json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise UserError(f"{path} cannot be read ({error}): start again with --overwrite") from None
    return kept if isinstance(kept, dict) else {}


def _first_difference(kept: dict[str, Any], config: dict[str, Any]) -> str | None:
    before, now = _flat(kept), _flat(config)
    for name in [*now, *(name for name in before if name not in now)]:
        if name not in before or name not in now or before[name] != now[name]:
            flag = f"--{name.rpartition('.')[2].replace('_', '-')}"
            said = lambda options: repr(options[name]) if name in options else "not said"  # noqa: B023, E731
            return f"{flag} was {said(before)}, and is {said(now)}"
    return None


def _flat(config: dict[str, Any], group: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in config.items():
        flat |= _flat(value, f"{group}{name}.") if isinstance(value, dict) else {f"{group}{name}": value}
    return flat
