"""Cells: what the text or the value in one cell of a user's table states."""

import math
import re
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any, Literal

from .numbers import number

Decimal = Literal[".", ","]
"""What separates the decimals of a file's numbers."""

Order = Literal["day first", "month first"]
"""What a date such as 31/12/2026 or 12/31/2026 begins with."""

GAPS = ("", "na", "n/a", "nan", "null", "none", "<na>", "nat")
"""The texts of a cell without a value, in any case."""

_COMMA = re.compile(r"[-+]?\d+,\d+(e[-+]?\d+)?", re.IGNORECASE)
_GROUPED = re.compile(r"[-+]?\d{1,3}(\.\d{3})+(,\d+)?")  # points between thousands
_EITHER = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+")  # commas between thousands, or a comma and three decimals
_DAYS = ("%d.%m.%Y", "%Y-%m-%d", "%Y/%m/%d")  # besides ISO 8601
_DAYS_IN_ORDER: dict[Order, tuple[str, str]] = {
    "day first": ("%d/%m/%Y", "%d-%m-%Y"),
    "month first": ("%m/%d/%Y", "%m-%d-%Y"),
}
_DIGITS = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
_YEARS = range(1900, 2101)  # of dates without separators
_ZONED_DAY = re.compile(r"^(\d{4}-\d\d-\d\d)([-+]\d\d:\d\d)$")
_DAY_AND_CLOCK = re.compile(r"([\d./-]+)(?:\s+|T)(\d.*)")
_CLOCK = re.compile(r"(\d{1,6}):([0-5]\d)(?::([0-5]\d(?:[.,]\d+)?))?(?:\s*([ap])\.?m\.?)?", re.IGNORECASE)
_DURATION = re.compile(r"(-?\d{1,6}) days?(?:,? \+?(.+))?")


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


def date_in(value: Any, order: Order | None = None) -> datetime | None:
    """The date that a cell states; None if it states none.

    Args:
        value: The cell.
        order: What dates such as 31/12/2026 begin with; without it, they are none.
    """
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    text = str(value).strip()
    if text.isdecimal():
        return None
    text = _ZONED_DAY.sub(r"\1T00:00\2", text)
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    parts = _DAY_AND_CLOCK.fullmatch(text)
    day, clock = (text, timedelta()) if parts is None else (parts[1], clock_in(parts[2]))
    forms = _DAYS if order is None else _DAYS + _DAYS_IN_ORDER[order]
    found = next(filter(None, (_parsed(day, form) for form in forms)), None)
    try:
        return None if found is None or clock is None else found + clock
    except OverflowError:  # after the year 9999
        return None


def orders_in(value: Any) -> list[Order]:
    """The orders of day and month in which a cell such as 31/12/2026 states a date: none, one or both."""
    return [order for order in _DAYS_IN_ORDER if date_in(value) is None and date_in(value, order) is not None]


def states_date(value: Any) -> bool:
    """Whether a cell states a date, perhaps in digits alone, or in an order that only other cells decide."""
    return date_in(value) is not None or date_of_digits(value) is not None or bool(orders_in(value))


def date_of_digits(value: Any) -> datetime | None:
    """The date in a cell such as 20261231 or 202612311300; None if it states none."""
    text = str(value).strip().removesuffix(".0")
    found = _parsed(text, _DIGITS[len(text)]) if text.isdecimal() and len(text) in _DIGITS else None
    return found if found is not None and found.year in _YEARS else None


def clock_in(value: Any) -> timedelta | None:
    """The time of day in a cell such as 13:05, 13:05:30.5 or 1:05 PM, since midnight; None if it states none."""
    found = _CLOCK.fullmatch(str(value).strip())
    if found is None:
        return None
    hours, minutes, seconds = (float((part or "0").replace(",", ".")) for part in found.groups()[:3])
    if found[4] is not None:
        hours = hours % 12 + 12 * (found[4].lower() == "p")
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def duration_in(value: Any) -> timedelta | None:
    """The duration in a cell such as 1 days 02:00:00 or 30:00:00, or a time of day; None if it states none."""
    if isinstance(value, timedelta):
        return value
    text = str(value).strip()
    found = _DURATION.fullmatch(text)
    if found is None:
        return clock_in(text)
    clock = timedelta() if found[2] is None else clock_in(found[2])
    return None if clock is None else timedelta(days=int(found[1])) + clock


def _parsed(text: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(text, form)
    except ValueError:
        return None
