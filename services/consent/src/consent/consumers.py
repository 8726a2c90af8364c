"""What consent hears from the golden record, and the path of its own commands."""

from consent.domain.preferences import (
    Allow,
    Block,
    Hold,
    Release,
    allow,
    block,
    contact_changed,
    hold,
    profile_changed,
    release,
)
from consent.storage.erasure import erase
from consent.storage.preferences import load, save
from phi_common import topics
from phi_common.eventing.consume import subscribe
from phi_common.events import Event
from phi_common.events.patients import ContactChanged, ProfileChanged


def _is_death(event: Event) -> bool:
    return isinstance(event, ProfileChanged) and event.deceased


preferences = subscribe(
    topics.PROFILE_PATIENTS,
    decide={ProfileChanged: profile_changed, Allow: allow, Block: block, Hold: hold, Release: release},
    load=load,
    save=save,
    despite_parking=_is_death,
    erase=erase,
)
contacts = subscribe(topics.PROFILE_CONTACTS, decide={ContactChanged: contact_changed}, load=load, save=save)
