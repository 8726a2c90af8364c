"""What outreach remembers of one patient: how to reach them, what they allowed, one sequence per gap."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from uuid import UUID, uuid5

from phi_common.events.consent import Channel, Permission
from phi_common.events.outreach import ReviewReason, Suppression

ATTEMPTS = 2


class Status(Enum):
    """Where a sequence stands."""

    RUNNING = "running"
    SUPPRESSED = "suppressed"
    REVIEW = "review"
    ENDED = "ended"


class Result(Enum):
    """What became of one attempt."""

    PENDING = "pending"
    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"
    UNKNOWN = "unknown"
    HELD = "held"


@dataclass(frozen=True)
class Contact:
    """How the person can be reached. `mobile` is the one number that may get a text."""

    mobile: str | None
    language: str
    zone: str


@dataclass(frozen=True)
class Preference:
    """What the person said about one channel, last."""

    permission: Permission
    preferred: bool
    version: int


@dataclass(frozen=True)
class Attempt:
    """One message, handed to the gate."""

    message_id: UUID
    channel: Channel
    due: datetime
    result: Result = Result.PENDING
    withdrawn: Suppression | None = None
    """Why it was called back; it may have gone out before that."""
    at: datetime | None = None
    """When the gate was done with it."""


@dataclass(frozen=True)
class Sequence:
    """The outreach for one gap episode."""

    gap_id: UUID
    rule: str
    opened: datetime
    attempts: tuple[Attempt, ...] = ()
    status: Status = Status.RUNNING
    due: datetime | None = None
    """When the next step is to be taken."""
    review: ReviewReason | None = None
    """Why a coordinator was asked; stays after the gap has closed."""
    trace: str = ""
    """The traceparent of the event that opened the gap: what time brings about later belongs to it."""


@dataclass(frozen=True)
class Delivery:
    """What the gate needs to send one message, before it is put into words. Either a gap or an opt-out is its cause."""

    message_id: UUID
    gap_id: UUID | None
    attempt: int
    channel: Channel
    address: str | None
    language: str
    rule: str
    due: datetime
    send_by: datetime
    optout_id: UUID | None = None
    """The opt-out by text that this message confirms."""
    trace: str = ""
    """The traceparent under which the gate sends it."""


@dataclass(frozen=True)
class Outcome:
    """What the gate, and later the carrier, say about one message."""

    message_id: UUID
    gap_id: UUID | None
    state: str
    """`sent`, `failed`, `unknown`, `refused` or `cancelled`."""
    at: datetime
    reason: str | None = None
    permit_id: UUID | None = None
    carrier: str | None = None
    """`delivered` or `undelivered`, when the carrier has reported."""
    carrier_at: datetime | None = None
    optout_id: UUID | None = None
    trace: str = ""
    """The traceparent that the message was handed over with."""


@dataclass(frozen=True)
class Desk:
    """What passes between a conversation and the gate in one transaction; never remembered."""

    outcomes: tuple[Outcome, ...] = ()
    settled: tuple[UUID, ...] = ()
    handed: tuple[Delivery, ...] = ()
    withdrawn: tuple[UUID, ...] = ()


@dataclass(frozen=True)
class Conversation:
    """Everything outreach knows of one patient."""

    contact: Contact | None = None
    deceased: bool = False
    preferences: dict[Channel, Preference] = field(default_factory=dict)
    sequences: dict[UUID, Sequence] = field(default_factory=dict)
    confirmed: frozenset[UUID] = frozenset()
    """Opt-outs whose confirmation went out, so that it is told once."""
    desk: Desk = Desk()

    @property
    def due(self) -> datetime | None:
        """The next instant at which time alone asks for a step; none before the contact is known."""
        due = [s.due for s in self.sequences.values() if s.status is Status.RUNNING and s.due]
        return min(due, default=None) if self.contact else None

    def having(self, sequence: Sequence) -> "Conversation":
        """The same with one sequence put in the place of its former value."""
        return replace(self, sequences=self.sequences | {sequence.gap_id: sequence})

    def running(self) -> list[Sequence]:
        """Sequences that time moves on."""
        return [s for s in self.sequences.values() if s.status is Status.RUNNING]


def message_id(gap_id: UUID, attempt: int) -> UUID:
    """The same for the same attempt, whoever computes it: a repeat cannot become a second message."""
    return uuid5(gap_id, str(attempt))


def pending(sequence: Sequence) -> Attempt | None:
    """The attempt whose outcome is not known yet."""
    return next((a for a in sequence.attempts if a.result is Result.PENDING), None)
