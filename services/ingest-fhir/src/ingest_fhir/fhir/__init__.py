"""FHIR R4 read by typed decode of the elements that matter here; everything else stays in the raw bytes."""

from ingest_fhir.fhir.bundle import is_bundle, understand, understand_bundle
from ingest_fhir.fhir.judge import Judge
from ingest_fhir.fhir.outcome import Issue, Refusal, outcome
from ingest_fhir.fhir.values import token

__all__ = ["Issue", "Judge", "Refusal", "is_bundle", "outcome", "token", "understand", "understand_bundle"]
