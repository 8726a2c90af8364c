"""What a patient allows and forbids."""

from datetime import datetime
from enum import Enum
from typing import Annotated, ClassVar
from uuid import UUID

from phi_common import topics
from phi_common.events import Class, Event, open_enum


class Channel(Enum):
    """A way to reach a person; each has its own rules on words."""

    PORTAL = "portal"
    SMS = "sms"
    EMAIL = "email"
    PHONE = "phone"
    OTHER = "other"


class Permission(Enum):
    """`blocked` always wins; a channel without a record is not allowed."""

    ALLOWED = "allowed"
    BLOCKED = "blocked"
    OTHER = "other"


class PreferenceChanged(Event):
    """One channel of one person was opened or closed, or chosen as the preferred one."""

    topic: ClassVar = topics.CONSENT_PREFERENCES
    type: ClassVar = "PreferenceChanged.v1"

    channel: Annotated[Channel, Class.QUASI, open_enum(Channel)]
    permission: Annotated[Permission, Class.QUASI, open_enum(Permission)]
    preferred: Annotated[bool, Class.QUASI] = False
    version: Annotated[int, Class.PLAIN]
    """Counts up per person; readers apply only greater ones."""
    since: Annotated[datetime, Class.PLAIN]


class OptOutConfirmationDue(Event):
    """An opt-out by text is effective; where it came from may now get the one confirmation that the law allows."""

    topic: ClassVar = topics.CONSENT_PREFERENCES
    type: ClassVar = "OptOutConfirmationDue.v1"

    optout_id: Annotated[UUID, Class.PLAIN]
    channel: Annotated[Channel, Class.QUASI, open_enum(Channel)]
    address: Annotated[str, Class.PHI]
