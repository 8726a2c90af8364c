"""What may be said to whom by which channel: one person's preferences.

Nothing on record means no. A block by the person is lifted only by consent that is newer than it; silence,
imports and replies never lift one. Death blocks every channel and leaves the record of consent as it was,
since an EHR may correct it. A reply by text that may mean "stop" does the same to texts, until a person has read it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from phi_common.decision import Command, Decision, Refused
from phi_common.events.consent import Channel, Permission, PreferenceChanged
from phi_common.events.patients import ContactChanged, ProfileChanged

ADDRESSED = {Channel.SMS: "phone", Channel.PHONE: "phone", Channel.EMAIL: "email"}
"""The kind of address that a channel needs; the portal needs none."""

Contact = tuple[str, str]
"""Kind of address, and the address as reported."""


@dataclass(frozen=True)
class Evidence:
    """What we would show if someone asked why we wrote, or why we stopped."""

    by: str
    at: datetime
    wording: str = ""
    """Id of the text that the person agreed to; for a block, its reason."""
    reference: str = ""


@dataclass(frozen=True)
class Rule:
    """What holds for one channel since the person last said so."""

    permission: Permission
    version: int
    since: datetime
    evidence: Evidence


@dataclass(frozen=True)
class Preferences:
    """Everything one person has said about being contacted."""

    version: int = 0
    deceased: bool = False
    preferred: Channel | None = None
    rules: Mapping[Channel, Rule] = field(default_factory=dict)
    holds: frozenset[UUID] = frozenset()
    """Replies by text that may mean "stop" and that nobody has read yet; one is enough to hold every text."""
    contacts: frozenset[Contact] | None = None
    """Addresses just reported; None when there is nothing new. Kept only as digests, so never read back."""

    def permission(self, channel: Channel) -> Permission | None:
        """What holds now; None when the person never said anything."""
        if (rule := self.rules.get(channel)) is None:
            return None
        held = channel is Channel.SMS and bool(self.holds)
        return Permission.BLOCKED if self.deceased or held else rule.permission


@dataclass(frozen=True)
class Allow(Command):
    """The person agreed to a channel. Without `obtained` they do so now."""

    channel: Channel
    by: str
    wording: str = ""
    reference: str = ""
    obtained: datetime | None = None
    preferred: bool = False


@dataclass(frozen=True)
class Block(Command):
    """The person, or someone for them, closes a channel. Nobody has to give a reason."""

    channel: Channel
    by: str
    reason: str = ""


@dataclass(frozen=True)
class Hold(Command):
    """A reply by text may mean "stop": no texts until a person has read it (47 CFR 64.1200(a)(10))."""

    reply_id: UUID


@dataclass(frozen=True)
class Release(Command):
    """A person has read that reply; what the person on record allows holds again, and no more than that."""

    reply_id: UUID


def allow(state: Preferences, command: Allow, now: datetime) -> Decision[Preferences]:
    """Open a channel on evidence that is newer than what closed it, and not past a reply that nobody has read."""
    if not (command.wording or command.reference):
        raise Refused("evidence-missing")
    if state.deceased:
        raise Refused("deceased")
    if state.holds and command.channel is Channel.SMS:
        raise Refused("reply-unread")
    at = command.obtained or now
    rule = state.rules.get(command.channel)
    if at > now:
        raise Refused("evidence-in-the-future")
    if command.obtained and rule and rule.permission is not Permission.ALLOWED and at <= rule.since:
        raise Refused("evidence-not-newer-than-block")
    evidence = Evidence(command.by, at, command.wording, command.reference)
    after = _with_rule(state, command.channel, Permission.ALLOWED, now, evidence)
    if not command.preferred:
        return _told(after, command.patient_id, now, [command.channel])
    former = [state.preferred] if state.preferred not in (None, command.channel) else []
    return _told(replace(after, preferred=command.channel), command.patient_id, now, [command.channel, *former])


def block(state: Preferences, command: Block, now: datetime) -> Decision[Preferences]:
    """Close a channel. A second block changes nothing: the first one's date is the one that counts."""
    rule = state.rules.get(command.channel)
    if rule and rule.permission is Permission.BLOCKED:
        return Decision(state)
    evidence = Evidence(command.by, now, command.reason)
    after = _with_rule(state, command.channel, Permission.BLOCKED, now, evidence)
    if state.preferred is command.channel:
        after = replace(after, preferred=None)
    return _told(after, command.patient_id, now, [command.channel])


def hold(state: Preferences, command: Hold, now: datetime) -> Decision[Preferences]:
    """Close texts for the time being; the record of consent stays as it was."""
    return _held(state, command.patient_id, now, state.holds | {command.reply_id})


def release(state: Preferences, command: Release, now: datetime) -> Decision[Preferences]:
    """Take one hold away. The others, a block and a death stay."""
    return _held(state, command.patient_id, now, state.holds - {command.reply_id})


def _held(state: Preferences, patient_id: UUID, now: datetime, holds: frozenset[UUID]) -> Decision[Preferences]:
    after = replace(state, holds=holds)
    if after.permission(Channel.SMS) is state.permission(Channel.SMS):
        return Decision(after)
    return _told(after, patient_id, now, [Channel.SMS])


def profile_changed(state: Preferences, event: ProfileChanged, now: datetime) -> Decision[Preferences]:
    """Close every open channel of a person who died, and undo just that when the report was a mistake."""
    if event.deceased == state.deceased:
        return Decision(state)
    open_ones = [channel for channel, rule in state.rules.items() if rule.permission is Permission.ALLOWED]
    return _told(replace(state, deceased=event.deceased), event.patient_id, now, open_ones)


def contact_changed(state: Preferences, event: ContactChanged, now: datetime) -> Decision[Preferences]:
    """Note where the person can be reached, so that a STOP from there finds them. It allows nothing."""
    phones = {("phone", phone.number) for phone in event.phones}
    emails = {("email", email) for email in event.emails}
    return Decision(replace(state, contacts=frozenset(phones | emails)))


def _with_rule(
    state: Preferences, channel: Channel, permission: Permission, now: datetime, evidence: Evidence
) -> Preferences:
    rule = Rule(permission, state.version + 1, now, evidence)
    return replace(state, rules={**state.rules, channel: rule})


def _told(state: Preferences, patient_id: UUID, now: datetime, channels: Iterable[Channel]) -> Decision[Preferences]:
    """One event per channel, each with the next version; the channel that was acted on comes first."""
    events = tuple(
        PreferenceChanged(
            patient_id=patient_id,
            channel=channel,
            permission=state.permission(channel) or Permission.BLOCKED,
            preferred=channel is state.preferred,
            version=version,
            since=now,
        )
        for version, channel in enumerate(channels, start=state.version + 1)
    )
    return Decision(replace(state, version=state.version + len(events)), events)
