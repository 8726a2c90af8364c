"""Which events move a conversation, and what time moves."""

from functools import partial

from outreach import domain, storage
from outreach.settings import BudgetSettings
from phi_common import topics
from phi_common.decision import TimePassed
from phi_common.eventing.consume import subscribe
from phi_common.eventing.sweep import Sweep
from phi_common.events.care_gap import GapClosed, GapOpened
from phi_common.events.consent import OptOutConfirmationDue, PreferenceChanged
from phi_common.events.patients import ContactChanged, ProfileChanged

kept = partial(subscribe, load=storage.load_conversations, save=storage.save_conversations)

gaps = kept(
    topics.GAPS,
    decide={
        GapOpened: domain.open_gap,
        GapClosed: domain.close_gap,
        TimePassed: partial(domain.pass_time, budget=BudgetSettings().budget),
    },
)
profiles = kept(
    topics.PROFILE_PATIENTS,
    decide={ProfileChanged: domain.change_profile},
    despite_parking=lambda event: getattr(event, "deceased", False),
    erase=storage.erase,
)
contacts = kept(topics.PROFILE_CONTACTS, decide={ContactChanged: domain.change_contact})
preferences = kept(
    topics.CONSENT_PREFERENCES,
    decide={PreferenceChanged: domain.change_preference, OptOutConfirmationDue: domain.confirm_opt_out},
    despite_parking=lambda event: True,  # versions decide, not order
)

SUBSCRIPTIONS = (profiles, contacts, preferences, gaps)
SWEEPS = (Sweep(gaps, storage.due_conversations, next_due=storage.next_due),)
