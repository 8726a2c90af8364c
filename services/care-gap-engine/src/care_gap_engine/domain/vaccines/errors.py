"""What is wrong with a schedule file, and where."""

from collections.abc import Iterator
from contextlib import contextmanager


class ScheduleError(ValueError):
    """A schedule that must not be used; says which file and which element."""


@contextmanager
def at(place: str) -> Iterator[None]:
    """Put `place` before what is raised inside."""
    try:
        yield
    except (ValueError, OverflowError) as wrong:
        raise ScheduleError(f"{place}: {wrong}") from None
