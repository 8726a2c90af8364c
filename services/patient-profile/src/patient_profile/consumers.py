"""Which decider handles which event."""

from patient_profile import storage
from patient_profile.domain import Registry
from patient_profile.settings import Settings
from phi_common import topics
from phi_common.eventing.consume import subscribe
from phi_common.events.patients import PatientReported

SETTINGS = Settings()
REGISTRY = Registry(SETTINGS.facility_zones, SETTINGS.default_zone)

reports = subscribe(
    topics.EHR_PATIENTS,
    decide={PatientReported: REGISTRY.report},
    load=storage.load_profiles,
    save=storage.save_profiles,
    despite_parking=lambda event: isinstance(event, PatientReported) and event.deceased is True,
)
