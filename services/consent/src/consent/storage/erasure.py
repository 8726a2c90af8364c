"""An erasure: nothing is allowed any more, and no address leads to the person."""

from collections.abc import Sequence
from uuid import UUID

from consent.domain.preferences import ADDRESSED
from consent.storage import permits
from phi_common.db import Tx

PERSONAL = ("people", "preferences", "addresses")
"""In the order in which rows are locked. The record of consent stays: its evidence opens no more."""


async def erase(tx: Tx, patients: Sequence[UUID]) -> None:
    """Remove standing preferences and addresses, and wait for permits as an opt-out of every channel does.

    Without a standing preference no permit is granted. What was granted before keeps its address until nobody can use
    it, since a STOP from a shared number has to wait for it; `permits.settle` then takes it away. A blocked address
    stays blocked: it names nobody.
    """
    for table in PERSONAL:
        await tx.pg.execute(f"DELETE FROM {table} WHERE patient_id = ANY(%b)", [list(patients)])  # noqa: S608
    for patient in patients:
        for channel in ADDRESSED:
            await permits.opt_out(tx, channel, [patient])
