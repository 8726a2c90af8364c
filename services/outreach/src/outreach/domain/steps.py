"""The steps of a sequence, and what an outcome means for it."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from outreach.domain.budget import Budget, counted, next_allowed
from outreach.domain.channels import choose
from outreach.domain.hours import after_wait, end_of_day, within_day
from outreach.domain.state import (
    ATTEMPTS,
    Attempt,
    Conversation,
    Delivery,
    Result,
    Sequence,
    Status,
    message_id,
)
from phi_common.decision import Decision
from phi_common.events.consent import Channel
from phi_common.events.outreach import (
    CoordinatorReviewRequested,
    OutreachScheduled,
    OutreachSuppressed,
    ReviewReason,
    Suppression,
)

Step = Callable[[Conversation], Decision[Conversation]]


def in_turn(state: Conversation, steps: Iterable[Step]) -> Decision[Conversation]:
    """One step after the other, with the events of all."""
    decided = Decision(state)
    for take in steps:
        after = take(decided.state)
        decided = Decision(after.state, decided.events + after.events)
    return decided


def along(trace: str, take: Step) -> Step:
    """The same step; what it tells belongs to this trace, unless it follows from an event that has its own."""

    def taken(state: Conversation) -> Decision[Conversation]:
        decided = take(state)
        return Decision(decided.state, tuple(event.traced(trace) for event in decided.events))

    return taken


def step(
    state: Conversation, patient: UUID, sequence: Sequence, budget: Budget, now: datetime
) -> Decision[Conversation]:
    """The next attempt, or the hand-over to a coordinator when both were made."""
    assert state.contact is not None
    zone = state.contact.zone
    if (day := within_day(now, zone)) > now:
        return Decision(state.having(replace(sequence, due=day)))
    if len(sequence.attempts) >= ATTEMPTS and not state.deceased:
        return hand_over(state, patient, sequence, no_end(sequence), now)
    channel = choose(state)
    if isinstance(channel, Suppression):
        return hold(state, patient, sequence, channel, now)
    if (free := next_allowed(counted(state, zone, now), now, budget)) > now:
        return defer(state, patient, sequence, within_day(free, zone), now)
    return attempt(state, patient, sequence, channel, now)


def attempt(
    state: Conversation, patient: UUID, sequence: Sequence, channel: Channel, now: datetime
) -> Decision[Conversation]:
    """Hand one message to the gate, and set the next step fourteen days later."""
    assert state.contact is not None
    number, zone = len(sequence.attempts) + 1, state.contact.zone
    made = Attempt(message_id(sequence.gap_id, number), channel, now)
    delivery = Delivery(
        made.message_id,
        sequence.gap_id,
        number,
        channel,
        address=state.contact.mobile if channel is Channel.SMS else None,
        language=state.contact.language,
        rule=sequence.rule,
        due=now,
        send_by=end_of_day(now, zone),
        trace=sequence.trace,
    )
    after = replace(sequence, attempts=(*sequence.attempts, made), due=after_wait(now, zone))
    desk = replace(state.desk, handed=(*state.desk.handed, delivery))
    scheduled = OutreachScheduled(
        patient_id=patient,
        message_id=made.message_id,
        gap_id=sequence.gap_id,
        attempt=number,
        channel=channel,
        due=now,
        send_by=delivery.send_by,
    )
    return Decision(replace(state.having(after), desk=desk), (scheduled,))


def defer(
    state: Conversation, patient: UUID, sequence: Sequence, until: datetime, now: datetime
) -> Decision[Conversation]:
    """The person has had enough for now: say so, and take the same step later. Then it is judged again."""
    number = len(sequence.attempts) + 1
    event = suppressed(patient, sequence.gap_id, number, Suppression.BUDGET, now, until)
    return Decision(state.having(replace(sequence, due=until)), (event,))


def no_end(sequence: Sequence) -> ReviewReason:
    """Why both attempts led nowhere."""
    results = {attempt.result for attempt in sequence.attempts}
    if results & {Result.SENT, Result.DELIVERED, Result.PENDING}:
        return ReviewReason.NO_RESPONSE
    return ReviewReason.UNKNOWN_OUTCOME if Result.UNKNOWN in results else ReviewReason.UNREACHABLE


def hand_over(
    state: Conversation, patient: UUID, sequence: Sequence, reason: ReviewReason, now: datetime
) -> Decision[Conversation]:
    """Automated outreach for this gap is over; a person looks."""
    review = CoordinatorReviewRequested(patient_id=patient, gap_id=sequence.gap_id, reason=reason, at=now)
    return Decision(state.having(replace(sequence, status=Status.REVIEW, due=None, review=reason)), (review,))


def hold(
    state: Conversation, patient: UUID, sequence: Sequence, reason: Suppression, now: datetime
) -> Decision[Conversation]:
    """Nothing may be sent: say so once and wait; if something was sent before, a person takes over."""
    if len(sequence.attempts) >= ATTEMPTS:
        return Decision(state.having(replace(sequence, status=Status.ENDED, due=None)))
    number = len(sequence.attempts) + 1
    return held(state, sequence, suppressed(patient, sequence.gap_id, number, reason, now), now)


def suppressed(
    patient: UUID, gap_id: UUID, number: int, reason: Suppression, at: datetime, until: datetime | None = None
) -> OutreachSuppressed:
    """The event for an attempt that was held back."""
    return OutreachSuppressed(patient_id=patient, gap_id=gap_id, attempt=number, reason=reason, at=at, until=until)


def held(state: Conversation, sequence: Sequence, event: OutreachSuppressed, now: datetime) -> Decision[Conversation]:
    """The sequence after an attempt that was held back."""
    if sequence.status is not Status.RUNNING:
        return Decision(state.having(sequence), (event,))
    reached = any(a.result in (Result.SENT, Result.DELIVERED) for a in sequence.attempts)
    used_up = len(sequence.attempts) >= ATTEMPTS
    if (reached or used_up) and event.reason is not Suppression.DECEASED:
        review = hand_over(state, event.patient_id, sequence, ReviewReason.UNREACHABLE, now)
        return Decision(review.state, (event, *review.events))
    return Decision(state.having(replace(sequence, status=Status.SUPPRESSED, due=None)), (event,))
