"""Which person an identifier names. Only blind digests of identifiers are stored."""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from uuid import UUID

from ingest_fhir.domain import OUR_ID, Identifier, Report
from phi_common.clock import random_id
from phi_common.crypto import BlindIndex
from phi_common.transaction import Tx

NOBODY = UUID(int=0)
"""Whom the identifiers of erased people name: they are known, and lead nowhere."""
CACHED = 200_000
KNOWN = "SELECT digest, patient_id FROM identifiers WHERE digest = ANY(%b)"
ADD = """
INSERT INTO identifiers (digest, patient_id) SELECT * FROM unnest(%b::bytea[], %b::uuid[])
ON CONFLICT (digest) DO NOTHING
"""
UNNAME = "UPDATE identifiers SET patient_id = %b WHERE patient_id = ANY(%b)"
TAKE_BACK = "DELETE FROM identifiers WHERE patient_id = ANY(%b)"


class Identities:
    """The cross-reference, with a cache of what is known to be committed."""

    def __init__(self, index: BlindIndex) -> None:
        self._index = index
        self._cache: OrderedDict[bytes, UUID] = OrderedDict()

    def digest(self, identifier: Identifier) -> bytes:
        """The look-up value of an identifier."""
        return self._index.digest("identifier", str(identifier))

    async def known(self, tx: Tx, digests: Iterable[bytes]) -> dict[bytes, UUID]:
        """The people that these identifiers name; unknown ones are absent."""
        found, missing = {}, []
        for digest in set(digests):
            if (patient := self._cache.get(digest)) is not None:
                found[digest] = patient
            else:
                missing.append(digest)
        if missing:
            for digest, patient in await tx.rows(KNOWN, [missing]):
                found[digest] = patient
        return found

    async def resolve(self, tx: Tx, reports: Sequence[Report]) -> tuple[list[UUID], dict[bytes, UUID]]:
        """The person of each report, made where no identifier is known, and what had been known before.

        The first identifier that is known decides; one that names somebody else keeps doing so: merging is not
        decided here. Rows are added in digest order before any subject is locked, so that batches cannot
        deadlock.
        """
        names = [[self.digest(identifier) for identifier in report.identifiers] for report in reports]
        before = await self.known(tx, (digest for digests in names for digest in digests))
        known = dict(before)
        ours, new = self._assign(reports, names, known)
        if new:
            rows = sorted(new.items())
            cursor = await tx.execute(ADD, [[digest for digest, _ in rows], [patient for _, patient in rows]])
            if cursor.rowcount < len(rows):
                taken = await tx.rows(KNOWN, [[digest for digest, _ in rows]])
                known = before | dict(taken)
                ours, _ = self._assign(reports, names, known)
        tx.committed.append(lambda: self._remember(known, tx.erased))
        return ours, before

    def _remember(self, known: Mapping[bytes, UUID], erased: Collection[UUID]) -> None:
        self._cache.update((digest, patient) for digest, patient in known.items() if patient not in erased)
        while len(self._cache) > CACHED:
            self._cache.popitem(last=False)

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


def unname(tx: Tx, patients: Sequence[UUID]) -> None:
    """The identifiers of erased people name nobody from now on, so that what a feed still says is refused."""
    tx.later(UNNAME, [NOBODY, list(patients)])


def take_back(tx: Tx, patients: Iterable[UUID]) -> None:
    """Remove what a report added for people of whom it then turned out that they were erased."""
    tx.later(TAKE_BACK, [list(patients)])
