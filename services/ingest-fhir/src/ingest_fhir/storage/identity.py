"""Which person an identifier names. Only blind digests of identifiers are stored."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from ingest_fhir.domain import OUR_ID, Identifier, Report
from phi_common.clock import random_id
from phi_common.crypto import BlindIndex
from phi_common.db import Tx

NOBODY = UUID(int=0)
"""Whom the identifiers of erased people name: they are known, and lead nowhere."""
CACHED = 200_000
KNOWN = "SELECT digest, patient_id FROM identifiers WHERE digest = ANY(%b)"
ADD = """
INSERT INTO identifiers (digest, patient_id) SELECT * FROM unnest(%b::bytea[], %b::uuid[])
ON CONFLICT (digest) DO NOTHING
"""
UNNAME = f"UPDATE identifiers SET patient_id = '{NOBODY}' WHERE patient_id = ANY(%b)"  # noqa: S608
TAKE_BACK = "DELETE FROM identifiers WHERE patient_id = ANY(%b)"


class Identities:
    """The cross-reference, with a cache of what is known to be committed."""

    def __init__(self, index: BlindIndex) -> None:
        self._index = index
        self._cache: OrderedDict[bytes, UUID] = OrderedDict()

    def digest(self, identifier: Identifier) -> bytes:
        """The look-up value of an identifier."""
        return self._index.digest("identifier", str(identifier))

    def forget(self, patient: UUID) -> None:
        """A patient was erased: their identifiers are looked up anew. Rare, so a walk through all will do."""
        for digest in [digest for digest, known in self._cache.items() if known == patient]:
            del self._cache[digest]

    def forget_all(self) -> None:
        """Erasures may have been missed: look everything up anew."""
        self._cache.clear()

    async def known(self, pg: Any, digests: Iterable[bytes]) -> dict[bytes, UUID]:
        """The people that these identifiers name; unknown ones are absent."""
        found, missing = {}, []
        for digest in set(digests):
            if (patient := self._cache.get(digest)) is not None:
                found[digest] = patient
            else:
                missing.append(digest)
        if missing:
            for digest, patient in await (await pg.execute(KNOWN, [missing])).fetchall():
                found[bytes(digest)] = self._cache[bytes(digest)] = patient
            while len(self._cache) > CACHED:
                self._cache.popitem(last=False)
        return found

    async def resolve(self, pg: Any, reports: Sequence[Report]) -> tuple[list[UUID], dict[bytes, UUID]]:
        """The person of each report, made where no identifier is known, and what had been known before.

        The first identifier that is known decides; one that names somebody else keeps doing so: merging is not
        decided here. Rows are added in digest order before any subject is locked, so that batches cannot
        deadlock.
        """
        names = [[self.digest(identifier) for identifier in report.identifiers] for report in reports]
        before = await self.known(pg, (digest for digests in names for digest in digests))
        known = dict(before)
        ours, new = self._assign(reports, names, known)
        if new:
            rows = sorted(new.items())
            cursor = await pg.execute(ADD, [[digest for digest, _ in rows], [patient for _, patient in rows]])
            if cursor.rowcount < len(rows):
                taken = await (await pg.execute(KNOWN, [[digest for digest, _ in rows]])).fetchall()
                known = before | {bytes(digest): patient for digest, patient in taken}
                ours, _ = self._assign(reports, names, known)
        return ours, before

    def _assign(
        self, reports: Sequence[Report], names: Sequence[Sequence[bytes]], known: dict[bytes, UUID]
    ) -> tuple[list[UUID], dict[bytes, UUID]]:
        """A person for each report in turn, and the rows that this takes; `known` grows with them."""
        people, new = [], {}
        for report, digests in zip(reports, names, strict=True):
            patient = next((known[digest] for digest in digests if digest in known), None)
            if patient is None:
                patient = random_id()
                own = self.digest(Identifier(OUR_ID, str(patient)))
                known[own] = new[own] = patient
            for identifier, digest in zip(report.identifiers, digests, strict=True):
                if digest not in known and identifier.system != OUR_ID and patient != NOBODY:
                    known[digest] = new[digest] = patient
            people.append(patient)
        return people, new


async def unname(tx: Tx, patients: Sequence[UUID]) -> None:
    """The identifiers of erased people name nobody from now on, so that what a feed still says is refused."""
    await tx.pg.execute(UNNAME, [list(patients)])


async def take_back(tx: Tx, patients: Iterable[UUID]) -> None:
    """Remove what a report added for people of whom it then turned out that they were erased."""
    await tx.pg.execute(TAKE_BACK, [list(patients)])
