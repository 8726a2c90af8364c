"""Which channel carries the next message, and what happens to messages whose channel has closed."""

from dataclasses import replace
from datetime import datetime

from outreach.domain.hours import within_day
from outreach.domain.state import ATTEMPTS, Conversation, Sequence, Status, pending
from phi_common.events.consent import Channel, Permission
from phi_common.events.outreach import Suppression

CHANNELS = (Channel.PORTAL, Channel.SMS)
"""What the gate can serve, in the order of choice where the person named no preferred one."""


def choose(state: Conversation) -> Channel | Suppression:
    """The channel for the next message, or why there is none. No record means no consent."""
    if state.deceased:
        return Suppression.DECEASED
    said = state.preferences
    allowed = [c for c in CHANNELS if c in said and said[c].permission is Permission.ALLOWED]
    usable = [c for c in allowed if c is not Channel.SMS or (state.contact and state.contact.mobile)]
    if usable:
        return next((c for c in usable if said[c].preferred), usable[0])
    if allowed:
        return Suppression.NO_ADDRESS
    blocked = any(p.permission is Permission.BLOCKED for p in said.values())
    return Suppression.OPTED_OUT if blocked else Suppression.NO_CONSENT


def withdraw(state: Conversation, sequence: Sequence, reason: Suppression) -> Conversation:
    """Call back the unsent message of a sequence; whether that was in time, its outcome will say."""
    waiting = pending(sequence)
    if waiting is None or waiting.withdrawn:
        return state
    attempts = tuple(replace(a, withdrawn=reason) if a is waiting else a for a in sequence.attempts)
    desk = replace(state.desk, withdrawn=(*state.desk.withdrawn, waiting.message_id))
    return replace(state.having(replace(sequence, attempts=attempts)), desk=desk)


def withdraw_all(state: Conversation, reason: Suppression, channel: Channel | None = None) -> Conversation:
    """Call back every unsent message, of one channel or of all."""
    for sequence in state.running():
        waiting = pending(sequence)
        if waiting and channel in (None, waiting.channel):
            state = withdraw(state, sequence, reason)
    return state


def resumed(state: Conversation, now: datetime) -> Conversation:
    """Held sequences go on where a channel is open now."""
    if state.contact is None or isinstance(choose(state), Suppression):
        return state
    due = within_day(now, state.contact.zone)
    for sequence in state.sequences.values():
        if sequence.status is Status.SUPPRESSED and len(sequence.attempts) < ATTEMPTS:
            state = state.having(replace(sequence, status=Status.RUNNING, due=due))
    return state
