"""`python -m patient_profile serve | migrate`."""

from patient_profile.main import SERVICE
from patient_profile.settings import Settings
from phi_common.service import run

run(SERVICE, Settings)
