"""The person's day: no message starts before eight in the morning or after a quarter to nine at night."""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

WAIT = timedelta(days=14)
DAY_BEGINS, LAST_START, DAY_ENDS = time(8), time(20, 45), time(21)


def within_day(now: datetime, zone: str) -> datetime:
    """`now` if a message may start then where the person lives, else the next morning there."""
    local = now.astimezone(ZoneInfo(zone))
    if DAY_BEGINS <= local.time() <= LAST_START:
        return now
    day = local.date() if local.time() < DAY_BEGINS else local.date() + timedelta(days=1)
    return datetime.combine(day, DAY_BEGINS, local.tzinfo).astimezone(now.tzinfo)


def after_wait(due: datetime, zone: str) -> datetime:
    """The same time of day, fourteen local days later."""
    return (due.astimezone(ZoneInfo(zone)) + WAIT).astimezone(due.tzinfo)


def end_of_day(due: datetime, zone: str) -> datetime:
    """Nothing goes out after this instant of the person's day."""
    local = due.astimezone(ZoneInfo(zone))
    return datetime.combine(local.date(), DAY_ENDS, local.tzinfo).astimezone(due.tzinfo)
