"""An erasure: what patients' messages left behind goes, and their identifiers lead nowhere."""

from collections.abc import Sequence
from uuid import UUID

from ingest_fhir.storage.identity import unname
from phi_common.transaction import Tx

RAW = "DELETE FROM raw_messages WHERE patient_id = ANY(%b) OR patient_id IS NULL"
CREATED = """
DELETE FROM answers WHERE starts_with(key, 'exists:') AND substr(body, octet_length(body) - 35) = ANY(%b)
"""
"""Conditional creates are remembered by a digest of an identifier; what is remembered ends with the patient's id."""


async def erase(tx: Tx, patients: Sequence[UUID]) -> None:
    """Remove raw messages and remembered creations, and unname the identifiers.

    Messages that nobody could read may be about these patients too: all of them go. Their senders were refused, and
    have them.
    """
    unname(tx, patients)
    tx.later(RAW, [list(patients)])
    tx.later(CREATED, [[str(patient).encode() for patient in patients]])
