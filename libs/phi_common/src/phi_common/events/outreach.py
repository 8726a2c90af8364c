"""What was said to a patient, what was held back and why, and when a person has to take over."""

from datetime import datetime
from enum import Enum
from typing import Annotated, ClassVar
from uuid import UUID

from phi_common import topics
from phi_common.events import Class, Event, open_enum
from phi_common.events.consent import Channel


class MessageEvent(Event):
    """What every event about one message carries."""

    message_id: Annotated[UUID, Class.PLAIN]
    gap_id: Annotated[UUID, Class.PLAIN]
    attempt: Annotated[int, Class.PLAIN]
    channel: Annotated[Channel, Class.QUASI, open_enum(Channel)]


class OutreachScheduled(MessageEvent):
    """A message will be tried at `due`, and not after `send_by`."""

    topic: ClassVar = topics.OUTREACH_MESSAGES
    type: ClassVar = "OutreachScheduled.v1"

    due: Annotated[datetime, Class.QUASI]
    send_by: Annotated[datetime, Class.QUASI]


class MessageSent(MessageEvent):
    """The provider took the message, or it stands in the portal inbox."""

    topic: ClassVar = topics.OUTREACH_MESSAGES
    type: ClassVar = "MessageSent.v1"

    permit_id: Annotated[UUID, Class.PLAIN]
    at: Annotated[datetime, Class.QUASI]


class MessageDelivered(MessageEvent):
    """The provider says that the message reached the handset."""

    topic: ClassVar = topics.OUTREACH_MESSAGES
    type: ClassVar = "MessageDelivered.v1"

    at: Annotated[datetime, Class.QUASI]


class Failure(Enum):
    """Why a message did not go out."""

    REJECTED = "rejected"
    UNDELIVERED = "undelivered"
    UNKNOWN_OUTCOME = "unknown-outcome"
    EXPIRED = "expired"
    OTHER = "other"


class MessageFailed(MessageEvent):
    """The message did not, or not provably, go out. It is never blindly repeated."""

    topic: ClassVar = topics.OUTREACH_MESSAGES
    type: ClassVar = "MessageFailed.v1"

    reason: Annotated[Failure, Class.PLAIN, open_enum(Failure)]
    at: Annotated[datetime, Class.QUASI]


class Suppression(Enum):
    """Why nothing was sent."""

    NO_CONSENT = "no-consent"
    OPTED_OUT = "opted-out"
    NO_ADDRESS = "no-address"
    DECEASED = "deceased"
    GAP_CLOSED = "gap-closed"
    CONTENT = "content"
    BUDGET = "budget"
    """The person has had as many messages as they should for now; the attempt is made later."""
    OTHER = "other"


class OutreachSuppressed(Event):
    """An attempt was due and was held back."""

    topic: ClassVar = topics.OUTREACH_MESSAGES
    type: ClassVar = "OutreachSuppressed.v1"

    gap_id: Annotated[UUID, Class.PLAIN]
    attempt: Annotated[int, Class.PLAIN]
    reason: Annotated[Suppression, Class.QUASI, open_enum(Suppression)]
    at: Annotated[datetime, Class.QUASI]
    until: Annotated[datetime | None, Class.QUASI] = None
    """When the attempt is made after all; None where something else than time has to change."""


class ReviewReason(Enum):
    """Why a person has to look."""

    NO_RESPONSE = "no-response"
    UNREACHABLE = "unreachable"
    UNKNOWN_OUTCOME = "unknown-outcome"
    OTHER = "other"


class CoordinatorReviewRequested(Event):
    """Automated outreach for this gap has ended without success; a care coordinator takes over."""

    topic: ClassVar = topics.OUTREACH_MESSAGES
    type: ClassVar = "CoordinatorReviewRequested.v1"

    gap_id: Annotated[UUID, Class.PLAIN]
    reason: Annotated[ReviewReason, Class.QUASI, open_enum(ReviewReason)]
    at: Annotated[datetime, Class.QUASI]


class OptOutConfirmationSent(Event):
    """A person was told, once, that their opt-out by text is in effect. It is no care message."""

    topic: ClassVar = topics.OUTREACH_MESSAGES
    type: ClassVar = "OptOutConfirmationSent.v1"

    message_id: Annotated[UUID, Class.PLAIN]
    optout_id: Annotated[UUID, Class.PLAIN]
    channel: Annotated[Channel, Class.QUASI, open_enum(Channel)]
    permit_id: Annotated[UUID, Class.PLAIN]
    at: Annotated[datetime, Class.QUASI]
