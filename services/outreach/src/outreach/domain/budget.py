"""How many automated messages a person gets, over all gaps and all channels.

People who get many opt out of all of them. What is over the budget is not lost: it waits for the next instant that is
free. The answer to a STOP is no outreach and is not counted.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from outreach.domain.hours import end_of_day
from outreach.domain.state import Conversation, Result


@dataclass(frozen=True)
class Budget:
    """At most so many messages in any stretch of time of this length, wherever it begins."""

    limits: tuple[tuple[timedelta, int], ...] = ((timedelta(1), 1), (timedelta(7), 3), (timedelta(30), 4))


DEFAULT = Budget()


def counted(state: Conversation, zone: str, now: datetime) -> Iterator[datetime]:
    """When each message went out. One that is still on its way may go out any moment until its day is over.

    A failed one counts, as it does for its sequence; one that was provably held back does not.
    """
    for sequence in state.sequences.values():
        for attempt in sequence.attempts:
            if attempt.result is Result.PENDING:
                yield min(now, end_of_day(attempt.due, zone))
            elif attempt.result is not Result.HELD:
                yield attempt.at or attempt.due


def next_allowed(sent: Iterable[datetime], now: datetime, budget: Budget) -> datetime:
    """`now`, or the first instant from which one more message stays within every limit."""
    moments, allowed = sorted(sent), now
    for length, many in budget.limits:
        within = [moment for moment in moments if moment > now - length]
        if len(within) >= many:
            allowed = max(allowed, within[-many] + length)
    return allowed
