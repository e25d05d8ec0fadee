"""Cells: what the text or the value in one cell of a user's table states."""

import math
import re
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any, Literal

from .numbers import number

Decimal = Literal[".", ","]
"""What separates the decimals of a file's numbers."""

GAPS = ("", "na", "n/a", "nan", "null", "none", "<na>", "nat")
"""The texts of a cell without a value, in any case."""

_COMMA = re.compile(r"[-+]?\d+,\d+(e[-+]?\d+)?", re.IGNORECASE)
_GROUPED = re.compile(r"[-+]?\d{1,3}(\.\d{3})+(,\d+)?")  # points between thousands
_EITHER = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+")  # commas between thousands, or a comma and three decimals
_DATES = ("%d.%m.%Y", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S")  # besides ISO 8601
_DIGITS = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
_YEARS = range(1900, 2101)  # of dates without separators
_CLOCK = re.compile(r"(?:(\d+) days? )?(\d+):([0-5]\d)(?::([0-5]\d(?:[.,]\d+)?))?")


def decimal_of(texts: Iterable[str]) -> Decimal:
    """The decimal mark of a file whose cells are not divided by commas.

    `1,5` has a decimal comma. `1,500` may have one too; it has one unless other cells have decimal points.
    """
    stripped = [text.strip() for text in texts]
    grouped = lambda text: bool(_GROUPED.fullmatch(text)) and ("," in text or text.count(".") > 1)
    if any(grouped(text) or (_COMMA.fullmatch(text) and not _EITHER.fullmatch(text)) for text in stripped):
        return ","
    if any("." in text and number(text) is not None for text in stripped):
        return "."
    return "," if any(_COMMA.fullmatch(text) for text in stripped) else "."


def number_in(value: Any, decimal: Decimal = ".") -> float | None:
    """The number that a cell states, NaN for an empty one; None if it states none."""
    if is_empty(value):
        return math.nan
    if not isinstance(value, str):
        try:
            return float(value)
        except (TypeError, ValueError, OverflowError):
            return None
    text = value.strip()
    if decimal == ",":
        if _GROUPED.fullmatch(text):
            text = text.replace(".", "")
        elif "." in text:
            return None
        text = text.replace(",", ".") if text.count(",") == 1 else text
    return number(text)


def is_empty(value: Any) -> bool:
    """Whether a cell has no value: an empty text or one of `GAPS`, None, or a missing value of NumPy or pandas."""
    if value is None or isinstance(value, float):
        return value is None or math.isnan(value)
    return str(value).strip().lower() in GAPS


def date_in(value: Any) -> datetime | None:
    """The date that a cell states; None if it states none."""
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    text = str(value).strip()
    if text.isdecimal():
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return next(filter(None, (_parsed(text, form) for form in _DATES)), None)


def date_of_digits(value: Any) -> datetime | None:
    """The date in a cell such as 20261231 or 202612311300; None if it states none."""
    text = str(value).strip().removesuffix(".0")
    found = _parsed(text, _DIGITS[len(text)]) if text.isdecimal() and len(text) in _DIGITS else None
    return found if found is not None and found.year in _YEARS else None


def clock_in(value: Any) -> timedelta | None:
    """The time of day or the duration in a cell such as 13:05, 13:05:30.5 or 1 days 02:00:00; None if there is none."""
    found = _CLOCK.fullmatch(str(value).strip())
    if found is None:
        return None
    days, hours, minutes, seconds = (float((part or "0").replace(",", ".")) for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def _parsed(text: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(text, form)
    except ValueError:
        return None
