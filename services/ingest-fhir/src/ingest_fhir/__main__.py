"""`python -m ingest_fhir serve | migrate`."""

from ingest_fhir.main import SERVICE
from ingest_fhir.settings import Settings
from phi_common.service import run

run(SERVICE, Settings)
