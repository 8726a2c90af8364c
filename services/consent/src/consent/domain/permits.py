"""Whether one message may go out, judged on rows that the caller holds locked."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from phi_common.events.consent import Permission

CONFIRM_WITHIN = timedelta(minutes=5)
"""From the receipt of a STOP; a confirmation within it is presumed to be agreed to (47 CFR 64.1200(a)(12))."""


class Purpose(Enum):
    """What a message is for. The set is closed: whoever wants to send something else has to add its rule here."""

    CARE_GAP = "care-gap"
    OPTOUT_CONFIRM = "optout-confirm"
    """The one text that tells a person that their opt-out was heard, and nothing else."""


class Refusal(Enum):
    """Why a message may not go out."""

    NO_CONSENT = "no-consent"
    OPTED_OUT = "opted-out"
    DECEASED = "deceased"
    NO_ADDRESS = "no-address"
    ALREADY_GRANTED = "already-granted"
    """This message id, or this opt-out, had its permit; only a send that provably did not happen frees it."""
    NOT_CONFIRMABLE = "not-confirmable"
    """No opt-out by text from this address is in effect that may be confirmed."""
    TOO_LATE = "too-late"
    """The time in which an opt-out may be confirmed is over."""


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
    held: bool = False
    """A reply that may mean "stop" has not been read yet."""


def refusal(standings: Sequence[Standing], *, addressed: bool, address_blocked: bool) -> Refusal | None:
    """The strictest of all ids known for the person wins; an id without a record has not agreed."""
    if any(standing.deceased for standing in standings):
        return Refusal.DECEASED
    spoken = {standing.permission for standing in standings}
    held = any(standing.held for standing in standings)
    if address_blocked or held or spoken - {None, Permission.ALLOWED}:
        return Refusal.OPTED_OUT
    if spoken != {Permission.ALLOWED}:
        return Refusal.NO_CONSENT
    return None if addressed else Refusal.NO_ADDRESS


@dataclass(frozen=True)
class OptOut:
    """An opt-out as the judge of its confirmation needs it. Times are real ones, of one clock."""

    digest: bytes | None
    confirmable: bool
    """It came as a definite STOP from an address that was open until then."""
    received: datetime
    effective: datetime | None


def confirmation_refusal(
    optout: OptOut | None, *, digest: bytes | None, address_blocked: bool, deceased: bool, upto: datetime
) -> Refusal | None:
    """Whether an opt-out may be confirmed to `digest` by a message that leaves before `upto`.

    Only after it is effective, so that nothing of its time can follow the confirmation; only to where it came from;
    and not once newer consent has opened that address again. That it happens once, the permit's row sees to.
    """
    if deceased:
        return Refusal.DECEASED
    if optout is None or not optout.confirmable or optout.digest is None or optout.digest != digest:
        return Refusal.NOT_CONFIRMABLE
    if optout.effective is None or not address_blocked:
        return Refusal.NOT_CONFIRMABLE
    return Refusal.TOO_LATE if upto > optout.received + CONFIRM_WITHIN else None
