"""Days and periods of a schedule: the date rules of the logic specification (chapter 3)."""

import re
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Final

Day = int

FIRST_DAY: Final[Day] = date(1900, 1, 1).toordinal()
LAST_DAY: Final[Day] = date(2999, 12, 31).toordinal()

TERM = re.compile(r"([+-]?)\s*(\d{1,4})\s*(year|month|week|day)s?\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True, eq=False)
class Period:
    """A signed length of time as written in a schedule; one object for each text, so that it is a cheap key."""

    text: str
    years: int
    months: int
    days: int


@cache
def period(text: str) -> Period:
    """Read "12 months - 4 days"; raises `ValueError` when any part of the text is not a period."""
    amounts = {"year": 0, "month": 0, "week": 0, "day": 0}
    position, text = 0, text.strip()
    while position < len(text):
        term = TERM.match(text, position)
        if term is None or (position > 0 and not term[1]):
            raise ValueError(f"not a period: {text!r}")
        amounts[term[3].lower()] += int(term[2]) * (-1 if term[1] == "-" else 1)
        position = term.end()
    if not text:
        raise ValueError("an empty period")
    return Period(text, amounts["year"], amounts["month"], amounts["week"] * 7 + amounts["day"])


def add(day: Day, length: Period) -> Day:
    """`day` plus a period: years, then months, then weeks and days (the date rules CALCDT, chapter 3).

    A day that its month does not have becomes the first of the next month. Months end at the assumed bounds of an
    open range (1900-01-01 to 2999-12-31), so that no calendar can overflow.
    """
    if length.years:
        day = _add_months(day, 12 * length.years)
    if length.months:
        day = _add_months(day, length.months)
    return day + length.days


def _add_months(day: Day, months: int) -> Day:
    start = date.fromordinal(day)
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    if not 1900 <= year <= 2999:
        return FIRST_DAY if year < 1900 else LAST_DAY
    try:
        return date(year, month + 1, start.day).toordinal()
    except ValueError:
        return date(year + (month == 11), (month + 1) % 12 + 1, 1).toordinal()


class Ages(dict[Period, Day]):
    """The days on which one person reaches each age, worked out when first asked for."""

    def __init__(self, birth: Day) -> None:
        super().__init__()
        self.birth = birth

    def __missing__(self, age: Period) -> Day:
        reached = self[age] = add(self.birth, age)
        return reached

    def within(self, day: Day, begin: Period | None, end: Period | None) -> bool:
        """Whether begin <= age on `day` < end; an empty bound is open."""
        return (begin is None or self[begin] <= day) and (end is None or day < self[end])


class Watch:
    """A reference day that remembers when an answer given about it would first differ.

    Every comparison of the as-of day with another day goes through a watch; what it did not see it cannot announce.
    """

    __slots__ = ("day", "next_change")

    def __init__(self, day: Day) -> None:
        self.day = day
        self.next_change = LAST_DAY

    def reached(self, boundary: Day) -> bool:
        """Whether the reference day is on or after `boundary`."""
        if boundary <= self.day:
            return True
        if boundary < self.next_change:
            self.next_change = boundary
        return False

    def within(self, begin: Day | None, end: Day | None) -> bool:
        """Whether begin <= reference day < end; an empty bound is open."""
        return (begin is None or self.reached(begin)) and (end is None or not self.reached(end))
