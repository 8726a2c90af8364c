"""What the gate and the carrier say about a message, and what that means for its sequence."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from outreach.domain.confirmations import confirmed
from outreach.domain.state import Attempt, Conversation, Outcome, Result, Sequence
from outreach.domain.steps import held, suppressed
from phi_common.decision import Decision
from phi_common.events import Event
from phi_common.events.outreach import Failure, MessageDelivered, MessageFailed, MessageSent, Suppression


def settle(state: Conversation, patient: UUID, outcome: Outcome, now: datetime) -> Decision[Conversation]:
    """Record what became of one message; told twice, it changes nothing."""
    desk = replace(state.desk, settled=(*state.desk.settled, outcome.message_id))
    state = replace(state, desk=desk)
    if outcome.gap_id is None:
        return confirmed(state, patient, outcome)
    sequence = state.sequences.get(outcome.gap_id)
    number, attempt = next(
        ((n, a) for n, a in enumerate(sequence.attempts if sequence else (), 1) if a.message_id == outcome.message_id),
        (0, None),
    )
    if sequence is None or attempt is None:
        return Decision(state)
    if outcome.state in ("refused", "cancelled"):
        return _hold_back(state, patient, sequence, number, outcome, now)
    result, events = _told(attempt, patient, sequence.gap_id, number, outcome)
    return Decision(state.having(_with(sequence, number, result, outcome.at)), events)


def _with(sequence: Sequence, number: int, result: Result, at: datetime) -> Sequence:
    done = replace(sequence.attempts[number - 1], result=result, at=at)
    attempts = tuple(done if n == number else a for n, a in enumerate(sequence.attempts, 1))
    return replace(sequence, attempts=attempts)


def _hold_back(
    state: Conversation, patient: UUID, sequence: Sequence, number: int, outcome: Outcome, now: datetime
) -> Decision[Conversation]:
    """The gate did not send: consent or the content guard refused, or the message was called back in time."""
    attempt = sequence.attempts[number - 1]
    if attempt.result is not Result.PENDING:
        return Decision(state)
    called_back = attempt.withdrawn if outcome.state == "cancelled" else None
    reason = called_back or _suppression(outcome.reason)
    event = suppressed(patient, sequence.gap_id, number, reason, outcome.at)
    sequence = _with(sequence, number, Result.HELD, outcome.at)
    if called_back is Suppression.NO_ADDRESS:
        return Decision(state.having(sequence), (event,))
    return held(state, sequence, event, now)


def _suppression(reason: str | None) -> Suppression:
    known = {member.value: member for member in Suppression}
    return known.get(reason or "", Suppression.OTHER)


def _told(
    attempt: Attempt, patient: UUID, gap_id: UUID, number: int, outcome: Outcome
) -> tuple[Result, tuple[Event, ...]]:
    """The attempt's result and the events for it: first what the gate did, then what the carrier reported."""
    about = {
        "patient_id": patient,
        "message_id": attempt.message_id,
        "gap_id": gap_id,
        "attempt": number,
        "channel": attempt.channel,
    }
    result = attempt.result
    events: list[Event] = []
    if outcome.state == "sent" and result in (Result.PENDING, Result.UNKNOWN):
        result = Result.SENT
        events.append(MessageSent(**about, permit_id=outcome.permit_id, at=outcome.at))
    elif outcome.state == "unknown" and result is Result.PENDING:
        result = Result.UNKNOWN
        events.append(MessageFailed(**about, reason=Failure.UNKNOWN_OUTCOME, at=outcome.at))
    elif outcome.state == "failed" and result is Result.PENDING:
        result = Result.FAILED
        events.append(MessageFailed(**about, reason=Failure(outcome.reason), at=outcome.at))
    if result is Result.SENT and outcome.carrier == "delivered":
        result = Result.DELIVERED
        events.append(MessageDelivered(**about, at=outcome.carrier_at))
    elif result is Result.SENT and outcome.carrier == "undelivered":
        result = Result.FAILED
        events.append(MessageFailed(**about, reason=Failure.UNDELIVERED, at=outcome.carrier_at))
    return result, tuple(events)
