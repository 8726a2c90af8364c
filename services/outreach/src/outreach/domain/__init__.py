"""Whom to reach, when and by which channel; when to stop and hand over to a person.

One conversation per patient, one sequence per gap episode: two attempts at most, fourteen days apart, each
within the person's day. A failed attempt counts. Fourteen days after the second, a care coordinator takes over.
"""

from dataclasses import replace
from datetime import datetime
from functools import partial
from zoneinfo import ZoneInfo

from outreach.domain.budget import DEFAULT, Budget
from outreach.domain.channels import resumed, withdraw, withdraw_all
from outreach.domain.confirmations import confirm_opt_out
from outreach.domain.hours import within_day
from outreach.domain.outcomes import settle
from outreach.domain.state import Contact, Conversation, Preference, Sequence, Status, pending
from outreach.domain.steps import along, hold, in_turn, step
from phi_common.decision import Decision, TimePassed
from phi_common.events.care_gap import GapClosed, GapOpened
from phi_common.events.consent import Channel, Permission, PreferenceChanged
from phi_common.events.outreach import Suppression
from phi_common.events.patients import ContactChanged, ProfileChanged, Use

__all__ = [
    "change_contact", "change_preference", "change_profile", "close_gap", "confirm_opt_out", "open_gap", "pass_time",
]  # fmt: skip


def open_gap(state: Conversation, event: GapOpened, now: datetime) -> Decision[Conversation]:
    """Start the sequence of this episode; the first message is due as soon as the person's day allows."""
    if event.gap_id in state.sequences:
        return Decision(state)
    due = within_day(now, state.contact.zone) if state.contact else now
    return Decision(state.having(Sequence(event.gap_id, event.rule, opened=now, due=due, trace=event.trace)))


def close_gap(state: Conversation, event: GapClosed, now: datetime) -> Decision[Conversation]:
    """End the sequence; what has not gone out is called back."""
    sequence = state.sequences.get(event.gap_id)
    if sequence is None:
        ended = Sequence(event.gap_id, event.rule, opened=now, status=Status.ENDED)
        return Decision(state.having(ended))
    state = withdraw(state, sequence, Suppression.GAP_CLOSED)
    sequence = state.sequences[event.gap_id]
    return Decision(state.having(replace(sequence, status=Status.ENDED, due=None)))


def change_contact(state: Conversation, event: ContactChanged, now: datetime) -> Decision[Conversation]:
    """Take the whole new contact; what was held for want of an address may start again."""
    ZoneInfo(event.zone)
    mobile = next((p.number for p in event.phones if p.use is Use.MOBILE), None)
    contact = Contact(mobile, event.language, event.zone)
    changed = state.contact is not None and state.contact.mobile != mobile
    state = replace(state, contact=contact)
    if changed:
        state = withdraw_all(state, Suppression.NO_ADDRESS, Channel.SMS)
    return Decision(resumed(state, now))


def change_profile(state: Conversation, event: ProfileChanged, now: datetime) -> Decision[Conversation]:
    """A death stops everything at once; its correction lets it go on."""
    if event.deceased == state.deceased:
        return Decision(state)
    state = replace(state, deceased=event.deceased)
    if not event.deceased:
        return Decision(resumed(state, now))
    state = withdraw_all(state, Suppression.DECEASED)
    waiting = [s for s in state.running() if not pending(s)]
    hold_all = [
        partial(hold, patient=event.patient_id, sequence=s, reason=Suppression.DECEASED, now=now) for s in waiting
    ]
    return in_turn(state, hold_all)


def change_preference(state: Conversation, event: PreferenceChanged, now: datetime) -> Decision[Conversation]:
    """Apply a newer word on one channel; a block calls back what is waiting there."""
    known = state.preferences.get(event.channel)
    if known and known.version >= event.version:
        return Decision(state)
    said = {
        channel: replace(p, preferred=p.preferred and not event.preferred) for channel, p in state.preferences.items()
    }
    said[event.channel] = Preference(event.permission, event.preferred, event.version)
    state = replace(state, preferences=said)
    if event.permission is not Permission.ALLOWED:
        state = withdraw_all(state, Suppression.OPTED_OUT, event.channel)
    return Decision(resumed(state, now))


def pass_time(
    state: Conversation, command: TimePassed, now: datetime, budget: Budget = DEFAULT
) -> Decision[Conversation]:
    """Take in what the gate and the carrier said, then every step that is due, within the person's budget."""
    patient = command.patient_id
    outcomes = [along(o.trace, partial(settle, patient=patient, outcome=o, now=now)) for o in state.desk.outcomes]
    settled = in_turn(state, outcomes)
    state = settled.state
    due = [s for s in state.running() if s.due and s.due <= now] if state.contact else []
    steps = [along(s.trace, partial(step, patient=patient, sequence=s, budget=budget, now=now)) for s in due]
    stepped = in_turn(state, steps)
    return Decision(stepped.state, settled.events + stepped.events)
