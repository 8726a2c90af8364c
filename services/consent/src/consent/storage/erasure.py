"""An erasure: nothing is allowed any more, and no address leads to the person."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from consent.domain.preferences import ADDRESSED
from consent.storage import addresses, flagged, permits
from consent.storage.flagged import Unread
from phi_common.transaction import Tx

PERSONAL = (
    "DELETE FROM people WHERE patient_id = ANY(%b)",
    "DELETE FROM preferences WHERE patient_id = ANY(%b)",
    "DELETE FROM addresses WHERE patient_id = ANY(%b)",
)
"""In the order in which rows are locked. The record of consent stays: its evidence opens no more."""


async def erase(tx: Tx, patients: Sequence[UUID]) -> None:
    """Remove standing preferences, addresses and replies, and wait for permits as an opt-out of every channel does.

    Without a standing preference no permit is granted. What was granted before keeps its address until nobody can use
    it, since a STOP from a shared number has to wait for it; `permits.settle` then takes it away. A blocked address
    stays blocked: it names nobody. What they forbade by text is not confirmed any more.
    """
    unread = await flagged.forget(tx, patients)
    for statement in PERSONAL:
        await tx.execute(statement, [list(patients)])
    await _let_go(tx, unread)
    permits.never_confirm(tx, patients)
    for patient in patients:
        for channel in ADDRESSED:
            await permits.opt_out(tx, channel, [patient])


async def _let_go(tx: Tx, unread: Iterable[Unread]) -> None:
    """A text that others at the number have to read is theirs; one that nobody is left to read may have been a STOP."""
    for reply in unread:
        if not reply.with_others:
            await addresses.block(tx, reply.channel, reply.digest)
        await addresses.release(tx, reply.channel, reply.digest)
