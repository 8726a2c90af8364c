"""Erasing patients: the same steps in every database, whether a person asked for it or `PatientErased` did."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from uuid import UUID

from phi_common.eventing.envelope import Received
from phi_common.events.patients import PatientErased
from phi_common.transaction import Tx

Erase = Callable[[Tx, Sequence[UUID]], Awaitable[None]]
"""A service's own part: remove or end the clear rows of these patients. Sealed ones need not be touched."""


async def erase(tx: Tx, patients: Iterable[UUID], clear: Erase) -> None:
    """Destroy the keys of these patients here, then let the service clear what led to them. Again is harmless."""
    ids = sorted(set(patients))
    await tx.lock(ids)
    for patient in ids:
        await tx.shred(patient)
    await clear(tx, ids)


async def follow(tx: Tx, received: Sequence[Received], clear: Erase | None) -> None:
    """Carry out the erasures among these events, whatever their patients wait for. Subjects are locked already."""
    erasures = [one for one in received if isinstance(one.event, PatientErased)]
    if not erasures or clear is None:
        return
    await erase(tx, (one.event.patient_id for one in erasures), clear)
    for one in erasures:
        tx.audit("apply:" + one.event.type, one.event.patient_id, str(one.event_id), one.traceparent)
