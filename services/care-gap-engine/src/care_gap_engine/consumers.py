"""Which decider handles which event, and the sweep of instants that have come."""

from care_gap_engine import storage
from care_gap_engine.packs import PROTOCOLS
from phi_common import topics
from phi_common.decision import DeadLettered, TimePassed
from phi_common.eventing.consume import subscribe
from phi_common.eventing.sweep import Sweep
from phi_common.events.clinical import ConditionRecorded, ObservationReceived
from phi_common.events.patients import ProfileChanged

facts = subscribe(
    topics.CLINICAL_FACTS,
    decide={
        ObservationReceived: PROTOCOLS.observe,
        ConditionRecorded: PROTOCOLS.diagnose,
        TimePassed: PROTOCOLS.pass_time,
        DeadLettered: PROTOCOLS.doubt,
    },
    load=storage.load_charts,
    save=storage.save_charts,
    ordered=False,
)

profiles = subscribe(
    topics.PROFILE_PATIENTS,
    decide={ProfileChanged: PROTOCOLS.change_profile},
    load=storage.load_charts,
    save=storage.save_charts,
    despite_parking=lambda event: isinstance(event, ProfileChanged) and event.deceased,
    erase=storage.erase,
)

sweep = Sweep(facts, storage.due_charts, next_due=storage.next_due)
