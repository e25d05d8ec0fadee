"""CSV files as people have them: any usual delimiter, decimal commas, comments, an index column."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from ...errors import UserError
from .numbers import number

DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|", "space": " "}
"""The words for delimiters; a single character stands for itself."""

_COMMENT = "#"
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+(e[-+]?\d+)?", re.IGNORECASE)
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(\.\d{3})+,\d+")

Line = tuple[int, list[str]]
"""The number of a line in its file, and its cells."""


def read_csv(path: Path, example: str | None, delimiter: str | None = None) -> tuple[list[str], Iterator[Line]]:
    """The names in the header, and each other line that is not empty, with its number.

    Lines that begin with `#` are comments; the last one before the data is the header if it has as many cells and the
    data have no header. Where the delimiter is no comma, `1,5` is a number. A first column without a name that counts
    the lines from 0, as pandas writes its index, is left out.

    Args:
        path: The file, in UTF-8, in UTF-16 with its mark, or in Windows' Western code page.
        example: A header for the message about a file without one; None if it needs none: columns without names are
            called "column 1", "column 2" and so on.
        delimiter: A character or a word for it; None for the one that divides the first line into most cells.

    Raises:
        UserError: The file is not readable or has no observations; or, once its line is reached, a line has another
            number of cells than the header.
    """
    text, comments = _without_comments(_decoded(path))
    given = None if delimiter is None else _character(delimiter)
    first = next((line for line in text if line.strip()), "")
    character = given or _sniffed(path, first)
    lines = _cells(path, text, character)
    if lines:
        lines = _headed(path, lines, character, comments, example)
    if len(lines) < 2:
        begin = "give" if example is None else f"give a header line such as {example} and"
        raise UserError(f"{path}: no observations: {begin} one line for each")
    header = [name.strip() for name in lines[0][1]]
    body = _checked(path, lines[1:], header, character)
    return _without_index(header, body) if header[0] == "" else (header, body)


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
    lines, before = text.splitlines(keepends=True), []
    for line in lines:
        if line.startswith(_COMMENT):
            before.append(line.lstrip(_COMMENT).strip())
        elif line.strip():
            break
    return ["\n" if line.startswith(_COMMENT) else line for line in lines], before


def _character(delimiter: str) -> str:
    found = DELIMITERS.get(delimiter, delimiter)
    if len(found) != 1:
        raise UserError(f"a delimiter is one character, or one of {', '.join(DELIMITERS)}; got {delimiter!r}")
    return found


def _sniffed(path: Path, line: str) -> str:
    """The delimiter that gives the line most cells, of those for which all are numbers if there are such; spaces only
    where the others give one."""
    cells = {one: next(iter(_cells(path, [line], one)), (0, []))[1] for one in DELIMITERS.values()}
    of_numbers = {one: found for one, found in cells.items() if len(found) > 1 and _states_numbers(found, one)}
    count = {one: len(found) for one, found in (of_numbers or cells).items()}
    return max(count, key=lambda one: (count[one] > 1, one != " ", count[one]))


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
        raise UserError(f"{path}: not a readable CSV file ({error}): save it as UTF-8 text") from None


def _headed(path: Path, lines: list[Line], delimiter: str, comments: Sequence[str], example: str | None) -> list[Line]:
    """The lines with a header: their first one, the last comment, or made names where there need be none."""
    first = lines[0][1]
    if _states_numbers(first, delimiter, all):
        header = _commented_header(comments, delimiter, len(first))
        if header is None and example is not None:
            raise UserError(f"{path}: no names above the numbers: begin with a header line such as {example}")
        return [(0, header or [f"column {i + 1}" for i in range(len(first))]), *lines]
    if example is None and _states_numbers(first, delimiter, any):
        raise UserError(f"{path}: the first line has names and numbers: begin with a name for each column, or none")
    return lines


def _states_numbers(cells: Sequence[str], delimiter: str, which: Callable[[Iterable[bool]], bool] = all) -> bool:
    """Whether all cells that are not empty state numbers, or any of them does."""
    texts = cells if delimiter == "," else [_with_point(cell) for cell in cells]
    found = [number(text) is not None for text in texts if text.strip()]
    return bool(found) and which(found)


def _commented_header(comments: Sequence[str], delimiter: str, width: int) -> list[str] | None:
    """The last comment, as NumPy's `savetxt` writes a header; None if it has another number of cells, or numbers."""
    last = comments[-1] if comments else ""
    names = last.split() if delimiter == " " else [name.strip() for name in last.split(delimiter)]
    return names if len(names) == width and all(name and number(name) is None for name in names) else None


def _checked(path: Path, lines: Sequence[Line], header: Sequence[str], delimiter: str) -> Iterator[Line]:
    for line, row in lines:
        if len(row) != len(header):
            raise UserError(
                f"{path}, line {line}: the first line has {len(header)} cells, this one {len(row)}: mend the line"
            )
        yield line, row if delimiter == "," else [_with_point(cell) for cell in row]


def _with_point(cell: str) -> str:
    """A number with a decimal comma, and points between thousands if any, as Python writes it."""
    stripped = cell.strip()
    if _THOUSANDS.fullmatch(stripped):
        stripped = stripped.replace(".", "")
    return stripped.replace(",", ".") if _DECIMAL_COMMA.fullmatch(stripped) else cell


def _without_index(header: list[str], lines: Iterator[Line]) -> tuple[list[str], Iterator[Line]]:
    """Without a first column that counts the lines; if it does something else, it is called "index"."""
    found = list(lines)
    if [row[0].strip() for _, row in found] != [str(i) for i in range(len(found))]:
        return ["index", *header[1:]], iter(found)
    return header[1:], ((line, row[1:]) for line, row in found)
