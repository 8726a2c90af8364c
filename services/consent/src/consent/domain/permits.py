"""Whether one message may go out, judged on rows that the caller holds locked."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from phi_common.events.consent import Permission


class Refusal(Enum):
    """Why a message may not go out."""

    NO_CONSENT = "no-consent"
    OPTED_OUT = "opted-out"
    DECEASED = "deceased"
    NO_ADDRESS = "no-address"
    ALREADY_GRANTED = "already-granted"
    """This message id had its permit; only a send that provably did not happen frees it."""


class Outcome(Enum):
    """What became of a permit."""

    SENT = "sent"
    NOT_SENT = "not-sent"
    """The provider provably did not get the message."""
    UNKNOWN = "unknown"
    """The provider may still act on it; such a permit counts as open until its time has run out."""


@dataclass(frozen=True)
class Standing:
    """What one id of the person says about the channel of the message."""

    permission: Permission | None
    deceased: bool = False


def refusal(standings: Sequence[Standing], *, addressed: bool, address_blocked: bool) -> Refusal | None:
    """The strictest of all ids known for the person wins; an id without a record has not agreed."""
    if any(standing.deceased for standing in standings):
        return Refusal.DECEASED
    spoken = {standing.permission for standing in standings}
    if address_blocked or spoken - {None, Permission.ALLOWED}:
        return Refusal.OPTED_OUT
    if spoken != {Permission.ALLOWED}:
        return Refusal.NO_CONSENT
    return None if addressed else Refusal.NO_ADDRESS
