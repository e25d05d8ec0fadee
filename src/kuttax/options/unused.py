"""Unused options: an option without effect beside the others is an error."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any, NamedTuple

from ..errors import UserError


class Unused(NamedTuple):
    """Why an option changes nothing.

    Attributes:
        why: The other option: "with --on-failure raise".
        mend: How to give it an effect: "give --on-failure rollback". Empty if nothing does.
    """

    why: str
    mend: str = ""


def flag(name: str) -> str:
    """The command line name of an options field."""
    return f"--{name.replace('_', '-')}"


def unless(used: bool, names: Iterable[str], why: str, mend: str = "") -> dict[str, Unused]:
    """These options as unused, for this reason; empty if they are used."""
    return {} if used else dict.fromkeys(names, Unused(why, mend))


def refuse_unused(unused: Mapping[str, Unused], given: Collection[str]) -> None:
    """Refuse an option that was given but has no effect.

    Args:
        unused: Name of a field -> why it has no effect.
        given: Names of fields.

    Raises:
        UserError: It names the option, the reason, and the fix.
    """
    for name, (why, mend) in unused.items():
        if name in given:
            raise UserError(f"{flag(name)} changes nothing {why}: {f'{mend}, or ' if mend else ''}leave it out")


def changed(options: Any) -> list[str]:
    """The fields of a dataclass that are not at their default."""
    return [
        field.name
        for field in fields(options)
        if field.default is not MISSING and getattr(options, field.name) != field.default
    ]
