"""Takes what was understood, and keeps what was not: one set of statements for all that arrived together."""

import hashlib
from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID

from ingest_fhir.domain import Answer, Filed, Identifier, KeyReused, Origin, Rejected, Report, Submission
from ingest_fhir.storage.identity import NOBODY, Identities, take_back
from phi_common.clock import new_id
from phi_common.crypto import BlindIndex
from phi_common.db import columns
from phi_common.eventing.accept import Unavailable
from phi_common.transaction import Erased, Tx

Item = Submission | Rejected
Outcome = Answer | Exception | None
Known = dict[str, tuple[bytes, Answer]]

SEALED = "raw_messages.sealed"
ANSWERS = "SELECT key, request_hash, status, body FROM answers WHERE key = ANY(%b)"
ADD_ANSWERS = """
INSERT INTO answers (key, request_hash, status, body)
SELECT * FROM unnest(%b::text[], %b::bytea[], %b::int4[], %b::bytea[])
"""
ADD_RAW = """
INSERT INTO raw_messages (id, patient_id, kind, source, received, sha256, sealed, problem, traceparent)
SELECT id, patient_id, kind, source, %b, sha256, sealed, problem, traceparent
FROM unnest(%b::uuid[], %b::uuid[], %b::text[], %b::text[], %b::bytea[], %b::bytea[], %b::text[], %b::text[])
     AS row (id, patient_id, kind, source, sha256, sealed, problem, traceparent)
"""


class Intake:
    """The accept function of the group commit. An item is stored whole, with its answer, or not at all."""

    def __init__(self, index: BlindIndex) -> None:
        self._index = index
        self.identities = Identities(index)

    def key(self, scope: str, name: str) -> str:
        """A name for a stored answer; requests are named by their senders, so only a digest is kept."""
        return f"{scope}:{self._index.digest('answer', name).hex()}"

    async def accept(self, tx: Tx, items: Sequence[Item]) -> list[Outcome]:
        """For each item its (perhaps repeated) answer, an exception of its own, or None for a kept reject."""
        answers = await self._answers(tx, items)
        outcomes: list[Outcome] = [None] * len(items)
        fresh, followers = self._sort(items, answers, outcomes)
        batch = _Batch(self, tx, answers)
        await batch.file([items[at] for at in fresh if isinstance(items[at], Submission)])  # type: ignore[misc]
        for at in fresh:
            outcomes[at] = batch.outcome(items[at])  # type: ignore[arg-type]
        for item in items:
            if isinstance(item, Rejected):
                await batch.keep(item)
        await batch.write()
        for at in followers:
            outcomes[at] = _repeat(items[at], batch.given)  # type: ignore[arg-type]
        return outcomes

    def existence(self, report: Report) -> str:
        """The key under which a conditionally created record is remembered; empty without a condition."""
        return self.key("exists", f"{report.kind}|{report.unless}") if report.unless else ""

    async def _answers(self, tx: Tx, items: Sequence[Item]) -> Known:
        keys = {item.key for item in items if isinstance(item, Submission) and item.key}
        keys |= {self.existence(r) for item in items if isinstance(item, Submission) for r in item.reports if r.unless}
        if not keys:
            return {}
        rows = await tx.rows(ANSWERS, [list(keys)])
        return {key: (request, _unpacked(status, body)) for key, request, status, body in rows}

    @staticmethod
    def _sort(items: Sequence[Item], answers: Known, outcomes: list[Outcome]) -> tuple[list[int], list[int]]:
        """Which items are new, and which repeat one of this batch; repeats of older ones get their outcome."""
        fresh, followers, named = [], [], set()
        for at, item in enumerate(items):
            if isinstance(item, Rejected):
                continue
            if item.key in answers:
                outcomes[at] = _repeat(item, answers)
            elif item.key and item.key in named:
                followers.append(at)
            else:
                named.add(item.key)
                fresh.append(at)
        return fresh, followers


class _Batch:
    """Rows and answers of one transaction while they are gathered."""

    def __init__(self, intake: Intake, tx: Tx, answers: Known) -> None:
        self._intake = intake
        self._tx = tx
        self._there = dict(answers)
        self._raw: list[tuple[Any, ...]] = []
        self._outcomes: dict[int, Outcome] = {}
        self._gone = {NOBODY}
        self.given: Known = {}

    def outcome(self, item: Submission) -> Outcome:
        """What became of a submission that was filed."""
        return self._outcomes[id(item)]

    async def file(self, submissions: Sequence[Submission]) -> None:
        """Find or make the people, lock them, and store every report with its events."""
        reports = [report for submission in submissions for report in submission.reports]
        people, before = await self._intake.identities.resolve(self._tx, reports)
        meant = (before.get(self._intake.identities.digest(report.unless)) for report in reports if report.unless)
        await self._tx.lock({person for person in (*people, *meant) if person} - {NOBODY})
        if self._tx.erased:
            take_back(self._tx, self._tx.erased)
        self._gone |= self._tx.erased
        owners = iter(people)
        for submission in submissions:
            theirs = [next(owners) for _ in submission.reports]
            if self._gone.intersection(theirs):
                self._outcomes[id(submission)] = Erased()
                continue
            filed = [
                self._report(submission, report, patient, before)
                for report, patient in zip(submission.reports, theirs, strict=True)
            ]
            self._tx.actor = submission.by
            for patient in dict.fromkeys(theirs):
                self._tx.audit(submission.action, patient, traceparent=submission.traceparent)
            answer = submission.answer(filed)
            self._outcomes[id(submission)] = answer
            if submission.key:
                self.given[submission.key] = (submission.request_hash, answer)

    def _report(self, submission: Submission, report: Report, patient: UUID, before: dict[bytes, UUID]) -> Filed:
        exists = self._intake.existence(report)
        if found := self._existing(report, exists, before):
            return found
        message_id = new_id()
        self._keep(
            message_id,
            patient,
            report.kind,
            report.source,
            report.raw,
            self._tx.seal(patient, SEALED, report.raw),
            traceparent=submission.traceparent,
        )
        origin = Origin(patient, report.source, message_id, partial(_source_id, self._intake._index, report.source))
        for statement in report.statements:
            self._tx.emit(statement.event(origin), submission.traceparent)
        filed = Filed(report.kind, patient if report.kind == "Patient" else message_id, patient)
        if exists:
            self._there[exists] = self.given[exists] = (b"", Answer(201, f"{filed.id}|{patient}".encode()))
        return filed

    def _existing(self, report: Report, exists: str, before: dict[bytes, UUID]) -> Filed | None:
        if report.unless is None:
            return None
        if exists in self._there:
            found, _, patient = self._there[exists][1].body.decode().partition("|")
            return Filed(report.kind, UUID(found), UUID(patient), existed=True)
        known = before.get(self._intake.identities.digest(report.unless), NOBODY)
        if report.kind == "Patient" and known not in self._gone:
            return Filed(report.kind, known, known, existed=True)
        return None

    async def keep(self, item: Rejected) -> None:
        """Keep what nobody could read, under no patient's key."""
        sealed = await self._tx.seal_unowned(SEALED, item.raw)
        self._keep(new_id(), None, item.kind, item.source, item.raw, sealed, item.problem)

    def _keep(
        self,
        id_: UUID,
        patient: UUID | None,
        kind: str,
        source: str,
        raw: bytes,
        sealed: bytes,
        problem: str | None = None,
        traceparent: str = "",
    ) -> None:
        digest = hashlib.sha256(raw).digest()
        self._raw.append((id_, patient, kind, source, digest, sealed, problem, traceparent))

    async def write(self) -> None:
        """Write the gathered rows. A key that another batch has just taken is refused by the database."""
        if self._raw:
            self._tx.later(ADD_RAW, [self._tx.now, *columns(self._raw, 8)])
        if self.given:
            rows = [
                (key, request, answer.status, _packed(answer)) for key, (request, answer) in sorted(self.given.items())
            ]
            self._tx.later(ADD_ANSWERS, columns(rows, 4))


def _source_id(index: BlindIndex, source: str, key: str) -> str:
    return index.digest("source", f"{source}|{key}").hex()[:32]


def _repeat(item: Submission, answers: Known) -> Outcome:
    if item.key not in answers:  # the first of this batch with the key was refused, and nothing is remembered of it
        return Unavailable()
    request, answer = answers[item.key]
    return answer if request == item.request_hash else KeyReused()


def _packed(answer: Answer) -> bytes:
    return answer.location.encode() + b"\n" + answer.body


def _unpacked(status: int, stored: bytes) -> Answer:
    location, _, body = stored.partition(b"\n")
    return Answer(status, body, location.decode())


async def patient_with(tx: Tx, intake: Intake, identifier: Identifier) -> UUID | None:
    """The person whom an identifier names, unless they were erased, perhaps only a moment ago."""
    digest = intake.identities.digest(identifier)
    patient = (await intake.identities.known(tx, [digest])).get(digest, NOBODY)
    await tx.load_keys([patient])
    return patient if tx.knows(patient) else None
