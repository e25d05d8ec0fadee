"""CSV files as people have them: any usual delimiter, decimal commas, comments, an index column."""

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...errors import UserError
from .cells import Decimal, decimal_of, is_empty, number_in
from .numbers import number

DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|", "space": " "}
"""The words for delimiters; a single character stands for itself."""

_COMMENT = "#"
_SAID = re.compile(r"sep=(.)\s*")  # as Excel says what divides the cells
_DIGIT_FIRST = re.compile(r"\s*[-+\N{MINUS SIGN}]?[.,]?\d")
_SAMPLE = 50  # lines that show the delimiter

Line = tuple[int, list[str]]
"""The number of a line in its file, and its cells."""


def read_csv(
    path: Path, example: str | None, delimiter: str | None = None
) -> tuple[list[str], Iterator[Line], Decimal]:
    """The names in the header; each other line that is not empty, with its number; and the decimal mark of the numbers.

    Lines that begin with `#` are comments; the last one before the data is the header if it has as many cells and the
    data have no header.

    Args:
        path: The file, in UTF-8, in UTF-16 with its mark, or in Windows' Western code page.
        example: A header for the message about a file without one; None if it needs none: columns without names are
            called "column 1", "column 2" and so on.
        delimiter: A character or a word for it; None for the one that divides the first lines alike.

    Raises:
        UserError: The file is not readable or has no observations; or, once its line is reached, a line has another
            number of cells than the header.
    """
    text, comments = _without_comments(_decoded(path))
    first = next((i for i, line in enumerate(text) if line.strip()), 0)
    if delimiter is None and text and (said := _SAID.fullmatch(text[first])):
        delimiter, text[first] = said[1], "\n"
    character = _sniffed(path, text) if delimiter is None else _character(delimiter)
    lines = _cells(path, text, character)
    decimal = "." if character == "," else decimal_of(cell for _, row in lines for cell in row)
    if lines:
        lines = _headed(path, lines, decimal, _header_in(comments, character), example)
    if len(lines) < 2:
        begin = "give" if example is None else f"give a header line such as {example} and"
        raise UserError(f"{path}: no observations: {begin} one line for each")
    header = [name.strip() for name in lines[0][1]]
    return header, _checked(path, lines[1:], header), decimal


def _decoded(path: Path) -> str:
    try:
        content = path.read_bytes()
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            return content.decode("utf-16")
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError:
            return content.decode("cp1252")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable CSV file ({error}): save it as UTF-8 text") from None


def _without_comments(text: str) -> tuple[list[str], list[str]]:
    """The lines, blank where a comment was, so that they keep their numbers; and the comments before the data."""
    lines, before = re.split(r"(?<=\n)|(?<=\r)(?!\n)", text), []
    for line in lines:
        if line.startswith(_COMMENT):
            before.append(line.lstrip(_COMMENT).strip())
        elif line.strip():
            break
    return ["\n" if line.startswith(_COMMENT) else line for line in lines], before


def _character(delimiter: str) -> str:
    found = {**DELIMITERS, "\\t": "\t"}.get(delimiter.lower(), delimiter)
    if len(found) != 1 or found in '"\r\n':
        raise UserError(f"a delimiter is one character, or one of {', '.join(DELIMITERS)}; got {delimiter!r}")
    return found


def _sniffed(path: Path, text: Sequence[str]) -> str:
    """The delimiter that divides the lines into equally many cells, or else the first one into several. Of more than
    one, that with most numbers, most cells, or the first. Spaces only where the others divide nothing."""
    sample = [line for line in text if line.strip()][:_SAMPLE]

    def rank(character: str) -> tuple[bool, bool, bool, bool, float, int]:
        lines = _cells(path, sample, character)
        widths = [len(row) for _, row in lines] or [0]
        rest = [cell for _, row in lines[1:] or lines for cell in row]
        decimal = "." if character == "," else decimal_of(rest)
        numbers = sum(number_in(cell, decimal) is not None for cell in rest) / max(1, len(rest))
        alike, divided = min(widths) == max(widths), widths[0] > 1
        return alike and divided, divided, alike, character != " ", numbers, widths[0]

    return max(DELIMITERS.values(), key=rank)


def _cells(path: Path, text: Sequence[str], delimiter: str) -> list[Line]:
    """The lines that are not empty."""
    if delimiter == " ":
        return [(i, line.split()) for i, line in enumerate(text, start=1) if line.strip()]
    return [(i, row) for i, row in _parsed(path, text, delimiter) if any(cell.strip() for cell in row)]


def _parsed(path: Path, text: Sequence[str], delimiter: str) -> list[Line]:
    reader = csv.reader(text, delimiter=delimiter)
    try:
        return [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise UserError(f"{path}: not a readable CSV file ({error}): is a quotation mark missing?") from None


def _headed(path: Path, lines: list[Line], decimal: Decimal, comment: Sequence[str], example: str | None) -> list[Line]:
    """The lines with a header: their first one, the last comment, or made names where there need be none."""
    first = lines[0][1]
    if _states_numbers(first, decimal):
        header = list(comment) if len(comment) == len(first) else None
        if header is None and example is not None:
            raise UserError(f"{path}: no names above the numbers: begin with a header line such as {example}")
        return [(0, header or [f"column {i + 1}" for i in range(len(first))]), *lines]
    if example is None and any(map(_DIGIT_FIRST.match, first)):
        raise UserError(f"{path}: the first line has names and numbers: begin with a name for each column, or none")
    return lines


def _states_numbers(cells: Sequence[str], decimal: Decimal) -> bool:
    """Whether all cells that are not empty state numbers, and there are such."""
    found = [number_in(cell, decimal) is not None for cell in cells if not is_empty(cell)]
    return bool(found) and all(found)


def _header_in(comments: Sequence[str], delimiter: str) -> list[str]:
    """The names in the last comment, as NumPy's `savetxt` writes a header; none if some are empty, or numbers."""
    last = comments[-1] if comments else ""
    names = last.split() if delimiter == " " else [name.strip() for name in last.split(delimiter)]
    return names if all(name and number(name) is None for name in names) else []


def _checked(path: Path, lines: Sequence[Line], header: Sequence[str]) -> Iterator[Line]:
    for line, row in lines:
        if len(row) != len(header):
            raise UserError(
                f"{path}, line {line}: the first line has {len(header)} cells, this one {len(row)}: mend the line, or "
                "give the delimiter"
            )
        yield line, row
