"""HL7 v2 read by position: bytes to a report or a problem with its place, and the acknowledgement."""

from ingest_fhir.hl7v2.ack import acknowledge
from ingest_fhir.hl7v2.batch import acknowledge_batch, addressed, is_batch, opened
from ingest_fhir.hl7v2.mapping import Heard, Interface, understand
from ingest_fhir.hl7v2.reader import Header, Invalid, Problem

__all__ = [
    "Header",
    "Heard",
    "Interface",
    "Invalid",
    "Problem",
    "acknowledge",
    "acknowledge_batch",
    "addressed",
    "is_batch",
    "opened",
    "understand",
]
