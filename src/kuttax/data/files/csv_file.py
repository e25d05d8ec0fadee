"""CSV files with a header line: their cells, with the number of each line for messages."""

import csv
from collections.abc import Iterator
from pathlib import Path

from ...errors import UserError


def read_csv(path: Path, example: str) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The names in the header, and each other line that is not empty, with its number.

    Args:
        path: The file.
        example: A header for the message about a file without observations.

    Raises:
        UserError: The file is not readable or has no observations; or, once its line is reached, a line has another
            number of cells than the header.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [(line, row) for line, row in enumerate(csv.reader(file), start=1) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a readable CSV file ({error}): save it as UTF-8 text") from None
    if len(lines) < 2:
        raise UserError(f"{path}: no observations: give a header line such as {example} and one line for each")
    header = [name.strip() for name in lines[0][1]]
    return header, _checked(path, lines[1:], len(header))


def _checked(path: Path, lines: list[tuple[int, list[str]]], width: int) -> Iterator[tuple[int, list[str]]]:
    for line, row in lines:
        if len(row) != width:
            raise UserError(f"{path}, line {line}: {len(row)} fields under a header of {width}: mend the line")
        yield line, row
