"""The composition root."""

from patient_profile import consumers
from patient_profile.api import router
from phi_common.service import Service

SERVICE = Service("patient-profile", subscriptions=(consumers.reports,), router=router)
