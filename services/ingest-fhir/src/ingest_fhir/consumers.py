"""Ingest hears of erasures, and of nothing else."""

from ingest_fhir.storage.erasure import erase
from phi_common.eventing.consume import follow_erasures

erasures = follow_erasures(erase)
