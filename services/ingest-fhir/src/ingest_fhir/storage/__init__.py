"""What ingest keeps: sealed raw messages, the identifier cross-reference, and answers given."""

from ingest_fhir.storage.accept import Intake
from ingest_fhir.storage.tables import metadata

__all__ = ["Intake", "metadata"]
