"""The options of a run, saved beside its results, so that --resume continues with the same ones."""

from typing import Any

from ...errors import UserError
from ...io import json_file
from ...io.atomic import write_json
from ...io.folder import Folder
from ...io.records import as_json
from ...training.checkpoint import inputs_of, options_as_json


def of_task(options: Any) -> dict[str, Any]:
    """The options of a named task that decide what its runs are; where the data lie is not what they are. Of a data
    file it is also what is in it."""
    values = {option: value for option, value in options_as_json(options).items() if option != "data_dir"}
    return {**values, **{f"sha256 of --{name}": digest for name, digest in inputs_of(values).items()}}


NAME = "config.json"
"""The name of the file with the options."""

_MEND = "start again with --overwrite"


def check_configuration(folder: Folder, config: dict[str, Any]) -> bool:
    """Compare the options with the saved ones of a folder; returns whether there are saved ones.

    Args:
        folder: The folder of the run or comparison.
        config: Names of options to their values, perhaps in groups.

    Raises:
        UserError: They differ; the message names the first difference.
    """
    path, kept = folder.path / NAME, read_configuration(folder)
    if kept is None:
        return False
    other = first_difference(kept, as_json(config))
    if other is not None:
        raise UserError(f"{path} is of other options: repeat them to resume, or give another --out ({other})")
    return True


def read_configuration(folder: Folder) -> dict[str, Any] | None:
    """The saved options of a folder; None if there are none.

    Raises:
        UserError: The file is damaged.
    """
    if not (folder.path / NAME).exists():
        return None
    kept = json_file.read(folder.path / NAME, {str: object}, _MEND)
    folder.check(NAME, _MEND)
    return kept


def holds_result(folder: Folder, config: dict[str, Any]) -> bool:
    """Whether a folder has the record of a finished run of these options.

    Raises:
        UserError: As `check_configuration`.
    """
    return check_configuration(folder, config) and (folder.path / "record.json").exists()


def save_configuration(folder: Folder, config: dict[str, Any]) -> None:
    """Save the options, unless the same ones are already saved.

    Raises:
        UserError: As `check_configuration`.
    """
    if not check_configuration(folder, config):
        with folder.writing(NAME):
            write_json(folder.path / NAME, as_json(config))


def first_difference(kept: dict[str, Any], config: dict[str, Any]) -> str | None:
    """The first option whose value differs, with both values, as text; None if all are the same."""
    before, now = _flat(kept), _flat(config)
    for name in [*now, *(name for name in before if name not in now)]:
        if name not in before or name not in now or before[name] != now[name]:
            option = name.rpartition(".")[2]
            flag = option if "--" in option else f"--{option.replace('_', '-')}"
            said = lambda options: repr(options[name]) if name in options else "not said"  # noqa: B023
            return f"{flag} was {said(before)}, and is {said(now)}"
    return None


def _flat(config: dict[str, Any], group: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in config.items():
        flat |= _flat(value, f"{group}{name}.") if isinstance(value, dict) else {f"{group}{name}": value}
    return flat
